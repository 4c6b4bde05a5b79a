// SPDX-License-Identifier: Apache-2.0
//
// MBConv and DSConv at run time: carries out a schedule (schedules.hpp) on a session's threads and memory. The work
// itself is kernels/inverted_bottleneck.inl. Not a layer.
#pragma once

#include <efficientvit/nn/pointwise.hpp>
#include <efficientvit/nn/schedules.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// The parts of an inverted bottleneck that are known when its weights are packed.
struct InvertedBottleneck {
    const PackedConvolution* expand = nullptr;  // none in DSConv
    const PackedConvolution* depth = nullptr;
    const PackedConvolution* project = nullptr;
    kernels::Act expand_act = kernels::Act::none;
    kernels::Act depth_act = kernels::Act::none;
    kernels::Act project_act = kernels::Act::none;
    int mid_channels = 0;
    int kernel_size = 3;
    int stride = 1;

    InvertedBottleneckSizes sizes() const { return {expand != nullptr, mid_channels, kernel_size, stride}; }
};

/// One inverted bottleneck of a forward: its schedule, its memory, and what its kernel is told.
class InvertedBottleneckRun {
public:
    InvertedBottleneckRun(Session& session, const InvertedBottleneck& layer, const FeatureMap& x, const FeatureMap& y,
                          const FeatureMap* residual)
        : session_(session),
          layer_(layer),
          x_(x),
          y_(y),
          residual_(residual),
          s_(schedule(layer.sizes(), x, y, session.machine())) {
        session.scheduled(s_);
        const auto take = [&](Index floats, int places) { return session.workspace.take(floats * places); };
        const int workers = session.workers();
        const bool rounded = rounds(session);
        rounded_inputs_ = take(s_.rounded_input_words, workers);
        rounded_middles_ = take(s_.rounded_middle_words, s_.middles);
        rings_ = take(s_.ring_floats, workers);
        middles_ = take(s_.middle_floats, rounded ? workers : s_.middles);
        zero_row_ = take(zero_row_floats(), 1);
        pointers_ = session.workspace.take_pointers(pointers_each() * workers);
        if (!session.measuring()) std::fill_n(zero_row_, zero_row_floats(), 0.0f);
    }

    void run() const {
        if (s_.by_blocks) return run_by_blocks();
        const int blocks = block_count(layer_.mid_channels);
        session_.parallel(y_.batch * s_.bands, [&](int chunk, int worker) {
            const int n = chunk / s_.bands;
            kernels::InvertedBottleneck a = arguments(n, worker);
            set_output(a, n);
            const Session::Range rows = Session::split(y_.height, s_.bands, chunk % s_.bands);
            a.first_row = rows.begin;
            a.last_row = rows.end;
            a.last_mid_block = blocks;
            a.middle = middles_ + s_.middle_floats * worker;
            a.rounded_middle = rounded_middles_ + s_.rounded_middle_words * worker;
            session_.kernels.inverted_bottleneck(a);
        });
    }

private:
    int block() const { return block_width(layer_.mid_channels); }
    Index zero_row_floats() const { return (Index{x_.width} + 2 * layer_.sizes().padding()) * block(); }
    Index pointers_each() const { return Index{s_.window_rows} + 8; }  // a cache line apart

    /// All middle channels of an image, slice by slice: threads share the blocks of a slice, then its projection.
    void run_by_blocks() const {
        const int blocks = block_count(layer_.mid_channels);
        for (int n = 0; n < y_.batch; ++n) {
            for (int first = 0; first < blocks; first += s_.slice_blocks) {
                const Session::Range slice{first, std::min(first + s_.slice_blocks, blocks)};
                fill_slice(n, slice);
                project_slice(n, slice);
            }
        }
    }

    void fill_slice(int n, Session::Range slice) const {
        const bool rounded = rounds(session_);
        const int units = quotient_up(slice.size(), s_.unit_blocks);
        const int parts = std::min(units, 2 * session_.workers());
        session_.parallel(parts, [&](int part, int worker) {
            const Session::Range range = Session::split(units, parts, part);
            kernels::InvertedBottleneck a = arguments(n, worker);
            a.last_row = y_.height;
            a.first_mid_block = slice.begin + s_.unit_blocks * range.begin;
            a.last_mid_block = std::min(slice.begin + s_.unit_blocks * range.end, slice.end);
            a.middle = middles_ +
                       (rounded ? s_.middle_floats * worker : s_.unit_blocks * range.begin * s_.middle_block_floats);
            a.rounded_middle = rounded_middles_;
            session_.kernels.inverted_bottleneck(a);
        });
    }

    void project_slice(int n, Session::Range slice) const {
        const int lanes = block_count(layer_.mid_channels) * block();
        FeatureMap y = y_, added;
        y.batch = 1;
        y.data = y_.image(n);
        if (residual_ != nullptr) {
            added = *residual_;
            added.batch = 1;
            added.data = residual_->image(n);
        }
        const Session::Range channels{slice.begin * block(), std::min(slice.end * block(), layer_.mid_channels)};
        FeatureMap middle{middles_, 1, channels.size(), y.height, y.width, 0, block()};
        if (rounds(session_)) {
            middle.data = rounded_middles_;
            const kernels::Operands operands = session_.kernels.operands;
            middle.block = kernels::line_words(operands);
            middle.channels = kernels::group_count(operands, lanes) * middle.block;
            middle.rounded = true;
        }
        run_pointwise_slice(session_, *layer_.project, layer_.project_act, layer_.mid_channels, channels, middle, y,
                            residual_ == nullptr ? nullptr : &added);
    }

    /// All but the rows, the blocks, and where results go.
    kernels::InvertedBottleneck arguments(int n, int worker) const {
        kernels::InvertedBottleneck a;
        a.x = x_.image(n);
        a.x_block_stride = x_.block_stride();
        a.x_row_stride = x_.row_stride();
        a.x_block = x_.block;
        a.in_channels = x_.channels;
        a.in_height = x_.height;
        a.in_width = x_.width;
        if (layer_.expand != nullptr) {
            a.expand_weights = layer_.expand->weights.data();
            a.expand_bias = layer_.expand->bias.data();
            a.expand_act = layer_.expand_act;
        }
        a.depth_weights = layer_.depth->weights.data();
        a.depth_bias = layer_.depth->bias.data();
        a.depth_act = layer_.depth_act;
        a.kernel_size = layer_.kernel_size;
        a.stride = layer_.stride;
        a.padding = layer_.sizes().padding();
        a.mid_channels = layer_.mid_channels;
        a.mid_block = block();
        a.project_weights = layer_.project->weights.data();
        a.project_bias = layer_.project->bias.data();
        a.project_act = layer_.project_act;
        a.out_width = y_.width;
        a.step_rows = s_.step_rows;
        a.ring = rings_ + s_.ring_floats * worker;
        a.ring_block_stride = s_.ring_block_floats;
        a.ring_blocks = s_.ring_blocks;
        a.ring_rows = s_.ring_rows;
        a.slice_blocks = s_.slice_blocks;
        a.middle_block_stride = s_.middle_block_floats;
        a.rounded_x = rounded_inputs_ + s_.rounded_input_words * worker;
        a.rounded_x_stride = s_.window_pixels * kernels::line_words(session_.kernels.operands);
        a.rounded_middle_stride = s_.step_pixels * kernels::line_words(session_.kernels.operands);
        a.zero_row = zero_row_;
        a.row_pointers = pointers_ + pointers_each() * worker;
        return a;
    }

    /// The kernel projects too.
    void set_output(kernels::InvertedBottleneck& a, int n) const {
        a.y = y_.image(n);
        a.y_block_stride = y_.block_stride();
        a.y_row_stride = y_.row_stride();
        a.y_block = y_.block;
        a.y_blocks = y_.blocks();
        if (residual_ == nullptr) return;
        a.residual = residual_->image(n);
        a.residual_block_stride = residual_->block_stride();
        a.residual_row_stride = residual_->row_stride();
    }

    Session& session_;
    const InvertedBottleneck& layer_;
    const FeatureMap& x_;
    const FeatureMap& y_;
    const FeatureMap* residual_;
    InvertedBottleneckSchedule s_;
    float* rounded_inputs_ = nullptr;
    float* rounded_middles_ = nullptr;
    float* rings_ = nullptr;
    float* middles_ = nullptr;
    float* zero_row_ = nullptr;
    const float** pointers_ = nullptr;
};

/// y = project(depth(expand(x))) + residual. Without expand, x has at least kernel_size / 2 columns of padding.
inline void run_inverted_bottleneck(Session& session, const InvertedBottleneck& layer, const FeatureMap& x,
                                    const FeatureMap& y, const FeatureMap* residual) {
    const Workspace::Frame frame(session.workspace);
    const InvertedBottleneckRun run(session, layer, x, y, residual);
    if (!session.measuring()) run.run();
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

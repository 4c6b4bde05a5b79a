// SPDX-License-Identifier: Apache-2.0
//
// 1x1 convolution of a whole map, cut into chunks for threads. Shared by ConvLayer, MBConv, LiteMLA; not a layer.
#pragma once

#include <efficientvit/nn/module.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Weights of a convolution in the order in which its kernel reads them, see kernels/args.hpp.
struct PackedConvolution {
    PackedWeights weights;
    PackedWeights bias;
    AlignedBuffer<int> lane_channels{};  // kernels::Table::grouped only
    int line_columns = 1;                // kernels::Dense's
    PackedWeights winograd{};            // kernels::Winograd's; bytes are the same as in `weights`
};

/// Whether the kernels of a session multiply inputs that have been rounded to bf16 or bytes.
inline bool rounds(const Session& session) { return kernels::rounds(session.kernels.operands); }

/// x as products read it: rounded in the session's memory if that is what they multiply, else itself.
inline FeatureMap as_operand(Session& session, const FeatureMap& x) {
    if (!rounds(session) || x.rounded) return x;
    const kernels::Operands operands = session.kernels.operands;
    FeatureMap y = x;
    y.block = kernels::line_words(operands);
    y.channels = kernels::group_count(operands, x.blocks() * x.block) * y.block;
    y.rounded = true;
    // Kernels may read up to 15 pixels beyond the last, which strides of 2 make 30.
    float* const memory = session.workspace.take(y.floats() + Index{32} * y.block);
    if (session.measuring()) return y;
    y.data = memory + Index{y.padding} * y.block;
    const int bands = chunks_of(session, x.height);
    session.parallel(x.batch * bands, [&](int chunk, int) {
        const int n = chunk / bands;
        const Session::Range rows = Session::split(x.height, bands, chunk % bands);
        kernels::Round a;  // the zeros beside the rows come along
        a.x = x.image(n) + rows.begin * x.row_stride() - Index{x.padding} * x.block;
        a.x_block_stride = x.block_stride();
        a.x_block = x.block;
        a.x_blocks = x.blocks();
        a.width = rows.size() * (x.width + 2 * x.padding);
        a.y = y.image(n) + rows.begin * y.row_stride() - Index{y.padding} * y.block;
        a.y_group_stride = y.block_stride();
        session.kernels.round(a);
    });
    return y;
}

/// The input of `a`, `blocks` blocks without gaps, as products read it: rounded into `to`, which has rounded_words(),
/// if that is what they multiply.
inline void set_operand(const Session& session, kernels::Pointwise& a, int blocks, float* to) {
    if (!rounds(session)) return;
    kernels::Round round;
    round.x = a.x;
    round.x_block_stride = a.x_block_stride;
    round.x_block = a.x_block;
    round.x_blocks = blocks;
    round.width = a.pixels;
    round.y = to;
    round.y_group_stride = Index{a.pixels} * kernels::line_words(session.kernels.operands);
    session.kernels.round(round);
    a.x = round.y;
    a.x_block_stride = round.y_group_stride;
}

/// Of y = act(weights * x + bias) + residual what `slice` of the `channels` that weights has contributes: the slice is
/// x, the first begins with the bias, the others go on from y, the last ends with act and residual. x may have padding.
inline void run_pointwise_slice(Session& session, const PackedConvolution& packed, kernels::Act act, int channels,
                                Session::Range slice, const FeatureMap& input, const FeatureMap& y,
                                const FeatureMap* residual) {
    const Workspace::Frame frame(session.workspace);
    const FeatureMap x = as_operand(session, input);
    if (session.measuring()) return;
    const PointwiseSchedule schedule = schedule_pointwise(y, session.machine());
    const kernels::Operands operands = session.kernels.operands;
    const Index panel = kernels::panel_words(operands, channels) * y.block;
    const bool first = slice.begin == 0, last = slice.end == channels;
    session.parallel(y.batch * schedule.parts, [&](int chunk, int) {
        const int parts = schedule.parts, n = chunk / parts;
        Session::Range rows{0, y.height}, blocks{0, y.blocks()};
        if (schedule.by_blocks) {
            const Session::Range range = Session::split(quotient_up(y.blocks(), 2), parts, chunk % parts);
            blocks = {2 * range.begin, std::min(2 * range.end, y.blocks())};
        } else {
            rows = Session::split(y.height, parts, chunk % parts);
        }

        kernels::Pointwise a;
        a.x_block_stride = x.block_stride();
        a.x_block = x.block;
        a.channels = slice.size();
        a.weights =
            packed.weights.data() + blocks.begin * panel + kernels::weight_words(operands, slice.begin) * y.block;
        a.weights_block_stride = panel;
        a.bias = first ? packed.bias.data() + blocks.begin * y.block : nullptr;
        a.y_block_stride = y.block_stride();
        a.y_row_stride = y.row_stride();
        a.y_block = y.block;
        a.y_blocks = blocks.size();
        a.y_width = y.width;
        a.act = last ? act : kernels::Act::none;
        if (residual != nullptr && last) {
            a.residual_block_stride = residual->block_stride();
            a.residual_row_stride = residual->row_stride();
        }
        // With gaps in x every row is a run of its own.
        const int run_rows = x.padding == 0 ? rows.size() : 1;
        a.pixels = run_rows * y.width;
        for (int row = rows.begin; row < rows.end; row += run_rows) {
            a.x = x.image(n) + row * x.row_stride();
            a.y = y.image(n) + blocks.begin * y.block_stride() + row * y.row_stride();
            if (residual != nullptr && last) {
                a.residual =
                    residual->image(n) + blocks.begin * residual->block_stride() + row * residual->row_stride();
            }
            session.kernels.pointwise(a);
        }
    });
}

/// y = act(weights * x + bias) + residual. `channels` is what the weights count of x: x.channels, or all lanes of a
/// map in sections. x may have padding.
inline void run_pointwise(Session& session, const PackedConvolution& packed, kernels::Act act, int channels,
                          const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) {
    run_pointwise_slice(session, packed, act, channels, {0, channels}, x, y, residual);
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

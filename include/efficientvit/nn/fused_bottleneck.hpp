// SPDX-License-Identifier: Apache-2.0
//
// FusedMBConv and segmenters' outputs at run time: a few rows of the first convolution at a time (schedules.hpp),
// projected before the next, so that the widened map (512 channels at 56x56 in l1) never exists as a whole. Not a
// layer.
#pragma once

#include <efficientvit/nn/convolution.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// What is known when weights are packed.
struct FusedBottleneck {
    ConvConfig spatial{};
    kernels::Act spatial_act = kernels::Act::none;  // hswish_x6 only where spatial is 1x1 or dense
    const PackedConvolution* spatial_weights = nullptr;
    const PackedConvolution* point_weights = nullptr;
    kernels::Act point_act = kernels::Act::none;
};

/// Spatial convolutions of other kinds (groups, few input channels) are in no network: these take their time.
template <ConvKind Kind>
void run_unfused_bottleneck(Session& session, const FusedBottleneck& layer, const FeatureMap& x, const FeatureMap& y,
                            const FeatureMap* residual) {
    const Workspace::Frame frame(session.workspace);
    const FeatureMap middle = new_map(session, y.batch, layer.spatial.out_channels, y.extent(), 0);
    run_convolution<Kind>(session, layer.spatial, *layer.spatial_weights, x, middle, nullptr);
    run_pointwise(session, *layer.point_weights, layer.point_act, middle.channels, middle, y, residual);
}

/// Output rows of a dense convolution into `to`, without gaps between them.
inline void widen_rows(Session& session, const FusedBottleneck& layer, const FeatureMap& x, int n, Session::Range range,
                       int width, float* to, Index to_block_stride, const float** rows) {
    const ConvConfig& c = layer.spatial;
    kernels::Dense a = dense_arguments(c, *layer.spatial_weights, x);
    a.rows = rows;
    a.y = to;
    a.y_block_stride = to_block_stride;
    a.y_row_stride = Index{width} * a.y_block;
    a.y_rows = range.size();
    a.y_width = width;
    a.act = layer.spatial_act;
    const float* const first_row = dense_first_row(c, *layer.spatial_weights, x, n);
    for (int r = 0; r < a.y_rows; ++r) {
        kernel_rows(c, x, first_row, range.begin + r, nullptr, rows + r * c.kernel_size, 1);
    }
    kernels::dense(session.kernels, a);
}

/// The same for a 1x1 convolution.
inline void widen_pixels(Session& session, const FusedBottleneck& layer, const FeatureMap& x, int n,
                         Session::Range range, float* to, Index to_block_stride) {
    const ConvConfig& c = layer.spatial;
    kernels::Pointwise a;
    a.x_block_stride = x.block_stride();
    a.x_block = x.block;
    a.channels = c.in_channels;
    a.weights = layer.spatial_weights->weights.data();
    a.bias = layer.spatial_weights->bias.data();
    a.y_block_stride = to_block_stride;
    a.y_block = block_width(c.out_channels);
    a.y_blocks = block_count(c.out_channels);
    a.y_row_stride = Index{x.width} * a.y_block;
    a.y_width = x.width;
    a.act = layer.spatial_act;
    // With gaps in x every row is a run of its own.
    const int run_rows = x.padding == 0 ? range.size() : 1;
    a.pixels = run_rows * x.width;
    for (int row = range.begin; row < range.end; row += run_rows) {
        a.x = x.image(n) + row * x.row_stride();
        a.y = to + (row - range.begin) * a.y_row_stride;
        session.kernels.pointwise(a);
    }
}

/// These rows and columns, widened in `middle`, to their place in y.
inline void project_pixels(Session& session, const FusedBottleneck& layer, const FeatureMap& y,
                           const FeatureMap* residual, int n, Session::Range rows, Session::Range columns,
                           const float* middle, Index middle_block_stride, float* rounded) {
    const ConvConfig& c = layer.spatial;
    kernels::Pointwise point;
    point.x = middle;
    point.x_block_stride = middle_block_stride;
    point.x_block = block_width(c.out_channels);
    point.channels = c.out_channels;
    point.weights = layer.point_weights->weights.data();
    point.bias = layer.point_weights->bias.data();
    point.y = y.image(n) + rows.begin * y.row_stride() + Index{columns.begin} * y.block;
    point.y_block_stride = y.block_stride();
    point.y_row_stride = y.row_stride();
    point.y_block = y.block;
    point.y_blocks = y.blocks();
    point.y_width = columns.size();
    point.pixels = rows.size() * columns.size();
    point.act = layer.point_act;
    if (residual != nullptr) {
        point.residual =
            residual->image(n) + rows.begin * residual->row_stride() + Index{columns.begin} * residual->block;
        point.residual_block_stride = residual->block_stride();
        point.residual_row_stride = residual->row_stride();
    }
    set_operand(session, point, block_count(c.out_channels), rounded);
    session.kernels.pointwise(point);
}

/// The spatial convolution in Winograd's form. What it gives is projected row of tiles by row of tiles.
inline void run_winograd_bottleneck(Session& session, const WinogradSchedule& s, const FusedBottleneck& layer,
                                    const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) {
    const int mid_block = block_width(layer.spatial.out_channels);
    const Index middle_floats = s.middle_block_floats * block_count(layer.spatial.out_channels) + 16;
    const Index own_floats = (middle_floats + s.rounded_words + 15) / 16 * 16;  // whole cache lines
    const auto run_step = [&](int n, const WinogradStep& step, kernels::Winograd a, float* middle) {
        a.act = layer.spatial_act;
        a.y = middle;
        a.y_block_stride = s.middle_block_floats;
        a.y_row_stride = Index{step.columns.size()} * mid_block;
        kernels::winograd(session.kernels, a);
        constexpr int side = kernels::Winograd::outputs;
        for (int row = step.rows.begin; row < step.rows.end; row += side) {
            project_pixels(session, layer, y, residual, n, {row, std::min(row + side, step.rows.end)}, step.columns,
                           middle + (row - step.rows.begin) * a.y_row_stride, s.middle_block_floats,
                           middle + middle_floats);
        }
    };
    for_each_winograd_step(session, s, *layer.spatial_weights, x, y, own_floats, run_step);
}

/// y = point(spatial(x)) + residual, spatial a 1x1 or a dense convolution. x has conv_padding(spatial) columns of
/// padding.
template <ConvKind Kind>
void run_fused_bottleneck(Session& session, const FusedBottleneck& layer, const FeatureMap& input, const FeatureMap& y,
                          const FeatureMap* residual) {
    const ConvConfig& c = layer.spatial;
    if constexpr (Kind == ConvKind::dense) {
        const WinogradSchedule winograd = schedule_winograd(c, *layer.spatial_weights, y, session.machine());
        if (winograd.used) return run_winograd_bottleneck(session, winograd, layer, input, y, residual);
    }
    const FusedBottleneckSchedule s =
        schedule_fused(c.out_channels, static_cast<Index>(layer.spatial_weights->weights.size()), y, session.machine());
    session.scheduled(s);

    const Workspace::Frame frame(session.workspace);
    const FeatureMap x = dense_operand(session, c, *layer.spatial_weights, input, y.width);
    const Index pointers_each = Index{s.step_rows} * c.kernel_size + 8;  // a cache line apart
    const auto take = [&](Index floats) { return session.workspace.take(floats * session.workers()); };
    float* const middles = take(s.middle_floats);
    const float** const pointers = session.workspace.take_pointers(pointers_each * session.workers());
    float* const rounded = take(s.rounded_words);
    if (session.measuring()) return;

    session.parallel(y.batch * s.steps, [&](int chunk, int worker) {
        const int n = chunk / s.steps;
        const Session::Range range = Session::split(y.height, s.steps, chunk % s.steps);
        float* const middle = middles + s.middle_floats * worker;
        if constexpr (Kind == ConvKind::pointwise) {
            widen_pixels(session, layer, x, n, range, middle, s.middle_block_floats);
        } else {
            widen_rows(session, layer, x, n, range, y.width, middle, s.middle_block_floats,
                       pointers + pointers_each * worker);
        }
        project_pixels(session, layer, y, residual, n, range, {0, y.width}, middle, s.middle_block_floats,
                       rounded + s.rounded_words * worker);
    });
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// The schedule of FusedMBConv, and of segmenters' outputs: a few rows of the first convolution at a time, projected
// before the next, so that the widened map (512 channels at 56x56 in l1) never exists as a whole. Not a layer.
#pragma once

#include <efficientvit/nn/convolution.hpp>

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
    const float* const first_row = x.image(n) - Index{conv_padding(c)} * x.block;
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

/// y = point(spatial(x)) + residual, spatial a 1x1 or a dense convolution. x has conv_padding(spatial) columns of
/// padding.
template <ConvKind Kind>
void run_fused_bottleneck(Session& session, const FusedBottleneck& layer, const FeatureMap& input, const FeatureMap& y,
                          const FeatureMap* residual) {
    const ConvConfig& c = layer.spatial;
    // What waits for the projection stays in the second-level cache. Rows of the spatial convolution read x itself, so
    // nothing is computed twice, and steps can be chunks of work for threads. Weights of a megabyte and more come from
    // the third level in every step, so these are longer.
    const bool heavy = layer.spatial_weights->weights.size() >= 256 * 1024;
    const Index step_floats = (heavy ? 128 : 64) * 1024;
    const int block = block_width(c.out_channels), blocks = block_count(c.out_channels);
    const Index row_floats = Index{blocks} * block * y.width;
    const int fitting = static_cast<int>(std::max<Index>(1, step_floats / row_floats));
    const int steps = std::max((y.height + fitting - 1) / fitting, chunks_of(session, y.height));
    const int step = (y.height + steps - 1) / steps;

    const Workspace::Frame frame(session.workspace);
    const FeatureMap x = as_operand(session, input);
    const Index rounded_each = rounds(session) ? kernels::rounded_words(blocks * block, Index{step} * y.width) : 0;
    const Index middle_block = Index{step} * y.width * block;
    const Index middle_floats = middle_block * blocks;
    const Index pointers_each = Index{step} * c.kernel_size + 8;  // a cache line apart
    const auto workers = static_cast<std::size_t>(session.workers());
    float* const middles = session.workspace.take(static_cast<std::size_t>(middle_floats) * workers);
    const float** const pointers = session.workspace.take_pointers(static_cast<std::size_t>(pointers_each) * workers);
    float* const rounded = session.workspace.take(static_cast<std::size_t>(rounded_each) * workers);
    if (session.measuring()) return;

    session.parallel(y.batch * steps, [&](int chunk, int worker) {
        const int n = chunk / steps;
        const Session::Range range = Session::split(y.height, steps, chunk % steps);
        const float** const rows = pointers + pointers_each * worker;
        float* const middle = middles + middle_floats * worker;

        if constexpr (Kind == ConvKind::pointwise) {
            widen_pixels(session, layer, x, n, range, middle, middle_block);
        } else {
            widen_rows(session, layer, x, n, range, y.width, middle, middle_block, rows);
        }

        kernels::Pointwise point;
        point.x = middle;
        point.x_block_stride = middle_block;
        point.x_block = block;
        point.channels = c.out_channels;
        point.weights = layer.point_weights->weights.data();
        point.bias = layer.point_weights->bias.data();
        point.y = y.image(n) + range.begin * y.row_stride();
        point.y_block_stride = y.block_stride();
        point.y_row_stride = y.row_stride();
        point.y_block = y.block;
        point.y_blocks = y.blocks();
        point.y_width = y.width;
        point.pixels = range.size() * y.width;
        point.act = layer.point_act;
        if (residual != nullptr) {
            point.residual = residual->image(n) + range.begin * residual->row_stride();
            point.residual_block_stride = residual->block_stride();
            point.residual_row_stride = residual->row_stride();
        }
        set_operand(session, point, blocks, rounded + rounded_each * worker);
        session.kernels.pointwise(point);
    });
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

// SPDX-License-Identifier: Apache-2.0
//
// The schedule of MBConv and DSConv: how many rows at a time, how bands of rows or blocks of channels go to threads.
// The work itself is kernels/inverted_bottleneck.inl. Not a layer.
#pragma once

#include <efficientvit/nn/pointwise.hpp>

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
};

/// y = project(depth(expand(x))) + residual. Without expand, x has at least kernel_size / 2 columns of padding.
inline void run_inverted_bottleneck(Session& session, const InvertedBottleneck& layer, const FeatureMap& x,
                                    const FeatureMap& y, const FeatureMap* residual) {
    // What the depthwise convolution has written waits for the projection in the second-level cache: all of a small
    // map, so that weights are read once; of a large one, where the number of rows hardly matters, a little. Weights
    // that are several times as large as the map are read once too: if the map does not fit, a slice of its channels is
    // projected before the next. A slice is so many channels that adding it to the sums costs nothing beside it.
    constexpr int whole_floats = 128 * 1024, step_floats = 64 * 1024, slice_channels = 512;
    const bool expands = layer.expand != nullptr;
    const int block = block_width(layer.mid_channels), blocks = block_count(layer.mid_channels);
    const int padding = layer.kernel_size / 2;
    const int workers = session.workers();
    const int lanes = blocks * block;
    const Index row_floats = Index{lanes} * y.width;
    // All rows in one step: every block of channels is done with before the next, in the same ring. Threads then take
    // blocks, and nothing is computed twice; else they take bands of rows, which expand their edges twice.
    const bool heavy = x.channels + y.channels >= 4 * y.height * y.width;
    const Index pair_floats = Index{2} * block * x.height * x.width;  // what all rows of two blocks take when expanded
    const bool rounded = rounds(session);                             // to words of two: half as large, and not sliced
    const int waiting = rounded ? lanes / 2 : std::min(lanes, slice_channels);
    const bool fits = Index{waiting} * y.height * y.width <= whole_floats && pair_floats <= whole_floats / 4;
    const bool whole = heavy || fits || y.height <= 2;
    const int slice_lanes = std::max(slice_channels, whole_floats / std::max(1, y.height * y.width));
    const int slices = whole && !rounded ? (lanes + slice_lanes - 1) / slice_lanes : 1;
    const int slice_blocks = (blocks + 2 * slices - 1) / (2 * slices) * 2;  // pairs are expanded together
    const int fitting = whole ? y.height : static_cast<int>(std::max<Index>(2, step_floats / row_floats));
    // Two bands for each worker where what is expanded twice is little beside them.
    const int wanted = workers > 1 && (!expands || y.height >= 32 * workers) ? 2 * workers : workers;
    const int bands = whole ? 1 : std::min(wanted, (y.height + 1) / 2);
    const int band_rows = (y.height + bands - 1) / bands;
    const int steps = (band_rows + fitting - 1) / fitting;
    const int step = (band_rows + steps - 1) / steps;                  // steps of a band are alike
    const int window = (step - 1) * layer.stride + layer.kernel_size;  // input rows of a step
    const int advance = step * layer.stride;
    // Whole steps, so that the rows of one step are neighbours in the ring; a single step has nothing to go around.
    const int turning = steps == 1 ? window : (window + advance - 1) / advance * advance;
    const int ring_rows = !expands ? 0 : whole ? x.height : turning;
    const bool by_blocks = whole && workers > 1 && y.batch < workers;

    const Index pixel = Index{x.width} + 2 * padding;
    const Index ring_block = ring_rows * pixel * block;
    const Index middle_block = Index{step} * y.width * block;
    const auto count = [](Index floats) { return static_cast<std::size_t>(floats); };
    const Workspace::Frame frame(session.workspace);
    const int ring_blocks = whole ? std::min(blocks, 2) : blocks;
    const Index ring_floats = ring_block * ring_blocks;
    const int middles = by_blocks ? 1 : workers;
    // In bf16 the projection reads what has been rounded, and the depthwise convolution writes one group at a time.
    const int unit = rounded ? kernels::group_channels / block : 2;  // blocks that must not be split
    const Index x_pixels = Index{whole ? x.height : window} * x.width, y_pixels = Index{step} * y.width;
    const Index rounded_x_words = rounded && expands ? kernels::rounded_words(x.blocks() * x.block, x_pixels) : 0;
    const Index rounded_middle_words = rounded ? kernels::rounded_words(lanes, y_pixels) : 0;
    const Index middle_floats = middle_block * (rounded ? unit : std::min(slice_blocks, blocks));
    float* const rounded_xs = session.workspace.take(count(rounded_x_words * workers));
    float* const rounded_middles = session.workspace.take(count(rounded_middle_words * middles));
    float* const rings = session.workspace.take(count(ring_floats * workers));
    float* const middle = session.workspace.take(count(middle_floats * (rounded ? workers : middles)));
    float* const zero_row = session.workspace.take(count(pixel * block));
    const Index pointers_each = Index{window} + 8;  // a cache line apart
    const float** const pointers = session.workspace.take_pointers(count(pointers_each * workers));
    if (session.measuring()) return;
    std::fill_n(zero_row, pixel * block, 0.0f);

    const auto run = [&](int n, int worker, Session::Range rows, Session::Range mid_blocks, float* to, bool projects) {
        kernels::InvertedBottleneck a;
        a.x = x.image(n);
        a.x_block_stride = x.block_stride();
        a.x_row_stride = x.row_stride();
        a.x_block = x.block;
        a.in_channels = x.channels;
        a.in_height = x.height;
        a.in_width = x.width;
        if (expands) {
            a.expand_weights = layer.expand->weights.data();
            a.expand_bias = layer.expand->bias.data();
            a.expand_act = layer.expand_act;
        }
        a.depth_weights = layer.depth->weights.data();
        a.depth_bias = layer.depth->bias.data();
        a.depth_act = layer.depth_act;
        a.kernel_size = layer.kernel_size;
        a.stride = layer.stride;
        a.padding = padding;
        a.mid_channels = layer.mid_channels;
        a.mid_block = block;
        a.first_mid_block = mid_blocks.begin;
        a.last_mid_block = mid_blocks.end;
        a.project_weights = layer.project->weights.data();
        a.project_bias = layer.project->bias.data();
        a.project_act = layer.project_act;
        a.out_width = y.width;
        if (projects) {
            a.y = y.image(n);
            a.y_block_stride = y.block_stride();
            a.y_row_stride = y.row_stride();
            a.y_block = y.block;
            a.y_blocks = y.blocks();
        }
        if (residual != nullptr) {
            a.residual = residual->image(n);
            a.residual_block_stride = residual->block_stride();
            a.residual_row_stride = residual->row_stride();
        }
        a.first_row = rows.begin;
        a.last_row = rows.end;
        a.step_rows = step;
        a.ring = rings + ring_floats * worker;
        a.ring_block_stride = ring_block;
        a.ring_blocks = ring_blocks;
        a.ring_rows = ring_rows;
        a.slice_blocks = slice_blocks;
        a.middle = to;
        a.middle_block_stride = middle_block;
        a.rounded_x = rounded_xs + rounded_x_words * worker;
        a.rounded_x_stride = x_pixels * kernels::group_words;
        a.rounded_middle = rounded_middles + (by_blocks ? 0 : rounded_middle_words * worker);
        a.rounded_middle_stride = y_pixels * kernels::group_words;
        a.zero_row = zero_row;
        a.row_pointers = pointers + pointers_each * worker;
        session.kernels.inverted_bottleneck(a);
    };

    if (by_blocks) {
        for (int n = 0; n < y.batch; ++n) {
            FeatureMap image = y, added = residual == nullptr ? y : *residual;
            image.batch = added.batch = 1;
            image.data = y.image(n);
            added.data = residual == nullptr ? nullptr : residual->image(n);
            for (int first = 0; first < blocks; first += slice_blocks) {
                const int end = std::min(first + slice_blocks, blocks);
                const int units = (end - first + unit - 1) / unit;
                const int parts = std::min(units, 2 * workers);
                session.parallel(parts, [&](int part, int worker) {
                    const Session::Range range = Session::split(units, parts, part);
                    const Session::Range part_blocks{first + unit * range.begin,
                                                     std::min(first + unit * range.end, end)};
                    float* const to = middle + (rounded ? middle_floats * worker : unit * range.begin * middle_block);
                    run(n, worker, {0, y.height}, part_blocks, to, false);
                });
                const Session::Range channels{first * block, std::min(end * block, layer.mid_channels)};
                FeatureMap slice{middle, 1, channels.size(), y.height, y.width, 0, block};
                if (rounded) {
                    slice.data = rounded_middles;
                    slice.channels = kernels::group_count(lanes) * kernels::group_words;
                    slice.block = kernels::group_words;
                    slice.bf16 = true;
                }
                run_pointwise_slice(session, *layer.project, layer.project_act, layer.mid_channels, channels, slice,
                                    image, residual == nullptr ? nullptr : &added);
            }
        }
    } else {
        session.parallel(y.batch * bands, [&](int chunk, int worker) {
            run(chunk / bands, worker, Session::split(y.height, bands, chunk % bands), {0, blocks},
                middle + middle_floats * worker, true);
        });
    }
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

// SPDX-License-Identifier: Apache-2.0
//
// Schedules: in which order and portions a fused layer does its work, and the memory that this takes, decided from the
// layer, its maps and the machine before anything is computed. Plain data. No schedule changes a result: sums are made
// in the same order whatever it says. Carried out by inverted_bottleneck.hpp, fused_bottleneck.hpp, attention.hpp,
// pointwise.hpp and convolution.hpp; Winograd's is winograd_schedule.hpp's.
#pragma once

#include <efficientvit/runtime/core.hpp>
#include <efficientvit/runtime/feature_map.hpp>

#include <algorithm>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Chunks to cut `items` into: two for each worker, so that one which is late leaves less to wait for.
inline int chunks_of(int workers, int items) { return std::max(1, std::min(workers == 1 ? 1 : 2 * workers, items)); }

constexpr int quotient_up(int a, int b) { return (a + b - 1) / b; }

/// Floats that may wait in the second-level cache from one part of a fused layer to the next: half of a worker's share,
/// at most 512 KB, beyond which nothing was gained on caches of 1 and 2 MB.
inline Index waiting_floats(const Machine& machine) {
    constexpr Index most = 128 * 1024, least = 8 * 1024;
    return std::clamp(static_cast<Index>(machine.l2_share()) / Index{2 * sizeof(float)}, least, most);
}

/// Floats that the rows of a ring may take: more than what waits where the cache is small, since few rows at a time
/// expand more of them twice, but no more than a worker's share of it, if that is 64 KB at least.
inline Index ring_floats(const Machine& machine) {
    constexpr Index wanted = 64 * 1024, least = 16 * 1024;
    const Index share = std::max<Index>(static_cast<Index>(machine.l2_share()) / Index{sizeof(float)}, least);
    return std::min(std::max(waiting_floats(machine), wanted), share);
}

// ---- MBConv and DSConv ----------------------------------------------------------------------------------------------

/// The sizes of an inverted bottleneck.
struct InvertedBottleneckSizes {
    bool expands = false;  // MBConv; DSConv has no first convolution
    int mid_channels = 0;
    int kernel_size = 3;
    int stride = 1;

    int padding() const { return kernel_size / 2; }
};

/// How an inverted bottleneck goes through its rows and middle channels.
struct InvertedBottleneckSchedule {
    /// Threads take blocks of middle channels of all rows; else bands of rows, which expand their edges twice.
    bool by_blocks = false;
    int bands = 1;         // of an image
    int step_rows = 0;     // output rows from one expansion to the next
    int window_rows = 0;   // input rows that a step reads
    int ring_rows = 0;     // expanded rows that are held; 0: nothing is expanded
    int ring_blocks = 0;   // blocks of middle channels that have rows there at the same time
    int slice_blocks = 0;  // blocks of middle channels that are projected at a time
    int unit_blocks = 0;   // blocks that one thread computes together
    int middles = 0;       // places for what waits for the projection

    // Memory, in floats.
    Index ring_block_floats = 0, ring_floats = 0;      // of a worker
    Index middle_block_floats = 0, middle_floats = 0;  // of a place
    Index step_pixels = 0, window_pixels = 0;
    Index rounded_input_words = 0;   // of a worker, as lines
    Index rounded_middle_words = 0;  // of a place, as lines

    bool operator==(const InvertedBottleneckSchedule&) const = default;
};

/// Rows of a step, and whether one step takes all of them.
struct InvertedBottleneckRows {
    bool whole = false;
    int fitting = 0;
};

/// What the depthwise convolution has written waits for the projection in the second-level cache: all of a small map,
/// so that weights are read once; of a large one, where the number of rows hardly matters, a little. Weights that are
/// several times as large as the map are read once too: if the map does not fit, a slice of its channels is projected
/// before the next.
inline InvertedBottleneckRows rows_of_step(const InvertedBottleneckSizes& layer, const FeatureMap& x,
                                           const FeatureMap& y, const Machine& machine, int slice_channels) {
    const int block = block_width(layer.mid_channels), lanes = block_count(layer.mid_channels) * block;
    const Index whole_floats = waiting_floats(machine), step_floats = whole_floats / 2;
    const bool heavy = x.channels + y.channels >= 4 * y.height * y.width;
    const Index pair_floats = Index{2} * block * x.height * x.width;  // what all rows of two blocks take when expanded
    // What waits as lines is smaller, and not sliced.
    const bool rounded = kernels::rounds(machine.operands);
    const int line = kernels::line_words(machine.operands), group = kernels::group_channels(machine.operands);
    const int waiting = rounded ? lanes * line / group : std::min(lanes, slice_channels);
    const bool fits = Index{waiting} * y.height * y.width <= whole_floats && pair_floats <= whole_floats / 4;
    if (heavy || fits || y.height <= 2) return {true, y.height};
    return {false, static_cast<int>(std::max<Index>(2, step_floats / (Index{lanes} * y.width)))};
}

/// Of a layer that takes x to y. All rows in one step: every block of channels is done with before the next, in the
/// same ring. Threads then take blocks, and nothing is computed twice.
inline InvertedBottleneckSchedule schedule(const InvertedBottleneckSizes& layer, const FeatureMap& x,
                                           const FeatureMap& y, const Machine& machine) {
    // A slice is so many channels that adding it to the sums costs nothing beside it.
    constexpr int slice_channels = 512;
    const Index most_ring_floats = ring_floats(machine);
    const int workers = machine.workers;
    const bool rounded = kernels::rounds(machine.operands);
    const int block = block_width(layer.mid_channels), blocks = block_count(layer.mid_channels), lanes = blocks * block;
    const auto [whole, fitting] = rows_of_step(layer, x, y, machine, slice_channels);
    InvertedBottleneckSchedule s;
    s.by_blocks = whole && workers > 1 && y.batch < workers;

    // Two bands for each worker where what is expanded twice is little beside them.
    const int wanted = workers > 1 && (!layer.expands || y.height >= 32 * workers) ? 2 * workers : workers;
    s.bands = whole ? 1 : std::min(wanted, (y.height + 1) / 2);
    const int band_rows = quotient_up(y.height, s.bands);
    s.ring_blocks = whole ? std::min(blocks, 2) : blocks;
    const Index ring_row_floats = (Index{x.width} + 2 * layer.padding()) * block;
    // As many as fit, unless the ring would not stay in the cache itself.
    for (int steps = quotient_up(band_rows, fitting);; ++steps) {
        s.step_rows = quotient_up(band_rows, steps);  // steps of a band are alike
        s.window_rows = (s.step_rows - 1) * layer.stride + layer.kernel_size;
        // Whole steps, so that the rows of one step are neighbours in the ring; a single step has nothing to go around.
        const int advance = s.step_rows * layer.stride;
        const int turning = steps == 1 ? s.window_rows : quotient_up(s.window_rows, advance) * advance;
        s.ring_rows = !layer.expands ? 0 : whole ? x.height : turning;
        if (whole || s.step_rows <= 2 || s.ring_rows * s.ring_blocks * ring_row_floats <= most_ring_floats) break;
    }

    const Index slice_lanes =
        std::max<Index>(slice_channels, waiting_floats(machine) / std::max(1, y.height * y.width));
    const int slices = whole && !rounded ? static_cast<int>((lanes + slice_lanes - 1) / slice_lanes) : 1;
    s.slice_blocks = quotient_up(blocks, 2 * slices) * 2;  // pairs are expanded together
    // The projection may read what has been rounded, and the depthwise convolution then writes one group at a time.
    s.unit_blocks = rounded ? kernels::group_channels(machine.operands) / block : 2;
    s.middles = s.by_blocks ? 1 : workers;

    s.window_pixels = Index{whole ? x.height : s.window_rows} * x.width;
    s.step_pixels = Index{s.step_rows} * y.width;
    s.ring_block_floats = s.ring_rows * ring_row_floats;
    s.ring_floats = s.ring_block_floats * s.ring_blocks;
    s.middle_block_floats = s.step_pixels * block;
    s.middle_floats = s.middle_block_floats * (rounded ? s.unit_blocks : std::min(s.slice_blocks, blocks));
    if (rounded) {
        if (layer.expands)
            s.rounded_input_words = kernels::rounded_words(machine.operands, x.blocks() * x.block, s.window_pixels);
        s.rounded_middle_words = kernels::rounded_words(machine.operands, lanes, s.step_pixels);
    }
    return s;
}

// ---- FusedMBConv ----------------------------------------------------------------------------------------------------

/// How a FusedMBConv goes through its rows.
struct FusedBottleneckSchedule {
    int steps = 1;      // of an image; chunks of work for threads
    int step_rows = 0;  // output rows, at most
    // Memory of a worker.
    Index middle_block_floats = 0, middle_floats = 0, rounded_words = 0;

    bool operator==(const FusedBottleneckSchedule&) const = default;
};

/// Of a spatial convolution to mid_channels, with so many words of weights, whose rows are projected to y. What waits
/// for the projection stays in the second-level cache. Rows of the spatial convolution read the input itself, so
/// nothing is computed twice. Weights that are large beside that cache come from the third level in every step, so
/// these are longer.
inline FusedBottleneckSchedule schedule_fused(int mid_channels, Index weights, const FeatureMap& y,
                                              const Machine& machine) {
    const Index most = waiting_floats(machine);
    const Index step_floats = weights >= 2 * most ? most : most / 2;
    const int block = block_width(mid_channels), blocks = block_count(mid_channels);
    const int fitting = static_cast<int>(std::max<Index>(1, step_floats / (Index{blocks} * block * y.width)));
    FusedBottleneckSchedule s;
    s.steps = std::max(quotient_up(y.height, fitting), chunks_of(machine.workers, y.height));
    s.step_rows = quotient_up(y.height, s.steps);
    // An odd number of pixels, so that blocks do not meet in the same sets of a cache.
    s.middle_block_floats = (Index{s.step_rows} * y.width | 1) * block;
    s.middle_floats = s.middle_block_floats * blocks;
    if (kernels::rounds(machine.operands)) {
        s.rounded_words = kernels::rounded_words(machine.operands, blocks * block, Index{s.step_rows} * y.width);
    }
    return s;
}

// ---- LiteMLA --------------------------------------------------------------------------------------------------------

/// The sizes of a LiteMLA. A part is q, k or v of one head, in blocks of its own.
struct AttentionSizes {
    int dim = 0;       // channels of a part
    int parts = 0;     // 3 for each head
    int scales = 0;    // of aggregation
    int margin = 0;    // zero columns beside the plane that aggregations read
    int attended = 0;  // heads, and their aggregated twins
};

/// How LiteMLA goes through its heads, and where they lie.
struct AttentionSchedule {
    int group = 1;   // parts that a thread runs together
    int groups = 1;  // of an image: chunks of work; afterwards every head is one
    Index pixels = 0;
    Index part_floats = 0;
    Index plane_row_floats = 0, plane_block_floats = 0, plane_floats = 0;  // of a part with margins
    Index image_floats = 0;                                                // all parts of all scales
    Index attended_floats = 0;                                             // what attention gives for an image
    // Memory of a worker.
    Index rounded_words = 0, row_pointers = 0, scratch_floats = 0;

    bool operator==(const AttentionSchedule&) const = default;
};

inline AttentionSchedule schedule(const AttentionSizes& layer, const FeatureMap& x, const Machine& machine) {
    const int block = block_width(layer.dim), blocks = block_count(layer.dim);
    AttentionSchedule s;
    // Two blocks of channels are what one pass of the 1x1 convolution computes.
    s.group = blocks == 1 ? 2 : 1;
    s.groups = quotient_up(layer.parts, s.group);
    s.pixels = Index{x.height} * x.width;
    s.part_floats = s.pixels * block * blocks;
    s.plane_row_floats = (Index{x.width} + 2 * layer.margin) * block;
    s.plane_block_floats = s.plane_row_floats * x.height;
    s.plane_floats = s.plane_block_floats * blocks;
    s.image_floats = s.part_floats * layer.parts * (1 + layer.scales);
    s.attended_floats = s.part_floats * layer.attended;
    if (kernels::rounds(machine.operands)) {
        s.rounded_words = kernels::rounded_words(machine.operands, blocks * block, s.pixels);
    }
    s.row_pointers = Index{x.height} + 2 * layer.margin + 8;  // a cache line apart
    s.scratch_floats = kernels::attention_scratch(layer.dim, block, static_cast<int>(s.pixels)) + 16;
    return s;
}

// ---- 1x1 and dense convolutions -------------------------------------------------------------------------------------

/// How a 1x1 convolution of a whole map is cut into chunks.
struct PointwiseSchedule {
    bool by_blocks = false;  // pairs of output blocks; else rows
    int parts = 1;           // of an image

    bool operator==(const PointwiseSchedule&) const = default;
};

/// Few pixels and many output channels are cut by pairs of blocks, which are computed together.
inline PointwiseSchedule schedule_pointwise(const FeatureMap& y, const Machine& machine) {
    const int workers = machine.workers, pairs = quotient_up(y.blocks(), 2);
    const bool by_blocks = workers > 1 && y.height < 4 * workers && pairs >= workers;
    return {by_blocks, chunks_of(workers, by_blocks ? pairs : y.height)};
}

/// How a dense, grouped or planar convolution goes through its rows: a step is a chunk.
struct DenseSchedule {
    int step_rows = 4;    // output rows that share a reading of the weights
    int steps = 1;        // of an image
    int staged_rows = 0;  // input rows of a step

    bool operator==(const DenseSchedule&) const = default;
};

inline DenseSchedule schedule_dense(int kernel_size, int stride, int dilation, const FeatureMap& y) {
    DenseSchedule s;
    s.steps = quotient_up(y.height, s.step_rows);
    s.staged_rows = (s.step_rows - 1) * stride + (kernel_size - 1) * dilation + 1;
    return s;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// MBConv and DSConv depth-first. For a few output rows at a time and one block of middle channels after the other: the
// input rows not yet seen are expanded into a ring of rows, the depthwise convolution takes them from there, and when
// all blocks, or those of a slice, are through, the rows are projected. The expanded map lives in the first two caches
// only.

// Some output rows, and the input rows that they touch.
struct BottleneckStep {
    int row, rows;
    int first_in, taps_in;
    int expanded, end_in;  // rows [expanded, end_in) are still to be expanded
    int ring_offset;       // input row i is in slot (i + ring_offset) % ring_rows
};

// Of a row of the ring, with its padding.
inline Index ring_row_floats(const InvertedBottleneck& a) { return (Index{a.in_width} + 2 * a.padding) * a.mid_block; }

// `group` blocks from `block` on, expanded into the ring: runs of rows that are neighbours in it; more than one only
// where it wraps around within a step.
template <Operands O>
inline void expand_blocks(const InvertedBottleneck& a, const BottleneckStep& s, int block, int group, float* ring) {
    const Index ring_row = ring_row_floats(a);
    const Index panel = panel_words(O, a.in_channels) * a.mid_block;  // of the weights of one block
    for (int in = s.expanded; in < s.end_in;) {
        const int slot = (in + s.ring_offset) % a.ring_rows;
        int run = s.end_in - in;
        if (run > a.ring_rows - slot) run = a.ring_rows - slot;
        Pointwise expand;
        expand.x =
            rounds(O) ? a.rounded_x + Index{in - s.expanded} * a.in_width * line_words(O) : a.x + in * a.x_row_stride;
        expand.x_block_stride = rounds(O) ? a.rounded_x_stride : a.x_block_stride;
        expand.x_block = a.x_block;
        expand.channels = a.in_channels;
        expand.weights = a.expand_weights + block * panel;
        expand.bias = a.expand_bias + block * a.mid_block;
        expand.y = ring + slot * ring_row + a.padding * a.mid_block;
        expand.y_block_stride = a.ring_block_stride;
        expand.y_row_stride = ring_row;
        expand.y_block = a.mid_block;
        expand.y_blocks = group;
        expand.y_width = a.in_width;
        expand.pixels = run * a.in_width;
        expand.act = a.expand_act;
        const int left = a.last_mid_block - block - group;
        const int following = left < 2 ? left : 2;
        expand.next = following > 0 ? expand.weights + group * panel : a.project_weights;
        expand.next_words = following > 0 ? following * panel : 2 * panel_words(O, a.mid_channels) * a.y_block;
        products<O>(expand);
        in += run;
    }
}

// Two blocks at most, from `block` on: expanded together, since that is what one pass of the 1x1 convolution computes,
// then through the depthwise convolution into `middle`.
template <Operands O>
inline void middle_blocks(const InvertedBottleneck& a, const BottleneckStep& s, int block, int group, float* middle) {
    const bool expands = a.expand_weights != nullptr;
    const Index ring_row = ring_row_floats(a);
    const int taps = a.kernel_size * a.kernel_size;
    float* const ring = a.ring + (block - a.first_mid_block) % a.ring_blocks * a.ring_block_stride;
    if (expands) expand_blocks<O>(a, s, block, group, ring);
    const int first_slot = expands ? ((s.first_in > 0 ? s.first_in : 0) + s.ring_offset) % a.ring_rows : 0;
    for (int b = block; b < block + group; ++b, middle += a.middle_block_stride) {
        const float* const from =
            expands ? ring + (b - block) * a.ring_block_stride : a.x + b * a.x_block_stride - a.padding * a.mid_block;
        for (int i = 0, slot = first_slot; i < s.taps_in; ++i) {
            const int in = s.first_in + i;
            if (in < 0 || in >= a.in_height) {
                a.row_pointers[i] = a.zero_row;
                continue;
            }
            a.row_pointers[i] = from + (expands ? slot * ring_row : in * a.x_row_stride);
            if (++slot == a.ring_rows) slot = 0;
        }
        Depthwise depth;
        depth.rows = a.row_pointers;
        depth.weights = a.depth_weights + Index{b} * taps * a.mid_block;
        depth.bias = a.depth_bias + b * a.mid_block;
        depth.y = middle;
        depth.y_row_stride = Index{a.out_width} * a.mid_block;
        depth.y_rows = s.rows;
        depth.y_width = a.out_width;
        depth.block = a.mid_block;
        depth.kernel_size = a.kernel_size;
        depth.stride = a.stride;
        depth.act = rounds(O) && !in_epilogue(a.depth_act) ? Act::none : a.depth_act;
        depthwise(depth);
    }
}

// The input rows that a step expands, to where the expansion reads them.
template <Operands O>
inline void round_input(const InvertedBottleneck& a, const BottleneckStep& s) {
    Round input;
    input.x = a.x + s.expanded * a.x_row_stride;
    input.x_block_stride = a.x_block_stride;
    input.x_row_stride = a.x_row_stride;
    input.x_block = a.x_block;
    input.x_blocks = tile_count(a.in_channels, a.x_block);
    input.rows = s.end_in - s.expanded;
    input.width = a.in_width;
    input.y = a.rounded_x;
    input.y_group_stride = a.rounded_x_stride;
    round_inputs<O>(input);
}

// The blocks of a group in `middle`, of which `last` is the last, to where the projection reads them.
template <Operands O>
inline void round_group(const InvertedBottleneck& a, const BottleneckStep& s, int last) {
    const int group_blocks = group_channels(O) / a.mid_block;
    Round output;
    output.x = a.middle;
    output.x_block_stride = a.middle_block_stride;
    output.x_block = a.mid_block;
    output.x_blocks = last % group_blocks + 1;
    output.width = s.rows * a.out_width;
    output.y = a.rounded_middle + last / group_blocks * a.rounded_middle_stride;
    output.y_group_stride = a.rounded_middle_stride;
    output.act = in_epilogue(a.depth_act) ? Act::none : a.depth_act;
    round_inputs<O>(output);
}

// Blocks [begin, end) of the middle, on top of what those before came to.
template <Operands O>
inline void project_blocks(const InvertedBottleneck& a, const BottleneckStep& s, int begin, int end) {
    const int first = begin * a.mid_block;
    const bool last = end * a.mid_block >= a.mid_channels;
    Pointwise project;
    // Where rounds() there are no slices.
    project.x = rounds(O) ? a.rounded_middle : a.middle;
    project.x_block_stride = rounds(O) ? a.rounded_middle_stride : a.middle_block_stride;
    project.x_block = a.mid_block;
    project.channels = (last ? a.mid_channels : end * a.mid_block) - first;
    project.weights = a.project_weights + weight_words(O, first) * a.y_block;
    project.weights_block_stride = panel_words(O, a.mid_channels) * a.y_block;
    project.bias = begin == 0 ? a.project_bias : nullptr;
    project.y = a.y + s.row * a.y_row_stride;
    project.y_block_stride = a.y_block_stride;
    project.y_row_stride = a.y_row_stride;
    project.y_block = a.y_block;
    project.y_blocks = a.y_blocks;
    project.y_width = a.out_width;
    project.pixels = s.rows * a.out_width;
    if (last) {
        project.act = a.project_act;
        if (a.residual != nullptr) {
            project.residual = a.residual + s.row * a.residual_row_stride;
            project.residual_block_stride = a.residual_block_stride;
            project.residual_row_stride = a.residual_row_stride;
        }
    }
    products<O>(project);
}

template <Operands O>
inline void inverted_bottleneck(const InvertedBottleneck& a) {
    [[maybe_unused]] const ProductUnit<O> unit{};
    // The padding of the ring is written once; expansions fill only what is between.
    const bool expands = a.expand_weights != nullptr;
    if (expands && a.padding > 0) {
        const Index ring_row = ring_row_floats(a);
        for (int copy = 0; copy < a.ring_blocks; ++copy) {
            for (int slot = 0; slot < a.ring_rows; ++slot) {
                float* const left = a.ring + copy * a.ring_block_stride + slot * ring_row;
                float* const right = left + ring_row - a.padding * a.mid_block;
                for (int i = 0; i < a.padding * a.mid_block; ++i) left[i] = 0.0f;
                for (int i = 0; i < a.padding * a.mid_block; ++i) right[i] = 0.0f;
            }
        }
    }

    const int slice_blocks = a.slice_blocks > 0 ? a.slice_blocks : a.last_mid_block - a.first_mid_block;
    int expanded = a.first_row * a.stride - a.padding;  // input rows below this one are in the ring
    if (expanded < 0) expanded = 0;
    int ring_offset = 0;
    for (int row = a.first_row; row < a.last_row; row += a.step_rows) {
        BottleneckStep s;
        s.row = row;
        s.rows = a.last_row - row < a.step_rows ? a.last_row - row : a.step_rows;
        s.first_in = row * a.stride - a.padding;
        s.expanded = expanded;
        s.end_in = s.first_in + (s.rows - 1) * a.stride + a.kernel_size;
        s.taps_in = s.end_in - s.first_in;
        if (s.end_in > a.in_height) s.end_in = a.in_height;
        // The rows of the first step end with the ring, so that those of the next, if whole steps fit, begin it.
        if (expands && row == a.first_row) ring_offset = a.ring_rows - s.end_in % a.ring_rows;
        s.ring_offset = ring_offset;
        if constexpr (rounds(O)) {
            if (expands) round_input<O>(a, s);
        }

        for (int begin = a.first_mid_block; begin < a.last_mid_block; begin += slice_blocks) {
            const int end = a.last_mid_block - begin < slice_blocks ? a.last_mid_block : begin + slice_blocks;
            for (int block = begin; block < end; block += 2) {
                const int group = end - block < 2 ? 1 : 2;
                if constexpr (rounds(O)) {
                    const int group_blocks = group_channels(O) / a.mid_block;
                    middle_blocks<O>(a, s, block, group, a.middle + block % group_blocks * a.middle_block_stride);
                    const int next = block + group;
                    if (next % group_blocks == 0 || next == end) round_group<O>(a, s, next - 1);
                } else {
                    middle_blocks<O>(a, s, block, group, a.middle + (block - begin) * a.middle_block_stride);
                }
            }
            if (a.y != nullptr) project_blocks<O>(a, s, begin, end);
        }
        expanded = s.end_in;
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// MBConv and DSConv depth-first. For a few output rows at a time and one block of middle channels after the other: the
// input rows not yet seen are expanded into a ring of rows, the depthwise convolution takes them from there, and when
// all blocks are through, the rows are projected. The expanded map lives in the first two caches only.

template <Operands O>
inline void inverted_bottleneck(const InvertedBottleneck& a) {
    constexpr bool rounds = O == Operands::bf16;
    [[maybe_unused]] const ProductUnit<O> unit{};
    const bool expands = a.expand_weights != nullptr;
    const Index padded_width = a.in_width + 2 * a.padding;
    const Index ring_row = padded_width * a.mid_block;
    const int taps = a.kernel_size * a.kernel_size;
    const Index expand_panel = weight_words(O, a.in_channels) * a.mid_block;  // of one output block
    const Index project_panel = weight_words(O, a.mid_channels) * a.y_block;
    const int group_blocks = group_channels / a.mid_block;

    // The padding of the ring is written once; expansions fill only what is between.
    if (expands && a.padding > 0) {
        for (int copy = 0; copy < a.ring_blocks; ++copy) {
            for (int slot = 0; slot < a.ring_rows; ++slot) {
                float* row = a.ring + copy * a.ring_block_stride + slot * ring_row;
                for (int i = 0; i < a.padding * a.mid_block; ++i) row[i] = row[ring_row - 1 - i] = 0.0f;
            }
        }
    }

    int expanded = a.first_row * a.stride - a.padding;  // input rows below this one are in the ring
    if (expanded < 0) expanded = 0;
    for (int row = a.first_row; row < a.last_row; row += a.step_rows) {
        const int rows = a.last_row - row < a.step_rows ? a.last_row - row : a.step_rows;
        const int first_in = row * a.stride - a.padding;
        int end_in = first_in + (rows - 1) * a.stride + a.kernel_size;
        const int taps_in = end_in - first_in;
        if (end_in > a.in_height) end_in = a.in_height;

        if (rounds && expands && end_in > expanded) {
            Round input;
            input.x = a.x + expanded * a.x_row_stride;
            input.x_block_stride = a.x_block_stride;
            input.x_row_stride = a.x_row_stride;
            input.x_block = a.x_block;
            input.x_blocks = tile_count(a.in_channels, a.x_block);
            input.rows = end_in - expanded;
            input.width = a.in_width;
            input.y = a.rounded_x;
            input.y_group_stride = a.rounded_x_stride;
            if constexpr (rounds) round_to_bf16<O>(input);
        }

        // Two blocks at a time, which is what one pass of the 1x1 convolution computes.
        for (int block = a.first_mid_block; block < a.last_mid_block; block += 2) {
            const int group = a.last_mid_block - block < 2 ? 1 : 2;
            float* const ring = a.ring + (block - a.first_mid_block) % a.ring_blocks * a.ring_block_stride;
            if (expands) {
                // Runs of rows that are neighbours in the ring; more than one only where the ring wraps around.
                for (int in = expanded; in < end_in;) {
                    const int slot = in % a.ring_rows;
                    int run = end_in - in;
                    if (run > a.ring_rows - slot) run = a.ring_rows - slot;
                    Pointwise expand;
                    expand.x = rounds ? a.rounded_x + Index{in - expanded} * a.in_width * group_words
                                      : a.x + in * a.x_row_stride;
                    expand.x_block_stride = rounds ? a.rounded_x_stride : a.x_block_stride;
                    expand.x_block = a.x_block;
                    expand.channels = a.in_channels;
                    expand.weights = a.expand_weights + block * expand_panel;
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
                    expand.next = following > 0 ? expand.weights + group * expand_panel : a.project_weights;
                    expand.next_words = following > 0 ? following * expand_panel : 2 * project_panel;
                    products<O>(expand);
                    in += run;
                }
            }
            for (int b = block; b < block + group; ++b) {
                const float* const from = expands ? ring + (b - block) * a.ring_block_stride
                                                  : a.x + b * a.x_block_stride - a.padding * a.mid_block;
                for (int i = 0; i < taps_in; ++i) {
                    const int in = first_in + i;
                    if (in < 0 || in >= a.in_height) {
                        a.row_pointers[i] = a.zero_row;
                    } else {
                        a.row_pointers[i] = from + (expands ? in % a.ring_rows * ring_row : in * a.x_row_stride);
                    }
                }
                Depthwise depth;
                depth.rows = a.row_pointers;
                depth.weights = a.depth_weights + Index{b} * taps * a.mid_block;
                depth.bias = a.depth_bias + b * a.mid_block;
                depth.y = a.middle + (rounds ? b % group_blocks : b) * a.middle_block_stride;
                depth.y_row_stride = Index{a.out_width} * a.mid_block;
                depth.y_rows = rows;
                depth.y_width = a.out_width;
                depth.block = a.mid_block;
                depth.kernel_size = a.kernel_size;
                depth.stride = a.stride;
                depth.act = rounds && !in_epilogue(a.depth_act) ? Act::none : a.depth_act;
                depthwise(depth);
                const int blocks_there = b % group_blocks + 1;  // of this group
                if (rounds && (blocks_there == group_blocks || b + 1 == a.last_mid_block)) {
                    Round output;
                    output.x = a.middle;
                    output.x_block_stride = a.middle_block_stride;
                    output.x_block = a.mid_block;
                    output.x_blocks = blocks_there;
                    output.width = rows * a.out_width;
                    output.y = a.rounded_middle + b / group_blocks * a.rounded_middle_stride;
                    output.y_group_stride = a.rounded_middle_stride;
                    output.act = in_epilogue(a.depth_act) ? Act::none : a.depth_act;
                    if constexpr (rounds) round_to_bf16<O>(output);
                }
            }
        }
        expanded = end_in;

        if (a.y == nullptr) continue;
        Pointwise project;
        project.x = rounds ? a.rounded_middle : a.middle;
        project.x_block_stride = rounds ? a.rounded_middle_stride : a.middle_block_stride;
        project.x_block = a.mid_block;
        project.channels = a.mid_channels;
        project.weights = a.project_weights;
        project.bias = a.project_bias;
        project.y = a.y + row * a.y_row_stride;
        project.y_block_stride = a.y_block_stride;
        project.y_row_stride = a.y_row_stride;
        project.y_block = a.y_block;
        project.y_blocks = a.y_blocks;
        project.y_width = a.out_width;
        project.pixels = rows * a.out_width;
        project.act = a.project_act;
        if (a.residual != nullptr) {
            project.residual = a.residual + row * a.residual_row_stride;
            project.residual_block_stride = a.residual_block_stride;
            project.residual_row_stride = a.residual_row_stride;
        }
        products<O>(project);
    }
}

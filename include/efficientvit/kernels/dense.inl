// SPDX-License-Identifier: Apache-2.0
//
// Dense convolution, some output rows at a time. The columns of a kernel row are neighbours in memory, in the blocked
// layout as in planar NCHW, so that a kernel row is one run of multiply_accumulate.

// The columns of a kernel row that are apart from each other.
template <Operands O>
EFFICIENTVIT_INLINE int tap_columns(const Dense& a) {
    return has_bytes(O) ? a.kernel_size / a.line_columns : a.kernel_size;
}

// `count` tiles of M columns of one output row, from `column` on, of `Blocks` output blocks. Step == 0: the distance
// between the inputs of neighbouring columns is known at run time only, which takes an address register for each.
// Otherwise it is the stride.
template <Operands O, int Block, int Blocks, int Step, int M>
EFFICIENTVIT_NOINLINE void dense_tiles(const Dense& a, WeightsAhead& ahead, int block, int row, int column, int count) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors, each = Blocks * vectors;
    constexpr bool pairs = O == Operands::bf16, heads = line_head(O) > 0;
    constexpr int line = rounds(O) ? line_words(O) : 16;
    const int x_block = rounds(O) ? group_words(O) : a.x_block, pitch = rounds(O) ? line : x_block;
    const int in_words = operand_words(O, a.channels);  // in blocks of x_block
    const Index step = Step == 0 ? Index{a.stride} * pitch : Step * line;
    const int in_blocks = tile_count(in_words, x_block);
    const int columns = tap_columns<O>(a);
    const Index panel = panel_words(O, a.channels, a.kernel_size * columns) * Block;
    const Index group_offset = Index{block / a.y_blocks_per_group} * in_blocks * a.x_block_stride;
    const float* const* const rows = a.rows + row * a.kernel_size;
    float* y = a.y + block * a.y_block_stride + row * a.y_row_stride + Index{column} * Block;
    const float* residual =
        a.residual + block * a.residual_block_stride + row * a.residual_row_stride + Index{column} * Block;
    for (; count > 0; --count, column += M, y += M * Block, residual += M * Block) {
        V acc[M * each];
        begin_sums<O, V, Blocks, vectors, M>(acc, a.bias + block * Block);
        const float* w = a.weights + block * panel;
        Index x_offset = group_offset + column * step;
        for (int left = in_words; left > 0; left -= x_block, x_offset += a.x_block_stride) {
            const int lanes = left < x_block ? left : x_block;
            const bool one_run = !heads && lanes == x_block && a.dilation == 1;
            const int runs = one_run ? 1 : columns, run = one_run ? lanes * a.kernel_size : lanes;
            // The weights of one tap, where they are not as many as the words of x.
            const int tap = pairs                         ? group_words(O)
                            : has_bytes(O)                ? lanes + 1
                            : O == Operands::bf16_weights ? (lanes + 1) / 2
                                                          : lanes;
            for (int ky = 0; ky < a.kernel_size; ++ky) {
                ahead.step();
                if (rows[ky] == nullptr) {
                    w += Index{tap} * columns * Block;
                    continue;
                }
                const float* x = rows[ky] + x_offset;
                for (int i = 0; i < runs; ++i, x += Index{a.dilation} * pitch) {
                    w = multiply_accumulate<O, V, Blocks, vectors, M>(acc, x, step, w, panel, run);
                    if constexpr (pairs) w += Index{group_words(O) - lanes} * Block;
                }
            }
        }
        if constexpr (has_bytes(O)) scale_sums<V, Blocks, vectors, M>(acc, w, panel, a.bias + block * Block);

        activate(acc, a.act);
        if (a.residual != nullptr) {
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < M * each; ++i) {
                const int m = i / each, j = i % each;
                const Index at = m * Block + j / vectors * a.residual_block_stride + j % vectors * V::width;
                acc[i] = V::add(acc[i], V::load(residual + at));
            }
        }
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < M * each; ++i) {
            const int m = i / each, j = i % each;
            acc[i].store(y + m * Block + j / vectors * a.y_block_stride + j % vectors * V::width);
        }
    }
}

// All columns of a row from `column` on, in tiles of M columns and less.
template <Operands O, int Block, int Blocks, int Step, int M>
EFFICIENTVIT_INLINE void dense_rest(const Dense& a, WeightsAhead& ahead, int block, int row, int column) {
    constexpr int most = widest<O>(Step == 0 ? Lanes<Block>::tile_addresses : Lanes<Block>::tile_pixels);
    using Widths = TileWidths<most, Step == 1>;
    const int count = Widths::count(M, a.y_width - column);
    if (count > 0) dense_tiles<O, Block, Blocks, Step, M>(a, ahead, block, row, column, count);
    if constexpr (M > 1) {
        dense_rest<O, Block, Blocks, Step, Widths::after(M)>(a, ahead, block, row, column + count * M);
    }
}

// silu and gelu come after the sums, in memory, while the row is in the first cache.
template <Operands O, int Block>
EFFICIENTVIT_INLINE void finish_dense(const Dense& a, int block, int row) {
    if (in_epilogue(a.act)) return;
    const float* const residual =
        a.residual == nullptr ? nullptr : a.residual + block * a.residual_block_stride + row * a.residual_row_stride;
    activate_in_memory<typename Lanes<Block>::V, O>(a.y + block * a.y_block_stride + row * a.y_row_stride, residual,
                                                    Index{a.y_width} * Block, a.act);
}

// `bare` is a, but for an activation that is not taken in the epilogue and the residual behind it. Weights are read for
// all rows before the next blocks' are.
template <Operands O, int Block, int Blocks, int Step>
EFFICIENTVIT_NOINLINE void dense_blocks(const Dense& a, const Dense& bare, int block) {
    constexpr int most = widest<O>(Step == 0 ? Lanes<Block>::tile_addresses : Lanes<Block>::tile_pixels);
    for (; block + Blocks <= a.y_blocks; block += Blocks) {
        const int rest = a.y_blocks - block - Blocks;
        const Index panel = panel_words(O, a.channels, a.kernel_size * tap_columns<O>(a)) * Block;
        const int steps = a.y_rows * tile_count(a.y_width, most) *
                          tile_count(a.channels, rounds(O) ? group_channels(O) : a.x_block) * a.kernel_size;
        WeightsAhead ahead(a.weights + (block + Blocks) * panel, (rest < Blocks ? rest : Blocks) * panel, steps);
        for (int row = 0; row < a.y_rows; ++row) {
            dense_rest<O, Block, Blocks, Step, most>(bare, ahead, block, row, 0);
            for (int b = block; b < block + Blocks; ++b) finish_dense<O, Block>(a, b, row);
        }
    }
    // An odd block behind the others.
    if constexpr (Blocks > 1) dense_blocks<O, Block, 1, 0>(a, bare, block);
}

template <Operands O, int Block>
EFFICIENTVIT_NOINLINE void dense_block(const Dense& a) {
    constexpr int blocks = Lanes<Block>::tile_blocks;
    Dense bare = a;
    if (!in_epilogue(a.act)) bare.act = Act::none, bare.residual = nullptr;
    // Tiles must not reach over two groups.
    if ((rounds(O) || a.x_block == 16) && a.y_blocks_per_group % blocks == 0) {
        return a.stride == 1 ? dense_blocks<O, Block, blocks, 1>(a, bare, 0)
                             : dense_blocks<O, Block, blocks, 2>(a, bare, 0);
    }
    dense_blocks<O, Block, 1, 0>(a, bare, 0);
}

template <Operands O>
inline void dense(const Dense& a) {
    a.y_block == 16 ? dense_block<O, 16>(a) : narrow::dense_block<O, 8>(a);
}

// Groups that do not fill whole output blocks: every lane reads input channels of its own. One column at a time: no
// network of the family has such a layer.
template <int Block>
EFFICIENTVIT_NOINLINE void grouped_block(const Dense& a) {
    using V = typename Lanes<Block>::V;
    for (int block = 0; block < a.y_blocks; ++block) {
        for (int row = 0; row < a.y_rows; ++row) {
            const float* const* const rows = a.rows + row * a.kernel_size;
            float* y = a.y + block * a.y_block_stride + row * a.y_row_stride;
            const float* residual = a.residual + block * a.residual_block_stride + row * a.residual_row_stride;
            for (int column = 0; column < a.y_width; ++column, y += Block, residual += Block) {
                alignas(64) float sum[Block], gathered[Block];
                for (int lane = 0; lane < Block; ++lane) sum[lane] = a.bias[block * Block + lane];
                const float* w = a.weights + Index{block} * a.channels * a.kernel_size * a.kernel_size * Block;
                for (int c = 0; c < a.channels; ++c) {
                    const int* const lane_channel = a.lane_channels + (Index{block} * a.channels + c) * Block;
                    for (int ky = 0; ky < a.kernel_size; ++ky) {
                        for (int kx = 0; kx < a.kernel_size; ++kx, w += Block) {
                            if (rows[ky] == nullptr) continue;
                            const float* x = rows[ky] + (Index{column} * a.stride + Index{kx} * a.dilation) * a.x_block;
                            for (int lane = 0; lane < Block; ++lane) {
                                const int channel = lane_channel[lane];
                                gathered[lane] = x[channel / a.x_block * a.x_block_stride + channel % a.x_block];
                            }
                            for (int lane = 0; lane < Block; lane += V::width) {
                                V::fma(V::load(gathered + lane), V::load(w + lane), V::load(sum + lane))
                                    .store(sum + lane);
                            }
                        }
                    }
                }
                for (int lane = 0; lane < Block; lane += V::width) {
                    V x = V::load(sum + lane);
                    x = activated(x, a.act);
                    if (a.residual != nullptr) x = V::add(x, V::load(residual + lane));
                    x.store(y + lane);
                }
            }
        }
    }
}

inline void grouped(const Dense& a) { a.y_block == 16 ? grouped_block<16>(a) : narrow::grouped_block<8>(a); }

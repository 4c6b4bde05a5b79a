// SPDX-License-Identifier: Apache-2.0
//
// 1x1 convolution: a matrix product with run-time sizes. Up to Lanes::tile_pixels pixels by Lanes::tile_blocks output
// blocks stay in registers; inputs come by broadcast, weights by vectors packed [output block][input channel][lane].

// Where the pixels of a tile lie behind its first one, in rows of `width` pixels that may have gaps between them.
template <int Block, int M>
EFFICIENTVIT_INLINE void find_pixels(Index (&offset)[M], int column, int width, Index row_stride) {
    Index gaps = 0;
    for (int m = 0; m < M; ++m) {
        offset[m] = m * Block + gaps * (row_stride - Index{width} * Block);
        if (++column == width) column = 0, ++gaps;
    }
}

// Each vectors of outputs for each of M pixels, of which pixel[m] is where they begin in memory.
template <class V, int Vectors, int Each, int M>
struct TileVectors {
    const Index (&pixel)[M];
    Index block_stride;
    EFFICIENTVIT_INLINE Index offset(int j) const { return j / Vectors * block_stride + j % Vectors * V::width; }
    EFFICIENTVIT_INLINE void load(V (&acc)[M * Each], const float* from) const {
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) {
            const float* const p = from + pixel[m];
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < Each; ++j) acc[m * Each + j] = V::load(p + offset(j));
        }
    }
    EFFICIENTVIT_INLINE void add(V (&acc)[M * Each], const float* from) const {
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) {
            const float* const p = from + pixel[m];
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < Each; ++j) acc[m * Each + j] = V::add(acc[m * Each + j], V::load(p + offset(j)));
        }
    }
    EFFICIENTVIT_INLINE void store(const V (&acc)[M * Each], float* to) const {
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) {
            float* const p = to + pixel[m];
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < Each; ++j) acc[m * Each + j].store(p + offset(j));
        }
    }
};

// `count` tiles of M pixels each, from `pixel` on, of `Blocks` output blocks.
template <Operands O, int Block, int Blocks, int XBlock, int M>
EFFICIENTVIT_NOINLINE void pointwise_tiles(const Pointwise& a, WeightsAhead& ahead, int block, int pixel, int count) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    constexpr int each = Blocks * vectors;
    constexpr int pitch = rounds(O) ? line_words(O) : XBlock;  // from one pixel of x to the next
    const Index panel = a.weights_block_stride;
    const float* const weights = a.weights + block * panel;
    float* const y_blocks = a.y + block * a.y_block_stride;
    const float* const residual = a.residual + block * a.residual_block_stride;

    // A tile may cross from one row to the next; only then do its pixels lie otherwise than before.
    Index y_pixels[M], residual_pixels[M];
    const TileVectors<V, vectors, each, M> y_vectors{y_pixels, a.y_block_stride};
    const TileVectors<V, vectors, each, M> residual_vectors{residual_pixels, a.residual_block_stride};
    int row = pixel / a.y_width, column = pixel % a.y_width;
    for (bool first = true, crossed = false; count > 0; --count, pixel += M, first = false) {
        const bool crosses = column + M > a.y_width;
        if (first || crosses || crossed) {
            find_pixels<Block>(y_pixels, column, a.y_width, a.y_row_stride);
            if (a.residual != nullptr) find_pixels<Block>(residual_pixels, column, a.y_width, a.residual_row_stride);
        }
        crossed = crosses;

        float* const y = y_blocks + row * a.y_row_stride + Index{column} * Block;
        V acc[M * each];
        if (has_bytes(O) || a.bias != nullptr) {
            begin_sums<O, V, Blocks, vectors, M>(acc, a.bias + block * Block);
        } else {
            y_vectors.load(acc, y);
        }
        const float* w = weights;
        const float* x = a.x + Index{pixel} * pitch;
        for (int left = operand_words(O, a.channels); left > 0; left -= XBlock, x += a.x_block_stride) {
            ahead.step();
            w = multiply_accumulate<O, V, Blocks, vectors, M>(acc, x, pitch, w, panel, left < XBlock ? left : XBlock);
        }
        if constexpr (has_bytes(O)) scale_sums<V, Blocks, vectors, M>(acc, w, panel, a.bias + block * Block);

        activate(acc, a.act);
        if (a.residual != nullptr) {
            residual_vectors.add(acc, residual + row * a.residual_row_stride + Index{column} * Block);
        }
        EFFICIENTVIT_HOLD("m", y_pixels);  // else addresses made for y_vectors.load wait on the stack meanwhile
        y_vectors.store(acc, y);
        for (column += M; column >= a.y_width; column -= a.y_width) ++row;
    }
}

#include <efficientvit/kernels/element_tiles.inl>

// All pixels from `pixel` on, in tiles of M pixels and less.
template <Operands O, int Block, int Blocks, int XBlock, int M, class Ahead>
EFFICIENTVIT_INLINE void pointwise_rest(const Pointwise& a, Ahead& ahead, int block, int pixel) {
    using Widths = TileWidths<widest<O>(Lanes<Block>::tile_pixels),
                              Block == 16 && XBlock >= 16 && Blocks == Lanes<Block>::tile_blocks>;
    const int count = Widths::count(M, a.pixels - pixel);
    if (count > 0) {
        if constexpr (Ahead::by_element) {
            element_tiles<O, Block, XBlock, M>(a, ahead, block, pixel, count);
        } else {
            pointwise_tiles<O, Block, Blocks, XBlock, M>(a, ahead, block, pixel, count);
        }
    }
    if constexpr (M > 1) {
        pointwise_rest<O, Block, Blocks, XBlock, Widths::after(M)>(a, ahead, block, pixel + count * M);
    }
}

// All pixels of the output blocks from `block` on.
template <Operands O, int Block, int Blocks, int XBlock>
EFFICIENTVIT_INLINE void pointwise_pass(const Pointwise& a, int block) {
    constexpr int most = widest<O>(Lanes<Block>::tile_pixels);
    const int words = line_head(O) > 0 ? operand_words(O, a.channels) : a.channels;
    const int steps = tile_count(a.pixels, most) * tile_count(words, XBlock);
    const Index panel = a.weights_block_stride;
    const int rest = a.y_blocks - block - Blocks;
    const Index used = panel_words(O, a.channels) * Block;  // of a panel
    if constexpr (MultipliesByElement<typename Lanes<Block>::V>) {
        static_assert(Blocks == 1);
        if (O != Operands::f32 || words % XBlock == 0) {
            const float* const next = rest > 0 ? a.weights + (block + 1) * panel : a.next;
            SteadyWeights ahead(next != nullptr ? next : a.weights, rest > 0 ? used : a.next_words, steps);
            return pointwise_rest<O, Block, Blocks, XBlock, most>(a, ahead, block, 0);
        }
    }
    if constexpr (O == Operands::f32 || !MultipliesByElement<typename Lanes<Block>::V>) {
        WeightsAhead ahead(rest > 0 ? a.weights + (block + Blocks) * panel : a.next,
                           rest > 0 ? (rest < Blocks ? rest : Blocks) * used : a.next_words, steps, used,
                           rest > 0 ? panel - used : 0);
        pointwise_rest<O, Block, Blocks, XBlock, most>(a, ahead, block, 0);
    }
}

template <Operands O, int Block, int XBlock>
EFFICIENTVIT_NOINLINE void pointwise_blocks(const Pointwise& a) {
    constexpr int most = Lanes<Block>::tile_blocks;
    int block = 0;
    if (a.pixels == 0) return;
    for (; block + most <= a.y_blocks; block += most) pointwise_pass<O, Block, most, XBlock>(a, block);
    if constexpr (most > 1) {
        for (; block < a.y_blocks; ++block) pointwise_pass<O, Block, 1, XBlock>(a, block);
    }
}

template <Operands O>
EFFICIENTVIT_INLINE void pointwise_any(const Pointwise& a) {
    constexpr int wide_block = rounds(O) ? group_words(O) : 16;  // whatever x was
    const bool wide = rounds(O) || a.x_block == 16;
    if (a.y_block == 16) {
        wide ? pointwise_blocks<O, 16, wide_block>(a) : pointwise_blocks<O, 16, 8>(a);
    } else {
        wide ? narrow::pointwise_blocks<O, 8, wide_block>(a) : narrow::pointwise_blocks<O, 8, 8>(a);
    }
}

template <Operands O>
inline void pointwise(const Pointwise& args) {
    Pointwise a = args;
    if (a.weights_block_stride == 0) a.weights_block_stride = panel_words(O, a.channels) * a.y_block;
    if (!in_epilogue(args.act)) a.act = Act::none, a.residual = nullptr;
    // Rows without gaps between them are one row, in which no tile crosses an end.
    const Index row_floats = Index{a.y_width} * a.y_block;
    if (a.y_row_stride == row_floats && (a.residual == nullptr || a.residual_row_stride == row_floats)) {
        a.y_width = a.pixels;
    }
    pointwise_any<O>(a);
    if (in_epilogue(args.act)) return;
    for (int block = 0; block < a.y_blocks; ++block) {
        for (int pixel = 0, row = 0; pixel < a.pixels; pixel += args.y_width, ++row) {
            const int left = a.pixels - pixel;
            const Index count = Index{left < args.y_width ? left : args.y_width} * a.y_block;
            float* const y = a.y + block * a.y_block_stride + row * a.y_row_stride;
            const float* const residual =
                args.residual == nullptr
                    ? nullptr
                    : args.residual + block * args.residual_block_stride + row * args.residual_row_stride;
            if (a.y_block == 16) {
                activate_in_memory<Lanes<16>::V, O>(y, residual, count, args.act);
            } else {
                narrow::activate_in_memory<narrow::Lanes<8>::V, O>(y, residual, count, args.act);
            }
        }
    }
}

// Within a ProductUnit.
template <Operands O>
EFFICIENTVIT_INLINE void products(const Pointwise& a) {
    pointwise<O>(a);
}

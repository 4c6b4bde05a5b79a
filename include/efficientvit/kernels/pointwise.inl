// SPDX-License-Identifier: Apache-2.0
//
// 1x1 convolution: a matrix product with run-time sizes. One output block by up to Lanes::tile_pixels pixels stays in
// registers; inputs come by broadcast, weights by vectors packed [output block][input channel][lane].

// `count` tiles of M pixels each, from `pixel` on, of one output block. XBlock == 0: known at run time only, which
// takes an address register for each pixel.
template <int Block, int XBlock, int M>
EFFICIENTVIT_NOINLINE void pointwise_tiles(const Pointwise& a, int block, int pixel, int count) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    const float* const bias = a.bias + block * Block;
    const float* const weights = a.weights + Index{block} * a.channels * Block;
    const int x_block = XBlock == 0 ? a.x_block : XBlock;
    int row = pixel / a.y_width, column = pixel % a.y_width;
    for (; count > 0; --count, pixel += M) {
        V acc[M * vectors];
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < vectors; ++j) {
            const V b = V::load(bias + j * V::width);
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) acc[m * vectors + j] = b;
        }

        const float* w = weights;
        const float* x = a.x + Index{pixel} * x_block;
        for (int left = a.channels; left > 0; left -= x_block, x += a.x_block_stride) {
            w = multiply_accumulate<V, vectors, M>(acc, x, x_block, w, left < x_block ? left : x_block);
        }

        activate(acc, a.act);
        if (a.pixel_scale != nullptr) {
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) {
                const V scale = V::broadcast(a.pixel_scale + pixel + m);
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) acc[m * vectors + j] = V::mul(acc[m * vectors + j], scale);
            }
        }
        // Rows may have gaps between them, and a tile may cross from one to the next.
        if (a.residual != nullptr) {
            const float* r =
                a.residual + block * a.residual_block_stride + row * a.residual_row_stride + Index{column} * Block;
            const Index gap = a.residual_row_stride - Index{a.y_width} * Block;
            int c = column;
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) {
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) {
                    acc[m * vectors + j] = V::add(acc[m * vectors + j], V::load(r + j * V::width));
                }
                r += Block;
                if (++c == a.y_width) c = 0, r += gap;
            }
        }
        if (a.copy != nullptr) {
            float* const copy = a.copy + block * a.copy_block_stride + Index{pixel} * Block;
            const V low = V::set(a.copy_act == Act::relu ? 0.0f : -__builtin_inff());
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) {
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) {
                    V::max(low, acc[m * vectors + j]).store(copy + m * Block + j * V::width);
                }
            }
        }
        float* y = a.y + block * a.y_block_stride + row * a.y_row_stride + Index{column} * Block;
        const Index gap = a.y_row_stride - Index{a.y_width} * Block;
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) {
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) acc[m * vectors + j].store(y + j * V::width);
            y += Block;
            if (++column == a.y_width) column = 0, ++row, y += gap;
        }
    }
}

template <int Block, int XBlock, int M>
EFFICIENTVIT_INLINE void pointwise_tiles_of(int m, const Pointwise& a, int block, int pixel, int count) {
    if (m == M) {
        pointwise_tiles<Block, XBlock, M>(a, block, pixel, count);
    } else if constexpr (M > 1) {
        pointwise_tiles_of<Block, XBlock, M - 1>(m, a, block, pixel, count);
    }
}

template <int Block, int XBlock>
EFFICIENTVIT_NOINLINE void pointwise_blocks(const Pointwise& a) {
    constexpr int most = XBlock == 0 ? 6 : Lanes<16>::tile_pixels;
    const int tiles = tile_count(a.pixels, most);
    if (tiles == 0) return;
    const int base = a.pixels / tiles;
    const int wider = a.pixels % tiles;
    for (int block = 0; block < a.y_blocks; ++block) {
        if (wider > 0) pointwise_tiles_of<Block, XBlock, most>(base + 1, a, block, 0, wider);
        pointwise_tiles_of<Block, XBlock, most>(base, a, block, wider * (base + 1), tiles - wider);
    }
}

// Networks have few blocks of eight. They share a body with smaller tiles, which compiles faster.
EFFICIENTVIT_INLINE void pointwise_any(const Pointwise& a) {
    if (a.y_block == 8) {
        pointwise_blocks<8, 0>(a);
    } else if (a.x_block == 16) {
        pointwise_blocks<16, 16>(a);
    } else {
        pointwise_blocks<16, 0>(a);
    }
}

inline void pointwise(const Pointwise& args) {
    Pointwise a = args;
    if (!in_epilogue(args.act)) a.act = Act::none, a.residual = nullptr;
    pointwise_any(a);
    if (in_epilogue(args.act)) return;
    using V = typename Lanes<8>::V;
    for (int block = 0; block < a.y_blocks; ++block) {
        for (int pixel = 0, row = 0; pixel < a.pixels; pixel += a.y_width, ++row) {
            const int left = a.pixels - pixel;
            const int columns = left < a.y_width ? left : a.y_width;
            const float* residual = args.residual == nullptr ? nullptr
                                                             : args.residual + block * args.residual_block_stride +
                                                                   row * args.residual_row_stride;
            activate_in_memory<V>(a.y + block * a.y_block_stride + row * a.y_row_stride, residual,
                                  Index{columns} * a.y_block, args.act);
        }
    }
}

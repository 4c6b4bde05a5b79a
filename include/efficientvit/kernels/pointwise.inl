// SPDX-License-Identifier: Apache-2.0
//
// 1x1 convolution: a matrix product with run-time sizes. One output block by up to Lanes::tile_pixels pixels stays in
// registers; inputs come by broadcast, weights by vectors packed [output block][input channel][lane].

template <int Block, int XBlock, int M>
EFFICIENTVIT_NOINLINE void pointwise_tile(const Pointwise& a, int block, int pixel, int row, int column) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    V acc[M * vectors];
    const float* bias = a.bias + block * Block;
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < vectors; ++j) {
        const V b = V::load(bias + j * V::width);
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) acc[m * vectors + j] = b;
    }

    const float* w = a.weights + Index{block} * a.channels * Block;
    const float* x = a.x + Index{pixel} * XBlock;
    for (int left = a.channels; left > 0; left -= XBlock, x += a.x_block_stride) {
        w = multiply_accumulate<V, vectors, M>(acc, x, XBlock, w, left < XBlock ? left : XBlock);
    }

    activate(acc, a.act);

    // Rows may have gaps between them, and a tile may cross from one to the next.
    float* y = a.y + block * a.y_block_stride + row * a.y_row_stride + Index{column} * Block;
    const Index y_gap = a.y_row_stride - Index{a.y_width} * Block;
    if (a.residual != nullptr) {
        const float* r =
            a.residual + block * a.residual_block_stride + row * a.residual_row_stride + Index{column} * Block;
        const Index r_gap = a.residual_row_stride - Index{a.y_width} * Block;
        int c = column;
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) {
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) {
                acc[m * vectors + j] = V::add(acc[m * vectors + j], V::load(r + j * V::width));
            }
            r += Block;
            if (++c == a.y_width) c = 0, r += r_gap;
        }
    }
    if (a.copy != nullptr) {
        float* copy = a.copy + block * a.copy_block_stride + Index{pixel} * Block;
        const V low = V::set(a.copy_act == Act::relu ? 0.0f : -__builtin_inff());
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) {
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) {
                V::max(low, acc[m * vectors + j]).store(copy + m * Block + j * V::width);
            }
        }
    }
    EFFICIENTVIT_UNROLL
    for (int m = 0; m < M; ++m) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < vectors; ++j) acc[m * vectors + j].store(y + j * V::width);
        y += Block;
        if (++column == a.y_width) column = 0, y += y_gap;
    }
}

template <int Block, int XBlock, int M>
EFFICIENTVIT_INLINE void pointwise_tile_of(int m, const Pointwise& a, int block, int pixel, int row, int column) {
    if (m == M) {
        pointwise_tile<Block, XBlock, M>(a, block, pixel, row, column);
    } else if constexpr (M > 1) {
        pointwise_tile_of<Block, XBlock, M - 1>(m, a, block, pixel, row, column);
    }
}

template <int Block, int XBlock>
EFFICIENTVIT_NOINLINE void pointwise_blocks(const Pointwise& a) {
    constexpr int most = Lanes<Block>::tile_pixels;
    const int tiles = tile_count(a.pixels, most);
    if (tiles == 0) return;
    const int base = a.pixels / tiles;
    const int wider = a.pixels % tiles;
    for (int block = 0; block < a.y_blocks; ++block) {
        int pixel = 0, row = 0, column = 0;
        for (int t = 0; t < tiles; ++t) {
            const int m = base + (t < wider ? 1 : 0);
            pointwise_tile_of<Block, XBlock, most>(m, a, block, pixel, row, column);
            pixel += m;
            for (column += m; column >= a.y_width; column -= a.y_width) ++row;
        }
    }
}

template <int Block>
inline void pointwise_block(const Pointwise& a) {
    if (a.x_block == 16) {
        pointwise_blocks<Block, 16>(a);
    } else {
        pointwise_blocks<Block, 8>(a);
    }
}

inline void pointwise(const Pointwise& args) {
    Pointwise a = args;
    if (!is_cheap(args.act)) a.act = Act::none, a.residual = nullptr;
    if (a.y_block == 16) {
        pointwise_block<16>(a);
    } else {
        pointwise_block<8>(a);
    }
    if (is_cheap(args.act)) return;
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

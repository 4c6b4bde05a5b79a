// SPDX-License-Identifier: Apache-2.0
//
// Tiles of 1x1 convolutions where one element of a vector multiplies all of another, as on NEON: instructions are what
// counts there. A block of channels is written out, a pixel's vectors are loaded and stored in pairs, and what a tile
// needs besides stays in registers. Included by pointwise.inl.

// The weights that will be read after those in use, as WeightsAhead, at a steady pace and without counting them: a line
// may be asked for twice, and a few behind the last.
struct SteadyWeights {
    static constexpr bool by_element = true;
    static constexpr int line = 16;  // words
    const float* at;
    Index pace;  // words a step
    int more;    // lines a step beyond two

    EFFICIENTVIT_INLINE SteadyWeights(const float* begin, Index words, int steps)
        : at(begin),
          pace((words + steps - 1) / steps),
          more(pace > 2 * line ? static_cast<int>((pace - 1) / line) - 1 : 0) {}
    EFFICIENTVIT_INLINE void step() {
        EFFICIENTVIT_PREFETCH(at);
        EFFICIENTVIT_PREFETCH(at + line);
        if (more != 0) {
            const float* next = at;
            EFFICIENTVIT_HOLD("r", next);  // else it is counted on in each step
            int i = 0;
            do EFFICIENTVIT_PREFETCH(next + (i + 2) * line);
            while (++i != more);
        }
        at += pace;
    }
};

// Where the pixels of tiles lie, one tile after the other: rows of `width` with `gap` floats between them.
template <int Block>
struct PixelRun {
    float* at;
    Index gap;
    int left, width;  // pixels to the end of the row

    EFFICIENTVIT_INLINE void next_pixel() {
        at += Block;
        if (--left == 0) at += gap, left = width;
    }
    // Visit::pixel of the vectors of each of M pixels, and where it is.
    template <class Visit, int M, class V>
    EFFICIENTVIT_INLINE void tile(V (&acc)[M * (Block / V::width)]) {
        if (left > M) {
            float* p = at;
            EFFICIENTVIT_HOLD("r", p);
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) Visit::pixel(acc + m * (Block / V::width), p + m * Block);
            at += M * Block;
            left -= M;
        } else {
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) {
                float* p = at;
                EFFICIENTVIT_HOLD("r", p);
                Visit::pixel(acc + m * (Block / V::width), p);
                next_pixel();
            }
        }
    }
};

template <class V, int Vectors>
struct LoadPixel {
    static EFFICIENTVIT_INLINE void pixel(V* acc, const float* p) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < Vectors; ++j) acc[j] = V::load(p + j * V::width);
    }
};
template <class V, int Vectors>
struct AddPixel {
    static EFFICIENTVIT_INLINE void pixel(V* acc, const float* p) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < Vectors; ++j) acc[j] = V::add(acc[j], V::load(p + j * V::width));
    }
};
template <class V, int Vectors>
struct StorePixel {
    static EFFICIENTVIT_INLINE void pixel(const V* acc, float* p) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < Vectors; ++j) acc[j].store(p + j * V::width);
    }
};

// `count` tiles of M pixels each, from `pixel` on, of one output block. Floats are whole blocks of channels: what is
// left of another takes registers from sums, so pointwise_tiles does these.
template <Operands O, int Block, int XBlock, int M>
EFFICIENTVIT_NOINLINE void element_tiles(const Pointwise& a, SteadyWeights& steady, int block, int pixel, int count) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    constexpr int pitch = rounds(O) ? line_words(O) : XBlock;  // from one pixel of x to the next
    const float* const weights = a.weights + block * a.weights_block_stride;
    const int words = operand_words(O, a.channels);
    const Index x_block_stride = a.x_block_stride;
    const Act act = a.act;
    const float* const first_bias = a.bias == nullptr ? nullptr : a.bias + block * Block;
    SteadyWeights ahead = steady;

    const int row = pixel / a.y_width, column = pixel % a.y_width;
    const Index block_row = Index{a.y_width} * Block;
    PixelRun<Block> y{a.y + block * a.y_block_stride + row * a.y_row_stride + Index{column} * Block,
                      a.y_row_stride - block_row, a.y_width - column, a.y_width};
    PixelRun<Block> residual{nullptr, 0, y.left, y.width};
    if (a.residual != nullptr) {
        const float* const first =
            a.residual + block * a.residual_block_stride + row * a.residual_row_stride + Index{column} * Block;
        residual.at = const_cast<float*>(first);
        residual.gap = a.residual_row_stride - block_row;
    }
    const float* x_tile = a.x + Index{pixel} * pitch;
    for (; count > 0; --count, x_tile += M * pitch) {
        V acc[M * vectors];
        if (has_bytes(O) || first_bias != nullptr) {
            begin_sums<O, V, 1, vectors, M>(acc, first_bias);
        } else {
            PixelRun<Block> before = y;
            before.template tile<LoadPixel<V, vectors>, M>(acc);
        }
        const float* w = weights;
        const float* x = x_tile;
        if constexpr (O == Operands::f32) {
            for (int i = words / XBlock; i > 0; --i, x += x_block_stride) {
                EFFICIENTVIT_HOLD("r", x);
                EFFICIENTVIT_HOLD("r", w);
                ahead.step();
                add_channels<V, vectors, M, XBlock>(acc, x, pitch, w);
            }
        } else {
            for (int left = words; left > 0; left -= XBlock, x += x_block_stride) {
                ahead.step();
                w = multiply_accumulate<O, V, 1, vectors, M>(acc, x, pitch, w, 0, left < XBlock ? left : XBlock);
            }
        }
        if constexpr (has_bytes(O)) scale_sums<V, 1, vectors, M>(acc, w, 0, first_bias);

        activate(acc, act);
        if (residual.at != nullptr) residual.template tile<AddPixel<V, vectors>, M>(acc);
        y.template tile<StorePixel<V, vectors>, M>(acc);
    }
    steady = ahead;
}

// SPDX-License-Identifier: Apache-2.0
//
// The stem of every network: a 3x3 convolution with stride 2 of an NCHW image of few channels, one output row at a
// time. Neighbouring outputs share an input column, so that a broadcast serves two of them.

// The columns that a tile of `reach` reads, from `first` on, where some are beyond the edge: brought together, with
// zeros.
template <int Reach>
EFFICIENTVIT_INLINE void gather_edge(const Stem& a, int first, float* edge) {
    const bool left = first < 0;
    const bool right = first + Reach > a.x_width;
    for (int i = 0; i < a.channels * 3; ++i) {
        if (a.rows[i % 3] == nullptr) continue;
        const float* const row = a.rows[i % 3] + i / 3 * a.x_plane_stride;
        float* const to = edge + i * Reach;
        to[0] = left ? 0.0f : row[first];
        EFFICIENTVIT_COPY(to + 1, row + (first + 1), (Reach - 2) * sizeof(float));
        to[Reach - 1] = right ? 0.0f : row[first + Reach - 1];
    }
}

template <int Block, int M>
EFFICIENTVIT_INLINE void finish_stem(const Stem& a, typename Lanes<Block>::V (&acc)[M * Lanes<Block>::vectors],
                                     float* y) {
    using V = typename Lanes<Block>::V;
    if (in_epilogue(a.act)) {
        activate(acc, a.act);
    } else if (a.act == Act::hswish) {  // the residual blocks behind the stem see its output as it is
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < M * Lanes<Block>::vectors; ++i) acc[i] = rare_activation(acc[i], Act::hswish);
    }
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < M * Lanes<Block>::vectors; ++i) acc[i].store(y + i * V::width);
}

// Tap Kx of a row of the kernel, for pixel m and those behind it; value are the vectors of the row's inputs.
template <class V, int Vectors, int M, int Kx, int Pixel, int Inputs>
EFFICIENTVIT_INLINE void add_stem_tap(V (&acc)[M * Vectors], const V (&value)[Inputs], const V (&weight)[Vectors]) {
    constexpr int input = 2 * Pixel + Kx;
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < Vectors; ++j) {
        V& sum = acc[Pixel * Vectors + j];
        sum = V::template fma_element<input % 4>(weight[j], value[input / 4], sum);
    }
    if constexpr (Pixel + 1 < M) add_stem_tap<V, Vectors, M, Kx, Pixel + 1, Inputs>(acc, value, weight);
}

// As stem_tiles below, where an element of a vector of neighbouring inputs multiplies.
template <int Block, int M>
EFFICIENTVIT_NOINLINE void stem_element_tiles(const Stem& a, int block, int column, int count) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    constexpr int reach = 2 * M + 1, inputs = (reach + 3) / 4;
    static_assert(reach % 4 == 1);  // whole vectors and one number
    float edge[Stem::most_channels * 3 * reach];
    const float* const bias = a.bias + block * Block;
    const float* const weights = a.weights + Index{block} * a.channels * 9 * Block;
    float* y = a.y + block * a.y_block_stride + Index{column} * Block;
    for (; count > 0; --count, column += M, y += M * Block) {
        const int first = 2 * column - 1;
        const bool at_edge = first < 0 || first + reach > a.x_width;
        if (at_edge) gather_edge<reach>(a, first, edge);
        const float* from[3];
        EFFICIENTVIT_UNROLL
        for (int ky = 0; ky < 3; ++ky) {
            from[ky] = a.rows[ky] == nullptr ? nullptr : at_edge ? edge + ky * reach : a.rows[ky] + first;
        }
        const Index plane = at_edge ? 3 * reach : a.x_plane_stride;

        V acc[M * vectors];
        begin_sums<Operands::f32, V, 1, vectors, M>(acc, bias);
        const float* w = weights;
        for (int c = 0; c < a.channels; ++c, w += 9 * Block) {
            EFFICIENTVIT_UNROLL
            for (int ky = 0; ky < 3; ++ky) {
                if (from[ky] == nullptr) continue;
                EFFICIENTVIT_FENCE(w);
                const float* const x = from[ky];
                from[ky] += plane;
                V value[inputs];
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < inputs; ++i)
                    value[i] = i * 4 + 4 <= reach ? V::load(x + i * 4) : V::broadcast(x + i * 4);
                EFFICIENTVIT_UNROLL
                for (int kx = 0; kx < 3; ++kx) {
                    V weight[vectors];
                    EFFICIENTVIT_UNROLL
                    for (int j = 0; j < vectors; ++j) weight[j] = V::load(w + (ky * 3 + kx) * Block + j * V::width);
                    if (kx == 0) add_stem_tap<V, vectors, M, 0, 0>(acc, value, weight);
                    if (kx == 1) add_stem_tap<V, vectors, M, 1, 0>(acc, value, weight);
                    if (kx == 2) add_stem_tap<V, vectors, M, 2, 0>(acc, value, weight);
                }
            }
        }
        finish_stem<Block, M>(a, acc, y);
    }
}

// `count` tiles of M columns each. The image is read as it is; where a tile's first or last column is beyond its edge,
// what it reads is brought together first, with zeros.
template <int Block, int M>
EFFICIENTVIT_NOINLINE void stem_tiles(const Stem& a, int block, int column, int count) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    constexpr int reach = 2 * M + 1;
    float edge[Stem::most_channels * 3 * reach];
    for (; count > 0; --count, column += M) {
        const int first = 2 * column - 1;
        const bool at_edge = first < 0 || first + reach > a.x_width;
        if (at_edge) gather_edge<reach>(a, first, edge);

        V acc[M * vectors];
        begin_sums<Operands::f32, V, 1, vectors, M>(acc, a.bias + block * Block);
        const float* w = a.weights + Index{block} * a.channels * 9 * Block;
        for (int c = 0; c < a.channels; ++c) {
            for (int ky = 0; ky < 3; ++ky, w += 3 * Block) {
                if (a.rows[ky] == nullptr) continue;
                const float* x = at_edge ? edge + (c * 3 + ky) * reach : a.rows[ky] + c * a.x_plane_stride + first;
                EFFICIENTVIT_HOLD("r", x);
                EFFICIENTVIT_HOLD("r", w);
                V weight[3 * vectors];
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < 3 * vectors; ++i) weight[i] = V::load(w + i * V::width);
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < reach; ++i) {
                    const V value = V::broadcast(x + i);
                    EFFICIENTVIT_UNROLL
                    for (int kx = 0; kx < 3; ++kx) {
                        if ((i - kx) % 2 != 0 || i < kx || i - kx >= 2 * M) continue;
                        EFFICIENTVIT_UNROLL
                        for (int j = 0; j < vectors; ++j) {
                            const int out = (i - kx) / 2 * vectors + j;
                            acc[out] = V::fma(value, weight[kx * vectors + j], acc[out]);
                        }
                    }
                }
            }
        }
        finish_stem<Block, M>(a, acc, a.y + block * a.y_block_stride + Index{column} * Block);
    }
}

template <int Block>
EFFICIENTVIT_NOINLINE void stem_blocks(const Stem& a) {
    constexpr int most = Lanes<Block>::tile_stem;
    const int tiles = a.y_width / most;
    const int threes = (a.y_width - tiles * most) / 3;
    for (int block = 0; block < a.y_blocks; ++block) {
        if constexpr (MultipliesByElement<typename Lanes<Block>::V>) {
            stem_element_tiles<Block, most>(a, block, 0, tiles);
        } else {
            stem_tiles<Block, most>(a, block, 0, tiles);
        }
        stem_tiles<Block, 3>(a, block, tiles * most, threes);
        stem_tiles<Block, 1>(a, block, tiles * most + threes * 3, a.y_width - tiles * most - threes * 3);
        if (a.act == Act::silu || a.act == Act::gelu) {
            activate_in_memory<typename Lanes<Block>::V>(a.y + block * a.y_block_stride, nullptr,
                                                         Index{a.y_width} * Block, a.act);
        }
    }
}

inline void stem(const Stem& a) { a.y_block == 16 ? stem_blocks<16>(a) : narrow::stem_blocks<8>(a); }

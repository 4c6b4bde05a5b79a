// SPDX-License-Identifier: Apache-2.0
//
// Batch norm that stands alone, residuals, activations: one pass over pixels that are in memory already.

// Vectors of M pixels, to y + at. Plain ones have no scale, and an activation that is short.
template <int Block, bool Plain, int M, int Vectors, class V>
EFFICIENTVIT_INLINE void affine_pixels(const Affine& a, const V (&scale)[Vectors], const V (&shift)[Vectors],
                                       const float* from, Index at) {
    V x[M * Vectors];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < M * Vectors; ++i) x[i] = V::load(from + i / Vectors * Block + i % Vectors * V::width);
    if constexpr (Plain) {
        activate(x, a.act);
    } else {
        if (a.scale != nullptr) {
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < M * Vectors; ++i) x[i] = V::fma(x[i], scale[i % Vectors], shift[i % Vectors]);
        }
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < M * Vectors; ++i) x[i] = activated(x[i], a.act);
    }
    float* y = a.y + at;
    if constexpr (MultipliesByElement<V>) EFFICIENTVIT_HOLD("r", y);
    if (a.residual != nullptr) {  // before all stores, so that these can be pairs
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < M * Vectors; ++i) {
            x[i] = V::add(x[i], V::load(a.residual + at + i / Vectors * Block + i % Vectors * V::width));
        }
    }
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < M * Vectors; ++i) {
        x[i].store(y + i / Vectors * Block + i % Vectors * V::width);
    }
}

template <int Block, bool Plain>
EFFICIENTVIT_NOINLINE void affine_block(const Affine& args) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Plain ? Lanes<Block>::strip_vectors : 1;
    InRegisters<V, Affine> a = args;
    for (int lane = 0; lane < Block; lane += vectors * V::width) {
        V scale[vectors], shift[vectors];
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < vectors; ++j) {
            scale[j] = a.scale == nullptr ? V::set(1.0f) : V::load(a.scale + lane + j * V::width);
            shift[j] = a.shift == nullptr ? V::set(0.0f) : V::load(a.shift + lane + j * V::width);
        }
        Index at = lane;
        for (int row = 0; row < a.rows; ++row) {
            const float* from = a.x + row * a.x_row_stride + lane;
            int left = a.pixels;
            if constexpr (Plain) {
                constexpr int most = 7;
                for (; left >= most; left -= most, from += most * Block, at += most * Block) {
                    affine_pixels<Block, Plain, most>(a, scale, shift, from, at);
                }
            }
            for (; left > 0; --left, from += Block, at += Block) {
                affine_pixels<Block, Plain, 1>(a, scale, shift, from, at);
            }
        }
    }
}

template <bool Plain>
inline void affine_pass(const Affine& a) {
    a.block == 16 ? affine_block<16, Plain>(a) : narrow::affine_block<8, Plain>(a);
}
inline void affine(const Affine& a) {
    const bool plain = a.scale == nullptr && in_epilogue(a.act);
    plain ? affine_pass<true>(a) : affine_pass<false>(a);
}

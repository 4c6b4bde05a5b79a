// SPDX-License-Identifier: Apache-2.0
//
// Batch norm that stands alone, residuals, activations: one pass over pixels that are in memory already.

// M pixels, to y + at. Rare activations, which are long, are for single ones.
template <int Block, int M, class V>
EFFICIENTVIT_INLINE void affine_pixels(const Affine& a, const V& scale, const V& shift, const float* from, Index at) {
    V x[M];
    EFFICIENTVIT_UNROLL
    for (int m = 0; m < M; ++m) x[m] = V::load(from + m * Block);
    if (a.scale != nullptr) {
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) x[m] = V::fma(x[m], scale, shift);
    }
    if constexpr (M > 1) {
        activate(x, a.act);
    } else {
        x[0] = activated(x[0], a.act);
    }
    EFFICIENTVIT_UNROLL
    for (int m = 0; m < M; ++m) {
        if (a.residual != nullptr) x[m] = V::add(x[m], V::load(a.residual + at + m * Block));
        x[m].store(a.y + at + m * Block);
    }
}

template <int Block>
EFFICIENTVIT_NOINLINE void affine_block(const Affine& a) {
    using V = typename Lanes<Block>::V;
    constexpr int most = 7;
    for (int lane = 0; lane < Block; lane += V::width) {
        const V scale = a.scale == nullptr ? V::set(1.0f) : V::load(a.scale + lane);
        const V shift = a.shift == nullptr ? V::set(0.0f) : V::load(a.shift + lane);
        Index at = lane;
        for (int row = 0; row < a.rows; ++row) {
            const float* from = a.x + row * a.x_row_stride + lane;
            int left = a.pixels;
            for (; left >= most && in_epilogue(a.act); left -= most, from += most * Block, at += most * Block) {
                affine_pixels<Block, most>(a, scale, shift, from, at);
            }
            for (; left > 0; --left, from += Block, at += Block) affine_pixels<Block, 1>(a, scale, shift, from, at);
        }
    }
}

inline void affine(const Affine& a) { a.block == 16 ? affine_block<16>(a) : narrow::affine_block<8>(a); }

// SPDX-License-Identifier: Apache-2.0
//
// Batch norm that stands alone, residuals, activations: one pass over pixels that are in memory already.

template <int Block>
EFFICIENTVIT_NOINLINE void affine_block(const Affine& a) {
    using V = typename Lanes<Block>::V;
    for (int lane = 0; lane < Block; lane += V::width) {
        const V scale = a.scale == nullptr ? V::set(1.0f) : V::load(a.scale + lane);
        const V shift = a.shift == nullptr ? V::set(0.0f) : V::load(a.shift + lane);
        Index at = lane;
        for (int row = 0; row < a.rows; ++row) {
            const float* from = a.x + row * a.x_row_stride + lane;
            for (int p = 0; p < a.pixels; ++p, from += Block, at += Block) {
                V x = V::load(from);
                if (a.scale != nullptr) x = V::fma(x, scale, shift);
                x = activated(x, a.act);
                if (a.residual != nullptr) x = V::add(x, V::load(a.residual + at));
                x.store(a.y + at);
            }
        }
    }
}

inline void affine(const Affine& a) { a.block == 16 ? affine_block<16>(a) : narrow::affine_block<8>(a); }

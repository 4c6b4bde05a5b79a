// SPDX-License-Identifier: Apache-2.0
//
// Batch norm that stands alone, residuals, activations: one pass over pixels that are in memory already.

// An activation that is short, then the residual, if there is one; stores vectors that lie one behind the other.
template <int Count, class V>
EFFICIENTVIT_INLINE void finish_affine(const Affine& a, V (&x)[Count], Index at) {
    activate(x, a.act);
    float* y = a.y + at;
    if constexpr (MultipliesByElement<V>) EFFICIENTVIT_HOLD("r", y);
    if (a.residual != nullptr) {  // before all stores, so that these can be pairs
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < Count; ++i) x[i] = V::add(x[i], V::load(a.residual + at + i * V::width));
    }
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) x[i].store(y + i * V::width);
}

template <class V, int Count>
EFFICIENTVIT_INLINE void affine_strip(const Affine& a, const float* from, Index at) {
    V x[Count];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) x[i] = V::load(from + i * V::width);
    finish_affine(a, x, at);
}

// Without a scale it does not matter what channel a number belongs to.
template <class V>
EFFICIENTVIT_NOINLINE void affine_strips(const Affine& args) {
    constexpr int most = 7 * Lanes<16>::strip_vectors;  // divides rows of 7 and 14 pixels
    InRegisters<V, Affine> a = args;
    Index at = 0;
    for (int row = 0; row < a.rows; ++row) {
        const float* from = a.x + row * a.x_row_stride;
        int left = a.pixels * a.block / V::width;
        for (; left >= most; left -= most, from += most * V::width, at += most * V::width) {
            affine_strip<V, most>(a, from, at);
        }
        for (; left > 0; --left, from += V::width, at += V::width) affine_strip<V, 1>(a, from, at);
    }
}

template <int Block>
EFFICIENTVIT_NOINLINE void affine_block(const Affine& args) {
    using V = typename Lanes<Block>::V;
    InRegisters<V, Affine> a = args;
    for (int lane = 0; lane < Block; lane += V::width) {
        const V scale = V::load(a.scale + lane), shift = V::load(a.shift + lane);
        Index at = lane;
        for (int row = 0; row < a.rows; ++row) {
            const float* from = a.x + row * a.x_row_stride + lane;
            for (int pixel = 0; pixel < a.pixels; ++pixel, from += Block, at += Block) {
                V x[] = {V::fma(V::load(from), scale, shift)};
                finish_affine(a, x, at);
            }
        }
    }
}

template <int Block>
inline void affine_any(const Affine& args) {
    using V = typename Lanes<Block>::V;
    Affine a = args;
    const bool apart = !in_epilogue(args.act);  // such activations are full of constants: once more over memory
    if (apart) a.act = Act::none, a.residual = nullptr;
    a.scale == nullptr ? affine_strips<V>(a) : affine_block<Block>(a);
    if (apart) activate_in_memory<V>(a.y, args.residual, Index{a.rows} * a.pixels * Block, args.act);
}

inline void affine(const Affine& a) { a.block == 16 ? affine_any<16>(a) : narrow::affine_any<8>(a); }

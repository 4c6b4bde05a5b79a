// SPDX-License-Identifier: Apache-2.0
//
// The products of a line, as Round writes it for int8 and f16: a group of a pixel's channels, with a head that says
// what its numbers stand for. Included by common.inl.

// The n words of one group of int8, of which x is a line: acc[m][j] += (scale of x) * (sum of bytes * weights) +
// (offset of x) * (sum of weights), where sums are of integers: scale_sums() makes floats of what weights are. w is the
// row of the sums of weights, then one for each word. Otherwise as multiply_accumulate.
template <Operands O, class V, int Blocks, int Vectors, int M>
EFFICIENTVIT_INLINE const float* add_group(V (&acc)[M * Blocks * Vectors], const float* x, Index step, const float* w,
                                           Index panel, int n) {
    constexpr int each = Blocks * Vectors, row = Vectors * V::width, head = line_head(O);
    constexpr int halves = O == Operands::int8_wide ? 2 : 1;  // of the bytes of a word
    const float* const group = w;
    using Integers = decltype(byte_sum_begin(group, V{}));
    Integers sum[M * each];
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < each; ++j) {
        const Integers first = byte_sum_begin(group + j / Vectors * panel + j % Vectors * V::width, V{});
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) sum[m * each + j] = first;
    }
    // Not both halves in one loop, for which GCC takes more registers than there are.
    EFFICIENTVIT_UNROLL
    for (int half = 0; half < halves; ++half) {
        w = group + row;
        for (int k = 0; k < n; ++k, w += row) {
            V weight[each];
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < each; ++j) {
                const float* const at = w + j / Vectors * panel + j % Vectors * V::width;
                if constexpr (halves == 2) {
                    weight[j] = half == 0 ? even_bytes(at, V{}) : odd_bytes(at, V{});
                } else {
                    weight[j] = V::load(at);
                }
            }
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) {
                const V value = V::broadcast_bits(x + m * step + head + half * group_words(O) + k);
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < each; ++j) {
                    Integers& to = sum[m * each + j];
                    if constexpr (halves == 2) {
                        to = add_word_products(value, weight[j], to);
                    } else {
                        to = add_byte_products(value, weight[j], to);
                    }
                }
            }
        }
    }
    // Sums become floats first, and a pixel's numbers serve all its outputs at once: else GCC keeps those of all pixels
    // in registers, and sums in memory.
    V of_weights[each], total[M * each];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < M * each; ++i) total[i] = to_float(sum[i]), total[i].hold();
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < each; ++j) {
        const float* const at = group + j / Vectors * panel + j % Vectors * V::width;
        of_weights[j] = to_float(load_integers(at, V{}));
    }
    EFFICIENTVIT_UNROLL
    for (int m = 0; m < M; ++m) {
        const V scale_of_x = V::broadcast(x + m * step), offset = V::broadcast(x + m * step + 1);
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < each; ++j) {
            V& to = acc[m * each + j];
            to = V::fma(scale_of_x, total[m * each + j], to);
            to = V::fma(offset, of_weights[j], to);
        }
    }
    return w;
}

// The products of channels Element and following, of the eight at w, with each pixel's.
template <class V, int Each, int M, int Element, class HalfSum>
EFFICIENTVIT_INLINE void add_half_products_of(HalfSum (&sum)[M * Each], const V (&value)[M], const float* w) {
    V weight[Each];
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < Each; ++j) weight[j] = V::load(w + j * V::width);
    EFFICIENTVIT_UNROLL
    for (int m = 0; m < M; ++m) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < Each; ++j) {
            sum[m * Each + j] = add_half_products<Element>(weight[j], value[m], sum[m * Each + j]);
        }
    }
    if constexpr (Element < 7) add_half_products_of<V, Each, M, Element + 1>(sum, value, w + Each * V::width);
}

// The n words of one group of f16, of which x is a line: acc[m][j] += (scale of x) * (sum of halves * weights), where
// the sums of a group are what the unit makes of them. A vector of words is eight halves: of x eight channels, of
// weights eight outputs of one channel. Otherwise as multiply_accumulate.
template <class V, int Blocks, int Vectors, int M>
EFFICIENTVIT_INLINE const float* add_halves(V (&acc)[M * Blocks * Vectors], const float* x, Index step, const float* w,
                                            int n) {
    static_assert(Blocks == 1 && V::width == 4 && Vectors % 2 == 0);
    constexpr int each = Vectors / 2, channel = each * V::width, head = line_head(Operands::f16);
    using HalfSum = decltype(half_sum_begin(V{}));
    HalfSum sum[M * each];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < M * each; ++i) sum[i] = half_sum_begin(V{});
    for (int k = 0; k < n; k += 4, w += 8 * channel) {
        V value[M];
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) value[m] = V::load(x + m * step + head + k);
        add_half_products_of<V, each, M, 0>(sum, value, w);
    }
    EFFICIENTVIT_UNROLL
    for (int m = 0; m < M; ++m) {
        const V scale = V::broadcast(x + m * step);
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < each; ++j) {
            V* const to = acc + m * Vectors + 2 * j;
            add_half_sum(sum[m * each + j], scale, to[0], to[1]);
        }
    }
    return w;
}

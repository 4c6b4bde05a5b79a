// SPDX-License-Identifier: Apache-2.0
//
// AVX512_BF16: products of pairs, summed in float. Included by bf16.hpp, inside a target region and namespace. The
// instructions take denormals for zero and round sums to nearest, whatever the control word says.

// sum + x.even * w.even + x.odd * w.odd for each word of x and w, a pair of bf16 numbers.
EFFICIENTVIT_INLINE Float16 add_pair_products(Float16 x, Float16 w, Float16 sum) {
    return {_mm512_dpbf16_ps(sum.v, (__m512bh)x.v, (__m512bh)w.v)};
}
EFFICIENTVIT_INLINE Float8 add_pair_products(Float8 x, Float8 w, Float8 sum) {
    return {_mm256_dpbf16_ps(sum.v, (__m256bh)x.v, (__m256bh)w.v)};
}

// Words of neighbouring lanes: those of `low`, then those of `high`.
EFFICIENTVIT_INLINE Float16 rounded_pairs(Float16 low, Float16 high) {
    return {(__m512)_mm512_cvtne2ps_pbh(high.v, low.v)};
}
EFFICIENTVIT_INLINE Float8 rounded_pairs(Float8 low, Float8 high) {
    return {(__m256)_mm256_cvtne2ps_pbh(high.v, low.v)};
}

EFFICIENTVIT_INLINE Float8 rough_activation(Float8 x, Act act) { return rare_activation(x, act); }

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

// The same for one word of x and all of w. A broadcast of its own takes the unit of shuffles on Zen 4, where 14 of both
// take 19 cycles; GCC knows no other.
EFFICIENTVIT_INLINE Float16 add_pair_products(const float* x, Float16 w, Float16 sum) {
#if defined(__GNUC__) && !defined(__clang__)
    __asm__("vdpbf16ps\t{%2%{1to16%}, %1, %0|%0, %1, %2%{1to16%}}" : "+v"(sum.v) : "v"(w.v), "m"(*x));
    return sum;
#else
    return add_pair_products(Float16::broadcast(x), w, sum);
#endif
}

// Words of neighbouring lanes: those of `low`, then those of `high`.
EFFICIENTVIT_INLINE Float16 rounded_pairs(Float16 low, Float16 high) {
    return {(__m512)_mm512_cvtne2ps_pbh(high.v, low.v)};
}
EFFICIENTVIT_INLINE Float8 rounded_pairs(Float8 low, Float8 high) {
    return {(__m256)_mm256_cvtne2ps_pbh(high.v, low.v)};
}

// Words of two vectors' numbers in the same lane.
EFFICIENTVIT_INLINE Float16 rounded_lanes(Float16 low, Float16 high) {
    static constexpr unsigned short order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i pairs = _mm512_castps_si512(rounded_pairs(low, high).v);
    return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_loadu_si512(order), pairs))};
}

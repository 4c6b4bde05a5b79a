// SPDX-License-Identifier: Apache-2.0
//
// AVX512_VNNI: products of bytes. Included by int8.hpp, inside a target region and namespace, behind avx2_quantize.hpp.

#if defined(__GNUC__)
using SixteenIntegers = int __attribute__((vector_size(64)));
#else
using SixteenIntegers = __m512i;
#endif
struct Integers16 {
    SixteenIntegers v;
};

// sum + x.byte0 * w.byte0 + ... + x.byte3 * w.byte3 for each word, x unsigned, w signed, sums integers.
EFFICIENTVIT_INLINE Integers16 add_byte_products(Float16 x, Float16 w, Integers16 sum) {
    return {(SixteenIntegers)_mm512_dpbusd_epi32((__m512i)sum.v, _mm512_castps_si512(x.v), _mm512_castps_si512(w.v))};
}
EFFICIENTVIT_INLINE Integers8 add_byte_products(Float8 x, Float8 w, Integers8 sum) {
    return {(EightIntegers)_mm256_dpbusd_epi32((__m256i)sum.v, _mm256_castps_si256(x.v), _mm256_castps_si256(w.v))};
}

EFFICIENTVIT_INLINE Integers16 load_integers(const float* p, Float16) {
    return {(SixteenIntegers)_mm512_loadu_si512(p)};
}

// What a sum of byte products begins with; `group` are the sums of weights.
EFFICIENTVIT_INLINE Integers16 byte_sum_begin(const float*, Float16) {
    return {(SixteenIntegers)_mm512_setzero_si512()};
}

EFFICIENTVIT_INLINE Float16 to_float(Integers16 integers) { return {_mm512_cvtepi32_ps((__m512i)integers.v)}; }

EFFICIENTVIT_INLINE __m256 upper_half(Float16 x) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.v), 1));
}
template <class Pick>
EFFICIENTVIT_INLINE Float8 pick_lanes(const Float16 (&x)[4]) {
    Float8 halves[4];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < 4; ++i) halves[i].v = Pick::of(_mm512_castps512_ps256(x[i].v), upper_half(x[i]));
    return pick_lanes<Pick>(halves);
}
EFFICIENTVIT_INLINE Float8 least_lanes(const Float16 (&x)[4]) { return pick_lanes<Least>(x); }
EFFICIENTVIT_INLINE Float8 largest_lanes(const Float16 (&x)[4]) { return pick_lanes<Largest>(x); }
template <int Count>
EFFICIENTVIT_INLINE bool any_nan(const Float16 (&x)[Count]) {
    int any = 0;
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) any |= _mm512_cmp_ps_mask(x[i].v, x[i].v, _CMP_UNORD_Q);
    return any != 0;
}

// Each lane to the nearest byte, ties to even. It may be a little more than 255, or, where that does not matter, any
// number.
EFFICIENTVIT_INLINE void store_bytes(const Float16 (&x)[4], float* to) {
    __m512i n[4];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < 4; ++i) n[i] = _mm512_cvtps_epi32(x[i].v);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(n[0], n[1]), _mm512_packus_epi32(n[2], n[3]));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, bytes));
}

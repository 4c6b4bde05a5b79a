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

// The low halves of words, as integers.
EFFICIENTVIT_INLINE Integers16 low_integers(const float* p, Float16) {
    return {(SixteenIntegers)_mm512_srai_epi32(_mm512_slli_epi32(_mm512_loadu_si512(p), 16), 16)};
}

// What a sum of byte products begins with; `group` are the scales and sums of weights.
EFFICIENTVIT_INLINE Integers16 byte_sum_begin(const float*, Float16) {
    return {(SixteenIntegers)_mm512_setzero_si512()};
}

EFFICIENTVIT_INLINE Float16 to_float(Integers16 integers) { return {_mm512_cvtepi32_ps((__m512i)integers.v)}; }

// Of no NaN.
EFFICIENTVIT_INLINE float least_lane(Float16 x) {
    const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.v), 1));
    return least_lane(Float8{_mm256_min_ps(_mm512_castps512_ps256(x.v), upper)});
}
EFFICIENTVIT_INLINE float largest_lane(Float16 x) {
    const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.v), 1));
    return largest_lane(Float8{_mm256_max_ps(_mm512_castps512_ps256(x.v), upper)});
}
EFFICIENTVIT_INLINE bool any_nan(const Float16 (&x)[4]) {
    return (_mm512_cmp_ps_mask(x[0].v, x[1].v, _CMP_UNORD_Q) | _mm512_cmp_ps_mask(x[2].v, x[3].v, _CMP_UNORD_Q)) != 0;
}

// Each lane to the nearest byte, ties to even. It may be a little more than 255, or, where that does not matter, any
// number.
EFFICIENTVIT_INLINE void store_bytes(const Float16 (&x)[4], float* to) {
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m512i n = _mm512_cvt_roundps_epu32(x[i].v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_ps(to + i * 4, _mm_castsi128_ps(_mm512_cvtusepi32_epi8(n)));
    }
}

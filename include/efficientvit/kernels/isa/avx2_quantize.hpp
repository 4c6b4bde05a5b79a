// SPDX-License-Identifier: Apache-2.0
//
// Integers and bytes in eight lanes, but for their products. Included by int8.hpp, inside a target region and
// namespace.

// Of 32 bits, and said to be: GCC copies sums twice an addition where they are floats or __m256i in between.
#if defined(__GNUC__)
using EightIntegers = int __attribute__((vector_size(32)));
#else
using EightIntegers = __m256i;
#endif
struct Integers8 {
    EightIntegers v;
};

EFFICIENTVIT_INLINE Integers8 load_integers(const float* p, Float8) {
    return {(EightIntegers)_mm256_castps_si256(_mm256_loadu_ps(p))};
}

// What a sum of byte products begins with; `group` are the sums of weights.
EFFICIENTVIT_INLINE Integers8 byte_sum_begin(const float*, Float8) { return {(EightIntegers)_mm256_setzero_si256()}; }

EFFICIENTVIT_INLINE Float8 to_float(Integers8 integers) { return {_mm256_cvtepi32_ps((__m256i)integers.v)}; }

struct Least {
    static EFFICIENTVIT_INLINE __m256 of(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
};
struct Largest {
    static EFFICIENTVIT_INLINE __m256 of(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
};
template <class Pick>
EFFICIENTVIT_INLINE Float8 pick_lanes(const Float8 (&x)[4]) {
    const __m256 a = x[0].v, b = x[1].v, c = x[2].v, d = x[3].v;
    const __m256d ab = _mm256_castps_pd(Pick::of(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
    const __m256d cd = _mm256_castps_pd(Pick::of(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
    const __m256 abcd =
        Pick::of(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)), _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)));
    Float8 picked;  // nvcc leaves out braces around what depends on Pick
    picked.v = Pick::of(abcd, _mm256_permute2f128_ps(abcd, abcd, 1));
    return picked;
}
// Lanes i and i + 4 are that of x[i], which has no NaN.
EFFICIENTVIT_INLINE Float8 least_lanes(const Float8 (&x)[4]) { return pick_lanes<Least>(x); }
EFFICIENTVIT_INLINE Float8 largest_lanes(const Float8 (&x)[4]) { return pick_lanes<Largest>(x); }
EFFICIENTVIT_INLINE Float8 zero_below(Float8 x, Float8 limit) {
    return {_mm256_and_ps(x.v, _mm256_cmp_ps(x.v, limit.v, _CMP_GE_OQ))};
}
template <int Count>
EFFICIENTVIT_INLINE bool any_nan(const Float8 (&x)[Count]) {
    __m256 any = _mm256_setzero_ps();
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) any = _mm256_or_ps(any, _mm256_cmp_ps(x[i].v, x[i].v, _CMP_UNORD_Q));
    return _mm256_movemask_ps(any) != 0;
}

// Each lane of x[first] to x[first + 3] to the nearest byte, ties to even. It may be a little more than 255, or, where
// that does not matter, any number.
template <int Count>
EFFICIENTVIT_INLINE __m256i nearest_bytes(const Float8 (&x)[Count], int first) {
    __m256i n[4];
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < 4; ++j) n[j] = _mm256_cvtps_epi32(x[first + j].v);
    const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(n[0], n[1]), _mm256_packus_epi32(n[2], n[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
template <int Count>
EFFICIENTVIT_INLINE void store_bytes(const Float8 (&x)[Count], float* to) {
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; i += 4) _mm256_storeu_ps(to + i * 2, _mm256_castsi256_ps(nearest_bytes(x, i)));
}

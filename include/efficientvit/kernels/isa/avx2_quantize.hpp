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

// The low halves of words, as integers.
EFFICIENTVIT_INLINE Integers8 low_integers(const float* p, Float8) {
    const __m256i words = _mm256_castps_si256(_mm256_loadu_ps(p));
    return {(EightIntegers)_mm256_srai_epi32(_mm256_slli_epi32(words, 16), 16)};
}

// What a sum of byte products begins with; `group` are the scales and sums of weights.
EFFICIENTVIT_INLINE Integers8 byte_sum_begin(const float*, Float8) { return {(EightIntegers)_mm256_setzero_si256()}; }

EFFICIENTVIT_INLINE Float8 to_float(Integers8 integers) { return {_mm256_cvtepi32_ps((__m256i)integers.v)}; }

// Of no NaN.
EFFICIENTVIT_INLINE float least_lane(Float8 x) {
    const __m128 four = _mm_min_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
    const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
}
EFFICIENTVIT_INLINE float largest_lane(Float8 x) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
template <int Count>
EFFICIENTVIT_INLINE bool any_nan(const Float8 (&x)[Count]) {
    __m256 any = _mm256_setzero_ps();
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; i += 2) any = _mm256_or_ps(any, _mm256_cmp_ps(x[i].v, x[i + 1].v, _CMP_UNORD_Q));
    return _mm256_movemask_ps(any) != 0;
}

// Each lane of x[first] to x[first + 3] to the nearest byte, ties to even. It may be a little more than 255, or, where
// that does not matter, any number.
template <int Count>
EFFICIENTVIT_INLINE __m256i nearest_bytes(const Float8 (&x)[Count], int first) {
    const __m256 most = _mm256_set1_ps(255.0f);  // the integer of a larger one might be the least
    __m256i n[4];
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < 4; ++j) n[j] = _mm256_cvtps_epi32(_mm256_min_ps(x[first + j].v, most));
    const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(n[0], n[1]), _mm256_packus_epi32(n[2], n[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
template <int Count>
EFFICIENTVIT_INLINE void store_bytes(const Float8 (&x)[Count], float* to) {
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; i += 4) _mm256_storeu_ps(to + i * 2, _mm256_castsi256_ps(nearest_bytes(x, i)));
}

EFFICIENTVIT_INLINE Float8 rough_activation(Float8 x, Act act) { return rare_activation(x, act); }

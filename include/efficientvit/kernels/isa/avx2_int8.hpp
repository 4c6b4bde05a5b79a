// SPDX-License-Identifier: Apache-2.0
//
// Products of bytes where there is no instruction for them: of integers of 16 bits, to which inputs are widened once,
// in their lines, and weights as they are read. Included by int8.hpp, inside a target region and namespace, behind
// avx2_quantize.hpp.
// vpmaddubsw would do with less, but its sums of two products saturate. To split inputs into halves of a byte, with
// which they do not, takes as many products and additions as this, and twice the sums.

// Bytes 0 and 2, or 1 and 3, of each word.
EFFICIENTVIT_INLINE Float8 even_bytes(const float* p, Float8) {
    const __m256i words = _mm256_castps_si256(_mm256_loadu_ps(p));
    return {_mm256_castsi256_ps(_mm256_srai_epi16(_mm256_slli_epi16(words, 8), 8))};
}
EFFICIENTVIT_INLINE Float8 odd_bytes(const float* p, Float8) {
    return {_mm256_castsi256_ps(_mm256_srai_epi16(_mm256_castps_si256(_mm256_loadu_ps(p)), 8))};
}

// sum + x.half0 * w.half0 + x.half1 * w.half1 for each word, all of them integers.
EFFICIENTVIT_INLINE Integers8 add_word_products(Float8 x, Float8 w, Integers8 sum) {
    const __m256i products = _mm256_madd_epi16(_mm256_castps_si256(x.v), _mm256_castps_si256(w.v));
    return {(EightIntegers)_mm256_add_epi32((__m256i)sum.v, products)};
}

// x's bytes as a line of int8_wide has them.
template <int Count>
EFFICIENTVIT_INLINE void store_wide_bytes(const Float8 (&x)[Count], float* to) {
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; i += 4) {
        const __m256i bytes = nearest_bytes(x, i);
        const __m256i even = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(bytes, 8);
        _mm256_storeu_ps(to + i * 2, _mm256_castsi256_ps(even));
        _mm256_storeu_ps(to + group_words(Operands::int8_wide) + i * 2, _mm256_castsi256_ps(odd));
    }
}

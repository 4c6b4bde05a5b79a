// SPDX-License-Identifier: Apache-2.0
//
// Products of bytes where there is no instruction for them. Included by int8.hpp, inside a target region and namespace,
// behind avx2_quantize.hpp.
// vpmaddubsw would do with less, but its sums of two products saturate.

// sum + x.byte0 * w.byte0 + ... + x.byte3 * w.byte3 for each word, x unsigned, w signed, sums integers.
EFFICIENTVIT_INLINE Integers8 add_byte_products(Float8 x, Float8 w, Integers8 sum) {
    const __m256i xs = _mm256_castps_si256(x.v), ws = _mm256_castps_si256(w.v);
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(xs, _mm256_set1_epi16(0xff)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(ws, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(xs, 8), _mm256_srai_epi16(ws, 8));
    return {(EightIntegers)_mm256_add_epi32(_mm256_add_epi32((__m256i)sum.v, even), odd)};
}

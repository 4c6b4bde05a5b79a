// SPDX-License-Identifier: Apache-2.0
//
// AVX-VNNI: products of bytes in 256 bits. Included by int8.hpp, inside a target region and namespace, behind
// avx2_quantize.hpp.

// sum + x.byte0 * w.byte0 + ... + x.byte3 * w.byte3 for each word, x unsigned, w signed, sums integers.
EFFICIENTVIT_INLINE Integers8 add_byte_products(Float8 x, Float8 w, Integers8 sum) {
    return {(EightIntegers)_mm256_dpbusd_avx_epi32((__m256i)sum.v, _mm256_castps_si256(x.v), _mm256_castps_si256(w.v))};
}

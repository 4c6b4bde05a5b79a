// SPDX-License-Identifier: Apache-2.0
//
// AVX2 and FMA: eight floats. Included once by kernels.hpp, inside its target region and namespace; the 512-bit
// ISA takes its eight-lane type from here too, by a second inclusion.

struct Float8 {
    static constexpr int width = 8;
    __m256 v;

    static EFFICIENTVIT_INLINE Float8 load(const float* p) { return {_mm256_loadu_ps(p)}; }
    static EFFICIENTVIT_INLINE Float8 broadcast(const float* p) { return {_mm256_broadcast_ss(p)}; }
    static EFFICIENTVIT_INLINE Float8 broadcast_bits(const float* p) { return broadcast(p); }
    static EFFICIENTVIT_INLINE Float8 set(float x) { return {_mm256_set1_ps(x)}; }
    // The even and the odd of pairs of bf16 numbers, widened.
    static EFFICIENTVIT_INLINE Float8 low_halves(const float* p) {
        return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(_mm256_loadu_ps(p)), 16))};
    }
    static EFFICIENTVIT_INLINE Float8 high_halves(const float* p) {
        return {_mm256_and_ps(_mm256_loadu_ps(p), _mm256_castsi256_ps(_mm256_set1_epi32(-0x10000)))};
    }
    // Byte `i` of each word, as a signed number.
    static EFFICIENTVIT_INLINE Float8 signed_bytes(const float* p, int i) {
        const __m256i up = _mm256_sll_epi32(_mm256_castps_si256(_mm256_loadu_ps(p)), _mm_cvtsi32_si128(24 - 8 * i));
        return {_mm256_cvtepi32_ps(_mm256_srai_epi32(up, 24))};
    }
    EFFICIENTVIT_INLINE void hold() { EFFICIENTVIT_HOLD("x", v); }
    EFFICIENTVIT_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }

    static EFFICIENTVIT_INLINE Float8 fma(Float8 a, Float8 b, Float8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    static EFFICIENTVIT_INLINE Float8 add(Float8 a, Float8 b) { return {_mm256_add_ps(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float8 sub(Float8 a, Float8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float8 mul(Float8 a, Float8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float8 sqrt(Float8 a) { return {_mm256_sqrt_ps(a.v)}; }
    static EFFICIENTVIT_INLINE Float8 div(Float8 a, Float8 b) { return {_mm256_div_ps(a.v, b.v)}; }
    // Where x is NaN, min and max give x.
    static EFFICIENTVIT_INLINE Float8 min(Float8 limit, Float8 x) { return {_mm256_min_ps(limit.v, x.v)}; }
    static EFFICIENTVIT_INLINE Float8 max(Float8 limit, Float8 x) { return {_mm256_max_ps(limit.v, x.v)}; }
    // To [-limit, limit], limit > 0.
    static EFFICIENTVIT_INLINE Float8 clamp(Float8 x, Float8 limit) {
        return min(limit, max(sub(set(0.0f), limit), x));
    }
    static EFFICIENTVIT_INLINE Float8 round(Float8 a) {
        return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
    }
    // x, but at least -126 and at most 128, as a whole number and a rest.
    static EFFICIENTVIT_INLINE void split(Float8 x, Float8& whole, Float8& rest) {
        const Float8 within = min(set(128.0f), max(set(-126.0f), x));
        whole = round(within);
        rest = sub(within, whole);
    }
    // 2^n for integral n in [-126, 127].
    static EFFICIENTVIT_INLINE Float8 exp2_integral(Float8 n) {
        const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
        return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
    }
    // p * 2^n for integral n in [-126, 128]: 128 is one more than an exponent holds, and -126 must not become less.
    static EFFICIENTVIT_INLINE Float8 times_power_of_two(Float8 p, Float8 n) {
        const Float8 below = max(set(-126.0f), sub(n, set(1.0f)));
        return mul(mul(p, exp2_integral(below)), set(2.0f));
    }
    // x / y for y >= 1 or NaN.
    static EFFICIENTVIT_INLINE Float8 quotient(Float8 x, Float8 y) { return div(x, y); }
    // Lane i is the sum of all lanes of x[i].
    static EFFICIENTVIT_INLINE Float8 sums(const Float8 (&x)[8]) {
        const __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(x[0].v, x[1].v), _mm256_hadd_ps(x[2].v, x[3].v));
        const __m256 high = _mm256_hadd_ps(_mm256_hadd_ps(x[4].v, x[5].v), _mm256_hadd_ps(x[6].v, x[7].v));
        return {_mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31))};
    }
    static EFFICIENTVIT_INLINE float sum(Float8 a) {
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
};

// SPDX-License-Identifier: Apache-2.0
//
// AVX-512 (F, VL, BW, DQ): sixteen floats. Included once by kernels.hpp, inside its target region and namespace.

struct Float16 {
    static constexpr int width = 16;
    __m512 v;

    static EFFICIENTVIT_INLINE Float16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
    static EFFICIENTVIT_INLINE Float16 broadcast(const float* p) { return {_mm512_set1_ps(*p)}; }
    static EFFICIENTVIT_INLINE Float16 broadcast_bits(const float* p) { return broadcast(p); }
    static EFFICIENTVIT_INLINE Float16 set(float x) { return {_mm512_set1_ps(x)}; }
    // The even and the odd of pairs of bf16 numbers, widened.
    static EFFICIENTVIT_INLINE Float16 low_halves(const float* p) {
        return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
    }
    static EFFICIENTVIT_INLINE Float16 high_halves(const float* p) {
        return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-0x10000)))};
    }
    // Byte `i` of each word, as a signed number.
    static EFFICIENTVIT_INLINE Float16 signed_bytes(const float* p, int i) {
        const __m512i up = _mm512_sll_epi32(_mm512_loadu_si512(p), _mm_cvtsi32_si128(24 - 8 * i));
        return {_mm512_cvtepi32_ps(_mm512_srai_epi32(up, 24))};
    }
    EFFICIENTVIT_INLINE void hold() { EFFICIENTVIT_HOLD("v", v); }
    EFFICIENTVIT_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }

    static EFFICIENTVIT_INLINE Float16 fma(Float16 a, Float16 b, Float16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
    static EFFICIENTVIT_INLINE Float16 add(Float16 a, Float16 b) { return {_mm512_add_ps(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float16 sub(Float16 a, Float16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float16 mul(Float16 a, Float16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float16 sqrt(Float16 a) { return {_mm512_sqrt_ps(a.v)}; }
    static EFFICIENTVIT_INLINE Float16 div(Float16 a, Float16 b) { return {_mm512_div_ps(a.v, b.v)}; }
    // Where x is NaN, min and max give x.
    static EFFICIENTVIT_INLINE Float16 min(Float16 limit, Float16 x) { return {_mm512_min_ps(limit.v, x.v)}; }
    static EFFICIENTVIT_INLINE Float16 max(Float16 limit, Float16 x) { return {_mm512_max_ps(limit.v, x.v)}; }
    // To [-limit, limit] in one instruction, limit > 0. Where x is NaN, it may give limit or NaN.
    static EFFICIENTVIT_INLINE Float16 clamp(Float16 x, Float16 limit) {
        return {_mm512_range_ps(x.v, limit.v, 0b0010)};  // the smaller magnitude, with the sign of x
    }
    // x, but at least -126, as a whole number and a rest. (A power that is no normal number takes a hundred times as
    // long.) Above 128 times_power_of_two gives infinity.
    static EFFICIENTVIT_INLINE void split(Float16 x, Float16& whole, Float16& rest) {
        const Float16 within = max(set(-126.0f), x);
        rest.v = _mm512_reduce_ps(within.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        whole = sub(within, rest);
    }
    // p * 2^n for integral n from -126 on and p in [0.5, 2].
    static EFFICIENTVIT_INLINE Float16 times_power_of_two(Float16 p, Float16 n) { return {_mm512_scalef_ps(p.v, n.v)}; }
    // x / y for y >= 1 or NaN, in a fifth of the time that division takes, one unit in the last place less exact.
    static EFFICIENTVIT_INLINE Float16 quotient(Float16 x, Float16 y) {
        const __m512 about = _mm512_rcp14_ps(y.v);  // of infinity: 0, which the step below would make NaN
        const __mmask16 finite = _mm512_cmp_ps_mask(y.v, _mm512_set1_ps(infinity), _CMP_NEQ_UQ);
        const __m512 missing = _mm512_fnmadd_ps(y.v, about, _mm512_set1_ps(1.0f));
        return {_mm512_mul_ps(x.v, _mm512_mask_fmadd_ps(about, finite, missing, about))};
    }
    // Lane i is the sum of all lanes of x[i].
    static EFFICIENTVIT_INLINE Float16 sums(const Float16 (&x)[16]) {
        __m512 fours[4];
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < 4; ++i) {
            const __m512 a = x[4 * i].v, b = x[4 * i + 1].v, c = x[4 * i + 2].v, d = x[4 * i + 3].v;
            const __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
            const __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
            fours[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                                     _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
        }
        return {add_quarters(add_quarters(fours[0], fours[1]), add_quarters(fours[2], fours[3]))};
    }
    // Neighbouring quarters of a, then those of b.
    static EFFICIENTVIT_INLINE __m512 add_quarters(__m512 a, __m512 b) {
        return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    }
    static EFFICIENTVIT_INLINE float sum(Float16 a) {
        const __m256 low = _mm512_castps512_ps256(a.v);
        const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1));
        return Float8::sum({_mm256_add_ps(low, high)});
    }
};

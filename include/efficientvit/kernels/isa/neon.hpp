// SPDX-License-Identifier: Apache-2.0
//
// AArch64 NEON: four floats. Included once by kernels.hpp, inside its namespace; every AArch64 has it, so it needs
// no target region.

struct Float4 {
    static constexpr int width = 4;
    float32x4_t v;

    static EFFICIENTVIT_INLINE Float4 load(const float* p) { return {vld1q_f32(p)}; }
    // Neighbouring vectors from p on, which steps behind them: one instruction for four.
    template <int Count>
    static EFFICIENTVIT_INLINE void load_next(Float4 (&x)[Count], const float*& p) {
        if constexpr (Count == 4) {
            const float32x4x4_t four = vld1q_f32_x4(p);
            p += 16;
            EFFICIENTVIT_HOLD("r", p);  // now, so that the same instruction does it
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < 4; ++i) x[i].v = four.val[i];
        } else {
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < Count; ++i) x[i] = load(p + i * width);
            p += Count * width;
        }
    }
    static EFFICIENTVIT_INLINE Float4 broadcast(const float* p) {
        float x = *p;
        EFFICIENTVIT_HOLD("w", x);
        return {vdupq_n_f32(x)};
    }
    static EFFICIENTVIT_INLINE Float4 broadcast_bits(const float* p) { return {vld1q_dup_f32(p)}; }
    static EFFICIENTVIT_INLINE Float4 set(float x) { return {vdupq_n_f32(x)}; }
    // The even and the odd of pairs of bf16 numbers, widened.
    static EFFICIENTVIT_INLINE Float4 low_halves(const float* p) {
        return {vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(vld1q_f32(p)), 16))};
    }
    static EFFICIENTVIT_INLINE Float4 high_halves(const float* p) {
        return {vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(vld1q_f32(p)), vdupq_n_u32(0xffff0000u)))};
    }
    // Byte `i` of each word, as a signed number.
    static EFFICIENTVIT_INLINE Float4 signed_bytes(const float* p, int i) {
        const int32x4_t up = vshlq_s32(vreinterpretq_s32_f32(vld1q_f32(p)), vdupq_n_s32(24 - 8 * i));
        return {vcvtq_f32_s32(vshrq_n_s32(up, 24))};
    }
    EFFICIENTVIT_INLINE void hold() { EFFICIENTVIT_HOLD("w", v); }
    EFFICIENTVIT_INLINE void store(float* p) const { vst1q_f32(p, v); }

    static EFFICIENTVIT_INLINE Float4 fma(Float4 a, Float4 b, Float4 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
    // The same, and a * b[Element] + c, for tiles that fill the registers. What a compiler knows nothing about stays
    // where it is: of the intrinsics GCC 12 moves sums from one register to another, and Clang spills them.
    static EFFICIENTVIT_INLINE Float4 fma_in_place(Float4 a, Float4 b, Float4 c) {
#if defined(_MSC_VER) && !defined(__clang__)
        return fma(a, b, c);
#else
        __asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(c.v) : "w"(a.v), "w"(b.v));
        return c;
#endif
    }
    template <int Element>
    static EFFICIENTVIT_INLINE Float4 fma_element(Float4 a, Float4 b, Float4 c) {
#if defined(_MSC_VER) && !defined(__clang__)
        return {vfmaq_laneq_f32(c.v, a.v, b.v, Element)};
#else
        __asm__("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(c.v) : "w"(a.v), "w"(b.v), "i"(Element));
        return c;
#endif
    }
    static EFFICIENTVIT_INLINE Float4 add(Float4 a, Float4 b) { return {vaddq_f32(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float4 sub(Float4 a, Float4 b) { return {vsubq_f32(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float4 mul(Float4 a, Float4 b) { return {vmulq_f32(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float4 sqrt(Float4 a) { return {vsqrtq_f32(a.v)}; }
    static EFFICIENTVIT_INLINE Float4 div(Float4 a, Float4 b) { return {vdivq_f32(a.v, b.v)}; }
    // Where x or the limit is NaN, min and max give NaN.
    static constexpr bool max_keeps_nan = true;
    static EFFICIENTVIT_INLINE Float4 min(Float4 limit, Float4 x) { return {vminq_f32(limit.v, x.v)}; }
    static EFFICIENTVIT_INLINE Float4 max(Float4 limit, Float4 x) { return {vmaxq_f32(limit.v, x.v)}; }
    // To [-limit, limit], limit > 0.
    static EFFICIENTVIT_INLINE Float4 clamp(Float4 x, Float4 limit) {
        return min(limit, max(sub(set(0.0f), limit), x));
    }
    static EFFICIENTVIT_INLINE Float4 round(Float4 a) { return {vrndnq_f32(a.v)}; }
    // x, but at least -126 and at most 128, as a whole number and a rest.
    static EFFICIENTVIT_INLINE void split(Float4 x, Float4& whole, Float4& rest) {
        const Float4 within = min(set(128.0f), max(set(-126.0f), x));
        whole = round(within);
        rest = sub(within, whole);
    }
    // 2^n for integral n in [-126, 127].
    static EFFICIENTVIT_INLINE Float4 exp2_integral(Float4 n) {
        const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n.v), vdupq_n_s32(127));
        return {vreinterpretq_f32_s32(vshlq_n_s32(biased, 23))};
    }
    // p * 2^n for integral n in [-126, 128]: 128 is one more than an exponent holds, and -126 must not become less.
    static EFFICIENTVIT_INLINE Float4 times_power_of_two(Float4 p, Float4 n) {
        const Float4 below = max(set(-126.0f), sub(n, set(1.0f)));
        return mul(mul(p, exp2_integral(below)), set(2.0f));
    }
    // x / y for y >= 1 or NaN.
    static EFFICIENTVIT_INLINE Float4 quotient(Float4 x, Float4 y) { return div(x, y); }
    // Lane i is the sum of all lanes of x[i].
    static EFFICIENTVIT_INLINE Float4 sums(const Float4 (&x)[4]) {
        return {vpaddq_f32(vpaddq_f32(x[0].v, x[1].v), vpaddq_f32(x[2].v, x[3].v))};
    }
    static EFFICIENTVIT_INLINE float sum(Float4 a) { return vaddvq_f32(a.v); }
};

// SPDX-License-Identifier: Apache-2.0
//
// WebAssembly's 128-bit SIMD: four floats. Included once by kernels.hpp, inside its namespace; a module has it as a
// whole or not at all, by -msimd128, so it needs no target region. Compiled with -mrelaxed-simd, fma is what the engine
// finds fastest, one rounding or two; without, always two.

struct Float4 {
    static constexpr int width = 4;
    v128_t v;

    static EFFICIENTVIT_INLINE Float4 load(const float* p) { return {wasm_v128_load(p)}; }
    static EFFICIENTVIT_INLINE Float4 broadcast(const float* p) { return {wasm_v128_load32_splat(p)}; }
    static EFFICIENTVIT_INLINE Float4 broadcast_bits(const float* p) { return broadcast(p); }
    static EFFICIENTVIT_INLINE Float4 set(float x) { return {wasm_f32x4_splat(x)}; }
    // The even and the odd of pairs of bf16 numbers, widened.
    static EFFICIENTVIT_INLINE Float4 low_halves(const float* p) { return {wasm_i32x4_shl(wasm_v128_load(p), 16)}; }
    static EFFICIENTVIT_INLINE Float4 high_halves(const float* p) {
        return {wasm_v128_and(wasm_v128_load(p), wasm_i32x4_const_splat(-0x10000))};
    }
    // Byte `i` of each word, as a signed number.
    static EFFICIENTVIT_INLINE Float4 signed_bytes(const float* p, int i) {
        return {wasm_f32x4_convert_i32x4(wasm_i32x4_shr(wasm_i32x4_shl(wasm_v128_load(p), 24 - 8 * i), 24))};
    }
    EFFICIENTVIT_INLINE void hold() {}  // registers are the engine's to hand out
    EFFICIENTVIT_INLINE void store(float* p) const { wasm_v128_store(p, v); }

    static EFFICIENTVIT_INLINE Float4 fma(Float4 a, Float4 b, Float4 c) {
#if defined(__wasm_relaxed_simd__)
        return {wasm_f32x4_relaxed_madd(a.v, b.v, c.v)};
#else
        return {wasm_f32x4_add(wasm_f32x4_mul(a.v, b.v), c.v)};
#endif
    }
    static EFFICIENTVIT_INLINE Float4 add(Float4 a, Float4 b) { return {wasm_f32x4_add(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float4 sub(Float4 a, Float4 b) { return {wasm_f32x4_sub(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float4 mul(Float4 a, Float4 b) { return {wasm_f32x4_mul(a.v, b.v)}; }
    static EFFICIENTVIT_INLINE Float4 sqrt(Float4 a) { return {wasm_f32x4_sqrt(a.v)}; }
    static EFFICIENTVIT_INLINE Float4 div(Float4 a, Float4 b) { return {wasm_f32x4_div(a.v, b.v)}; }
    // Where x is NaN, min and max give x. pmin and pmax are one instruction of x86's; min and max would be five.
    static EFFICIENTVIT_INLINE Float4 min(Float4 limit, Float4 x) { return {wasm_f32x4_pmin(x.v, limit.v)}; }
    static EFFICIENTVIT_INLINE Float4 max(Float4 limit, Float4 x) { return {wasm_f32x4_pmax(x.v, limit.v)}; }
    // To [-limit, limit], limit > 0.
    static EFFICIENTVIT_INLINE Float4 clamp(Float4 x, Float4 limit) {
        return min(limit, max(sub(set(0.0f), limit), x));
    }
    static EFFICIENTVIT_INLINE Float4 round(Float4 a) { return {wasm_f32x4_nearest(a.v)}; }
    // x, but at least -126 and at most 128, as a whole number and a rest.
    static EFFICIENTVIT_INLINE void split(Float4 x, Float4& whole, Float4& rest) {
        const Float4 within = min(set(128.0f), max(set(-126.0f), x));
        whole = round(within);
        rest = sub(within, whole);
    }
    // 2^n for integral n in [-126, 127]: behind 1.5 * 2^23 the last bits are n + 127. To convert n would take several
    // instructions, since WebAssembly defines what NaN becomes.
    static EFFICIENTVIT_INLINE Float4 exp2_integral(Float4 n) {
        return {wasm_i32x4_shl(wasm_f32x4_add(n.v, wasm_f32x4_const_splat(12582912.0f + 127.0f)), 23)};
    }
    // p * 2^n for integral n in [-126, 128]: 128 is one more than an exponent holds, and -126 must not become less.
    static EFFICIENTVIT_INLINE Float4 times_power_of_two(Float4 p, Float4 n) {
        const Float4 below = max(set(-126.0f), sub(n, set(1.0f)));
        return mul(mul(p, exp2_integral(below)), set(2.0f));
    }
    // x / y for y >= 1 or NaN.
    static EFFICIENTVIT_INLINE Float4 quotient(Float4 x, Float4 y) { return div(x, y); }
    // Lane i is the sum of all lanes of x[i], added as sum() adds them.
    static EFFICIENTVIT_INLINE Float4 sums(const Float4 (&x)[4]) {
        const Float4 first = halves(x[0], x[1]), second = halves(x[2], x[3]);
        return {wasm_f32x4_add(wasm_i32x4_shuffle(first.v, second.v, 0, 1, 4, 5),
                               wasm_i32x4_shuffle(first.v, second.v, 2, 3, 6, 7))};
    }
    static EFFICIENTVIT_INLINE float sum(Float4 a) {
        const v128_t two = wasm_f32x4_add(a.v, wasm_i32x4_shuffle(a.v, a.v, 2, 3, 2, 3));
        return wasm_f32x4_extract_lane(two, 0) + wasm_f32x4_extract_lane(two, 1);
    }

private:
    // Lanes 0 and 1 of each and lanes 2 and 3 of each, added: of a, of b, of a, of b.
    static EFFICIENTVIT_INLINE Float4 halves(Float4 a, Float4 b) {
        return {wasm_f32x4_add(wasm_i32x4_shuffle(a.v, b.v, 0, 4, 1, 5), wasm_i32x4_shuffle(a.v, b.v, 2, 6, 3, 7))};
    }
};

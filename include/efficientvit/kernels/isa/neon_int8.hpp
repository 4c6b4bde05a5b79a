// SPDX-License-Identifier: Apache-2.0
//
// Products of bytes on every AArch64. Included by int8.hpp, inside neon's namespace.

// What a sum of byte products begins with; `group` are the sums of weights.
EFFICIENTVIT_INLINE Integers4 byte_sum_begin(const float*, Float4) { return {vdupq_n_s32(0)}; }

// sum + x.byte0 * w.byte0 + ... + x.byte3 * w.byte3 for each word, x unsigned, w signed, sums integers. A product fits
// in 16 bits.
EFFICIENTVIT_INLINE Integers4 add_byte_products(Float4 x, Float4 w, Integers4 sum) {
    const int16x8_t xs = vreinterpretq_s16_f32(x.v), ws = vreinterpretq_s16_f32(w.v);
    const int16x8_t x_even = vandq_s16(xs, vdupq_n_s16(0xff));
    const int16x8_t x_odd = vreinterpretq_s16_u16(vshrq_n_u16(vreinterpretq_u16_s16(xs), 8));
    const int16x8_t w_even = vshrq_n_s16(vshlq_n_s16(ws, 8), 8), w_odd = vshrq_n_s16(ws, 8);
    return {vpadalq_s16(vpadalq_s16(sum.v, vmulq_s16(x_even, w_even)), vmulq_s16(x_odd, w_odd))};
}

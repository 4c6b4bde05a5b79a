// SPDX-License-Identifier: Apache-2.0
//
// Arm's dot products (Armv8.2 with the option, and 8.4). Included by int8.hpp, inside a target region and namespace.
// Both factors are signed here: 128 less of each input, which the sum of the weights makes up for.

// What a sum of byte products begins with; `group` are the sums of weights.
EFFICIENTVIT_INLINE Integers4 byte_sum_begin(const float* group, Float4) {
    return {vshlq_n_s32(load_integers(group, Float4{}).v, 7)};
}

// sum + x.byte0 * w.byte0 + ... + x.byte3 * w.byte3 for each word, x unsigned, w signed, sums integers, less 128 times
// the sum of w.
EFFICIENTVIT_INLINE Integers4 add_byte_products(Float4 x, Float4 w, Integers4 sum) {
    const int8x16_t signed_x = veorq_s8(vreinterpretq_s8_f32(x.v), vdupq_n_s8(-128));
    return {vdotq_s32(sum.v, signed_x, vreinterpretq_s8_f32(w.v))};
}

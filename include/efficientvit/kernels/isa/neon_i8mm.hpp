// SPDX-License-Identifier: Apache-2.0
//
// Arm's I8MM (Armv8.6, and before it as an option), whose dot product takes unsigned by signed bytes. Included by
// int8.hpp, inside a target region and namespace.

// What a sum of byte products begins with; `group` are the sums of weights.
EFFICIENTVIT_INLINE Integers4 byte_sum_begin(const float*, Float4) { return {vdupq_n_s32(0)}; }

// sum + x.byte0 * w.byte0 + ... + x.byte3 * w.byte3 for each word, x unsigned, w signed, sums integers.
EFFICIENTVIT_INLINE Integers4 add_byte_products(Float4 x, Float4 w, Integers4 sum) {
    return {vusdotq_s32(sum.v, vreinterpretq_u8_f32(x.v), vreinterpretq_s8_f32(w.v))};
}

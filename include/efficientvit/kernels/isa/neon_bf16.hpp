// SPDX-License-Identifier: Apache-2.0
//
// Arm's BF16 (Armv8.6, and before it as an option): products of pairs, summed in float. Included by bf16.hpp, inside a
// target region and namespace.

// sum + x.even * w.even + x.odd * w.odd for each word of x and w, a pair of bf16 numbers.
EFFICIENTVIT_INLINE Float4 add_pair_products(Float4 x, Float4 w, Float4 sum) {
    return {vbfdotq_f32(sum.v, vreinterpretq_bf16_f32(x.v), vreinterpretq_bf16_f32(w.v))};
}

// Words of neighbouring lanes: those of `low`, then those of `high`.
EFFICIENTVIT_INLINE Float4 rounded_pairs(Float4 low, Float4 high) {
    return {vreinterpretq_f32_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(low.v), high.v))};
}

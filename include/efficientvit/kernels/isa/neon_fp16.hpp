// SPDX-License-Identifier: Apache-2.0
//
// Arm's FP16 (Armv8.2, and FEAT_FP16 before it as an option): eight products of halves, summed in halves. Included by
// f16.hpp, inside a target region and namespace. FHM (fmlal) sums in float, but four products an instruction, no more
// than fmla of floats.

struct HalfSum8 {
    float16x8_t v;
};

EFFICIENTVIT_INLINE HalfSum8 half_sum_begin(Float4) { return {vreinterpretq_f16_u16(vdupq_n_u16(0))}; }

// sum + w * x[Element] for each of eight halves. Not by vfmaq_laneq_f16: of that GCC 12 makes scalars, which it keeps
// on the stack.
template <int Element>
EFFICIENTVIT_INLINE HalfSum8 add_half_products(Float4 w, Float4 x, HalfSum8 sum) {
    __asm__("fmla %0.8h, %1.8h, %2.h[%3]" : "+w"(sum.v) : "w"(w.v), "x"(x.v), "i"(Element));
    return sum;
}

// scale * sum is added to the floats.
EFFICIENTVIT_INLINE void add_half_sum(HalfSum8 sum, Float4 scale, Float4& low, Float4& high) {
    low = Float4::fma(scale, {vcvt_f32_f16(vget_low_f16(sum.v))}, low);
    high = Float4::fma(scale, {vcvt_high_f32_f16(sum.v)}, high);
}

// Halves of neighbouring lanes: those of `low`, then those of `high`.
EFFICIENTVIT_INLINE Float4 rounded_halves(Float4 low, Float4 high) {
    return {vreinterpretq_f32_f16(vcvt_high_f16_f32(vcvt_f16_f32(low.v), high.v))};
}

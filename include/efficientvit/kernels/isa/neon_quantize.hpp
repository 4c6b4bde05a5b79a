// SPDX-License-Identifier: Apache-2.0
//
// Integers and bytes in four lanes, but for their products. Included by int8.hpp, inside a target region and namespace.

struct Integers4 {
    int32x4_t v;
};

EFFICIENTVIT_INLINE Integers4 load_integers(const float* p, Float4) { return {vreinterpretq_s32_f32(vld1q_f32(p))}; }

EFFICIENTVIT_INLINE Float4 to_float(Integers4 integers) { return {vcvtq_f32_s32(integers.v)}; }

EFFICIENTVIT_INLINE float largest_lane(Float4 x) { return vmaxvq_f32(x.v); }
// Lane i is that of x[i].
EFFICIENTVIT_INLINE Float4 least_lanes(const Float4 (&x)[4]) {
    return {vpminq_f32(vpminq_f32(x[0].v, x[1].v), vpminq_f32(x[2].v, x[3].v))};
}
EFFICIENTVIT_INLINE Float4 largest_lanes(const Float4 (&x)[4]) {
    return {vpmaxq_f32(vpmaxq_f32(x[0].v, x[1].v), vpmaxq_f32(x[2].v, x[3].v))};
}
EFFICIENTVIT_INLINE Float4 zero_below(Float4 x, Float4 limit) {
    return {vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x.v), vcgeq_f32(x.v, limit.v)))};
}
template <int Count>
EFFICIENTVIT_INLINE bool any_nan(const Float4 (&x)[Count]) {
    Float4 most = x[0];  // NaN if any is
    EFFICIENTVIT_UNROLL
    for (int i = 1; i < Count; ++i) most = Float4::max(most, x[i]);
    const float largest = largest_lane(most);
    return largest != largest;
}

// Each lane to the nearest byte, ties to even. It may be a little more than 255, or, where that does not matter, any
// number.
template <int Count>
EFFICIENTVIT_INLINE void store_bytes(const Float4 (&x)[Count], float* to) {
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; i += 4) {
        uint16x4_t n[4];
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < 4; ++j) n[j] = vqmovn_u32(vcvtnq_u32_f32(x[i + j].v));
        const uint8x8_t low = vqmovn_u16(vcombine_u16(n[0], n[1])), high = vqmovn_u16(vcombine_u16(n[2], n[3]));
        vst1q_f32(to + i, vreinterpretq_f32_u8(vcombine_u8(low, high)));
    }
}

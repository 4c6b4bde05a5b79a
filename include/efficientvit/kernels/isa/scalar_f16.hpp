// SPDX-License-Identifier: Apache-2.0
//
// Products of halves in portable C++, summed in float. Included by f16.hpp, inside scalar's namespace.

EFFICIENTVIT_INLINE float widened_half(unsigned half) {
    const unsigned sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3ffu;
    if (exponent == 0) {
        const float size = static_cast<float>(fraction) * 0x1p-24f;
        return sign != 0 ? -size : size;
    }
    return __builtin_bit_cast(float, sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | fraction << 13);
}

// To nearest, ties to even, by whole numbers: additions of floats would round by the caller's mode.
EFFICIENTVIT_INLINE unsigned half_bits(float x) {
    const unsigned bits = __builtin_bit_cast(unsigned, x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return sign | 0x7e00u;
    if (size >= 0x477ff000u) return sign | 0x7c00u;  // 65520
    if (size >= 0x38800000u) return sign | (((size + 0xfffu + (size >> 13 & 1u)) >> 13) - (112u << 10));
    const unsigned shift = 126u - (size >> 23);
    if (shift > 24) return sign;
    const unsigned fraction = (size & 0x7fffffu) | 0x800000u;
    return sign | (fraction + (1u << (shift - 1)) - 1u + (fraction >> shift & 1u)) >> shift;
}

struct HalfSum8 {
    Float4 low, high;
};

EFFICIENTVIT_INLINE HalfSum8 half_sum_begin(Float4) { return {Float4::set(0.0f), Float4::set(0.0f)}; }

// sum + w * x[Element] for each of eight halves.
template <int Element>
EFFICIENTVIT_INLINE HalfSum8 add_half_products(Float4 w, Float4 x, HalfSum8 sum) {
    unsigned short ws[8], xs[8];
    EFFICIENTVIT_COPY(ws, &w.v, sizeof(ws));
    EFFICIENTVIT_COPY(xs, &x.v, sizeof(xs));
    const Float4 value = Float4::set(widened_half(xs[Element]));
    const Float4 low = {Four{widened_half(ws[0]), widened_half(ws[1]), widened_half(ws[2]), widened_half(ws[3])}};
    const Float4 high = {Four{widened_half(ws[4]), widened_half(ws[5]), widened_half(ws[6]), widened_half(ws[7])}};
    return {Float4::fma(value, low, sum.low), Float4::fma(value, high, sum.high)};
}

// scale * sum is added to the floats.
EFFICIENTVIT_INLINE void add_half_sum(HalfSum8 sum, Float4 scale, Float4& low, Float4& high) {
    low = Float4::fma(scale, sum.low, low);
    high = Float4::fma(scale, sum.high, high);
}

// Halves of neighbouring lanes: those of `low`, then those of `high`.
EFFICIENTVIT_INLINE Float4 rounded_halves(Float4 low, Float4 high) {
    unsigned short halves[8];
    for (int i = 0; i < 4; ++i) {
        halves[i] = static_cast<unsigned short>(half_bits(low.v[i]));
        halves[4 + i] = static_cast<unsigned short>(half_bits(high.v[i]));
    }
    Float4 y;
    EFFICIENTVIT_COPY(&y.v, halves, sizeof(halves));
    return y;
}

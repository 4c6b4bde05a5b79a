// SPDX-License-Identifier: Apache-2.0
//
// Portable C++: four floats at a time, as the compiler sees fit. Included once by kernels.hpp, inside its namespace. It
// is what runs on a CPU without any of the other ISAs. a * b + c may be two roundings here, so results differ from
// the other ISAs in the last bits.

struct Float4 {
    static constexpr int width = 4;
#if defined(__GNUC__)
    using Four = float __attribute__((vector_size(16)));
#else
    struct Four {
        float lane[4];
        float& operator[](int i) { return lane[i]; }
        const float& operator[](int i) const { return lane[i]; }
        Four operator+(const Four& o) const { return {lane[0] + o[0], lane[1] + o[1], lane[2] + o[2], lane[3] + o[3]}; }
        Four operator-(const Four& o) const { return {lane[0] - o[0], lane[1] - o[1], lane[2] - o[2], lane[3] - o[3]}; }
        Four operator*(const Four& o) const { return {lane[0] * o[0], lane[1] * o[1], lane[2] * o[2], lane[3] * o[3]}; }
        Four operator/(const Four& o) const { return {lane[0] / o[0], lane[1] / o[1], lane[2] / o[2], lane[3] / o[3]}; }
    };
#endif
    Four v;

    static EFFICIENTVIT_INLINE Float4 load(const float* p) { return {Four{p[0], p[1], p[2], p[3]}}; }
    static EFFICIENTVIT_INLINE Float4 broadcast(const float* p) { return set(*p); }
    static EFFICIENTVIT_INLINE Float4 set(float x) { return {Four{x, x, x, x}}; }
    EFFICIENTVIT_INLINE void store(float* p) const {
        for (int i = 0; i < 4; ++i) p[i] = v[i];
    }

    static EFFICIENTVIT_INLINE Float4 fma(Float4 a, Float4 b, Float4 c) { return {a.v * b.v + c.v}; }
    static EFFICIENTVIT_INLINE Float4 add(Float4 a, Float4 b) { return {a.v + b.v}; }
    static EFFICIENTVIT_INLINE Float4 sub(Float4 a, Float4 b) { return {a.v - b.v}; }
    static EFFICIENTVIT_INLINE Float4 mul(Float4 a, Float4 b) { return {a.v * b.v}; }
    static EFFICIENTVIT_INLINE Float4 div(Float4 a, Float4 b) { return {a.v / b.v}; }
    // Where x is NaN, min and max give x.
    static EFFICIENTVIT_INLINE Float4 min(Float4 limit, Float4 x) {
        Float4 y;
        for (int i = 0; i < 4; ++i) y.v[i] = limit.v[i] < x.v[i] ? limit.v[i] : x.v[i];
        return y;
    }
    static EFFICIENTVIT_INLINE Float4 max(Float4 limit, Float4 x) {
        Float4 y;
        for (int i = 0; i < 4; ++i) y.v[i] = limit.v[i] > x.v[i] ? limit.v[i] : x.v[i];
        return y;
    }
    // To nearest, ties to even, for |a| < 2^22: adding 1.5 * 2^23 leaves no bits below one. NaN stays.
    static EFFICIENTVIT_INLINE Float4 round(Float4 a) { return sub(add(a, set(12582912.0f)), set(12582912.0f)); }
    // 2^n for integral n in [-126, 127].
    static EFFICIENTVIT_INLINE Float4 exp2_integral(Float4 n) {
        Float4 y;
        for (int i = 0; i < 4; ++i) {
            // A NaN must not become an integer; the caller multiplies by another NaN anyway.
            const int exponent = n.v[i] == n.v[i] ? static_cast<int>(n.v[i]) : 0;
            y.v[i] = __builtin_bit_cast(float, static_cast<unsigned>(exponent + 127) << 23);
        }
        return y;
    }
    static EFFICIENTVIT_INLINE float sum(Float4 a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
};

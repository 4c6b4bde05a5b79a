// SPDX-License-Identifier: Apache-2.0
//
// Portable C++: four floats at a time, as the compiler sees fit. Included once by kernels.hpp, inside its namespace. It
// is what runs on a CPU without any of the other ISAs. a * b + c may be two roundings here, so results differ from
// the other ISAs in the last bits.

#if defined(__GNUC__)
// GCC's and Clang's vectors: on x86-64 these are SSE2, elsewhere whatever there is.
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

struct Float4 {
    static constexpr int width = 4;
    Four v;

    static EFFICIENTVIT_INLINE Float4 load(const float* p) {
        Float4 y;
        EFFICIENTVIT_COPY(&y.v, p, sizeof(y.v));
        return y;
    }
    static EFFICIENTVIT_INLINE Float4 broadcast(const float* p) { return set(*p); }
    // Not as a float, which the x87 unit would change where it is a signalling NaN.
    static EFFICIENTVIT_INLINE Float4 broadcast_bits(const float* p) {
        Float4 y;
        for (int i = 0; i < 4; ++i) EFFICIENTVIT_COPY(reinterpret_cast<char*>(&y.v) + 4 * i, p, 4);
        return y;
    }
    static EFFICIENTVIT_INLINE Float4 set(float x) { return {Four{x, x, x, x}}; }
    // The even and the odd of pairs of bf16 numbers, widened.
    static EFFICIENTVIT_INLINE float low_half(const float* p) {
        unsigned word;
        EFFICIENTVIT_COPY(&word, p, sizeof(word));
        return __builtin_bit_cast(float, word << 16);
    }
    static EFFICIENTVIT_INLINE float high_half(const float* p) {
        unsigned word;
        EFFICIENTVIT_COPY(&word, p, sizeof(word));
        return __builtin_bit_cast(float, word & 0xffff0000u);
    }
    static EFFICIENTVIT_INLINE Float4 low_halves(const float* p) {
        return {Four{low_half(p), low_half(p + 1), low_half(p + 2), low_half(p + 3)}};
    }
    static EFFICIENTVIT_INLINE Float4 high_halves(const float* p) {
        return {Four{high_half(p), high_half(p + 1), high_half(p + 2), high_half(p + 3)}};
    }
    // Byte `i` of each word, as a signed number.
    static EFFICIENTVIT_INLINE Float4 signed_bytes(const float* p, int i) {
        signed char bytes[16];
        EFFICIENTVIT_COPY(bytes, p, sizeof(bytes));
        Float4 y;
        for (int lane = 0; lane < 4; ++lane) y.v[lane] = bytes[4 * lane + i];
        return y;
    }
    EFFICIENTVIT_INLINE void hold() {}
    EFFICIENTVIT_INLINE void store(float* p) const { EFFICIENTVIT_COPY(p, &v, sizeof(v)); }

    static EFFICIENTVIT_INLINE Float4 fma(Float4 a, Float4 b, Float4 c) { return {a.v * b.v + c.v}; }
    static EFFICIENTVIT_INLINE Float4 add(Float4 a, Float4 b) { return {a.v + b.v}; }
    static EFFICIENTVIT_INLINE Float4 sub(Float4 a, Float4 b) { return {a.v - b.v}; }
    static EFFICIENTVIT_INLINE Float4 mul(Float4 a, Float4 b) { return {a.v * b.v}; }
    static EFFICIENTVIT_INLINE Float4 div(Float4 a, Float4 b) { return {a.v / b.v}; }
    // Of zero, or of normal numbers that are not huge: a first guess from the exponent, then Newton's steps.
    static EFFICIENTVIT_INLINE float root(float x) {
        unsigned bits;
        EFFICIENTVIT_COPY(&bits, &x, sizeof(bits));
        bits = (bits >> 1) + 0x1fbd1df5u;
        float y;
        EFFICIENTVIT_COPY(&y, &bits, sizeof(y));
        for (int i = 0; i < 4; ++i) y = 0.5f * (y + x / y);
        return y;
    }
    static EFFICIENTVIT_INLINE Float4 sqrt(Float4 a) {
        return {Four{root(a.v[0]), root(a.v[1]), root(a.v[2]), root(a.v[3])}};
    }
    // Where x is NaN, min and max give x.
    static EFFICIENTVIT_INLINE float smaller(float limit, float x) { return limit < x ? limit : x; }
    static EFFICIENTVIT_INLINE float larger(float limit, float x) { return limit > x ? limit : x; }
    static EFFICIENTVIT_INLINE Float4 min(Float4 a, Float4 x) {
#if defined(__GNUC__)
        return {a.v < x.v ? a.v : x.v};
#else
        return {
            Four{smaller(a.v[0], x.v[0]), smaller(a.v[1], x.v[1]), smaller(a.v[2], x.v[2]), smaller(a.v[3], x.v[3])}};
#endif
    }
    static EFFICIENTVIT_INLINE Float4 max(Float4 a, Float4 x) {
#if defined(__GNUC__)
        return {a.v > x.v ? a.v : x.v};
#else
        return {Four{larger(a.v[0], x.v[0]), larger(a.v[1], x.v[1]), larger(a.v[2], x.v[2]), larger(a.v[3], x.v[3])}};
#endif
    }
    // To [-limit, limit], limit > 0.
    static EFFICIENTVIT_INLINE Float4 clamp(Float4 x, Float4 limit) {
        return min(limit, max(sub(set(0.0f), limit), x));
    }
    // To nearest, ties to even, for |a| < 2^22: adding 1.5 * 2^23 leaves no bits below one. NaN stays.
    static EFFICIENTVIT_INLINE Float4 round(Float4 a) {
        Float4 shifted = add(a, set(12582912.0f));
#if defined(__GNUC__) && defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
        __asm__("" : "+m"(shifted.v));  // the x87 unit keeps bits that a float has not, until it is stored
#endif
        return sub(shifted, set(12582912.0f));
    }
    // x, but at least -126 and at most 128, as a whole number and a rest.
    static EFFICIENTVIT_INLINE void split(Float4 x, Float4& whole, Float4& rest) {
        const Float4 within = min(set(128.0f), max(set(-126.0f), x));
        whole = round(within);
        rest = sub(within, whole);
    }
    // 2^n for integral n in [-126, 127]. A NaN must not become an integer; the caller multiplies by another NaN anyway.
    static EFFICIENTVIT_INLINE float power(float n) {
        const int exponent = n == n ? static_cast<int>(n) : 0;
        return __builtin_bit_cast(float, static_cast<unsigned>(exponent + 127) << 23);
    }
    static EFFICIENTVIT_INLINE Float4 exp2_integral(Float4 n) {
        return {Four{power(n.v[0]), power(n.v[1]), power(n.v[2]), power(n.v[3])}};
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
        return {Four{sum(x[0]), sum(x[1]), sum(x[2]), sum(x[3])}};
    }
    static EFFICIENTVIT_INLINE float sum(Float4 a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
};

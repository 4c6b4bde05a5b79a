// SPDX-License-Identifier: Apache-2.0
//
// Products of bytes in portable C++. Included by int8.hpp, inside scalar's namespace.

struct Integers4 {
    int v[4];
};

EFFICIENTVIT_INLINE Integers4 load_integers(const float* p, Float4) {
    Integers4 integers;
    EFFICIENTVIT_COPY(&integers, p, sizeof(integers));
    return integers;
}

// What a sum of byte products begins with; `group` are the sums of weights.
EFFICIENTVIT_INLINE Integers4 byte_sum_begin(const float*, Float4) { return {{0, 0, 0, 0}}; }

// sum + x.byte0 * w.byte0 + ... + x.byte3 * w.byte3 for each word, x unsigned, w signed, sums integers.
EFFICIENTVIT_INLINE Integers4 add_byte_products(Float4 x, Float4 w, Integers4 sum) {
    unsigned char xs[16];
    signed char ws[16];
    EFFICIENTVIT_COPY(xs, &x.v, sizeof(xs));
    EFFICIENTVIT_COPY(ws, &w.v, sizeof(ws));
    for (int i = 0; i < 16; ++i) sum.v[i / 4] += xs[i] * ws[i];
    return sum;
}

EFFICIENTVIT_INLINE Float4 to_float(Integers4 integers) {
    return {Four{static_cast<float>(integers.v[0]), static_cast<float>(integers.v[1]),
                 static_cast<float>(integers.v[2]), static_cast<float>(integers.v[3])}};
}

// Lane i is that of x[i], which has no NaN.
EFFICIENTVIT_INLINE float least_lane(Float4 x) {
    return Float4::smaller(Float4::smaller(x.v[0], x.v[1]), Float4::smaller(x.v[2], x.v[3]));
}
EFFICIENTVIT_INLINE float largest_lane(Float4 x) {
    return Float4::larger(Float4::larger(x.v[0], x.v[1]), Float4::larger(x.v[2], x.v[3]));
}
EFFICIENTVIT_INLINE Float4 least_lanes(const Float4 (&x)[4]) {
    return {Four{least_lane(x[0]), least_lane(x[1]), least_lane(x[2]), least_lane(x[3])}};
}
EFFICIENTVIT_INLINE Float4 largest_lanes(const Float4 (&x)[4]) {
    return {Four{largest_lane(x[0]), largest_lane(x[1]), largest_lane(x[2]), largest_lane(x[3])}};
}
EFFICIENTVIT_INLINE Float4 zero_below(Float4 x, Float4 limit) {
    for (int i = 0; i < 4; ++i) x.v[i] = x.v[i] >= limit.v[i] ? x.v[i] : 0.0f;
    return x;
}
template <int Count>
EFFICIENTVIT_INLINE bool any_nan(const Float4 (&x)[Count]) {
    bool any = false;
    for (int i = 0; i < Count; ++i) {
        for (int lane = 0; lane < 4; ++lane) any = any || x[i].v[lane] != x[i].v[lane];
    }
    return any;
}

// Each lane to the nearest byte, ties to even. It may be a little more than 255, or, where that does not matter, any
// number.
template <int Count>
EFFICIENTVIT_INLINE void store_bytes(const Float4 (&x)[Count], float* to) {
    unsigned char bytes[Count * 4];
    for (int i = 0; i < Count; ++i) {
        const Float4 rounded = Float4::round(x[i]);
        for (int lane = 0; lane < 4; ++lane) {
            const float value = rounded.v[lane];
            bytes[i * 4 + lane] = static_cast<unsigned char>(value >= 0.0f ? value < 255.0f ? value : 255.0f : 0.0f);
        }
    }
    EFFICIENTVIT_COPY(to, bytes, sizeof(bytes));
}

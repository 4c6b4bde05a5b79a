// SPDX-License-Identifier: Apache-2.0
//
// Bytes in WebAssembly's 128 bits: products of integers of 16 bits, as avx2_int8.hpp's. Included by int8.hpp, inside
// wasm's namespace.

struct Integers4 {
    v128_t v;
};

EFFICIENTVIT_INLINE Integers4 load_integers(const float* p, Float4) { return {wasm_v128_load(p)}; }

// What a sum of byte products begins with; `group` are the sums of weights.
EFFICIENTVIT_INLINE Integers4 byte_sum_begin(const float*, Float4) { return {wasm_i32x4_const_splat(0)}; }

EFFICIENTVIT_INLINE Float4 to_float(Integers4 integers) { return {wasm_f32x4_convert_i32x4(integers.v)}; }

// Bytes 0 and 2, or 1 and 3, of each word.
EFFICIENTVIT_INLINE Float4 even_bytes(const float* p, Float4) {
    return {wasm_i16x8_shr(wasm_i16x8_shl(wasm_v128_load(p), 8), 8)};
}
EFFICIENTVIT_INLINE Float4 odd_bytes(const float* p, Float4) { return {wasm_i16x8_shr(wasm_v128_load(p), 8)}; }

// sum + x.half0 * w.half0 + x.half1 * w.half1 for each word, all of them integers.
EFFICIENTVIT_INLINE Integers4 add_word_products(Float4 x, Float4 w, Integers4 sum) {
    return {wasm_i32x4_add(sum.v, wasm_i32x4_dot_i16x8(x.v, w.v))};
}

struct Least {
    static EFFICIENTVIT_INLINE v128_t of(v128_t a, v128_t b) { return wasm_f32x4_pmin(a, b); }
};
struct Largest {
    static EFFICIENTVIT_INLINE v128_t of(v128_t a, v128_t b) { return wasm_f32x4_pmax(a, b); }
};
template <class Pick>
EFFICIENTVIT_INLINE Float4 pick_lanes(const Float4 (&x)[4]) {
    const v128_t a = x[0].v, b = x[1].v, c = x[2].v, d = x[3].v;
    const v128_t ab = Pick::of(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
    const v128_t cd = Pick::of(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
    return {Pick::of(wasm_i64x2_shuffle(ab, cd, 0, 2), wasm_i64x2_shuffle(ab, cd, 1, 3))};
}
// Lane i is that of x[i], which has no NaN.
EFFICIENTVIT_INLINE Float4 least_lanes(const Float4 (&x)[4]) { return pick_lanes<Least>(x); }
EFFICIENTVIT_INLINE Float4 largest_lanes(const Float4 (&x)[4]) { return pick_lanes<Largest>(x); }
EFFICIENTVIT_INLINE Float4 zero_below(Float4 x, Float4 limit) {
    return {wasm_v128_and(x.v, wasm_f32x4_ge(x.v, limit.v))};
}
template <int Count>
EFFICIENTVIT_INLINE bool any_nan(const Float4 (&x)[Count]) {
    v128_t any = wasm_i32x4_const_splat(0);
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) any = wasm_v128_or(any, wasm_f32x4_ne(x[i].v, x[i].v));
    return wasm_v128_any_true(any);
}

// Each lane to the nearest byte, ties to even, as a line of int8_wide has them. It may be a little more than 255, or,
// where that does not matter, any number. Behind 2^23 the last bits are the integer.
template <int Count>
EFFICIENTVIT_INLINE void store_wide_bytes(const Float4 (&x)[Count], float* to) {
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; i += 4) {
        v128_t n[4];
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < 4; ++j) {
            const v128_t within = wasm_f32x4_pmin(wasm_f32x4_splat(255.0f), x[i + j].v);
            n[j] = wasm_v128_and(wasm_f32x4_add(within, wasm_f32x4_splat(8388608.0f)), wasm_i32x4_const_splat(0xff));
        }
        const v128_t bytes =
            wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(n[0], n[1]), wasm_i16x8_narrow_i32x4(n[2], n[3]));
        wasm_v128_store(to + i, wasm_v128_and(bytes, wasm_i16x8_const_splat(0xff)));
        wasm_v128_store(to + group_words(Operands::int8_wide) + i, wasm_u16x8_shr(bytes, 8));
    }
}

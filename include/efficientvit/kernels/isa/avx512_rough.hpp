// SPDX-License-Identifier: Apache-2.0
//
// Activations that are as exact as rounded inputs need, in sixteen lanes. Included by bf16.hpp and int8.hpp, inside a
// target region and namespace.

// silu and gelu of what becomes bf16 next: within 2^-12 of the value, where bf16 keeps 2^-9, in half the time of
// rare_activation().
EFFICIENTVIT_INLINE Float16 rough_activation(Float16 x, Act act) {
    if (act == Act::hswish) return rare_activation(x, act);
    constexpr float log2e = 1.44269504f, gelu_scale = -2.0f * 0.7978845608f * log2e;
    Float16 t = Float16::mul(x, Float16::set(-log2e));
    if (act == Act::gelu) {
        t = Float16::fma(Float16::mul(x, x), Float16::set(gelu_scale * 0.044715f), Float16::set(gelu_scale));
        t = Float16::mul(x, t);
    }
    // 2^t, by the best polynomial of that degree for 2^r, r in [-1/2, 1/2]. Within bounds that keep all results normal
    // numbers (the polynomial is a little less than 1 at 0): others take a hundred times as long.
    t = Float16::clamp(t, Float16::set(125.0f));
    const __m512 r = _mm512_reduce_ps(t.v, 0);
    Float16 p = Float16::fma({r}, Float16::set(0.05517121f), Float16::set(0.24261028f));
    p = Float16::fma({r}, p, Float16::set(0.69326098f));
    p = Float16::fma({r}, p, Float16::set(0.99992813f));
    const __m512 power = _mm512_scalef_ps(p.v, _mm512_sub_ps(t.v, r));
    return Float16::mul(x, {_mm512_rcp14_ps(_mm512_add_ps(power, _mm512_set1_ps(1.0f)))});
}

// gelu within 3.5e-4, a fortieth of the step from one byte to the next where a line reaches from 0 to 4, in half that
// time again: x (a x^2 + b x + c), a best parabola for each of 13 intervals from -3.66 to 3.66, beyond which gelu is 0
// and x.
EFFICIENTVIT_INLINE Float16 gelu_by_table(Float16 x) {
    static constexpr float constant[16] = {
        0.0f, 0.0f,        0.031238396f, 0.113929473f, 0.270607531f, 0.439399987f, 0.517129958f, 0.507737935f,
        0.5f, 0.49226207f, 0.482870072f, 0.560600042f, 0.729392111f, 0.88607043f,  0.968760192f, 1.0f};
    static constexpr float linear[16] = {
        0.0f,         0.0f,         0.01700463f,  0.071322799f, 0.19652538f,  0.368263245f, 0.475051045f, 0.447087497f,
        0.394611478f, 0.447087497f, 0.475051016f, 0.368263245f, 0.196525753f, 0.071322866f, 0.017005472f, 0.0f};
    static constexpr float square[16] = {0.0f,           0.0f,           0.0023216947f,  0.0112459492f,
                                         0.0362804607f,  0.0800337866f,  0.116784334f,   0.0967611521f,
                                         0.0f,           -0.0967611521f, -0.116784319f,  -0.0800337866f,
                                         -0.0362805463f, -0.0112459613f, -0.0023218184f, 0.0f};
    // Beside 2^23 the last place is one, so that the sum's last bits are the number of an interval, 1 to 15.
    constexpr float interval = 0.5625f, magic = 0x1.8p23f;
    const Float16 within = Float16::clamp(x, Float16::set(7 * interval));
    const Float16 sum = Float16::fma(within, Float16::set(1 / interval), Float16::set(magic + 8));
    const __m512i last_bits = _mm512_castps_si512(sum.v);  // permutations look at four
    const Float16 a = {_mm512_permutexvar_ps(last_bits, _mm512_loadu_ps(square))};
    const Float16 b = {_mm512_permutexvar_ps(last_bits, _mm512_loadu_ps(linear))};
    const Float16 c = {_mm512_permutexvar_ps(last_bits, _mm512_loadu_ps(constant))};
    return Float16::mul(x, Float16::fma(Float16::fma(a, within, b), within, c));
}

// silu and gelu of what becomes a byte next, or is beside such numbers.
EFFICIENTVIT_INLINE Float16 byte_activation(Float16 x, Act act) {
    return act == Act::gelu ? gelu_by_table(x) : rough_activation(x, act);
}

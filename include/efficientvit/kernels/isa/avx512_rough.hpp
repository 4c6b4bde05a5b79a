// SPDX-License-Identifier: Apache-2.0
//
// Activations that are as exact as rounded inputs need, in sixteen lanes. Included by bf16.hpp and int8.hpp, inside a
// target region and namespace.

// silu and gelu of what becomes bf16 or a byte next, or is beside such numbers: within 2^-12 of the value, where bf16
// keeps 2^-9, in half the time of rare_activation().
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

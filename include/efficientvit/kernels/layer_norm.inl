// SPDX-License-Identifier: Apache-2.0
//
// Layer norm over the channels of pixels in blocks of 16, and the exact gelu.

// x * Phi(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, by Abramowitz and Stegun's 7.1.26 for erfc, whose error
// is 1.5e-7 at most. Beyond 14 erfc is nothing, and infinity times nothing would be NaN.
template <class V>
EFFICIENTVIT_INLINE V gelu_by_erf(V x) {
    const V zero = V::set(0.0f), one = V::set(1.0f);
    const V size = V::min(V::set(14.0f), V::max(x, V::sub(zero, x)));
    const V t = V::quotient(one, V::fma(size, V::set(0.3275911f * 0.70710678f), one));
    V whole, rest;
    V::split(V::mul(V::mul(size, size), V::set(-0.72134752f)), whole, rest);  // of 2^u = e^(-x^2 / 2)
    V p = V::fma(V::set(0.5f * 1.061405429f), t, V::set(0.5f * -1.453152027f));
    p = V::fma(p, t, V::set(0.5f * 1.421413741f));
    p = V::fma(p, t, V::set(0.5f * -0.284496736f));
    p = V::fma(p, t, V::set(0.5f * 0.254829592f));
    p = V::mul(V::mul(p, t), power_of_two(whole, rest));
    return V::sub(V::max(zero, x), V::mul(size, p));
}

// `Pixels` pixels at a time, so that their chains of sums run side by side.
template <int Block, int Pixels>
EFFICIENTVIT_INLINE void layer_norm_pixels(const LayerNorm& a, int pixel, const float* last_lanes) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    const float* const x = a.x + Index{pixel} * Block;
    float* const y = a.y + Index{pixel} * Block;
    const int blocks = (a.channels + Block - 1) / Block;
    V mean[Pixels], scale[Pixels];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Pixels; ++i) mean[i] = scale[i] = V::set(0.0f);
    for (int b = 0; b < blocks; ++b) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < vectors; ++j) {
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < Pixels; ++i) {
                mean[i] = V::add(mean[i], V::load(x + b * a.x_block_stride + i * Block + j * V::width));
            }
        }
    }
    const float channels = static_cast<float>(a.channels);
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Pixels; ++i) mean[i] = V::set(V::sum(mean[i]) / channels);
    for (int b = 0; b < blocks; ++b) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < vectors; ++j) {
            const V there = b + 1 < blocks ? V::set(1.0f) : V::load(last_lanes + j * V::width);
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < Pixels; ++i) {
                const V value = V::load(x + b * a.x_block_stride + i * Block + j * V::width);
                const V difference = V::mul(V::sub(value, mean[i]), there);
                scale[i] = V::fma(difference, difference, scale[i]);
            }
        }
    }
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Pixels; ++i) {
        scale[i] = V::div(V::set(1.0f), V::sqrt(V::set(V::sum(scale[i]) / channels + a.eps)));
    }
    for (int b = 0; b < blocks; ++b) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < vectors; ++j) {
            const V weight = V::load(a.weight + b * Block + j * V::width);
            const V bias = V::load(a.bias + b * Block + j * V::width);
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < Pixels; ++i) {
                const V value = V::load(x + b * a.x_block_stride + i * Block + j * V::width);
                V out = V::fma(V::mul(V::sub(value, mean[i]), scale[i]), weight, bias);
                if (a.gelu) out = gelu_by_erf(out);
                out.store(y + b * a.y_block_stride + i * Block + j * V::width);
            }
        }
    }
}

template <int Block>
EFFICIENTVIT_NOINLINE void layer_norm_rows(const LayerNorm& a) {
    constexpr int together = 4;
    float last_lanes[Block];  // 1 where the last block has channels
    for (int lane = 0; lane < Block; ++lane) {
        last_lanes[lane] = lane < a.channels - (a.channels - 1) / Block * Block ? 1.0f : 0.0f;
    }
    int p = 0;
    for (; p + together <= a.pixels; p += together) layer_norm_pixels<Block, together>(a, p, last_lanes);
    for (; p < a.pixels; ++p) layer_norm_pixels<Block, 1>(a, p, last_lanes);
}

inline void layer_norm(const LayerNorm& a) { layer_norm_rows<16>(a); }

// SPDX-License-Identifier: Apache-2.0
//
// Float to bf16, halves or bytes, brought into the order in which products read it: channels in groups, a line a pixel.

template <int Block>
EFFICIENTVIT_NOINLINE void round_blocks(const Round& a) {
    using V = typename Lanes<Block>::V;
    constexpr int stores = group_words / V::width;                  // of a pixel
    constexpr int blocks = group_channels(Operands::bf16) / Block;  // of a group
    float* y_group = a.y;
    for (int first = 0; first < a.x_blocks; first += blocks, y_group += a.y_group_stride) {
        float* y = y_group;
        for (int row = 0; row < a.rows; ++row) {
            const float* x = a.x + first * a.x_block_stride + row * a.x_row_stride;
            for (int p = 0; p < a.width; ++p, x += Block, y += group_words) {
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < stores; ++i) {
                    V half[2];
                    EFFICIENTVIT_UNROLL
                    for (int h = 0; h < 2; ++h) {
                        const int lane = (2 * i + h) * V::width;
                        const bool there = first + lane / Block < a.x_blocks;
                        half[h] = there ? V::load(x + lane / Block * a.x_block_stride + lane % Block) : V::set(0.0f);
                    }
                    if (a.act != Act::none) {
                        EFFICIENTVIT_UNROLL
                        for (int h = 0; h < 2; ++h) half[h] = rough_activation(half[h], a.act);
                    }
                    rounded_pairs(half[0], half[1]).store(y + i * V::width);
                }
            }
        }
    }
}

// A pixel's group to a line: the bytes that lie nearest to x, evenly from the least to the largest of them.
template <Operands O, class V, int Count>
EFFICIENTVIT_INLINE void quantize_line(V (&x)[Count], float* line) {
    V low = x[0], high = x[0];
    EFFICIENTVIT_UNROLL
    for (int i = 1; i < Count; ++i) low = V::min(low, x[i]), high = V::max(high, x[i]);
    // Halves, since the difference itself might overflow; halving is exact, so that a fused operation changes nothing.
    // Zeros lose their sign. A range below the normal numbers is none, and has no inverse.
    constexpr float half_steps = 127.5f, least_scale = 1.17549435e-38f;
    const float least = least_lane(low) + 0.0f;
    const float range = (0.5f * largest_lane(high) - 0.5f * least) * (1.0f / half_steps);
    const float scale = range >= least_scale ? range : 0.0f;
    const V offset = V::set(least), inverse = V::set(scale > 0.0f ? 1.0f / scale : 0.0f);
    line[0] = any_nan(x) ? not_a_number : scale;
    line[1] = least;
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) x[i] = V::mul(V::sub(x[i], offset), inverse);
    if constexpr (O == Operands::int8_wide) {
        store_wide_bytes(x, line + line_head(O));
    } else {
        store_bytes(x, line + line_head(O));
    }
}

// The power of two by which numbers are divided to become halves, `most` being the largest.
EFFICIENTVIT_INLINE float half_scale(float most) {
    unsigned bits;
    EFFICIENTVIT_COPY(&bits, &most, sizeof(bits));
    unsigned exponent = bits >> 23 & 0xffu;
    exponent = exponent == 0 ? 1u : exponent == 255 ? 127u : exponent == 254 ? 253u : exponent;  // 1 / scale is normal
    bits = exponent << 23;
    float scale;
    EFFICIENTVIT_COPY(&scale, &bits, sizeof(scale));
    return scale;
}

// A pixel's group to a line of halves.
template <class V, int Count>
EFFICIENTVIT_INLINE void halve_line(V (&x)[Count], float* line) {
    const V zero = V::set(0.0f);
    V most = zero;
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) most = V::max(most, V::max(x[i], V::sub(zero, x[i])));
    const float scale = half_scale(any_nan(x) ? not_a_number : largest_lane(most));
    const V inverse = V::set(1.0f / scale);
    line[0] = scale;
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; i += 2) {
        const V halves = rounded_halves(V::mul(x[i], inverse), V::mul(x[i + 1], inverse));
        halves.store(line + line_head(Operands::f16) + i / 2 * V::width);
    }
}

// Not inlined: in the loop over pixels Clang would compute all vectors at once, with more registers than NEON has.
template <class V, int Count>
EFFICIENTVIT_NOINLINE void activate_line(V (&x)[Count], Act act) {
    for (int i = 0; i < Count; ++i) x[i] = rough_activation(x[i], act);
}

template <Operands O, int Block>
EFFICIENTVIT_NOINLINE void quantize_blocks(const Round& a) {
    using V = typename Lanes<Block>::V;
    constexpr int channels = group_channels(O), vectors = channels / V::width, blocks = channels / Block;
    float* y_group = a.y;
    for (int first = 0; first < a.x_blocks; first += blocks, y_group += a.y_group_stride) {
        // Blocks that are not there are the first once more, which leaves the range as it is.
        Index offset[blocks];
        for (int b = 0; b < blocks; ++b) offset[b] = first + b < a.x_blocks ? b * a.x_block_stride : 0;
        float* y = y_group;
        for (int row = 0; row < a.rows; ++row) {
            const float* x = a.x + first * a.x_block_stride + row * a.x_row_stride;
            for (int p = 0; p < a.width; ++p, x += Block, y += line_words(O)) {
                V values[vectors];
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < vectors; ++i) {
                    const int lane = i * V::width;
                    values[i] = V::load(x + offset[lane / Block] + lane % Block);
                }
                if (a.act != Act::none) {
                    V active[vectors];  // values themselves stay in registers
                    EFFICIENTVIT_UNROLL
                    for (int i = 0; i < vectors; ++i) active[i] = values[i];
                    activate_line(active, a.act);
                    EFFICIENTVIT_UNROLL
                    for (int i = 0; i < vectors; ++i) values[i] = active[i];
                }
                if constexpr (O == Operands::f16) {
                    halve_line(values, y);
                } else {
                    quantize_line<O>(values, y);
                }
            }
        }
    }
}

template <Operands O>
inline void round_inputs(const Round& a) {
    if constexpr (line_head(O) > 0) {
        a.x_block == 16 ? quantize_blocks<O, 16>(a) : narrow::quantize_blocks<O, 8>(a);
    } else {
        a.x_block == 16 ? round_blocks<16>(a) : narrow::round_blocks<8>(a);
    }
}

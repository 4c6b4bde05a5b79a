// SPDX-License-Identifier: Apache-2.0
//
// Float to bf16, halves or bytes, brought into the order in which products read it: channels in groups, a line a pixel.

// `count` pixels, of which block b of the group is at x[b] and step[b] behind it for the next one.
template <int Block, bool Activates, int Blocks>
EFFICIENTVIT_INLINE void round_pixels(const float* (&x)[Blocks], const Index (&step)[Blocks], int count, Act act,
                                      float* y) {
    using V = typename Lanes<Block>::V;
    constexpr int words = group_words(Operands::bf16), vectors = words / V::width;
    for (; count > 0; --count, y += words) {
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < vectors; ++i) {
            V half[2];
            EFFICIENTVIT_UNROLL
            for (int h = 0; h < 2; ++h) {
                const int lane = (2 * i + h) * V::width;
                half[h] = V::load(x[lane / Block] + lane % Block);
                if (Activates) half[h] = rough_activation(half[h], act);
            }
            rounded_pairs(half[0], half[1]).store(y + i * V::width);
        }
        EFFICIENTVIT_UNROLL
        for (int b = 0; b < Blocks; ++b) x[b] += step[b];
    }
}

template <int Block>
EFFICIENTVIT_NOINLINE void round_blocks(const Round& a) {
    constexpr int blocks = group_channels(Operands::bf16) / Block;  // of a group
    static constexpr float zeros[Block] = {};
    float* y_group = a.y;
    for (int first = 0; first < a.x_blocks; first += blocks, y_group += a.y_group_stride) {
        float* y = y_group;
        for (int row = 0; row < a.rows; ++row, y += a.width * group_words(Operands::bf16)) {
            // Blocks that are not there are zeros.
            const float* x[blocks];
            Index step[blocks];
            for (int b = 0; b < blocks; ++b) {
                const bool there = first + b < a.x_blocks;
                x[b] = there ? a.x + (first + b) * a.x_block_stride + row * a.x_row_stride : zeros;
                step[b] = there ? Block : 0;
            }
            if (a.act == Act::none) {
                round_pixels<Block, false>(x, step, a.width, a.act, y);
            } else {
                round_pixels<Block, true>(x, step, a.width, a.act, y);
            }
        }
    }
}

// A part of a pixel's group of channels; offset[b] is where its block b lies behind the first.
template <class V, int Block, int Count>
EFFICIENTVIT_INLINE void load_part(V (&x)[Count], const float* from, const Index* offset) {
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) {
        const int lane = i * V::width;
        x[i] = V::load(from + offset[lane / Block] + lane % Block);
    }
}

template <class V>
concept MaxKeepsNaN = requires {
    V::max_keeps_nan;
};

// To find the least of a vector's lanes takes as long as of this many vectors'.
constexpr int ranged_pixels = 4;
// How many pixels' ranges are found before the first one's bytes are made: a range takes many times as long to be known
// as its instructions take to be issued.
constexpr int quantized_pixels = 16;
// How many channels are loaded at once: there are registers for them.
constexpr int part_channels = 64;
static_assert(quantized_pixels % ranged_pixels == 0);

// The heads of as many neighbouring pixels' lines: bytes are spread evenly from the least to the largest of a group.
// What its numbers are multiplied by for that, and then moved by, waits where the bytes will be.
template <Operands O, class V, int Block>
EFFICIENTVIT_INLINE void find_ranges(const float* x, const Index* offset, int parts, float* lines) {
    constexpr int vectors = part_channels / V::width;
    V low[ranged_pixels], high[ranged_pixels];
    // One is NaN if a number is; what else makes it NaN is looked at more closely.
    V sums[] = {V::set(0.0f), V::set(0.0f)};
    EFFICIENTVIT_UNROLL
    for (int p = 0; p < ranged_pixels; ++p) low[p] = high[p] = V::load(x + p * Block);
    const Index* at = offset;
    for (int left = parts; left > 0; --left, at += part_channels / Block) {
        EFFICIENTVIT_HOLD("r", left);  // else GCC compares addresses, one of which is on the stack
        EFFICIENTVIT_UNROLL
        for (int p = 0; p < ranged_pixels; ++p) {
            V values[vectors];
            load_part<V, Block>(values, x + p * Block, at);
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < vectors; ++i) {
                values[i].hold();
                low[p] = V::min(low[p], values[i]), high[p] = V::max(high[p], values[i]);
                // Squares: units that multiply have nothing else to do, and infinities make no NaN.
                if constexpr (!MaxKeepsNaN<V>) sums[p % 2] = V::fma(values[i], values[i], sums[p % 2]);
            }
            if constexpr (MaxKeepsNaN<V>) sums[p % 2] = V::add(sums[p % 2], high[p]);
        }
    }
    // Halves, since the difference itself might overflow; halving is exact, so that a fused operation changes nothing.
    // Zeros lose their sign. A range below the normal numbers is none: bytes do not matter then.
    using Each = decltype(least_lanes(low));  // a lane for each pixel
    const Each half = Each::set(0.5f), per_step = Each::set(1.0f / 127.5f), least_scale = Each::set(1.17549435e-38f);
    const Each least = Each::add(least_lanes(low), Each::set(0.0f));
    const Each range = Each::mul(Each::sub(Each::mul(half, largest_lanes(high)), Each::mul(half, least)), per_step);
    const Each inverse = Each::div(Each::set(1.0f), Each::max(least_scale, range));
    float scales[Each::width], leasts[Each::width], inverses[Each::width], shifts[Each::width];
    zero_below(range, least_scale).store(scales);
    least.store(leasts);
    inverse.store(inverses);
    // What rounding the shift costs is less than the last place of the numbers.
    Each::mul(Each::sub(Each::set(0.0f), least), inverse).store(shifts);
    for (int p = 0; p < ranged_pixels; ++p) {
        float* const line = lines + p * line_words(O);
        line[0] = scales[p];
        line[1] = leasts[p];
        line[line_head(O)] = inverses[p];
        line[line_head(O) + 1] = shifts[p];
    }
    for (int p = 0; p < ranged_pixels && any_nan(sums); ++p) {
        for (int part = 0; part < parts; ++part) {
            V values[vectors];
            load_part<V, Block>(values, x + p * Block, offset + part * (part_channels / Block));
            if (any_nan(values)) lines[p * line_words(O)] = not_a_number;
        }
    }
}

// `count` neighbouring pixels' groups to lines. Up to a multiple of ranged_pixels what is behind them is read, and the
// heads of its lines are written.
template <Operands O, class V, int Block>
EFFICIENTVIT_NOINLINE void quantize_pixels(const float* x, const Index* offset, int parts, int count, float* lines) {
    for (int p = 0; p < count; p += ranged_pixels) {
        find_ranges<O, V, Block>(x + p * Block, offset, parts, lines + p * line_words(O));
    }
    float* line = lines;
    for (int left = count; left > 0; --left, x += Block, line += line_words(O)) {
        const V by = V::broadcast(line + line_head(O)), shift = V::broadcast(line + line_head(O) + 1);
        const Index* at = offset;
        float* to = line + line_head(O);
        for (int left_parts = parts; left_parts > 0;
             --left_parts, at += part_channels / Block, to += part_channels / 4) {
            EFFICIENTVIT_HOLD("r", left_parts);
            constexpr int vectors = part_channels / V::width;
            V values[vectors];
            load_part<V, Block>(values, x, at);
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < vectors; ++i) values[i] = V::fma(values[i], by, shift);
            if constexpr (O == Operands::int8_wide) {
                store_wide_bytes(values, to);
            } else {
                store_bytes(values, to);
            }
        }
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
template <class V, int Block>
EFFICIENTVIT_INLINE void halve_pixel(const float* x, const Index* offset, float* line) {
    constexpr int vectors = group_channels(Operands::f16) / V::width;
    V values[vectors];
    load_part<V, Block>(values, x, offset);
    const V zero = V::set(0.0f);
    V most = zero;
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < vectors; ++i) most = V::max(most, V::max(values[i], V::sub(zero, values[i])));
    const float scale = half_scale(any_nan(values) ? not_a_number : largest_lane(most));
    const V inverse = V::set(1.0f / scale);
    line[0] = scale;
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < vectors; i += 2) {
        const V halves = rounded_halves(V::mul(values[i], inverse), V::mul(values[i + 1], inverse));
        halves.store(line + line_head(Operands::f16) + i / 2 * V::width);
    }
}

// The groups of `count` pixels, `step` apart and activated, in the order of a map of quantized_pixels; up to a multiple
// of ranged_pixels the last is there once more.
template <class V, int Block>
EFFICIENTVIT_NOINLINE void stage_pixels(const float* x, const Index* offset, Index step, int channels, int count,
                                        Act act, float* to) {
    for (int p = 0; p < tile_count(count, ranged_pixels) * ranged_pixels; ++p, to += Block) {
        const float* const from = x + (p < count ? p : count - 1) * step;
        for (int lane = 0; lane < channels; lane += V::width) {
            const V value = V::load(from + offset[lane / Block] + lane % Block);
            float* const at = to + lane / Block * quantized_pixels * Block + lane % Block;
            (act == Act::none ? value : byte_activation(value, act)).store(at);
        }
    }
}

// Where a block of a line lies behind x: all channels of a column, then those of the next.
template <int Block>
EFFICIENTVIT_INLINE Index line_block(const Round& a, int block) {
    if (a.line_columns == 1) return block * a.x_block_stride;
    return block % a.x_blocks * a.x_block_stride + Index{block / a.x_blocks} * Block;
}

template <Operands O, int Block>
EFFICIENTVIT_NOINLINE void quantize_blocks(const Round& a) {
    using V = typename Lanes<Block>::V;
    constexpr int channels = group_channels(O), blocks = channels / Block, words = line_words(O);
    const int line_blocks = a.x_blocks * a.line_columns;
    const Index step = Index{a.line_stride} * Block;
    // Rows without gaps between them are one.
    const bool dense = a.line_columns == 1 && a.x_row_stride == Index{a.width} * Block;
    const int rows = dense ? 1 : a.rows, width = dense ? a.rows * a.width : a.width;
    float staged[quantized_pixels * channels], staged_lines[quantized_pixels * words];
    Index staged_offset[blocks];
    for (int b = 0; b < blocks; ++b) staged_offset[b] = b * quantized_pixels * Block;
    float* y_group = a.y;
    for (int first = 0; first < line_blocks; first += blocks, y_group += a.y_group_stride) {
        const Index first_place = line_block<Block>(a, first);
        // Blocks that are not there are the first once more, which leaves the range as it is.
        Index offset[blocks];
        for (int b = 0; b < blocks; ++b) {
            offset[b] = first + b < line_blocks ? line_block<Block>(a, first + b) - first_place : 0;
        }
        const int there = (line_blocks - first) * Block,
                  parts = tile_count(there < channels ? there : channels, part_channels);
        const int whole_parts = channels < part_channels ? channels : parts * part_channels;
        float* y = y_group;
        for (int row = 0; row < rows; ++row) {
            const float* x = a.x + first_place + row * a.x_row_stride;
            for (int left = width, count; left > 0; left -= count, x += count * step, y += count * words) {
                // Halves go pixel by pixel.
                const bool stages =
                    a.act != Act::none || a.line_columns > 1 || (O != Operands::f16 && left < ranged_pixels);
                const bool whole = stages || O == Operands::f16;
                count = left >= quantized_pixels ? quantized_pixels
                        : whole                  ? left
                                                 : left / ranged_pixels * ranged_pixels;
                const float* from = x;
                const Index* at = offset;
                if (stages) {
                    stage_pixels<V, Block>(x, offset, step, whole_parts, count, a.act, staged);
                    from = staged, at = staged_offset;
                }
                if constexpr (O == Operands::f16) {
                    for (int p = 0; p < count; ++p) halve_pixel<V, Block>(from + p * Block, at, y + p * words);
                } else if (count % ranged_pixels == 0) {
                    quantize_pixels<O, V, Block>(from, at, parts, count, y);
                } else {
                    quantize_pixels<O, V, Block>(from, at, parts, count, staged_lines);
                    for (int p = 0; p < count; ++p) {
                        EFFICIENTVIT_COPY(y + p * words, staged_lines + p * words, words * sizeof(float));
                    }
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

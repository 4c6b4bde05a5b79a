// SPDX-License-Identifier: Apache-2.0
//
// 3x3 convolution by Winograd's F(4x4, 3x3), see winograd_args.hpp: transformed inputs of a rectangle of tiles, then
// for two blocks of outputs at a time 36 matrix products by the kernel of 1x1 convolutions, whose pixels are tiles, and
// what their sums are transformed to. All is float, but weights may be bytes, and what is multiplied bf16.

// The six numbers of six inputs in a row or column: polynomials at 0, a, -a, b, -b and infinity (B^T d). a * b is 1.
template <class V>
EFFICIENTVIT_INLINE void winograd_inputs(V (&to)[6], const V (&d)[6]) {
    constexpr double a = WinogradPoints::a, b = WinogradPoints::b;
    static_assert(a * b == 1.0);
    const V minus_a2 = V::set(static_cast<float>(-a * a)), minus_b2 = V::set(static_cast<float>(-b * b));
    const V minus_both = V::set(static_cast<float>(-a * a - b * b));
    to[0] = V::add(d[0], V::fma(minus_both, d[2], d[4]));
    to[5] = V::add(d[1], V::fma(minus_both, d[3], d[5]));
    const V even_a = V::fma(minus_b2, d[2], d[4]), odd_a = V::fma(minus_b2, d[1], d[3]);
    to[1] = V::fma(V::set(static_cast<float>(a)), odd_a, even_a);
    to[2] = V::fma(V::set(static_cast<float>(-a)), odd_a, even_a);
    const V even_b = V::fma(minus_a2, d[2], d[4]), odd_b = V::fma(minus_a2, d[1], d[3]);
    to[3] = V::fma(V::set(static_cast<float>(b)), odd_b, even_b);
    to[4] = V::fma(V::set(static_cast<float>(-b)), odd_b, even_b);
}

// And the four outputs of six sums (A^T m).
template <class V>
EFFICIENTVIT_INLINE void winograd_outputs(V (&to)[4], const V (&m)[6]) {
    constexpr double a = WinogradPoints::a, b = WinogradPoints::b;
    const V even_a = V::add(m[1], m[2]), odd_a = V::sub(m[1], m[2]);
    const V even_b = V::add(m[3], m[4]), odd_b = V::sub(m[3], m[4]);
    to[0] = V::add(m[0], V::add(even_a, even_b));
    to[1] = V::fma(V::set(static_cast<float>(b)), odd_b, V::mul(V::set(static_cast<float>(a)), odd_a));
    to[2] = V::fma(V::set(static_cast<float>(b * b)), even_b, V::mul(V::set(static_cast<float>(a * a)), even_a));
    const V cube_a = V::fma(V::set(static_cast<float>(a * a * a)), odd_a, m[5]);
    to[3] = V::fma(V::set(static_cast<float>(b * b * b)), odd_b, cube_a);
}

// And the six numbers of three weights (G w).
template <class V>
EFFICIENTVIT_INLINE void winograd_kernel(V (&to)[6], const V (&w)[3]) {
    constexpr double a = WinogradPoints::a, b = WinogradPoints::b;
    constexpr double to_a = 1 / (2 * a * a * (a * a - b * b)), to_b = 1 / (2 * b * b * (b * b - a * a));
    to[0] = w[0];
    to[5] = w[2];
    const V even_a =
        V::fma(V::set(static_cast<float>(a * a * to_a)), w[2], V::mul(V::set(static_cast<float>(to_a)), w[0]));
    to[1] = V::fma(V::set(static_cast<float>(a * to_a)), w[1], even_a);
    to[2] = V::fma(V::set(static_cast<float>(-a * to_a)), w[1], even_a);
    const V even_b =
        V::fma(V::set(static_cast<float>(b * b * to_b)), w[2], V::mul(V::set(static_cast<float>(to_b)), w[0]));
    to[3] = V::fma(V::set(static_cast<float>(b * to_b)), w[1], even_b);
    to[4] = V::fma(V::set(static_cast<float>(-b * to_b)), w[1], even_b);
}

// Columns of a tile of 16 channels, which begins at x, to `half`, 36 times 16 numbers; then rows of these to 36
// numbers, each in a plane of its own. In bf16 a second half, 16 channels further, lies behind the first. Rows and
// columns are loops whose ends the compiler does not see: unrolled ones take more addresses and constants than there
// are registers.
EFFICIENTVIT_NOINLINE inline void winograd_input_columns(const float* x, Index row_stride, float* half) {
    using V = Lanes<16>::V;
    constexpr int n = Winograd::points;
    int columns = n;
    EFFICIENTVIT_HOLD("r", columns);
    for (int lane = 0; lane < Winograd::block; lane += V::width, half += n * n * V::width) {
        V d[n], to[n];
        const float* from = x + lane;
        for (int column = 0; column < columns; ++column, from += Winograd::block) {
            EFFICIENTVIT_UNROLL
            for (int row = 0; row < n; ++row) d[row] = V::load(from + row * row_stride);
            winograd_inputs(to, d);
            EFFICIENTVIT_UNROLL
            for (int row = 0; row < n; ++row) to[row].store(half + (row * n + column) * V::width);
        }
    }
}
template <Operands P, class V = Lanes<16>::V>
EFFICIENTVIT_NOINLINE void winograd_input_rows(const float* half, float* y, Index plane) {
    constexpr int n = Winograd::points;
    int rows = n;
    EFFICIENTVIT_HOLD("r", rows);
    for (int lane = 0; lane < Winograd::block; lane += V::width) {
        V d[n], to[n];
        float* out = y + lane;
        for (int row = 0; row < rows; ++row, half += n * V::width, out += n * plane) {
            EFFICIENTVIT_UNROLL
            for (int column = 0; column < n; ++column) d[column] = V::load(half + column * V::width);
            winograd_inputs(to, d);
            if constexpr (P == Operands::bf16) {
                V second[n];
                const float* const behind = half + Winograd::planes * Winograd::block;
                EFFICIENTVIT_UNROLL
                for (int column = 0; column < n; ++column) d[column] = V::load(behind + column * V::width);
                winograd_inputs(second, d);
                EFFICIENTVIT_UNROLL
                for (int column = 0; column < n; ++column) to[column] = rounded_pairs(to[column], second[column]);
            }
            EFFICIENTVIT_UNROLL
            for (int column = 0; column < n; ++column) to[column].store(out + column * plane);
        }
    }
}

// The sums of a tile and 16 channels to 4x4 outputs. `half` is scratch for 24 vectors.
EFFICIENTVIT_NOINLINE inline void winograd_output_tile(const float* sums, Index plane, float* half, const float* bias,
                                                       float* y, Index row_stride) {
    using V = Lanes<16>::V;
    constexpr int n = Winograd::points, m = Winograd::outputs;
    int columns = n, rows = m;
    EFFICIENTVIT_HOLD("r", columns);
    EFFICIENTVIT_HOLD("r", rows);
    for (int lane = 0; lane < Winograd::block; lane += V::width) {
        V d[n], to[m];
        const float* from = sums + lane;
        for (int column = 0; column < columns; ++column, from += plane) {
            EFFICIENTVIT_UNROLL
            for (int row = 0; row < n; ++row) d[row] = V::load(from + row * n * plane);
            winograd_outputs(to, d);
            EFFICIENTVIT_UNROLL
            for (int row = 0; row < m; ++row) to[row].store(half + (row * n + column) * V::width);
        }
        const V b = V::load(bias + lane);
        float* out = y + lane;
        for (int row = 0; row < rows; ++row, out += row_stride) {
            EFFICIENTVIT_UNROLL
            for (int column = 0; column < n; ++column) d[column] = V::load(half + (row * n + column) * V::width);
            winograd_outputs(to, d);
            EFFICIENTVIT_UNROLL
            for (int column = 0; column < m; ++column) V::add(to[column], b).store(out + column * Winograd::block);
        }
    }
}

// Where `a.memory` has what.
struct WinogradMemory {
    int tiles, in_blocks;
    Index in_block, in_plane, sums_plane, weights_plane;  // strides
    float *inputs, *sums, *half, *patch, *zeros, *weights;

    // each: channels that are a block of transformed inputs
    EFFICIENTVIT_INLINE WinogradMemory(const Winograd& a, int each)
        : tiles(a.rows * a.columns),
          in_blocks(tile_count(a.channels, each)),
          in_block(winograd_block_stride(tiles)),
          in_plane(winograd_plane_stride(in_blocks, tiles)),
          sums_plane(winograd_plane_stride(Winograd::blocks, tiles)),
          weights_plane(winograd_weights_stride(a.channels)),
          inputs(a.memory),
          sums(inputs + Winograd::planes * in_plane),
          half(sums + Winograd::planes * sums_plane),
          patch(half + 2 * Winograd::planes * Winograd::block),
          zeros(patch + Winograd::planes * Winograd::block),
          weights(zeros + Winograd::blocks * Winograd::block) {}
};

// What winograd_input_columns and rows do, of the weights of an input channel and 16 outputs, byte `byte` of words that
// begin at w, `row` from one tap to the next; `scales` are those of the outputs. In bf16 the second half is the next
// channel.
EFFICIENTVIT_NOINLINE inline void winograd_kernel_columns(const float* w, const float* scales, Index row, int byte,
                                                          float* half) {
    using V = Lanes<16>::V;
    constexpr int n = Winograd::points, side = Winograd::taps;
    int columns = side;
    EFFICIENTVIT_HOLD("r", columns);
    for (int lane = 0; lane < Winograd::block; lane += V::width, half += n * side * V::width) {
        V taps[side], to[n];
        const V scale = V::load(scales + lane);
        for (int column = 0; column < columns; ++column) {
            EFFICIENTVIT_UNROLL
            for (int tap = 0; tap < side; ++tap) {
                taps[tap] = V::mul(scale, V::signed_bytes(w + (side * tap + column) * row + lane, byte));
            }
            winograd_kernel(to, taps);
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < n; ++i) to[i].store(half + (i * side + column) * V::width);
        }
    }
}
template <Operands P, class V = Lanes<16>::V>
EFFICIENTVIT_NOINLINE void winograd_kernel_rows(const float* half, float* y, Index plane) {
    constexpr int n = Winograd::points, side = Winograd::taps;
    int rows = n;
    EFFICIENTVIT_HOLD("r", rows);
    for (int lane = 0; lane < Winograd::block; lane += V::width) {
        V taps[side], to[n];
        float* out = y + lane;
        for (int i = 0; i < rows; ++i, half += side * V::width, out += n * plane) {
            EFFICIENTVIT_UNROLL
            for (int tap = 0; tap < side; ++tap) taps[tap] = V::load(half + tap * V::width);
            winograd_kernel(to, taps);
            if constexpr (P == Operands::bf16) {
                V second[n];
                const float* const behind = half + Winograd::planes * Winograd::block;
                EFFICIENTVIT_UNROLL
                for (int tap = 0; tap < side; ++tap) taps[tap] = V::load(behind + tap * V::width);
                winograd_kernel(second, taps);
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < n; ++j) to[j] = rounded_lanes(to[j], second[j]);
            }
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < n; ++j) to[j].store(out + j * plane);
        }
    }
}

// Weights of `blocks` blocks of outputs from `block` on, as Pointwise reads them in each plane.
template <Operands P>
EFFICIENTVIT_NOINLINE void winograd_transform_weights(const Winograd& a, const WinogradMemory& memory, int block,
                                                      int blocks) {
    constexpr Operands bytes = Operands::int8;
    constexpr int group = group_channels(bytes), taps = Winograd::taps * Winograd::taps, lanes = Winograd::block;
    constexpr int together = P == Operands::bf16 ? 2 : 1;  // channels
    const Index panel = panel_words(bytes, a.channels, taps) * lanes;
    for (int b = 0; b < blocks; ++b) {
        const float* group_begin = a.weights + (block + b) * panel;
        const float* const scales = group_begin + panel - lanes;
        float* to = memory.weights + b * lanes * weight_words(P, a.channels);
        for (int first = 0; first < a.channels; first += group) {
            const int channels = a.channels - first < group ? a.channels - first : group;
            const Index row = Index{operand_words(bytes, channels) + 1} * lanes;  // of a tap
            // Bytes behind the last channel, up to a whole word, are zeros.
            for (int channel = 0; channel < channels; channel += together, to += lanes) {
                const float* const w = group_begin + (channel / 4 + 1) * lanes;
                for (int c = 0; c < together; ++c) {
                    winograd_kernel_columns(w, scales, row, channel % 4 + c,
                                            memory.half + c * Winograd::planes * lanes);
                }
                winograd_kernel_rows<P>(memory.half, to, memory.weights_plane);
            }
            group_begin += taps * row;
        }
    }
}

// A tile that reaches beyond the map, copied to `to` with zeros there. Columns from -1 to width are memory.
EFFICIENTVIT_NOINLINE inline void winograd_patch(const Winograd& a, const float* x, int first_row, int first_column,
                                                 float* to) {
    using V = Lanes<16>::V;
    for (int row = first_row; row < first_row + Winograd::points; ++row) {
        for (int column = first_column; column < first_column + Winograd::points; ++column, to += Winograd::block) {
            const bool inside = row >= 0 && row < a.height && column <= a.width;
            const float* const from = x + row * a.x_row_stride + Index{column} * Winograd::block;
            for (int lane = 0; lane < Winograd::block; lane += V::width) {
                (inside ? V::load(from + lane) : V::set(0.0f)).store(to + lane);
            }
        }
    }
}

template <Operands P>
EFFICIENTVIT_NOINLINE void winograd_transform_inputs(const Winograd& a, const WinogradMemory& memory) {
    constexpr int together = P == Operands::bf16 ? 2 : 1, lanes = Winograd::block;  // blocks of a map
    const int blocks = tile_count(a.channels, lanes);
    for (int block = 0; block < memory.in_blocks; ++block) {
        const float* const first = a.x + together * block * a.x_block_stride;
        float* to = memory.inputs + block * memory.in_block;
        for (int i = 0; i < a.rows; ++i) {
            const int row = Winograd::outputs * (a.first_row + i) - 1;
            for (int j = 0; j < a.columns; ++j, to += Winograd::block) {
                const int column = Winograd::outputs * (a.first_column + j) - 1;
                const bool within =
                    row >= 0 && row + Winograd::points <= a.height && column + Winograd::points <= a.width + 1;
                // What an odd block has beside it is multiplied by nothing.
                for (int b = 0; b < together && together * block + b < blocks; ++b) {
                    const float* const x = first + b * a.x_block_stride;
                    if (!within) winograd_patch(a, x, row, column, memory.patch);
                    winograd_input_columns(within ? x + row * a.x_row_stride + Index{column} * lanes : memory.patch,
                                           within ? a.x_row_stride : Index{Winograd::points} * lanes,
                                           memory.half + b * Winograd::planes * lanes);
                }
                winograd_input_rows<P>(memory.half, to, memory.in_plane);
            }
        }
    }
}

// Outputs of one block from its sums. Whatever follows the sums is done in memory, while rows are in the first cache.
template <Operands P>
EFFICIENTVIT_NOINLINE void winograd_transform_sums(const Winograd& a, const WinogradMemory& memory, const float* sums,
                                                   int block) {
    constexpr int m = Winograd::outputs;
    const float* const bias = a.bias + block * Winograd::block;
    for (int i = 0; i < a.rows; ++i) {
        float* const y = a.y + block * a.y_block_stride + m * i * a.y_row_stride;
        const int rows_left = a.height - m * (a.first_row + i), rows = rows_left < m ? rows_left : m;
        const int columns_left = a.width - m * a.first_column;
        const int width = columns_left < m * a.columns ? columns_left : m * a.columns;
        for (int j = 0; j < a.columns; ++j, sums += Winograd::block) {
            float* const tile = y + Index{m} * j * Winograd::block;
            const int columns = width - m * j < m ? width - m * j : m;
            if (rows == m && columns == m) {
                winograd_output_tile(sums, memory.sums_plane, memory.half, bias, tile, a.y_row_stride);
                continue;
            }
            winograd_output_tile(sums, memory.sums_plane, memory.half, bias, memory.patch, m * Winograd::block);
            for (int row = 0; row < rows; ++row) {
                EFFICIENTVIT_COPY(tile + row * a.y_row_stride, memory.patch + row * m * Winograd::block,
                                  static_cast<unsigned>(columns * Winograd::block) * sizeof(float));
            }
        }
        if (a.act == Act::none && a.residual == nullptr) continue;
        // Winograd with bf16 is int8's alone: rare activations may be as rough as beside bytes.
        constexpr Operands beside = P == Operands::bf16 ? Operands::int8 : P;
        using V = Lanes<16>::V;
        const auto activate_row = in_epilogue(a.act) ? activate_in_memory<V> : activate_in_memory<V, beside>;
        for (int row = 0; row < rows; ++row) {
            const float* const residual = a.residual == nullptr ? nullptr
                                                                : a.residual + block * a.residual_block_stride +
                                                                      (m * i + row) * a.residual_row_stride;
            activate_row(y + row * a.y_row_stride, residual, Index{width} * Winograd::block, a.act);
        }
    }
}

// W: what weights are, floats or bytes. P: what is multiplied, floats or bf16.
template <Operands W, Operands P>
inline void winograd(const Winograd& a) {
    const WinogradMemory memory(a, P == Operands::bf16 ? group_channels(P) : Winograd::block);
    for (int i = 0; i < Winograd::blocks * Winograd::block; ++i) memory.zeros[i] = 0.0f;
    winograd_transform_inputs<P>(a, memory);

    Pointwise product;
    product.x_block_stride = memory.in_block;
    product.channels = a.channels;
    product.bias = memory.zeros;
    product.y_block_stride = memory.in_block;
    product.y_width = product.pixels = memory.tiles;
    if (!has_bytes(W)) product.next = a.weights;
    for (int block = 0; block < a.y_blocks; block += Winograd::blocks) {
        const int left = a.y_blocks - block;
        product.y_blocks = left < Winograd::blocks ? left : Winograd::blocks;
        const Index words = Index{product.y_blocks} * a.channels * Winograd::block;
        if constexpr (has_bytes(W)) winograd_transform_weights<P>(a, memory, block, product.y_blocks);
        for (int plane = 0; plane < Winograd::planes; ++plane) {
            [[maybe_unused]] const bool last = plane == Winograd::planes - 1 && left <= Winograd::blocks;
            product.x = memory.inputs + plane * memory.in_plane;
            product.y = memory.sums + plane * memory.sums_plane;
            if constexpr (has_bytes(W)) {
                product.weights = memory.weights + plane * memory.weights_plane;
            } else {
                product.weights = product.next;
                product.next += words;
                product.next_words = last ? 0 : words;
            }
            pointwise<P>(product);
        }
        for (int b = 0; b < product.y_blocks; ++b) {
            winograd_transform_sums<P>(a, memory, memory.sums + b * memory.in_block, block + b);
        }
    }
}

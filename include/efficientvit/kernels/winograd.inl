// SPDX-License-Identifier: Apache-2.0
//
// 3x3 convolution by Winograd's F(4x4, 3x3), see winograd_args.hpp: transformed inputs of a rectangle of tiles, then
// for two blocks of outputs at a time 36 matrix products by the kernel of 1x1 convolutions, whose pixels are tiles, and
// what their sums are transformed to.

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

// A tile of 16 channels, which begins at x, to its 36 numbers, each in a plane of its own. `half` is scratch for 36
// vectors. Rows and columns are loops whose ends the compiler does not see: unrolled ones take more addresses and
// constants than there are registers.
EFFICIENTVIT_NOINLINE inline void winograd_input_tile(const float* x, Index row_stride, float* half, float* y,
                                                      Index plane) {
    using V = Lanes<16>::V;
    constexpr int n = Winograd::points;
    int ends = n;
    EFFICIENTVIT_HOLD("r", ends);
    for (int lane = 0; lane < Winograd::block; lane += V::width) {
        V d[n], to[n];
        const float* from = x + lane;
        for (int column = 0; column < ends; ++column, from += Winograd::block) {
            EFFICIENTVIT_UNROLL
            for (int row = 0; row < n; ++row) d[row] = V::load(from + row * row_stride);
            winograd_inputs(to, d);
            EFFICIENTVIT_UNROLL
            for (int row = 0; row < n; ++row) to[row].store(half + (row * n + column) * V::width);
        }
        float* out = y + lane;
        for (int row = 0; row < ends; ++row, out += n * plane) {
            EFFICIENTVIT_UNROLL
            for (int column = 0; column < n; ++column) d[column] = V::load(half + (row * n + column) * V::width);
            winograd_inputs(to, d);
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
    Index in_block, in_plane, sums_plane;  // strides
    float *inputs, *sums, *half, *patch, *zeros;

    EFFICIENTVIT_INLINE explicit WinogradMemory(const Winograd& a)
        : tiles(a.rows * a.columns),
          in_blocks(tile_count(a.channels, Winograd::block)),
          in_block(winograd_block_stride(tiles)),
          in_plane(winograd_plane_stride(in_blocks, tiles)),
          sums_plane(winograd_plane_stride(Winograd::blocks, tiles)),
          inputs(a.memory),
          sums(inputs + Winograd::planes * in_plane),
          half(sums + Winograd::planes * sums_plane),
          patch(half + Winograd::planes * Winograd::block),
          zeros(patch + Winograd::planes * Winograd::block) {}
};

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

EFFICIENTVIT_NOINLINE inline void winograd_transform_inputs(const Winograd& a, const WinogradMemory& memory) {
    for (int block = 0; block < memory.in_blocks; ++block) {
        const float* const x = a.x + block * a.x_block_stride;
        float* to = memory.inputs + block * memory.in_block;
        for (int i = 0; i < a.rows; ++i) {
            const int row = Winograd::outputs * (a.first_row + i) - 1;
            for (int j = 0; j < a.columns; ++j, to += Winograd::block) {
                const int column = Winograd::outputs * (a.first_column + j) - 1;
                const bool within =
                    row >= 0 && row + Winograd::points <= a.height && column + Winograd::points <= a.width + 1;
                if (!within) winograd_patch(a, x, row, column, memory.patch);
                winograd_input_tile(within ? x + row * a.x_row_stride + Index{column} * Winograd::block : memory.patch,
                                    within ? a.x_row_stride : Index{Winograd::points} * Winograd::block, memory.half,
                                    to, memory.in_plane);
            }
        }
    }
}

// Outputs of one block from its sums. Whatever follows the sums is done in memory, while rows are in the first cache.
EFFICIENTVIT_NOINLINE inline void winograd_transform_sums(const Winograd& a, const WinogradMemory& memory,
                                                          const float* sums, int block) {
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
        for (int row = 0; row < rows; ++row) {
            const float* const residual = a.residual == nullptr ? nullptr
                                                                : a.residual + block * a.residual_block_stride +
                                                                      (m * i + row) * a.residual_row_stride;
            activate_in_memory<16>(y + row * a.y_row_stride, residual, Index{width} * Winograd::block, a.act);
        }
    }
}

inline void winograd(const Winograd& a) {
    const WinogradMemory memory(a);
    for (int i = 0; i < Winograd::blocks * Winograd::block; ++i) memory.zeros[i] = 0.0f;
    winograd_transform_inputs(a, memory);

    Pointwise product;
    product.x_block_stride = memory.in_block;
    product.channels = a.channels;
    product.bias = memory.zeros;
    product.y_block_stride = memory.in_block;
    product.y_width = product.pixels = memory.tiles;
    product.next = a.weights;
    for (int block = 0; block < a.y_blocks; block += Winograd::blocks) {
        const int left = a.y_blocks - block;
        product.y_blocks = left < Winograd::blocks ? left : Winograd::blocks;
        const Index words = Index{product.y_blocks} * a.channels * Winograd::block;
        for (int plane = 0; plane < Winograd::planes; ++plane) {
            const bool last = plane == Winograd::planes - 1 && left <= Winograd::blocks;
            product.x = memory.inputs + plane * memory.in_plane;
            product.y = memory.sums + plane * memory.sums_plane;
            product.weights = product.next;
            product.next += words;
            product.next_words = last ? 0 : words;
            pointwise<Operands::f32>(product);
        }
        for (int b = 0; b < product.y_blocks; ++b) {
            winograd_transform_sums(a, memory, memory.sums + b * memory.in_block, block + b);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// Pointwise and dense convolutions on AMX, the matrix unit of some x86-64 CPUs: sums of 16 pixels by 16 output channels
// are one register (a tile), and one instruction adds the products of 32 input channels to all of them. A row of an
// input tile is a pixel's group of channels as Round writes it, a tile of weights is 16 words of each of 16 outputs as
// they are packed: nothing is brought together first.

// Tiles exist between construction and destruction. Threads keep no state beyond that: a thread that holds tiles makes
// every context switch slower.
template <>
struct ProductUnit<Operands::bf16> {
    EFFICIENTVIT_INLINE ProductUnit() {
        struct alignas(64) Configuration {
            unsigned char palette = 1, start_row = 0, reserved[14] = {};
            unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        };
        const Configuration configuration;
        EFFICIENTVIT_FENCE(&configuration);
        _tile_loadconfig(&configuration);
    }
    ProductUnit(const ProductUnit&) = delete;
    ProductUnit& operator=(const ProductUnit&) = delete;
    EFFICIENTVIT_INLINE ~ProductUnit() { _tile_release(); }
};

constexpr int tile_size = 16;               // pixels, output channels, and words of input channels
constexpr int tile_words = tile_size * 16;  // of a tile of sums or of weights
constexpr Index tile_row_bytes = 16 * 4;

// Sums of up to two tiles of pixels (0 and 1, or 2 and 3 for the second output block) begin with zero.
template <int Tiles, int Blocks>
EFFICIENTVIT_INLINE void zero_tiles(const float* x) {
    EFFICIENTVIT_FENCE(x);
    _tile_zero(0);
    if constexpr (Tiles == 2) _tile_zero(1);
    if constexpr (Blocks == 2) _tile_zero(2);
    if constexpr (Blocks == 2 && Tiles == 2) _tile_zero(3);
}

// One group of input channels of one tap: x0 and x1 are the tiles' first pixels, `step` bytes from pixel to pixel;
// weights of the second output block lie `panel` words behind the first's. Where one is null, a tile has nothing to
// add.
template <int Tiles, int Blocks>
EFFICIENTVIT_INLINE void add_tile_products(const float* x0, const float* x1, Index step, const float* w, Index panel) {
    _tile_loadd(6, w, tile_row_bytes);
    if constexpr (Blocks == 2) _tile_loadd(7, w + panel, tile_row_bytes);
    if (x0 != nullptr) {
        _tile_loadd(4, x0, step);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (Blocks == 2) _tile_dpbf16ps(2, 4, 7);
    }
    if constexpr (Tiles == 2) {
        if (x1 != nullptr) {
            _tile_loadd(5, x1, step);
            _tile_dpbf16ps(1, 5, 6);
            if constexpr (Blocks == 2) _tile_dpbf16ps(3, 5, 7);
        }
    }
}

// Sums to memory: [block][tile][pixel][lane].
template <int Tiles, int Blocks>
EFFICIENTVIT_INLINE void store_tiles(float* sums) {
    _tile_stored(0, sums, tile_row_bytes);
    if constexpr (Tiles == 2) _tile_stored(1, sums + tile_words, tile_row_bytes);
    if constexpr (Blocks == 2) _tile_stored(2, sums + Tiles * tile_words, tile_row_bytes);
    if constexpr (Blocks == 2 && Tiles == 2) _tile_stored(3, sums + 3 * tile_words, tile_row_bytes);
}

// y = act(sums + bias) + residual for Count pixels that are neighbours everywhere.
template <int Count>
EFFICIENTVIT_INLINE void finish_pixels(const float* sums, Float16 bias, const float* residual, float* y, Act act) {
    Float16 x[Count];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) x[i] = Float16::add(Float16::load(sums + i * 16), bias);
    if (in_epilogue(act)) {
        activate(x, act);
    } else {
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < Count; ++i) x[i] = rough_activation(x[i], act);
    }
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Count; ++i) {
        if (residual != nullptr) x[i] = Float16::add(x[i], Float16::load(residual + i * 16));
        x[i].store(y + i * 16);
    }
}

// The same for `count` pixels of one row and one block of a Pointwise or a Dense.
template <class Args>
EFFICIENTVIT_INLINE void finish_run(const Args& a, int block, int row, int column, int count, const float* sums) {
    const Float16 bias = Float16::load(a.bias + block * 16);
    const Index at = Index{column} * 16;
    float* const y = a.y + block * a.y_block_stride + row * a.y_row_stride + at;
    const float* const residual = a.residual == nullptr
                                      ? nullptr
                                      : a.residual + block * a.residual_block_stride + row * a.residual_row_stride + at;
    constexpr int most = 4;
    const Index residual_step = residual == nullptr ? 0 : 16;
    int p = 0;
    for (; p + most <= count; p += most) {
        finish_pixels<most>(sums + p * 16, bias, residual + p * residual_step, y + p * 16, a.act);
    }
    for (; p < count; ++p) finish_pixels<1>(sums + p * 16, bias, residual + p * residual_step, y + p * 16, a.act);
}

// Up to 16 * Tiles pixels from `pixel` on.
template <int Tiles, int Blocks>
EFFICIENTVIT_NOINLINE void pointwise_tile(const Pointwise& a, int block, int pixel) {
    const Index panel = weight_words(Operands::bf16, a.channels) * 16;
    const float* x = a.x + Index{pixel} * line_words(Operands::bf16);
    const float* w = a.weights + block * panel;
    zero_tiles<Tiles, Blocks>(a.weights);
    for (int g = group_count(Operands::bf16, a.channels); g > 0; --g, x += a.x_block_stride, w += tile_words) {
        add_tile_products<Tiles, Blocks>(x, x + tile_size * line_words(Operands::bf16), tile_row_bytes, w, panel);
    }
    alignas(64) float sums[Blocks * Tiles * tile_words];
    store_tiles<Tiles, Blocks>(sums);

    const int left = a.pixels - pixel, count = left < Tiles * tile_size ? left : Tiles * tile_size;
    for (int b = 0; b < Blocks; ++b) {
        const float* from = sums + b * Tiles * tile_words;
        int row = pixel / a.y_width, column = pixel % a.y_width;
        for (int done = 0; done < count; column = 0, ++row) {  // rows may have gaps between them
            const int there = a.y_width - column, run = there < count - done ? there : count - done;
            finish_run(a, block + b, row, column, run, from + done * 16);
            done += run;
        }
    }
}

template <int Blocks>
EFFICIENTVIT_NOINLINE void pointwise_pass(const Pointwise& a, int block) {
    int pixel = 0;
    for (; pixel + tile_size < a.pixels; pixel += 2 * tile_size) pointwise_tile<2, Blocks>(a, block, pixel);
    if (pixel < a.pixels) pointwise_tile<1, Blocks>(a, block, pixel);
}

// Blocks of eight fill half a tile, and are few.
template <Operands O>
EFFICIENTVIT_INLINE void products(const Pointwise& a) {
    if (a.y_block != 16) return avx512_bf16::pointwise<O>(a);
    if (a.pixels == 0) return;
    int block = 0;
    for (; block + 2 <= a.y_blocks; block += 2) pointwise_pass<2>(a, block);
    if (block < a.y_blocks) pointwise_pass<1>(a, block);
}

template <Operands O>
inline void pointwise(const Pointwise& a) {
    const ProductUnit<O> unit;
    products<O>(a);
}

// Output rows are cut into tiles of columns, and these are taken in pairs, of one row or of two.
template <int Tiles, int Blocks>
EFFICIENTVIT_NOINLINE void dense_tile(const Dense& a, int block, int tile) {
    const Index panel = weight_words(Operands::bf16, a.channels) * a.kernel_size * a.kernel_size * 16;
    const int tiles_a_row = tile_count(a.y_width, tile_size);
    const Index step = Index{a.stride} * line_words(Operands::bf16);
    const float* const* rows[2];
    Index offset[2];
    int row[2], column[2];
    for (int t = 0; t < Tiles; ++t) {
        row[t] = (tile + t) / tiles_a_row;
        column[t] = (tile + t) % tiles_a_row * tile_size;
        rows[t] = a.rows + Index{row[t]} * a.kernel_size;
        offset[t] = column[t] * step;
    }
    const float* w = a.weights + block * panel;
    zero_tiles<Tiles, Blocks>(a.weights);
    Index group_offset = 0;
    for (int g = group_count(Operands::bf16, a.channels); g > 0; --g, group_offset += a.x_block_stride) {
        for (int ky = 0; ky < a.kernel_size; ++ky) {
            const float* const x0 = rows[0][ky];
            const float* const x1 = Tiles == 2 ? rows[1][ky] : nullptr;
            Index at = group_offset;
            for (int kx = 0; kx < a.kernel_size;
                 ++kx, at += Index{a.dilation} * line_words(Operands::bf16), w += tile_words) {
                add_tile_products<Tiles, Blocks>(x0 == nullptr ? nullptr : x0 + offset[0] + at,
                                                 x1 == nullptr ? nullptr : x1 + offset[1] + at, step * 4, w, panel);
            }
        }
    }
    alignas(64) float sums[Blocks * Tiles * tile_words];
    store_tiles<Tiles, Blocks>(sums);
    for (int b = 0; b < Blocks; ++b) {
        for (int t = 0; t < Tiles; ++t) {
            const int left = a.y_width - column[t];
            finish_run(a, block + b, row[t], column[t], left < tile_size ? left : tile_size,
                       sums + (b * Tiles + t) * tile_words);
        }
    }
}

template <int Blocks>
EFFICIENTVIT_NOINLINE void dense_pass(const Dense& a, int block) {
    const int tiles = a.y_rows * tile_count(a.y_width, tile_size);
    int tile = 0;
    for (; tile + 2 <= tiles; tile += 2) dense_tile<2, Blocks>(a, block, tile);
    if (tile < tiles) dense_tile<1, Blocks>(a, block, tile);
}

template <Operands O>
inline void dense(const Dense& a) {
    if (a.y_block != 16) return avx512_bf16::dense<O>(a);
    const ProductUnit<O> unit;
    int block = 0;
    for (; block + 2 <= a.y_blocks; block += 2) dense_pass<2>(a, block);
    if (block < a.y_blocks) dense_pass<1>(a, block);
}

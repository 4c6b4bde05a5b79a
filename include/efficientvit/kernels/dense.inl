// SPDX-License-Identifier: Apache-2.0
//
// Dense and grouped convolution, one output row at a time. The columns of a kernel row are neighbours in memory, in the
// blocked layout as in planar NCHW, so that a kernel row is one run of multiply_accumulate.

template <int Block, int M>
EFFICIENTVIT_NOINLINE void dense_tile(const Dense& a, int block, int column) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    V acc[M * vectors];
    begin_sums<V, 1, vectors, M>(acc, a.bias + block * Block);

    const Index step = Index{a.stride} * a.x_block;  // from one output column to the next
    const int in_blocks = (a.channels + a.x_block - 1) / a.x_block;
    const float* w = a.weights + Index{block} * a.channels * a.kernel_size * a.kernel_size * Block;
    Index x_offset = Index{block / a.y_blocks_per_group} * in_blocks * a.x_block_stride + column * step;
    for (int b = 0, left = a.channels; left > 0; ++b, left -= a.x_block, x_offset += a.x_block_stride) {
        const int lanes = left < a.x_block ? left : a.x_block;
        const bool one_run = lanes == a.x_block && a.dilation == 1;
        const int runs = one_run ? 1 : a.kernel_size;
        const int run = one_run ? lanes * a.kernel_size : lanes;
        for (int ky = 0; ky < a.kernel_size; ++ky) {
            if (a.rows[ky] == nullptr) {
                w += Index{lanes} * a.kernel_size * Block;
                continue;
            }
            const float* x = a.rows[ky] + x_offset;
            for (int i = 0; i < runs; ++i, x += Index{a.dilation} * a.x_block) {
                w = multiply_accumulate<V, 1, vectors, M>(acc, x, step, w, 0, run);
            }
        }
    }

    activate(acc, a.act);
    if (a.residual != nullptr) {
        const float* r = a.residual + block * a.residual_block_stride + Index{column} * Block;
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < M * vectors; ++i) acc[i] = V::add(acc[i], V::load(r + i * V::width));
    }
    float* y = a.y + block * a.y_block_stride + Index{column} * Block;
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < M * vectors; ++i) acc[i].store(y + i * V::width);
}

template <int Block>
EFFICIENTVIT_NOINLINE void dense_blocks(const Dense& a) {
    constexpr int most = Lanes<Block>::tile_dense;
    for (int block = 0; block < a.y_blocks; ++block) {
        int column = 0;
        for (; column + most <= a.y_width; column += most) dense_tile<Block, most>(a, block, column);
        for (; column + 4 <= a.y_width; column += 4) dense_tile<Block, 4>(a, block, column);
        for (; column < a.y_width; ++column) dense_tile<Block, 1>(a, block, column);
    }
}

// The stem: 3x3 with stride 2 from planes. Neighbouring outputs share an input column, so that a broadcast serves two
// of them. `count` tiles of M columns each.
template <int Block, int M>
EFFICIENTVIT_NOINLINE void stem_tiles(const Dense& a, int block, int column, int count) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    const float* const bias = a.bias + block * Block;
    const float* const weights = a.weights + Index{block} * a.channels * 9 * Block;
    for (; count > 0; --count, column += M) {
        V acc[M * vectors];
        begin_sums<V, 1, vectors, M>(acc, bias);
        const float* w = weights;
        for (int c = 0; c < a.channels; ++c) {
            for (int ky = 0; ky < 3; ++ky, w += 3 * Block) {
                if (a.rows[ky] == nullptr) continue;
                const float* const x = a.rows[ky] + c * a.x_block_stride + 2 * Index{column};
                V weight[3 * vectors];
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < 3 * vectors; ++i) weight[i] = V::load(w + i * V::width);
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < 2 * M + 1; ++i) {
                    const V value = V::broadcast(x + i);
                    EFFICIENTVIT_UNROLL
                    for (int kx = 0; kx < 3; ++kx) {
                        if ((i - kx) % 2 != 0 || i < kx || i - kx >= 2 * M) continue;
                        EFFICIENTVIT_UNROLL
                        for (int j = 0; j < vectors; ++j) {
                            const int out = (i - kx) / 2 * vectors + j;
                            acc[out] = V::fma(value, weight[kx * vectors + j], acc[out]);
                        }
                    }
                }
            }
        }
        activate(acc, a.act);
        if (a.act == Act::hswish) {  // the residual blocks behind the stem see its output as it is
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < M * vectors; ++i) acc[i] = rare_activation(acc[i], Act::hswish);
        }
        float* const y = a.y + block * a.y_block_stride + Index{column} * Block;
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < M * vectors; ++i) acc[i].store(y + i * V::width);
    }
}

template <int Block>
EFFICIENTVIT_NOINLINE void stem_blocks(const Dense& a) {
    constexpr int most = Lanes<Block>::tile_stem;
    const int tiles = a.y_width / most;
    const int threes = (a.y_width - tiles * most) / 3;
    for (int block = 0; block < a.y_blocks; ++block) {
        stem_tiles<Block, most>(a, block, 0, tiles);
        stem_tiles<Block, 3>(a, block, tiles * most, threes);
        stem_tiles<Block, 1>(a, block, tiles * most + threes * 3, a.y_width - tiles * most - threes * 3);
    }
}

// Groups that do not fill whole output blocks: every lane reads input channels of its own.
template <int Block>
EFFICIENTVIT_NOINLINE void grouped_block(const Dense& a) {
    using V = typename Lanes<Block>::V;
    constexpr int vectors = Lanes<Block>::vectors;
    for (int block = 0; block < a.y_blocks; ++block) {
        for (int column = 0; column < a.y_width; ++column) {
            V acc[vectors];
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) acc[j] = V::load(a.bias + block * Block + j * V::width);
            const float* w = a.weights + Index{block} * a.channels * a.kernel_size * a.kernel_size * Block;
            for (int c = 0; c < a.channels; ++c) {
                const int* lane_channel = a.lane_channels + (Index{block} * a.channels + c) * Block;
                for (int ky = 0; ky < a.kernel_size; ++ky) {
                    for (int kx = 0; kx < a.kernel_size; ++kx, w += Block) {
                        if (a.rows[ky] == nullptr) continue;
                        const float* x = a.rows[ky] + (Index{column} * a.stride + Index{kx} * a.dilation) * a.x_block;
                        alignas(64) float gathered[Block];
                        for (int lane = 0; lane < Block; ++lane) {
                            const int channel = lane_channel[lane];
                            gathered[lane] = x[channel / a.x_block * a.x_block_stride + channel % a.x_block];
                        }
                        EFFICIENTVIT_UNROLL
                        for (int j = 0; j < vectors; ++j) {
                            acc[j] = V::fma(V::load(gathered + j * V::width), V::load(w + j * V::width), acc[j]);
                        }
                    }
                }
            }
            activate(acc, a.act);
            if (a.residual != nullptr) {
                const float* r = a.residual + block * a.residual_block_stride + Index{column} * Block;
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < vectors; ++j) acc[j] = V::add(acc[j], V::load(r + j * V::width));
            }
            float* y = a.y + block * a.y_block_stride + Index{column} * Block;
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < vectors; ++j) acc[j].store(y + j * V::width);
        }
    }
}

// silu and gelu come after the sums, in memory.
inline void finish_dense(const Dense& args) {
    if (in_epilogue(args.act)) return;
    for (int block = 0; block < args.y_blocks; ++block) {
        const float* residual = args.residual == nullptr ? nullptr : args.residual + block * args.residual_block_stride;
        narrow::activate_in_memory<typename narrow::Lanes<8>::V>(args.y + block * args.y_block_stride, residual,
                                                                 Index{args.y_width} * args.y_block, args.act);
    }
}

inline void dense(const Dense& args) {
    const bool stem = args.x_block == 1 && args.kernel_size == 3 && args.stride == 2 && args.dilation == 1 &&
                      args.residual == nullptr;
    if (stem && (in_epilogue(args.act) || args.act == Act::hswish)) {
        return args.y_block == 16 ? stem_blocks<16>(args) : narrow::stem_blocks<8>(args);
    }
    Dense a = args;
    if (!in_epilogue(args.act)) a.act = Act::none, a.residual = nullptr;
    if (a.y_block == 16) {
        dense_blocks<16>(a);
    } else {
        narrow::dense_blocks<8>(a);
    }
    finish_dense(args);
}

inline void grouped(const Dense& args) {
    Dense a = args;
    if (!in_epilogue(args.act)) a.act = Act::none, a.residual = nullptr;
    if (a.y_block == 16) {
        grouped_block<16>(a);
    } else {
        narrow::grouped_block<8>(a);
    }
    finish_dense(args);
}

template <int Block>
EFFICIENTVIT_NOINLINE void affine_block(const Affine& a) {
    using V = typename Lanes<Block>::V;
    for (int lane = 0; lane < Block; lane += V::width) {
        const V scale = a.scale == nullptr ? V::set(1.0f) : V::load(a.scale + lane);
        const V shift = a.shift == nullptr ? V::set(0.0f) : V::load(a.shift + lane);
        Index at = lane;
        for (int row = 0; row < a.rows; ++row) {
            const float* from = a.x + row * a.x_row_stride + lane;
            for (int p = 0; p < a.pixels; ++p, from += Block, at += Block) {
                V x[1] = {V::load(from)};
                if (a.scale != nullptr) x[0] = V::fma(x[0], scale, shift);
                if (in_epilogue(a.act)) {
                    activate(x, a.act);
                } else {
                    x[0] = rare_activation(x[0], a.act);
                }
                if (a.residual != nullptr) x[0] = V::add(x[0], V::load(a.residual + at));
                x[0].store(a.y + at);
            }
        }
    }
}

inline void affine(const Affine& a) { a.block == 16 ? affine_block<16>(a) : narrow::affine_block<8>(a); }

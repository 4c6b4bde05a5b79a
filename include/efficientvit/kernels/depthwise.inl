// SPDX-License-Identifier: Apache-2.0
//
// Depthwise convolution of one channel block. A strip is Columns outputs wide, of one vector of channels; every
// input vector is loaded once a kernel row and used for all outputs that it touches.

// One kernel row of a strip: weights in registers, every input vector loaded once and used for all outputs it touches.
template <class V, int Vectors, int Block, int Kernel, int Stride, int Columns>
EFFICIENTVIT_INLINE void depthwise_kernel_row(V (&acc)[Columns * Vectors], const float* x, const float* w) {
    // One address each: GCC would rather keep the offset of every load in a register of its own, and spill them.
    EFFICIENTVIT_HOLD("r", x);
    EFFICIENTVIT_HOLD("r", w);
    V weight[Kernel * Vectors];
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Kernel * Vectors; ++i) weight[i] = V::load(w + i / Vectors * Block + i % Vectors * V::width);
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < (Columns - 1) * Stride + Kernel; ++i) {
        // Later loads stay behind, where they are not in the way of sums and can be pairs.
        if constexpr (MultipliesByElement<V>) {
            if (i % 4 == 0) EFFICIENTVIT_FENCE(x);
        }
        V value[Vectors];
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < Vectors; ++j) value[j] = V::load(x + i * Block + j * V::width);
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < Vectors; ++j) value[j].hold();
        EFFICIENTVIT_UNROLL
        for (int kx = 0; kx < Kernel; ++kx) {
            const int first = i - kx;
            if (first < 0 || first % Stride != 0 || first / Stride >= Columns) continue;
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < Vectors; ++j) {
                V& sum = acc[first / Stride * Vectors + j];
                sum = multiply_add(value[j], weight[kx * Vectors + j], sum);
            }
        }
    }
}

// Kernel and stride known; all rows of one strip of columns, of Vectors vectors of channels. The order of additions is
// ky, then kx, for any strip: results do not depend on how a map was split.
template <class V, int Vectors, int Block, int Kernel, int Stride, int Columns>
EFFICIENTVIT_NOINLINE void depthwise_strip(const Depthwise& args, int column, int lane) {
    InRegisters<V, Depthwise> a = args;
    const Index x_offset = Index{column} * Stride * Block + lane;
    const float* const weights = a.weights + lane;
    for (int row = 0; row < a.y_rows; ++row) {
        const float* const* const rows = a.rows + row * Stride;
        V acc[Columns * Vectors];
        // In here: a register that lives across rows is one too many for 5x5.
        begin_sums<Operands::f32, V, 1, Vectors, Columns>(acc, a.bias + lane);
        // Three kernel rows are written out: a loop as short as that costs a wrong guess at its end.
        if constexpr (Kernel == 3) {
            EFFICIENTVIT_UNROLL
            for (int ky = 0; ky < Kernel; ++ky) {
                depthwise_kernel_row<V, Vectors, Block, Kernel, Stride, Columns>(acc, rows[ky] + x_offset,
                                                                                 weights + ky * Kernel * Block);
            }
        } else {
            for (int ky = 0; ky < Kernel; ++ky) {
                depthwise_kernel_row<V, Vectors, Block, Kernel, Stride, Columns>(acc, rows[ky] + x_offset,
                                                                                 weights + ky * Kernel * Block);
            }
        }
        activate(acc, a.act);
        float* y = a.y + row * a.y_row_stride + Index{column} * Block + lane;
        if constexpr (MultipliesByElement<V>) EFFICIENTVIT_HOLD("r", y);
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < Columns * Vectors; ++i) acc[i].store(y + i / Vectors * Block + i % Vectors * V::width);
    }
}

// Any kernel size, stride and dilation: the same sums in the same order, one output at a time.
template <class V, int Block>
EFFICIENTVIT_NOINLINE void depthwise_any(const Depthwise& a, const float* const* rows, int lane, float* y) {
    for (int c = 0; c < a.y_width; ++c) {
        V acc[1] = {V::load(a.bias + lane)};
        const float* w = a.weights + lane;
        for (int ky = 0; ky < a.kernel_size; ++ky) {
            const float* x = rows[ky * a.dilation] + Index{c} * a.stride * Block + lane;
            for (int kx = 0; kx < a.kernel_size; ++kx, w += Block) {
                acc[0] = V::fma(V::load(x + Index{kx} * a.dilation * Block), V::load(w), acc[0]);
            }
        }
        activate(acc, a.act);
        acc[0].store(y + Index{c} * Block);
    }
}

// Strips of 8 and 7 columns where these suffice (they do from 42 columns on, and for 7, 14, 21 and 28), else smaller
// ones behind them.
template <int Block, int Kernel, int Stride>
inline void depthwise_kernel(const Depthwise& a) {
    using V = typename Lanes<Block>::V;
    const int strips = tile_count(a.y_width, 8);
    const int sevens = 8 * strips - a.y_width <= strips ? 8 * strips - a.y_width : 0;
    constexpr int vectors = Lanes<Block>::strip_vectors;
    for (int lane = 0; lane < Block; lane += vectors * V::width) {
        int c = 0;
        if constexpr (Kernel == 3 || Stride == 1) {
            for (; c < 7 * sevens; c += 7) depthwise_strip<V, vectors, Block, Kernel, Stride, 7>(a, c, lane);
            for (; c + 8 <= a.y_width; c += 8) depthwise_strip<V, vectors, Block, Kernel, Stride, 8>(a, c, lane);
        }
        for (; c + 4 <= a.y_width; c += 4) depthwise_strip<V, vectors, Block, Kernel, Stride, 4>(a, c, lane);
        for (; c < a.y_width; ++c) depthwise_strip<V, vectors, Block, Kernel, Stride, 1>(a, c, lane);
    }
}

template <int Block>
inline void depthwise_block(const Depthwise& a) {
    if constexpr (Lanes<Block>::unrolled_depthwise) {
        const int which = a.dilation != 1 ? 0 : a.kernel_size * 10 + a.stride;
        switch (which) {
            case 31:
                return depthwise_kernel<Block, 3, 1>(a);
            case 32:
                return depthwise_kernel<Block, 3, 2>(a);
            case 51:
                return depthwise_kernel<Block, 5, 1>(a);
            case 52:
                return depthwise_kernel<Block, 5, 2>(a);
            default:
                break;
        }
    }
    using V = typename Lanes<Block>::V;
    for (int r = 0; r < a.y_rows; ++r) {
        for (int lane = 0; lane < Block; lane += V::width) {
            depthwise_any<V, Block>(a, a.rows + r * a.stride, lane, a.y + r * a.y_row_stride + lane);
        }
    }
}

inline void depthwise(const Depthwise& args) {
    Depthwise a = args;
    if (!in_epilogue(args.act)) a.act = Act::none;
    if (a.block == 16) {
        depthwise_block<16>(a);
    } else {
        narrow::depthwise_block<8>(a);
    }
    if (in_epilogue(args.act)) return;
    const Index row = Index{a.y_width} * a.block;
    const bool gapless = a.y_row_stride == row;
    for (int r = 0; r < (gapless ? 1 : a.y_rows); ++r) {
        float* const y = a.y + r * a.y_row_stride;
        const Index count = gapless ? row * a.y_rows : row;
        if (a.block == 16) {
            activate_in_memory<Lanes<16>::V>(y, nullptr, count, args.act);
        } else {
            narrow::activate_in_memory<narrow::Lanes<8>::V>(y, nullptr, count, args.act);
        }
    }
}

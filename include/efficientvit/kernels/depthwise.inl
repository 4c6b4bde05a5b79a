// SPDX-License-Identifier: Apache-2.0
//
// Depthwise convolution of one channel block. A strip is Columns outputs wide, of one vector of channels; every
// input vector is loaded once a kernel row and used for all outputs that it touches.

// Kernel and stride known; all rows of one strip of columns. Rows > 1 keeps all weights in registers and uses each
// input row for several output rows; with sixteen registers there is only room for one kernel row's weights, and Rows
// is 1. The order of additions is ky, then kx, for any tile: results do not depend on how a map was split.
template <class V, int Block, int Kernel, int Stride, int Rows, int Columns>
EFFICIENTVIT_NOINLINE void depthwise_strip(const Depthwise& a, int first_row, int end_row, int column, int lane) {
    const Index x_offset = Index{column} * Stride * Block + lane;
    const float* const weights = a.weights + lane;
    for (int row = first_row; row + Rows <= end_row; row += Rows) {
        const float* const* const rows = a.rows + row * Stride;
        const V bias = V::load(a.bias + lane);  // in here: a register that lives across rows is one too many for 5x5
        V acc[Rows * Columns];
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < Rows * Columns; ++i) acc[i] = bias;

        if constexpr (Rows == 1) {
            for (int ky = 0; ky < Kernel; ++ky) {
                const float* const x = rows[ky] + x_offset;
                V weight[Kernel];
                EFFICIENTVIT_UNROLL
                for (int kx = 0; kx < Kernel; ++kx) weight[kx] = V::load(weights + (ky * Kernel + kx) * Block);
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < (Columns - 1) * Stride + Kernel; ++i) {
                    const V value = V::load(x + i * Block);
                    EFFICIENTVIT_UNROLL
                    for (int kx = 0; kx < Kernel; ++kx) {
                        const int first = i - kx;
                        if (first >= 0 && first % Stride == 0 && first / Stride < Columns) {
                            acc[first / Stride] = V::fma(value, weight[kx], acc[first / Stride]);
                        }
                    }
                }
            }
        } else {
            V weight[Kernel * Kernel];
            EFFICIENTVIT_UNROLL
            for (int k = 0; k < Kernel * Kernel; ++k) weight[k] = V::load(weights + k * Block);
            EFFICIENTVIT_UNROLL
            for (int iy = 0; iy < (Rows - 1) * Stride + Kernel; ++iy) {
                const float* const x = rows[iy] + x_offset;
                EFFICIENTVIT_UNROLL
                for (int i = 0; i < (Columns - 1) * Stride + Kernel; ++i) {
                    const V value = V::load(x + i * Block);
                    EFFICIENTVIT_UNROLL
                    for (int r = 0; r < Rows; ++r) {
                        const int ky = iy - r * Stride;
                        if (ky < 0 || ky >= Kernel) continue;
                        EFFICIENTVIT_UNROLL
                        for (int kx = 0; kx < Kernel; ++kx) {
                            const int first = i - kx;
                            if (first >= 0 && first % Stride == 0 && first / Stride < Columns) {
                                const int out = r * Columns + first / Stride;
                                acc[out] = V::fma(value, weight[ky * Kernel + kx], acc[out]);
                            }
                        }
                    }
                }
            }
        }

        activate(acc, a.act);
        float* const y = a.y + row * a.y_row_stride + Index{column} * Block + lane;
        EFFICIENTVIT_UNROLL
        for (int r = 0; r < Rows; ++r) {
            EFFICIENTVIT_UNROLL
            for (int c = 0; c < Columns; ++c) acc[r * Columns + c].store(y + r * a.y_row_stride + c * Block);
        }
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

// All columns of rows [first, end): strips of 8 and 7 where these suffice (they do from 42 columns on, and for 7, 14,
// 21 and 28), else smaller ones behind them.
template <class V, int Block, int Kernel, int Stride, int Rows>
EFFICIENTVIT_NOINLINE void depthwise_rows(const Depthwise& a, int first, int end, int lane) {
    const int strips = tile_count(a.y_width, 8);
    const int sevens = 8 * strips - a.y_width <= strips ? 8 * strips - a.y_width : 0;
    int c = 0;
    if constexpr (Kernel == 3 || Stride == 1) {
        for (; c < 7 * sevens; c += 7) depthwise_strip<V, Block, Kernel, Stride, Rows, 7>(a, first, end, c, lane);
        for (; c + 8 <= a.y_width; c += 8) depthwise_strip<V, Block, Kernel, Stride, Rows, 8>(a, first, end, c, lane);
    }
    for (; c + 4 <= a.y_width; c += 4) depthwise_strip<V, Block, Kernel, Stride, 1, 4>(a, first, end, c, lane);
    for (; c < a.y_width; ++c) depthwise_strip<V, Block, Kernel, Stride, 1, 1>(a, first, end, c, lane);
}

template <int Block, int Kernel, int Stride>
inline void depthwise_kernel(const Depthwise& a) {
    using V = typename Lanes<Block>::V;
    for (int lane = 0; lane < Block; lane += V::width) {
        int done = 0;
        if constexpr (Lanes<Block>::registers >= 32 && Kernel == 3 && Stride == 1) {
            done = a.y_rows / 2 * 2;
            depthwise_rows<V, Block, Kernel, Stride, 2>(a, 0, done, lane);
        }
        depthwise_rows<V, Block, Kernel, Stride, 1>(a, done, a.y_rows, lane);
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
        depthwise_block<8>(a);
    }
    if (in_epilogue(args.act)) return;
    for (int r = 0; r < a.y_rows; ++r) {
        activate_in_memory<typename Lanes<8>::V>(a.y + r * a.y_row_stride, nullptr, Index{a.y_width} * a.block,
                                                 args.act);
    }
}

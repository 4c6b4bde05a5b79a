// SPDX-License-Identifier: Apache-2.0
//
// Depthwise convolution of one channel block. A tile is Rows x Columns outputs of one vector of channels; every input
// vector is loaded once a kernel row and used for all outputs that it touches.

// Kernel and stride known. Rows > 1 keeps all weights in registers and uses each input row for several output rows;
// with sixteen registers there is only room for one kernel row's weights, and Rows is 1.
// The order of additions is ky, then kx, for any tile: results do not depend on how a row was split.
template <class V, int Block, int Kernel, int Stride, int Rows, int Columns>
EFFICIENTVIT_NOINLINE void depthwise_tile(const Depthwise& a, const float* const* rows, Index x_offset, int lane,
                                          float* y) {
    V acc[Rows * Columns];
    const V bias = V::load(a.bias + lane);
    EFFICIENTVIT_UNROLL
    for (int i = 0; i < Rows * Columns; ++i) acc[i] = bias;

    if constexpr (Rows == 1) {
        for (int ky = 0; ky < Kernel; ++ky) {
            const float* x = rows[ky] + x_offset;
            V weight[Kernel];
            EFFICIENTVIT_UNROLL
            for (int kx = 0; kx < Kernel; ++kx) weight[kx] = V::load(a.weights + (ky * Kernel + kx) * Block + lane);
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
        for (int k = 0; k < Kernel * Kernel; ++k) weight[k] = V::load(a.weights + k * Block + lane);
        EFFICIENTVIT_UNROLL
        for (int iy = 0; iy < (Rows - 1) * Stride + Kernel; ++iy) {
            const float* x = rows[iy] + x_offset;
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
    EFFICIENTVIT_UNROLL
    for (int r = 0; r < Rows; ++r) {
        EFFICIENTVIT_UNROLL
        for (int c = 0; c < Columns; ++c) acc[r * Columns + c].store(y + r * a.y_row_stride + c * Block);
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

// All columns of Rows output rows: tiles of 8 and 7 where these suffice (they do from 42 columns on, and for 7, 14
// and 28), else smaller ones behind them.
template <class V, int Block, int Kernel, int Stride, int Rows>
EFFICIENTVIT_NOINLINE void depthwise_rows(const Depthwise& a, const float* const* rows, int lane, float* y) {
    const int tiles = tile_count(a.y_width, 8);
    const int sevens = 8 * tiles - a.y_width <= tiles ? 8 * tiles - a.y_width : 0;
    int c = 0;
    for (; c < 7 * sevens; c += 7) {
        depthwise_tile<V, Block, Kernel, Stride, Rows, 7>(a, rows, Index{c} * Stride * Block + lane, lane,
                                                          y + Index{c} * Block);
    }
    for (; c + 8 <= a.y_width; c += 8) {
        depthwise_tile<V, Block, Kernel, Stride, Rows, 8>(a, rows, Index{c} * Stride * Block + lane, lane,
                                                          y + Index{c} * Block);
    }
    for (; c + 4 <= a.y_width; c += 4) {
        depthwise_tile<V, Block, Kernel, Stride, Rows, 4>(a, rows, Index{c} * Stride * Block + lane, lane,
                                                          y + Index{c} * Block);
    }
    for (; c < a.y_width; ++c) {
        depthwise_tile<V, Block, Kernel, Stride, Rows, 1>(a, rows, Index{c} * Stride * Block + lane, lane,
                                                          y + Index{c} * Block);
    }
}

template <int Block, int Kernel, int Stride>
inline void depthwise_kernel(const Depthwise& a) {
    using V = typename Lanes<Block>::V;
    for (int lane = 0; lane < Block; lane += V::width) {
        int r = 0;
        if constexpr (Lanes<Block>::registers >= 32 && Kernel == 3 && Stride == 1) {
            for (; r + 2 <= a.y_rows; r += 2) {
                depthwise_rows<V, Block, Kernel, Stride, 2>(a, a.rows + r, lane, a.y + r * a.y_row_stride + lane);
            }
        }
        for (; r < a.y_rows; ++r) {
            depthwise_rows<V, Block, Kernel, Stride, 1>(a, a.rows + r * Stride, lane, a.y + r * a.y_row_stride + lane);
        }
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
    if (!is_cheap(args.act)) a.act = Act::none;
    if (a.block == 16) {
        depthwise_block<16>(a);
    } else {
        depthwise_block<8>(a);
    }
    if (is_cheap(args.act)) return;
    for (int r = 0; r < a.y_rows; ++r) {
        activate_in_memory<typename Lanes<8>::V>(a.y + r * a.y_row_stride, nullptr, Index{a.y_width} * a.block,
                                                 args.act);
    }
}

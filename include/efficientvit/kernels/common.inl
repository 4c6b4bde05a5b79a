// SPDX-License-Identifier: Apache-2.0
//
// What all kernel bodies share: activations in registers and in memory, and the multiply-accumulate step.
// Included by kernels.hpp once for each ISA; Lanes<Block> has been defined there.

// ---- activations -----------------------------------------------------------------------------------------------

template <class V, int Count>
EFFICIENTVIT_INLINE void activate(V (&x)[Count], Act act) {
    switch (act) {
        case Act::relu:
        case Act::relu6: {
            const V low = V::set(0.0f);
            const V high = V::set(act == Act::relu ? infinity : 6.0f);
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < Count; ++i) x[i] = V::min(high, V::max(low, x[i]));
            break;
        }
        case Act::hswish_x6: {
            const V three = V::set(3.0f);
            EFFICIENTVIT_UNROLL
            for (int i = 0; i < Count; ++i) x[i] = V::mul(x[i], V::add(V::clamp(x[i], three), three));
            break;
        }
        default:
            break;
    }
}

// 2^(whole + rest) to about one unit in the last place, for a whole number and a rest of about a half at most: the
// polynomial has the least relative error of its degree there, 3e-9.
template <class V>
EFFICIENTVIT_INLINE V power_of_two(V whole, V rest) {
    V p = V::fma(V::set(1.53264715e-4f), rest, V::set(1.33908063e-3f));
    p = V::fma(p, rest, V::set(9.61850584e-3f));
    p = V::fma(p, rest, V::set(5.55035993e-2f));
    p = V::fma(p, rest, V::set(2.40226477e-1f));
    p = V::fma(p, rest, V::set(6.93147182e-1f));
    return V::times_power_of_two(V::fma(p, rest, V::set(1.0f)), whole);
}

// e^x to about one unit in the last place. Overflows to infinity as it should; below -87.3 it stays at the smallest
// normal number. NaN stays NaN.
template <class V>
EFFICIENTVIT_INLINE V exponential(V x) {
    const V log2_e = V::set(1.44269504088896341f);
    const V t = V::min(V::set(89.0f), V::max(V::set(-87.3f), x));
    V whole, rest;
    V::split(V::mul(t, log2_e), whole, rest);
    // What is left of t itself: the first product, of a short number, is exact.
    rest = V::fma(whole, V::set(-0.693359375f), t);
    rest = V::fma(whole, V::set(2.12194440e-4f), rest);
    return power_of_two(whole, V::mul(rest, log2_e));
}

// silu is x / (1 + e^-x); gelu's tanh form is x / (1 + 2^u) with u = -2 log2(e) sqrt(2/pi) (x + 0.044715 x^3).
template <class V>
EFFICIENTVIT_INLINE V rare_activation(V x, Act act) {
    if (act == Act::hswish) {
        // In this order: exactly zero from -3 down, exactly x from 3 up.
        const V gate = V::add(V::clamp(x, V::set(3.0f)), V::set(3.0f));
        return V::mul(x, V::mul(gate, V::set(1.0f / 6.0f)));
    }
    V power;
    if (act == Act::gelu) {
        constexpr float slope = -2.302208198f;  // of u at 0
        V whole, rest;
        V::split(V::mul(x, V::fma(V::mul(x, x), V::set(slope * 0.044715f), V::set(slope))), whole, rest);
        power = power_of_two(whole, rest);
    } else {
        power = exponential(V::sub(V::set(0.0f), x));
    }
    return V::quotient(x, V::add(V::set(1.0f), power));
}

// Any activation of one vector.
template <class V>
EFFICIENTVIT_INLINE V activated(V x, Act act) {
    if (!in_epilogue(act)) return rare_activation(x, act);
    V one[1] = {x};
    activate(one, act);
    return one[0];
}

// silu and gelu of what becomes bf16 next, and of what becomes a byte or is beside such numbers. AVX-512 has rougher
// ones, which take less time (isa/avx512_rough.hpp).
template <class V>
EFFICIENTVIT_INLINE V rough_activation(V x, Act act) {
    return rare_activation(x, act);
}
template <class V>
EFFICIENTVIT_INLINE V byte_activation(V x, Act act) {
    return rough_activation(x, act);
}

// act over `count` floats in memory, whole vectors, with an optional residual added after it. Beside products of bytes
// silu and gelu need not be exact.
template <class V, Operands O = Operands::f32>
EFFICIENTVIT_NOINLINE void activate_in_memory(float* y, const float* residual, Index count, Act act) {
    for (Index i = 0; i < count; i += V::width) {
        V x = V::load(y + i);
        if constexpr (has_bytes(O)) {
            x = byte_activation(x, act);
        } else {
            x = activated(x, act);
        }
        if (residual != nullptr) x = V::add(x, V::load(residual + i));
        x.store(y + i);
    }
}

// ---- multiply-accumulate ------------------------------------------------------------------------------------------

#include <efficientvit/kernels/lines.inl>

// Whether one element of a vector multiplies all of another, as NEON's fmla can: a vector of a pixel's channels is then
// loaded at once. bf16's words are not taken so: Clang makes broadcasts of them again, and GCC keeps sums on the stack.
template <class V>
concept MultipliesByElement = requires(V v) {
    V::template fma_element<0>(v, v, v);
};

// Whether the instruction that multiplies bf16's pairs takes a word from memory for all lanes.
template <class V>
concept MultipliesByWord = requires(const float* x, V v) {
    add_pair_products(x, v, v);
};

// a * b + c, where as many sums as there are registers are on their way.
template <class V>
EFFICIENTVIT_INLINE V multiply_add(V a, V b, V c) {
    if constexpr (MultipliesByElement<V>) {
        return V::fma_in_place(a, b, c);
    } else {
        return V::fma(a, b, c);
    }
}

// Arguments of a kernel, copied to where they are at hand: AArch64 has registers for them.
template <class T, bool Copied>
struct Copy {
    using type = const T&;
};
template <class T>
struct Copy<T, true> {
    using type = const T;
};
template <class V, class T>
using InRegisters = typename Copy<T, MultipliesByElement<V>>::type;

// The products of channel Element of each pixel's vector with the weights at w, which steps on.
template <class V, int Vectors, int M, int Element>
EFFICIENTVIT_INLINE void add_products_of(V (&acc)[M * Vectors], const V (&value)[M], const float*& w) {
    V weight[Vectors];
    V::load_next(weight, w);
    EFFICIENTVIT_UNROLL
    for (int m = 0; m < M; ++m) {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < Vectors; ++j) {
            acc[m * Vectors + j] = V::template fma_element<Element>(weight[j], value[m], acc[m * Vectors + j]);
        }
    }
}

// The products of Channels channels, a multiple of four, of M pixels; w steps on.
template <class V, int Vectors, int M, int Channels>
EFFICIENTVIT_INLINE void add_channels(V (&acc)[M * Vectors], const float* x, Index step, const float*& w) {
    static_assert(V::width == 4);
    EFFICIENTVIT_UNROLL
    for (int k = 0; k < Channels; k += 4) {
        EFFICIENTVIT_FENCE(x);  // GCC would load values of the next four before, for which there are no registers
        V value[M];
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) value[m] = V::load(x + m * step + k);
        add_products_of<V, Vectors, M, 0>(acc, value, w);
        add_products_of<V, Vectors, M, 1>(acc, value, w);
        add_products_of<V, Vectors, M, 2>(acc, value, w);
        add_products_of<V, Vectors, M, 3>(acc, value, w);
    }
}

// acc[m][j] += x[m * step + k] * w[k][j] for k < n: M pixels, Vectors vectors of output channels, which come from
// Blocks neighbouring output blocks; `panel` is the distance between the weights of two blocks. Returns the end of the
// first block's weights that it has read. All convolutions but the depthwise come down to this. Inlined, so that a
// constant step becomes part of the addresses. n counts what x has: words, or with Operands::bf16_weights floats.
template <Operands O, class V, int Blocks, int Vectors, int M>
EFFICIENTVIT_INLINE const float* multiply_accumulate(V (&acc)[M * Blocks * Vectors], const float* x, Index step,
                                                     const float* w, Index panel, int n) {
    if constexpr (has_bytes(O)) return add_group<O, V, Blocks, Vectors, M>(acc, x, step, w, panel, n);
    if constexpr (O == Operands::f16) return add_halves<V, Blocks, Vectors, M>(acc, x, step, w, n);
    constexpr int each = Blocks * Vectors;
    constexpr int halves = O == Operands::bf16_weights ? 2 : 1;  // channels of x that a word of weights is for
    int k = 0;
    if constexpr (O == Operands::f32 && Blocks == 1 && MultipliesByElement<V>) {
        for (; k + 4 <= n; k += 4) add_channels<V, Vectors, M, 4>(acc, x + k, step, w);
    }
    for (; k < n; k += halves) {
        EFFICIENTVIT_UNROLL
        for (int half = 0; half < halves; ++half) {
            // Each half is loaded anew: to keep what both come from takes registers that the sums need.
            if constexpr (halves == 2) {
                EFFICIENTVIT_HOLD("r", w);
                EFFICIENTVIT_HOLD("r", x);
            }
            V weight[each];
            EFFICIENTVIT_UNROLL
            for (int j = 0; j < each; ++j) {
                const float* const at = w + j / Vectors * panel + j % Vectors * V::width;
                if constexpr (O == Operands::bf16_weights) {
                    weight[j] = half == 0 ? V::low_halves(at) : V::high_halves(at);
                } else {
                    weight[j] = V::load(at);
                }
            }
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) {
                if constexpr (O == Operands::bf16 && each == 1 && MultipliesByWord<V>) {
                    acc[m] = add_pair_products(x + m * step + k, weight[0], acc[m]);
                    continue;
                }
                const V value = V::broadcast(x + m * step + k + half);
                EFFICIENTVIT_UNROLL
                for (int j = 0; j < each; ++j) {
                    V& sum = acc[m * each + j];
                    if constexpr (O == Operands::bf16) {
                        sum = add_pair_products(value, weight[j], sum);
                    } else {
                        sum = V::fma(value, weight[j], sum);
                    }
                }
            }
        }
        w += Vectors * V::width;
    }
    return w;
}

// What a run of products needs around it: nothing, but for the matrix unit of amx.inl.
template <Operands O>
struct ProductUnit {};

// Every pixel's sums begin with the bias, but those of bytes.
template <Operands O, class V, int Blocks, int Vectors, int M>
EFFICIENTVIT_INLINE void begin_sums(V (&acc)[M * Blocks * Vectors], const float* bias) {
    constexpr int each = Blocks * Vectors;
    if constexpr (has_bytes(O)) {
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < M * each; ++i) acc[i] = V::set(0.0f);
    } else if constexpr (MultipliesByElement<V>) {
        // Loaded anew for each pixel: of a pair of vectors that is one instruction, a copy would be two.
        EFFICIENTVIT_UNROLL
        for (int i = 0; i < M * each; ++i) {
            if (i % each == 0) EFFICIENTVIT_HOLD("r", bias);
            acc[i] = V::load(bias + i % each * V::width);
        }
    } else {
        EFFICIENTVIT_UNROLL
        for (int j = 0; j < each; ++j) {
            const V b = V::load(bias + j * V::width);
            EFFICIENTVIT_UNROLL
            for (int m = 0; m < M; ++m) acc[m * each + j] = b;
        }
    }
}

// Sums of bytes' products are finished: times what the weights' bytes stand for, the row at `scales` that lies behind
// these, and the bias added.
template <class V, int Blocks, int Vectors, int M>
EFFICIENTVIT_INLINE void scale_sums(V (&acc)[M * Blocks * Vectors], const float* scales, Index panel,
                                    const float* bias) {
    constexpr int each = Blocks * Vectors;
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < each; ++j) {
        const V scale = V::load(scales + j / Vectors * panel + j % Vectors * V::width);
        const V b = V::load(bias + j * V::width);
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) acc[m * each + j] = V::fma(acc[m * each + j], scale, b);
    }
}

// The number of equal tiles (they differ by one pixel at most) that `pixels` are split into, each at most `most` wide.
constexpr int tile_count(int pixels, int most) { return (pixels + most - 1) / most; }

// The widths of tiles that there is code for: Most, then half of it, 3 and 1; what is Common also has the second and
// third largest, with which equal tiles are found for most widths. Every width costs the user's compiler time.
template <int Most, bool Common>
struct TileWidths {
    static constexpr int least = Common && Most > 4 ? Most - 2 : Most;  // of the large ones
    static constexpr int after(int width) {
        return width > least ? width - 1 : width > Most / 2 && Most > 3 ? Most / 2 : width > 3 ? 3 : 1;
    }
    // How many tiles of this width to take for `left` pixels, before those of the next width.
    static EFFICIENTVIT_INLINE int count(int width, int left) {
        if (width > least && left > 0) {
            const int tiles = tile_count(left, width);
            const int equal = left / tiles;
            if (equal >= least) return equal == width ? tiles : equal == width - 1 ? left % tiles : 0;
        }
        return left / width;
    }
};

// The widest tile, of `most` pixels or fewer: weights of bf16 take registers while they are widened, sums of bytes as
// many as those of floats that they are added to, sums of halves half as many. Where bytes are wide, so many
// instructions pass from one group to the next that sums of floats wait in memory meanwhile.
template <Operands O>
constexpr int widest(int most) {
    switch (O) {
        case Operands::bf16_weights:
        case Operands::int8_wide:
            return most - most / 6;
        case Operands::int8:
            return (most + 1) / 2;
        case Operands::f16:
            return most - most / 4;
        default:
            return most;
    }
}

// The weights that will be read after those in use, fetched a few cache lines at a time, so that all are there when
// they are wanted: those of the larger networks are in no cache by then. A tighter loop, which fetches the lines of a
// step in bursts, made b3 4 % slower.
struct WeightsAhead {
    static constexpr bool by_element = false;
    static constexpr int line = 16;  // words
    const float* at;
    Index left, run, gap;  // words: in all, to the next gap, and what to leave out there
    Index run_left;
    int lines;  // a step

    EFFICIENTVIT_INLINE WeightsAhead(const float* begin, Index words, int steps, Index run_ = 0, Index gap_ = 0)
        : at(begin),
          left(words),
          run(run_),
          gap(gap_),
          run_left(run_),
          lines(static_cast<int>((words / line + steps - 1) / steps)) {}
    EFFICIENTVIT_INLINE void step() {
        for (int i = 0; i < lines && left > 0; ++i, at += line, left -= line) {
            EFFICIENTVIT_PREFETCH(at);
            if (gap > 0 && (run_left -= line) <= 0) at += gap, run_left += run;
        }
    }
};

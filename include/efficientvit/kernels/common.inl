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
            const V high = V::set(act == Act::relu ? __builtin_inff() : 6.0f);
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

// e^x to about one unit in the last place: 2^n * e^r with |r| <= ln(2)/2, the polynomial of Cephes' expf.
// Overflows to infinity as it should; below -87.3 it stays at the smallest normal number. NaN stays NaN.
template <class V>
EFFICIENTVIT_INLINE V exponential(V x) {
    const V t = V::min(V::set(89.0f), V::max(V::set(-87.3f), x));
    const V n = V::round(V::mul(t, V::set(1.44269504088896341f)));
    V r = V::fma(n, V::set(-0.693359375f), t);
    r = V::fma(n, V::set(2.12194440e-4f), r);
    V p = V::fma(V::set(1.9875691500e-4f), r, V::set(1.3981999507e-3f));
    p = V::fma(p, r, V::set(8.3334519073e-3f));
    p = V::fma(p, r, V::set(4.1665795894e-2f));
    p = V::fma(p, r, V::set(1.6666665459e-1f));
    p = V::fma(p, r, V::set(5.0000001201e-1f));
    p = V::add(V::fma(V::mul(r, r), p, r), V::set(1.0f));
    return V::times_power_of_two(p, n);
}

// silu is x / (1 + e^-x); gelu's tanh form is x / (1 + e^-2u) with u = sqrt(2/pi) (x + 0.044715 x^3).
template <class V>
EFFICIENTVIT_INLINE V rare_activation(V x, Act act) {
    if (act == Act::hswish) {
        // In this order: exactly zero from -3 down, exactly x from 3 up.
        const V gate = V::add(V::clamp(x, V::set(3.0f)), V::set(3.0f));
        return V::mul(x, V::mul(gate, V::set(1.0f / 6.0f)));
    }
    V t = V::sub(V::set(0.0f), x);
    if (act == Act::gelu) {
        t = V::mul(x, V::fma(V::mul(x, x), V::set(-2.0f * 0.7978845608f * 0.044715f), V::set(-2.0f * 0.7978845608f)));
    }
    return V::quotient(x, V::add(V::set(1.0f), exponential(t)));
}

// Any activation of one vector.
template <class V>
EFFICIENTVIT_INLINE V activated(V x, Act act) {
    if (!in_epilogue(act)) return rare_activation(x, act);
    V one[1] = {x};
    activate(one, act);
    return one[0];
}

// act over `count` floats in memory, count a multiple of the block, with an optional residual added after it.
template <int Block>
EFFICIENTVIT_NOINLINE void activate_in_memory(float* y, const float* residual, Index count, Act act) {
    using V = typename Lanes<Block>::V;
    for (Index i = 0; i < count; i += V::width) {
        V x = V::load(y + i);
        x = activated(x, act);
        if (residual != nullptr) x = V::add(x, V::load(residual + i));
        x.store(y + i);
    }
}

// ---- multiply-accumulate ------------------------------------------------------------------------------------------

// acc[m][j] += x[m * step + k] * w[k][j] for k < n: M pixels, Vectors vectors of output channels, which come from
// Blocks neighbouring output blocks; `panel` is the distance between the weights of two blocks. Returns the end of the
// first block's weights that it has read. All convolutions but the depthwise come down to this. Inlined, so that a
// constant step becomes part of the addresses. n counts what x has: words, or with Operands::bf16_weights floats.
template <Operands O, class V, int Blocks, int Vectors, int M>
EFFICIENTVIT_INLINE const float* multiply_accumulate(V (&acc)[M * Blocks * Vectors], const float* x, Index step,
                                                     const float* w, Index panel, int n) {
    constexpr int each = Blocks * Vectors;
    constexpr int halves = O == Operands::bf16_weights ? 2 : 1;  // channels of x that a word of weights is for
    for (int k = 0; k < n; k += halves) {
        EFFICIENTVIT_UNROLL
        for (int half = 0; half < halves; ++half) {
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

// Every pixel's sums begin with the bias.
template <class V, int Blocks, int Vectors, int M>
EFFICIENTVIT_INLINE void begin_sums(V (&acc)[M * Blocks * Vectors], const float* bias) {
    constexpr int each = Blocks * Vectors;
    EFFICIENTVIT_UNROLL
    for (int j = 0; j < each; ++j) {
        const V b = V::load(bias + j * V::width);
        EFFICIENTVIT_UNROLL
        for (int m = 0; m < M; ++m) acc[m * each + j] = b;
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

// The weights that will be read after those in use, fetched a few cache lines at a time, so that all are there when
// they are wanted: those of the larger networks are in no cache by then.
struct WeightsAhead {
    static constexpr int line = 16;  // words
    const float* at;
    const float* end;
    int lines;  // a step

    EFFICIENTVIT_INLINE WeightsAhead(const float* begin, Index words, int steps)
        : at(begin), end(begin + words), lines(static_cast<int>((words / line + steps - 1) / steps)) {}
    EFFICIENTVIT_INLINE void step() {
        for (int i = 0; i < lines && at < end; ++i, at += line) EFFICIENTVIT_PREFETCH(at);
    }
};

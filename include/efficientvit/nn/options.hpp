// SPDX-License-Identifier: Apache-2.0
//
// The words that layers' configurations are written in. Structs of these are template arguments, so all are structural
// types.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/kernels/args.hpp>

#include <cstddef>
#include <initializer_list>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// The reference's act_func; None there is `none` here. gelu is its tanh form.
enum class Activation {
    none,    ///< x
    relu,    ///< max(x, 0)
    relu6,   ///< min(max(x, 0), 6)
    hswish,  ///< x * relu6(x + 3) / 6
    silu,    ///< x / (1 + exp(-x))
    gelu     ///< x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
};

/// The reference's norm: "bn2d", in LinearLayer "ln", or None.
enum class Norm {
    none,  ///< as it is
    bn2d,  ///< torch.nn.BatchNorm2d, by its running statistics
    ln     ///< torch.nn.LayerNorm
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// A short list as a template argument: `.scales = {3, 5}`.
template <class T>
struct ShortList {
    static constexpr int capacity = 12;  ///< values that fit
    T values[capacity] = {};             ///< the first count are in use
    int count = 0;                       ///< values in use

    /// Empty.
    constexpr ShortList() = default;
    /// Fails to compile with more than 12 values.
    constexpr ShortList(std::initializer_list<T> list) {
        for (const T value : list) {
            if (count == capacity) throw "ShortList holds at most 12 values";  // fails to compile: always constant
            values[count++] = value;
        }
    }
    /// The first n of 12 values: how nvcc spells a list in the code that it hands to the host's compiler.
    constexpr ShortList(const T (&all)[capacity], int n) : count(n) {
        for (int i = 0; i < capacity; ++i) values[i] = all[i];
    }
    /// Value i, below size().
    constexpr T operator[](int i) const { return values[i]; }
    /// Values in use.
    constexpr int size() const { return count; }
    /// The first value.
    constexpr const T* begin() const { return values; }
    /// Behind the last value.
    constexpr const T* end() const { return values + count; }
    /// Whether the values are equal.
    bool operator==(const ShortList&) const = default;
};
/// Integers, one for each stage as a rule.
using IntList = ShortList<int>;

namespace detail {

/// The kernels' word for an activation.
constexpr kernels::Act kernel_act(Activation act) {
    switch (act) {
        case Activation::relu:
            return kernels::Act::relu;
        case Activation::relu6:
            return kernels::Act::relu6;
        case Activation::hswish:
            return kernels::Act::hswish;
        case Activation::silu:
            return kernels::Act::silu;
        case Activation::gelu:
            return kernels::Act::gelu;
        case Activation::none:
            break;
    }
    return kernels::Act::none;
}

/// The same where the next layer's weights take what folded_scale() says.
constexpr kernels::Act foldable_act(Activation act) {
    return act == Activation::hswish ? kernels::Act::hswish_x6 : kernel_act(act);
}

/// What the weights behind foldable_act(act) are multiplied by: hswish leaves its division by 6 to them.
constexpr double folded_scale(Activation act) { return act == Activation::hswish ? 1.0 / 6.0 : 1.0; }

/// Python's round(): half to even. For MBConv's middle channels, at compile time.
constexpr int round_half_even(double x) {
    const int below = static_cast<int>(x);
    const double rest = x - below;
    return rest > 0.5 || (rest == 0.5 && below % 2 == 1) ? below + 1 : below;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

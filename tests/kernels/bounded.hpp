// SPDX-License-Identifier: Apache-2.0
//
// What a kernel should give, and how far rounding may take it from that: every value is carried in double together with
// a bound on the error that float arithmetic can have made, so that no tolerance is guessed. Not the kernels' code:
// plain formulas.
#pragma once

#include "../guarded_buffer.hpp"

#include <efficientvit/kernels/args.hpp>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace kernels = efficientvit::kernels;
using kernels::Act;
using kernels::Index;

/// Half a unit in the last place of 1: the largest relative error of one operation.
inline constexpr double unit = 0x1p-24;

/// The largest relative error of `operations` in a row (Higham's gamma).
inline double gamma(double operations) { return operations * unit / (1.0 - operations * unit); }

/// And the absolute error where a result is denormal.
inline constexpr double smallest = 0x1p-149;

struct Bounded {
    double value = 0;
    double error = 0;
    double largest() const { return std::abs(value) + error; }
};

/// A sum of products in any order, with or without fused operations.
class Sum {
public:
    void add(const Bounded& x, const Bounded& y) {
        value_ += x.value * y.value;
        inherited_ += std::abs(x.value) * y.error + x.error * y.largest();
        magnitude_ += x.largest() * y.largest();
        ++terms_;
    }
    void add(double x, double y) { add(Bounded{x}, Bounded{y}); }
    void add(const Bounded& x, double y) { add(x, Bounded{y}); }
    Bounded result() const { return {value_, inherited_ + gamma(terms_ + 1) * magnitude_ + terms_ * smallest}; }

private:
    double value_ = 0, inherited_ = 0, magnitude_ = 0;
    int terms_ = 0;
};

inline Bounded add(const Bounded& x, const Bounded& y) {
    const double value = x.value + y.value, error = x.error + y.error;
    return {value, error + unit * (std::abs(value) + error)};
}

inline Bounded multiply(const Bounded& x, double y) {
    const double value = x.value * y, error = x.error * std::abs(y);
    return {value, error + unit * (std::abs(value) + error) + smallest};
}

/// x / y for y > 0, by a division or by a reciprocal.
inline Bounded divide(const Bounded& x, const Bounded& y) {
    const double value = x.value / y.value;
    const double least = std::max(y.value - y.error, std::numeric_limits<double>::min());
    const double error = (x.error + std::abs(value) * y.error) / least;
    return {value, error + gamma(2) * (std::abs(value) + error)};
}

/// The activations by their definitions.
inline double activate(double x, Act act) {
    const auto relu6 = [](double v) { return v < 0 ? 0.0 : v > 6 ? 6.0 : v; };  // NaN stays
    switch (act) {
        case Act::none:
            return x;
        case Act::relu:
            return x < 0 ? 0.0 : x;
        case Act::relu6:
            return relu6(x);
        case Act::hswish:
            return x * relu6(x + 3) / 6;
        case Act::hswish_x6:
            return x * relu6(x + 3);
        case Act::silu:
            return x / (1 + std::exp(-x));
        case Act::gelu:  // 0.5 x (1 + tanh(u)), written so that nothing cancels for negative x
            return x / (1 + std::exp(-2 * std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    }
    return std::numeric_limits<double>::quiet_NaN();
}

/// The same with its error: that of x times the steepest slope of the function, and that of computing the function.
inline Bounded activate(const Bounded& x, Act act) {
    const double y = activate(x.value, act);
    const double top = x.largest();
    double slope = 1, own = 0;
    switch (act) {
        case Act::none:
        case Act::relu:
        case Act::relu6:
            break;
        case Act::hswish:  // the factor lies in [0, 1] and takes three roundings, 1/6 among them
            slope = 1.5;
            own = gamma(4) * top + 6 * smallest;
            break;
        case Act::hswish_x6:  // the factor in [0, 6], two roundings
            slope = 9;
            own = gamma(2) * std::abs(y) + 6 * smallest;
            break;
        // y = x / (1 + e^t): an error of t is a relative one of e^t, and no larger one of y. Beyond |t| = 88 y is
        // less than 1e-35 and e^t may overflow.
        case Act::silu:  // t = -x is exact; e^t has three units, addition and division one each
            slope = 1.1;
            own = gamma(6) * std::abs(y) + 1e-35;
            break;
        case Act::gelu: {  // t takes five roundings, two of them in constants
            const double t = std::min(1.6 * (top + 0.044715 * top * top * top), 90.0);
            slope = 1.13;
            own = gamma(6 + 5 * t) * std::abs(y) + 1e-35;
            break;
        }
    }
    return {y, slope * x.error + own};
}

/// What makes test values: the same for every run and machine.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x1234567u) {}
    std::uint64_t bits() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }
    /// In [-size, size).
    float value(float size = 1) {
        return static_cast<float>(std::ldexp(static_cast<double>(bits() >> 40), -23) - 1.0) * size;
    }
    int below(int end) { return static_cast<int>(bits() >> 33) % end; }
    template <class T>
    T pick(std::initializer_list<T> list) {
        return list.begin()[below(static_cast<int>(list.size()))];
    }
    template <class Buffer>
    void fill(Buffer& buffer, float size = 1) {
        for (float& x : buffer) x = value(size);
    }

private:
    std::uint64_t state_;
};

inline constexpr Act all_acts[] = {Act::none, Act::relu, Act::relu6, Act::hswish, Act::hswish_x6, Act::silu, Act::gelu};

/// Where element (channel, row, column) of a blocked map lies.
struct Layout {
    int block = 16;
    Index block_stride = 0;
    Index row_stride = 0;
    Index at(int channel, Index row, Index column) const {
        return channel / block * block_stride + row * row_stride + column * block + channel % block;
    }
};

/// The smallest size of a buffer for `blocks` blocks of `rows` rows: nothing behind the last element.
inline std::size_t floats_of(const Layout& layout, int blocks, int rows, int width) {
    return static_cast<std::size_t>((blocks - 1) * layout.block_stride + (rows - 1) * layout.row_stride +
                                    Index{width} * layout.block);
}

/// Memory that a kernel writes. What it should write is announced; all else must be left as it was.
class Output {
public:
    Output() = default;
    Output(std::size_t size, Guard guard) : buffer_(size, guard), expected_(size), announced_(size, false) {
        for (float& x : buffer_) x = untouched();
    }
    float* data() { return buffer_.data(); }
    float operator[](Index i) const { return buffer_[i]; }
    void expect(Index i, const Bounded& value) {
        expected_[static_cast<std::size_t>(i)] = value;
        announced_[static_cast<std::size_t>(i)] = true;
    }
    testing::AssertionResult check() const {
        for (std::size_t i = 0; i < expected_.size(); ++i) {
            const float found = buffer_[static_cast<Index>(i)];
            if (!announced_[i]) {
                if (std::bit_cast<std::uint32_t>(found) == std::bit_cast<std::uint32_t>(untouched())) continue;
                return testing::AssertionFailure() << "element " << i << " was written, with " << found;
            }
            const Bounded& e = expected_[i];
            const bool fits = std::isnan(e.value) ? std::isnan(found) : std::abs(double{found} - e.value) <= e.error;
            if (fits) continue;
            return testing::AssertionFailure()
                   << "element " << i << " is " << found << ", expected " << e.value << " within " << e.error;
        }
        return testing::AssertionSuccess();
    }

private:
    /// A NaN of a kind that no arithmetic makes.
    static float untouched() { return std::bit_cast<float>(0x7fa5dead); }

    GuardedBuffer<float> buffer_;
    std::vector<Bounded> expected_;
    std::vector<bool> announced_;
};

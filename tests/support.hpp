// SPDX-License-Identifier: Apache-2.0
//
// What tests of layers and models share: weights and inputs made from names, comparison with the reference and with
// stored outputs. No kernel is tested with this.
#pragma once

#include "golden_values.hpp"
#include "messages.hpp"
#include "reference.hpp"

#include <efficientvit/efficientvit.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace ev = efficientvit;

/// The project's bound on |found - expected| / max |expected|.
inline constexpr double bound = 4e-6;
/// The same for the L family and for networks with heads for pictures, which sum up more.
inline constexpr double large_bound = 8e-6;

/// A state dict of these parameters, with values made from their names.
inline ev::StateDict golden_weights(const std::vector<ev::Parameter>& parameters, std::string_view seed = "") {
    ev::StateDict out;
    for (const ev::Parameter& p : parameters) out.insert(p.name, p.shape, golden_tensor(p.name, p.shape, seed));
    return out;
}

template <class Layer>
Layer golden_layer(ev::Isa isa) {
    Layer layer;
    layer.load_state_dict(golden_weights(Layer::parameters()), {.isa = isa});
    return layer;
}
template <class Layer>
Layer golden_layer() {
    return golden_layer<Layer>(ev::best_isa());
}

inline ev::Tensor golden_input(const ev::Shape& s, std::string_view seed = "") {
    const std::vector<float> values = golden_tensor("input", {s.n, s.c, s.h, s.w}, seed);
    ev::Tensor out(s.n, s.c, s.h, s.w);
    std::copy(values.begin(), values.end(), out.data());
    return out;
}

inline reference::Map to_map(const ev::Tensor& x) {
    reference::Map out(int(x.dimension(0)), int(x.dimension(1)), int(x.dimension(2)), int(x.dimension(3)));
    std::copy_n(x.data(), x.size(), out.values.begin());
    return out;
}

inline ev::Shape shape_of(const ev::Tensor& x) {
    return {x.dimension(0), x.dimension(1), x.dimension(2), x.dimension(3)};
}

inline std::string to_text(const ev::Shape& s) {
    return std::to_string(s.n) + "x" + std::to_string(s.c) + "x" + std::to_string(s.h) + "x" + std::to_string(s.w);
}

/// Bitwise, so that NaN equals itself and 0 is not -0.
inline testing::AssertionResult same_bits(const ev::Tensor& x, const ev::Tensor& y) {
    if (shape_of(x) != shape_of(y)) {
        return testing::AssertionFailure() << "shapes " << to_text(shape_of(x)) << " and " << to_text(shape_of(y));
    }
    for (Eigen::Index i = 0; i < x.size(); ++i) {
        if (std::memcmp(x.data() + i, y.data() + i, sizeof(float)) != 0) {
            return testing::AssertionFailure() << "element " << i << ": " << x.data()[i] << " and " << y.data()[i];
        }
    }
    return testing::AssertionSuccess();
}

/// The root of the mean square of found - expected, of that of expected; infinite for another size.
inline double root_mean_square_error(const reference::Map& found, const reference::Map& expected) {
    if (found.values.size() != expected.values.size()) return INFINITY;
    double error = 0, size = 0;
    for (std::size_t i = 0; i < found.values.size(); ++i) {
        error += (found.values[i] - expected.values[i]) * (found.values[i] - expected.values[i]);
        size += expected.values[i] * expected.values[i];
    }
    return std::sqrt(error / size);
}

/// max |found - expected| / max |expected|; infinite for NaN or another shape. Where a map of a few values has but
/// small ones by chance, `least` stands for the size of what they were summed from.
inline double relative_error(const ev::Tensor& found, const reference::Map& expected, double least = 0) {
    if (shape_of(found) != ev::Shape{expected.n, expected.c, expected.h, expected.w}) return INFINITY;
    double error = 0, largest = least;
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
        const double difference = std::abs(double{found.data()[i]} - expected.values[i]);
        if (!(difference <= error)) error = difference;  // NaN gets through
        if (std::isnan(difference)) return INFINITY;
        largest = std::max(largest, std::abs(expected.values[i]));
    }
    return error == 0 ? 0 : error / largest;
}

/// The layer on the tensor `input` of this shape against `expected`, and for 2 and 3 threads bitwise the same. Returns
/// the relative error, which must be within `limit`.
template <class Layer>
double check_forward(const Layer& layer, const ev::Shape& shape, const reference::Map& expected,
                     const std::string& what = {}, double limit = bound) {
    const ev::Tensor x = golden_input(shape);
    ev::Context serial;
    const auto forward = [&](ev::Context& context) {
        if constexpr (requires { layer.forward_final(x, context); }) {
            return ev::Tensor(layer.forward_final(x, context));
        } else {
            return ev::Tensor(layer.forward(x, context));
        }
    };
    const ev::Tensor y = forward(serial);
    const double error = relative_error(y, expected);
    EXPECT_LE(error, limit) << what << " on " << to_text(shape);
    for (const int threads : {2, 3}) {
        ev::Context context({.threads = threads});
        EXPECT_TRUE(same_bits(forward(context), y))
            << what << " on " << to_text(shape) << ", " << threads << " threads";
    }
    return error;
}

/// Names and shapes as lines of text, for one comparison that shows what differs.
inline std::vector<std::string> lines(const std::vector<ev::Parameter>& parameters) {
    std::vector<std::string> out;
    for (const ev::Parameter& p : parameters) {
        std::string line = p.name;
        for (const std::int64_t extent : p.shape) line.append(" ").append(std::to_string(extent));
        out.push_back(line);
    }
    return out;
}
inline std::vector<std::string> lines(const reference::Weights::Asked& asked) {
    std::vector<ev::Parameter> parameters;
    for (const auto& [name, shape] : asked) parameters.push_back({name, shape});
    return lines(parameters);
}

// SPDX-License-Identifier: Apache-2.0
//
// Weights as 8-bit integers, in files and for Precision::int8. A tensor "x" of I8 has a tensor "x_scale" beside it, of
// its first extent, a convolution's outputs: what the elements of each are multiplied by.
#pragma once

#include <efficientvit/error.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/weights/state_dict.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Layers of fewer input channels, or of no more in any map, are float in int8, or bf16 (kernels::few_channels_table):
/// the first of a network, where errors grow through all that follows, and the groups of aggregations. They gain no
/// time by bytes, since quantizing costs as much as their products.
constexpr int least_int8_channels = 32;
/// Those of no more in any map are float everywhere: even to round them to bf16 costs as much.
constexpr int most_float_channels = 8;
/// MBConvs that halve the map, of at least so many input channels, and widened so many times at most, are bf16 in int8
/// where few_channels_table is. No shortcut dilutes their errors: b3's two are a twenty-fifth of its products and make
/// more than a quarter of its squared error.
constexpr int least_exact_channels = 128;
constexpr int most_exact_widening = 6;
/// Behind the name of the integers.
constexpr std::string_view int8_scale_suffix = "_scale";

/// The larger of `most` and the absolute value of `value`; NaN stays.
inline float larger_size(const float& most, const float& value) {
    const float size = std::abs(value);
    return !is_nan(most) && !(size <= most) ? size : most;
}

/// The shape of the scales of a tensor. No tensor's where it has fewer than two extents: integers do not have these.
inline std::vector<std::int64_t> int8_scale_shape(const std::vector<std::int64_t>& shape) {
    return {shape.size() < 2 ? -1 : shape.front()};
}

/// The scale of an output's weights: weight / scale rounds to -127 ... 127, and integers times their scale give the
/// same integers again. NaN where a weight is not finite, 0 where there is no inverse. Not returned, so that NaN lives
/// through clang's -fno-honor-nans.
inline void find_int8_scale(std::span<const float> weights, float& scale) {
    scale = 0;
    for (const float& weight : weights) scale = larger_size(scale, weight);
    if (is_finite(scale)) {
        scale /= 127;
        if (scale < std::numeric_limits<float>::min()) scale = 0;
    } else {
        scale = std::numeric_limits<float>::quiet_NaN();
    }
}

/// The integer of a value whose output has this scale.
inline std::int8_t to_int8(const float& value, const float& scale) {
    return static_cast<std::int8_t>(is_finite(scale) && scale > 0 ? std::lrint(value / scale) : 0);
}

/// The values of integers that have scales.
inline std::vector<float> int8_to_float(const Entry& integers, const Entry& scales) {
    std::vector<float> values = to_float(integers);
    const std::vector<float> by = to_float(scales);
    const std::size_t each = by.empty() ? 0 : values.size() / by.size();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] *= by[i / each];
    return values;
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

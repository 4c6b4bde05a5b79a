// SPDX-License-Identifier: Apache-2.0
//
// Weights as 8-bit integers, in files and for Precision::int8. A tensor "x" of I8, whose first two extents are outputs
// and inputs, has a tensor "x_scale" beside it: what its elements are multiplied by, one for 128 inputs.
#pragma once

#include <efficientvit/error.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/weights/state_dict.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Inputs that have a scale in common.
constexpr int int8_group = 128;
/// Layers of fewer input channels are float in int8, or bf16 (kernels::few_channels_table). They are the first of a
/// network, where errors grow through all that follows, and gain no time by bytes: quantizing costs as much as their
/// products.
constexpr int least_int8_channels = 32;
/// Behind the name of the integers.
constexpr std::string_view int8_scale_suffix = "_scale";

/// The larger of `most` and the absolute value of `value`; NaN stays.
inline float larger_size(const float& most, const float& value) {
    const float size = std::abs(value);
    return !is_nan(most) && !(size <= most) ? size : most;
}

/// The scale, as bf16, of a group whose largest absolute value is `most`: value / scale rounds to -127 ... 127, and
/// integers times their scale give the same integers again. NaN where `most` is not finite, 0 where there is no
/// inverse.
inline std::uint16_t int8_scale(float most) {
    constexpr std::uint16_t nan = 0x7fc0;
    if (!is_finite(most)) return nan;
    const std::uint16_t scale = float_to_bf16(most / 127);
    return bfloat_to_float(scale) < std::numeric_limits<float>::min() ? std::uint16_t{0} : scale;
}

/// The integer of a value whose group has this scale.
inline std::int8_t to_int8(float value, float scale) {
    return static_cast<std::int8_t>(scale > 0 ? std::lrint(value / scale) : 0);
}

/// The shape of the scales of a tensor.
inline std::vector<std::int64_t> int8_scale_shape(std::vector<std::int64_t> shape) {
    if (shape.size() < 2) return {-1};  // no tensor's
    shape[1] = shape[1] / int8_group + (shape[1] % int8_group == 0 ? 0 : 1);
    return shape;
}

/// f(element, scale) for the index of each element of a tensor and that of its scale.
template <class F>
void for_each_int8(const std::vector<std::int64_t>& shape, const F& f) {
    std::size_t taps = 1, element = 0;
    for (std::size_t i = 2; i < shape.size(); ++i) taps *= static_cast<std::size_t>(shape[i]);
    const auto outputs = static_cast<std::size_t>(shape[0]), inputs = static_cast<std::size_t>(shape[1]);
    const std::size_t groups = (inputs + int8_group - 1) / int8_group;
    for (std::size_t o = 0; o < outputs; ++o) {
        for (std::size_t i = 0; i < inputs; ++i) {
            for (std::size_t tap = 0; tap < taps; ++tap, ++element) {
                f(element, (o * groups + i / int8_group) * taps + tap);
            }
        }
    }
}

/// The values of integers that have scales.
inline std::vector<float> int8_to_float(const Entry& integers, const Entry& scales) {
    std::vector<float> values = to_float(integers);
    const std::vector<float> by = to_float(scales);
    for_each_int8(integers.shape, [&](std::size_t i, std::size_t scale) { values[i] *= by[scale]; });
    return values;
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

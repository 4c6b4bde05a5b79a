// SPDX-License-Identifier: Apache-2.0
//
// Weights as 8-bit integers, in files and for Precision::int8. A tensor "x" of I8 has a tensor "x_scale" beside it, of
// its first extent, a convolution's outputs: what the elements of each are multiplied by.
#pragma once

#include <efficientvit/error.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/weights/state_dict.hpp>

#include <algorithm>
#include <bit>
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
/// the first of a network, where errors grow through all that follows, and the groups of aggregations. They gain hardly
/// any time by bytes, since quantizing costs as much as their products.
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

/// The shape of the scales of a tensor. No tensor's where it has fewer than two extents: integers do not have these.
inline std::vector<std::int64_t> int8_scale_shape(const std::vector<std::int64_t>& shape) {
    return {shape.size() < 2 ? -1 : shape.front()};
}

/// The scale of an output's weights: weight / scale rounds to -127 ... 127, and integers times their scale give the
/// same integers again. NaN where a weight is not finite, 0 where there is no inverse. Not returned, so that NaN lives
/// through clang's -fno-honor-nans.
inline void find_int8_scale(std::span<const float> weights, float& scale) {
    std::int32_t largest = 0;  // bits of sizes, which are ordered as these are; of infinity and NaN they are larger
    for (const float& weight : weights) {
        largest = std::max(largest, std::bit_cast<std::int32_t>(weight) & 0x7fffffff);
    }
    if (largest < 0x7f800000) {
        scale = std::bit_cast<float>(largest) / 127;
        if (scale < std::numeric_limits<float>::min()) scale = 0;
    } else {
        scale = std::numeric_limits<float>::quiet_NaN();
    }
}

/// The integers of an output's weights, of which this is the scale: the nearest ones, of two the even one.
inline void to_int8(std::span<const float> weights, const float& scale, std::int8_t* integers) {
    if (!is_finite(scale) || scale == 0) {
        std::fill_n(integers, weights.size(), std::int8_t{0});
        return;
    }
    // Beside this number the last place is one: a sum is rounded to a whole number, and its bits, less these, are it.
    // So vectors of every CPU can do it, where std::lrint() is a call for each.
    constexpr float magic = 0x1.8p23f;
    constexpr auto magic_bits = std::bit_cast<std::int32_t>(magic);
    constexpr std::size_t together = 16;
    for (std::size_t first = 0; first < weights.size(); first += together) {
        const std::size_t count = std::min(together, weights.size() - first);
        float values[together] = {};
        std::int8_t nearest[together];
        std::copy_n(weights.data() + first, count, values);
        for (std::size_t i = 0; i < together; ++i) {
            nearest[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(values[i] / scale + magic) - magic_bits);
        }
        std::copy_n(nearest, count, integers + first);
    }
}

/// The values of integers that have scales.
inline void int8_to_float(const Entry& integers, const Entry& scales, std::span<float> out) {
    to_float(integers, out);
    const std::vector<float> by = to_float(scales);
    const std::size_t each = by.empty() ? 0 : out.size() / by.size();
    float* value = out.data();
    for (const float& scale : by) {
        for (float* const end = value + each; value != end; ++value) *value *= scale;
    }
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

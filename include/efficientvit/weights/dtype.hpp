// SPDX-License-Identifier: Apache-2.0
//
// The element types that a state dict can hold: their sizes, names and conversions to and from float.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/weights/text.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// The element types that a state dict can hold.
enum class DType {
    f64,     ///< double
    f32,     ///< float
    f16,     ///< IEEE half
    bf16,    ///< the upper half of a float
    i64,     ///< signed, 64 bits
    i32,     ///< signed, 32 bits
    i16,     ///< signed, 16 bits
    i8,      ///< signed, 8 bits
    u8,      ///< unsigned, 8 bits
    boolean  ///< a byte, 0 or 1
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

static_assert(std::endian::native == std::endian::little,
              "efficientvit: weight files are little-endian, and so must the machine be");

namespace detail {

struct DTypeInfo {
    DType dtype;
    std::size_t size;
    std::string_view name;
};

EFFICIENTVIT_LOCAL inline constexpr std::array<DTypeInfo, 10> dtype_infos{{{DType::f64, 8, "F64"},
                                                                           {DType::f32, 4, "F32"},
                                                                           {DType::f16, 2, "F16"},
                                                                           {DType::bf16, 2, "BF16"},
                                                                           {DType::i64, 8, "I64"},
                                                                           {DType::i32, 4, "I32"},
                                                                           {DType::i16, 2, "I16"},
                                                                           {DType::i8, 1, "I8"},
                                                                           {DType::u8, 1, "U8"},
                                                                           {DType::boolean, 1, "BOOL"}}};

/// Product of the extents (1 for a scalar); nothing if one is negative or the product does not fit.
inline std::optional<std::uint64_t> element_count(std::span<const std::int64_t> shape) {
    std::uint64_t count = 1;
    for (const std::int64_t extent : shape) {
        if (extent < 0) return std::nullopt;
        const auto factor = static_cast<std::uint64_t>(extent);
        if (factor != 0 && count > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
        count *= factor;
    }
    return count;
}

/// IEEE half precision to float, exact for every input: denormals, infinities and NaN payloads included.
inline float half_to_float(std::uint16_t half) {
    const std::uint32_t magnitude = half & 0x7fffu;
    constexpr std::uint32_t rebias = 112u << 23;  // exponent bias 15 -> 127
    const std::uint32_t normal = (magnitude << 13) + rebias;
    const std::uint32_t special = normal + rebias;                                                 // exponent 31 -> 255
    const auto denormal = std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);  // exact
    const std::uint32_t bits = magnitude >= 0x7c00u ? special : magnitude >= 0x0400u ? normal : denormal;
    return std::bit_cast<float>(bits | (half & 0x8000u) << 16);
}

inline float bfloat_to_float(std::uint16_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline const DTypeInfo& info_of(DType dtype) {
    const auto index = static_cast<std::size_t>(dtype);
    if (index < dtype_infos.size()) return dtype_infos[index];
    throw WeightsError(concat({"DType(", std::to_string(static_cast<int>(dtype)), ") is no dtype"}));
}

}  // namespace detail

/// Bytes per element. Throws WeightsError for a number that is no DType.
inline std::size_t dtype_size(DType dtype) { return detail::info_of(dtype).size; }

/// The name that safetensors gives it, such as "F32" or "BOOL". Throws WeightsError for a number that is no DType.
inline std::string_view dtype_name(DType dtype) { return detail::info_of(dtype).name; }

/// The reverse of dtype_name(); nothing for a name it does not know.
inline std::optional<DType> dtype_from_name(std::string_view name) {
    for (const auto& info : detail::dtype_infos) {
        if (info.name == name) return info.dtype;
    }
    return std::nullopt;
}

/// To the nearest bfloat16 number, ties to the even one; NaN stays NaN. The bits, in the low half.
inline std::uint16_t float_to_bf16(const float& value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (detail::is_nan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);  // quiet
    return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/// To the nearest IEEE half, ties to the even one; beyond 65504 infinity, NaN stays NaN. The bits.
inline std::uint16_t float_to_half(const float& value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    if (detail::is_nan(value)) return static_cast<std::uint16_t>(sign | 0x7e00u);
    const auto magnitude = std::bit_cast<float>(bits & 0x7fffffffu);
    if (magnitude >= 65520.0f) return static_cast<std::uint16_t>(sign | 0x7c00u);
    if (magnitude < 0x1p-14f) {  // denormal there: a whole number of 2^-24
        const std::uint32_t shift = 126u - (bits >> 23 & 0xffu);
        if (shift > 24) return static_cast<std::uint16_t>(sign);  // less than half of the smallest
        // By whole numbers: an addition of floats would round by the caller's mode.
        const std::uint32_t mantissa = (bits & 0x7fffffu) | 0x800000u;
        const std::uint32_t nearest = (mantissa + (1u << (shift - 1)) - 1u + (mantissa >> shift & 1u)) >> shift;
        return static_cast<std::uint16_t>(sign | nearest);
    }
    const std::uint32_t rounded = std::bit_cast<std::uint32_t>(magnitude) + 0xfffu + (bits >> 13 & 1u);
    return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
}

/// Whether it is F64, F32, F16 or BF16.
inline bool is_floating_point(DType dtype) { return dtype <= DType::bf16; }

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

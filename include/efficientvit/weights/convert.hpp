// SPDX-License-Identifier: Apache-2.0
//
// A state dict with its floats in another format: half the file for bf16 and f16. Loading needs none of this, it
// reads every format.
#pragma once

#include <efficientvit/error.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// To the nearest IEEE half, ties to the even one; beyond 65504 infinity, NaN stays NaN. The bits.
inline std::uint16_t float_to_half(const float& value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    if (detail::is_nan(value)) return static_cast<std::uint16_t>(sign | 0x7e00u);
    const float magnitude = std::abs(value);
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

/// The same tensors with every floating-point one as bf16 or f16, whichever `format` is; the others, and the metadata,
/// stay. Holds memory of its own. Throws WeightsError where `format` is neither, and where a finite value has no finite
/// one in f16, naming the tensor.
inline StateDict converted(const StateDict& weights, DType format) {
    if (format != DType::bf16 && format != DType::f16) {
        throw WeightsError(detail::concat({"converted: to BF16 or F16, not to ", dtype_name(format)}));
    }
    StateDict out;
    out.metadata() = weights.metadata();
    for (const auto& [name, entry] : weights) {
        std::vector<std::byte> bytes;
        DType dtype = entry.dtype;
        if (is_floating_point(entry.dtype)) {
            const std::vector<float> values = to_float(entry);
            bytes.resize(values.size() * 2);
            std::byte* to = bytes.data();
            for (const float& value : values) {
                const std::uint16_t bits = format == DType::bf16 ? float_to_bf16(value) : float_to_half(value);
                if (format == DType::f16 && detail::is_finite(value) && (bits & 0x7fffu) == 0x7c00u) {
                    throw WeightsError(detail::concat({"converted: ", detail::in_quotes(name), " holds ",
                                                       std::to_string(value), ", more than F16 has"}));
                }
                std::memcpy(to, &bits, sizeof(bits));
                to += sizeof(bits);
            }
            dtype = format;
        } else {
            bytes.resize(entry.data.size());
            detail::read_bytes(entry, 0, bytes);
        }
        auto owner = std::make_shared<const HeapStorage<std::vector<std::byte>>>(std::move(bytes));
        const std::span<const std::byte> data = owner->bytes();
        out.insert(name, dtype, entry.shape, data, std::move(owner));
    }
    return out;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

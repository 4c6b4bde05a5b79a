// SPDX-License-Identifier: Apache-2.0
//
// A state dict with its floats in another format: half the file for bf16 and f16, a quarter for 8-bit integers. Loading
// needs none of this, it reads every format.
#pragma once

#include <efficientvit/error.hpp>
#include <efficientvit/weights/int8_weights.hpp>
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
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Adds a tensor that owns its bytes.
template <class T>
void insert_owned(StateDict& to, const std::string& name, DType dtype, const std::vector<std::int64_t>& shape,
                  std::vector<T> values) {
    auto owner = std::make_shared<const HeapStorage<std::vector<T>>>(std::move(values));
    const std::span<const std::byte> data = owner->bytes();
    to.insert(name, dtype, shape, data, std::move(owner));
}

/// A copy of the tensor.
inline void insert_copy(StateDict& to, const std::string& name, const Entry& entry) {
    std::vector<std::byte> bytes(entry.data.size());
    read_bytes(entry, 0, bytes);
    insert_owned(to, name, entry.dtype, entry.shape, std::move(bytes));
}

/// Whether converted() makes 8-bit integers of it: the weights of convolutions and linear layers, but for those of few
/// channels, which Precision::int8 multiplies as floats. Other layers that have no bytes there cannot be told by a
/// tensor.
inline bool becomes_int8(std::string_view name, const Entry& entry) {
    return name.ends_with("weight") && is_floating_point(entry.dtype) && entry.shape.size() >= 2 &&
           entry.shape[0] >= least_int8_channels && entry.shape[1] >= least_int8_channels;
}

/// Adds the integers and their scales.
inline void insert_int8(StateDict& to, const std::string& name, const Entry& entry) {
    const std::vector<float> values = to_float(entry);
    for (const float& value : values) {
        if (is_finite(value)) continue;
        throw WeightsError(
            concat({"converted: ", in_quotes(name), " holds ", std::to_string(value), ", which I8 does not have"}));
    }
    const auto outputs = static_cast<std::size_t>(entry.shape[0]);
    const std::size_t each = values.size() / outputs;
    std::vector<float> scales(outputs);
    std::vector<std::int8_t> integers(values.size());
    with_float_defaults([&] {
        for (std::size_t o = 0; o < outputs; ++o) {
            const std::span<const float> of_output{values.data() + o * each, each};
            find_int8_scale(of_output, scales[o]);
            to_int8(of_output, scales[o], integers.data() + o * each);
        }
    });
    insert_owned(to, name, DType::i8, entry.shape, std::move(integers));
    insert_owned(to, concat({name, int8_scale_suffix}), DType::f32, {entry.shape[0]}, std::move(scales));
}

/// Whether it is the scale of a tensor of integers, which keeps its precision whatever others are made.
inline bool is_int8_scale(const StateDict& weights, std::string_view name) {
    if (!name.ends_with(int8_scale_suffix)) return false;
    const Entry* const integers = weights.find(name.substr(0, name.size() - int8_scale_suffix.size()));
    return integers != nullptr && integers->dtype == DType::i8;
}

}  // namespace detail

/// The same tensors with every floating-point one as bf16 or f16, whichever `format` is; the others, scales of 8-bit
/// integers and the metadata stay. With i8, the weights of convolutions and linear layers become 8-bit integers with
/// scales (int8_weights.hpp), and all other tensors stay: converted(converted(weights, DType::f16), DType::i8) makes a
/// file of a quarter. Holds memory of its own. Throws WeightsError where `format` is none of these, and where a finite
/// value has no finite one in f16 or a value that is not finite would become an integer, naming the tensor.
inline StateDict converted(const StateDict& weights, DType format) {
    if (format != DType::bf16 && format != DType::f16 && format != DType::i8) {
        throw WeightsError(detail::concat({"converted: to BF16, F16 or I8, not to ", dtype_name(format)}));
    }
    StateDict out;
    out.metadata() = weights.metadata();
    for (const auto& [name, entry] : weights) {
        if (format == DType::i8 && detail::becomes_int8(name, entry)) {
            detail::insert_int8(out, name, entry);
            continue;
        }
        if (format == DType::i8 || !is_floating_point(entry.dtype) || detail::is_int8_scale(weights, name)) {
            detail::insert_copy(out, name, entry);
            continue;
        }
        const std::vector<float> values = to_float(entry);
        std::vector<std::uint16_t> bits;
        bits.reserve(values.size());
        for (const float& value : values) {
            bits.push_back(format == DType::bf16 ? float_to_bf16(value) : float_to_half(value));
            if (format == DType::f16 && detail::is_finite(value) && (bits.back() & 0x7fffu) == 0x7c00u) {
                throw WeightsError(detail::concat(
                    {"converted: ", detail::in_quotes(name), " holds ", std::to_string(value), ", more than F16 has"}));
            }
        }
        detail::insert_owned(out, name, format, entry.shape, std::move(bits));
    }
    return out;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// What a layer reads its weights with: the tensors that load.hpp has found, below the layer's name.
#pragma once

#include <efficientvit/weights/int8_weights.hpp>
#include <efficientvit/weights/load.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {
/// A vector of equal values. Not by the vector's own constructor, of which the linker keeps one unit's for all.
template <class T>
EFFICIENTVIT_FLATTEN std::vector<T> filled(std::size_t count, T value) {
    return std::vector<T>(count, value);
}
/// The same for values.resize(count).
EFFICIENTVIT_FLATTEN inline void resize(std::vector<float>& values, std::size_t count) { values.resize(count); }
}  // namespace detail

/// Reads the tensors of one layer: a handle on MatchedWeights and the layer's place in the model. Cheap to pass
/// by value; the MatchedWeights must outlive it.
class WeightReader {
public:
    /// Names are read with `prefix` before them.
    explicit WeightReader(const MatchedWeights& weights, std::string prefix = {})
        : weights_(&weights), prefix_(std::move(prefix)) {}

    /// The reader of a child: at("main").at("conv") reads "main.conv.…".
    WeightReader at(std::string_view child) const {
        return WeightReader(*weights_, detail::concat({prefix_, child, "."}));
    }

    /// The first extent of a tensor; of a missing one `otherwise`, 0 if it may be left out.
    int rows(std::string_view name, int otherwise) const {
        const std::string full = full_name(name);
        if (weights_->left_out(full)) return 0;
        const Entry* entry = weights_->find(full);
        return entry == nullptr ? otherwise : static_cast<int>(entry->shape.front());
    }

    /// Whether there is a tensor of that name.
    bool has(std::string_view name) const { return weights_->find(full_name(name)) != nullptr; }

    /// The values of a tensor as float, row-major; if it is missing, which happens only without strict, `count` times
    /// `otherwise`.
    std::vector<float> read(std::string_view name, std::int64_t count, float otherwise) const {
        std::vector<float> values;
        read(name, count, otherwise, values);
        return values;
    }
    /// The same into a vector that may have memory for them.
    void read(std::string_view name, std::int64_t count, float otherwise, std::vector<float>& values) const {
        const std::string full = full_name(name);
        const Entry* const entry = weights_->find(full);
        if (entry == nullptr) {
            values = detail::filled(static_cast<std::size_t>(count), otherwise);
            return;
        }
        detail::resize(values, entry->element_count());
        const Entry* const scale = weights_->find_scale(full);
        if (scale == nullptr) {
            to_float(*entry, values);
        } else {
            detail::int8_to_float(*entry, *scale, values);
        }
    }

    /// The model's name for it.
    std::string full_name(std::string_view name) const { return detail::concat({prefix_, name}); }

private:
    const MatchedWeights* weights_;
    std::string prefix_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// A picture's embedding as a state dict, to keep in a file: the tensor "embedding", and the picture's size in the
// metadata.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/tensor.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// What such a state dict holds.
struct SavedEmbedding {
    std::vector<float> values;
    Shape shape;
    ImageSize original{};  ///< the picture's size

    /// Throws WeightsError where tensor or size are not there, ShapeError where the tensor has not 4 dimensions.
    EFFICIENTVIT_COLD SavedEmbedding(const StateDict& state, const Shape& expected)
        : values(to_float(state.at("embedding"))) {
        const std::vector<std::int64_t>& s = state.at("embedding").shape;
        original = {side(state, "height"), side(state, "width")};
        if (s.size() != 4) {
            throw ShapeError(concat({"SamPredictor::set_embedding: the embedding has ", std::to_string(s.size()),
                                     " dimensions, expected ", to_string(expected)}));
        }
        shape = {static_cast<std::ptrdiff_t>(s[0]), static_cast<std::ptrdiff_t>(s[1]),
                 static_cast<std::ptrdiff_t>(s[2]), static_cast<std::ptrdiff_t>(s[3])};
    }

    EFFICIENTVIT_COLD static StateDict state(const Tensor& embedding, ImageSize original) {
        StateDict out;
        const Shape s = shape_of(embedding);
        out.insert("embedding", {s.n, s.c, s.h, s.w},
                   std::vector<float>(embedding.data(), embedding.data() + embedding.size()));
        out.metadata()["height"] = std::to_string(original.height);
        out.metadata()["width"] = std::to_string(original.width);
        return out;
    }

private:
    static int side(const StateDict& state, std::string_view name) {
        const auto found = state.metadata().find(name);
        int value = 0;
        if (found != state.metadata().end()) {
            const std::string& text = found->second;
            std::from_chars(text.data(), text.data() + text.size(), value);
        }
        if (value >= 1) return value;
        throw WeightsError(concat({"SamPredictor::set_embedding: found no metadata '", name,
                                   "', expected the picture's, as embedding_state() gives it"}));
    }
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

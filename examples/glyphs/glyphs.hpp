// SPDX-License-Identifier: Apache-2.0
//
// The held-out pictures of train_glyphs.py, and the classes that the network finds for them.
#pragma once

#include <efficientvit/efficientvit.hpp>
#include <efficientvit/images/codec.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "network.hpp"

namespace glyphs {

inline constexpr int side = 64;          // rows and columns of a picture
inline constexpr int columns = 40;       // pictures beside each other on the sheet
inline constexpr int each = 10;          // pictures of a class
inline constexpr int logits_every = 20;  // pictures from one of which PyTorch's logits are stored to the next

/// Pictures on one sheet, row after row; ten of class 0, ten of class 1, and so on.
class Pictures {
public:
    /// Reads the sheet. Throws ev::ImageError with the path and what is wrong.
    explicit Pictures(const std::filesystem::path& sheet) : sheet_(ev::read_image(sheet)) {
        if (sheet_.width() != columns * side || sheet_.height() % side != 0) {
            throw ev::ImageError(sheet.string() + ": expected rows of 40 pictures of 64 x 64 pixels, found " +
                                 std::to_string(sheet_.width()) + " x " + std::to_string(sheet_.height()));
        }
    }

    int count() const { return columns * (sheet_.height() / side); }
    static int label(int picture) { return picture / each; }

    /// Writes a picture into the network's input (1, 3, 64, 64): value / 255, three equal channels.
    void to_input(int picture, ev::Tensor& input) const {
        const int left = picture % columns * side, top = picture / columns * side;
        for (int y = 0; y < side; ++y) {
            for (int x = 0; x < side; ++x) {
                const float value = static_cast<float>(sheet_.at(top + y, left + x).red) / 255.0F;
                for (int channel = 0; channel < 3; ++channel) input(0, channel, y, x) = value;
            }
        }
    }

private:
    ev::Image sheet_;
};

/// The class that the network finds for each picture.
inline std::vector<int> classify(const Network& network, const Pictures& pictures, ev::Context& context) {
    std::vector<int> found;
    ev::Tensor input(1, 3, side, side), logits;
    for (int i = 0; i < pictures.count(); ++i) {
        pictures.to_input(i, input);
        network.forward(input, logits, context);
        found.push_back(
            static_cast<int>(std::max_element(logits.data(), logits.data() + logits.size()) - logits.data()));
    }
    return found;
}

/// How many of them are right.
inline int count_right(const std::vector<int>& found) {
    int right = 0;
    for (int i = 0; i < static_cast<int>(found.size()); ++i) {
        right += found[static_cast<std::size_t>(i)] == Pictures::label(i) ? 1 : 0;
    }
    return right;
}

}  // namespace glyphs

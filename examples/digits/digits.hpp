// SPDX-License-Identifier: Apache-2.0
//
// The digits demo's network, its images, and the way from one to the other. Shared by the program and its test; the
// network was trained, and the images written, by train_digits.py.
#pragma once

#include <efficientvit/efficientvit.hpp>
#include <efficientvit/images/codec.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "network.hpp"

namespace digits {

inline constexpr int image_size = 8;  // rows and columns of an image
inline constexpr int enlarge = 8;     // the network sees each pixel as a square of this many
inline constexpr int input_size = image_size * enlarge;
inline constexpr int classes = 10;

struct Image {
    std::filesystem::path path;
    int label = 0;
    std::array<std::uint8_t, image_size * image_size> gray{};
};

/// Reads one 8x8 PNG, whose colors are gray. Throws ev::ImageError with the path and what is wrong.
inline Image load_image(const std::filesystem::path& path, int label) {
    const ev::Image read = ev::read_image(path);
    if (read.size() != ev::ImageSize{image_size, image_size}) {
        throw ev::ImageError(path.string() + ": expected 8 x 8 pixels, found " + std::to_string(read.width()) + " x " +
                             std::to_string(read.height()));
    }
    Image image{.path = path, .label = label};
    for (int i = 0; i < image_size * image_size; ++i) {
        image.gray[static_cast<std::size_t>(i)] = read.at(i / image_size, i % image_size).red;
    }
    return image;
}

/// Reads folder/<label>/*.png for the labels 0 to 9, sorted by label and name. Throws std::runtime_error if there is no
/// such image or one is broken.
inline std::vector<Image> load_images(const std::filesystem::path& folder) {
    std::vector<Image> images;
    for (int label = 0; label < classes; ++label) {
        const std::filesystem::path of_label = folder / std::to_string(label);
        if (!std::filesystem::is_directory(of_label)) continue;
        std::vector<std::filesystem::path> paths;
        for (const auto& entry : std::filesystem::directory_iterator(of_label)) {
            if (entry.path().extension() == ".png") paths.push_back(entry.path());
        }
        std::sort(paths.begin(), paths.end());
        for (const auto& path : paths) images.push_back(load_image(path, label));
    }
    if (images.empty()) {
        throw std::runtime_error(folder.string() + ": no images here; expected folders 0 to 9 with PNG files in them");
    }
    return images;
}

/// Writes an image into the network's input (1, 3, 64, 64): every pixel a square of 8 x 8, value / 255, three equal
/// channels, just as train_digits.py does.
inline void to_input(const Image& image, ev::Tensor& input) {
    for (int y = 0; y < input_size; ++y) {
        for (int x = 0; x < input_size; ++x) {
            const auto pixel = static_cast<std::size_t>(y / enlarge * image_size + x / enlarge);
            const float value = static_cast<float>(image.gray[pixel]) / 255.0F;
            for (int channel = 0; channel < 3; ++channel) input(0, channel, y, x) = value;
        }
    }
}

}  // namespace digits

// SPDX-License-Identifier: Apache-2.0
//
// Draws the digits on one sheet, each with the class it was given. Knows no network.
#pragma once

#include <efficientvit/images/image.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../common/drawing.hpp"
#include "digits.hpp"

namespace digits {

inline constexpr ev::Rgb right_color{150, 205, 150}, wrong_color{255, 70, 60};

/// One tile for each image, with the predicted class below it; wrong ones in a red frame, "true > predicted" below.
inline ev::Image draw_contact_sheet(std::span<const Image> images, std::span<const int> predicted) {
    constexpr int scale = 6, frame = 3, gap = 6, dot = 2, margin = 12;
    constexpr int picture = image_size * scale, tile = picture + 2 * frame;
    constexpr int cell_width = tile + gap, cell_height = tile + frame + 8 * dot + gap;
    const int count = static_cast<int>(images.size());
    const examples::Grid grid(count, 1.5);

    ev::Image sheet({2 * margin + grid.rows * cell_height - gap, 2 * margin + grid.columns * cell_width - gap},
                    examples::paper);
    for (int i = 0; i < count; ++i) {
        const Image& image = images[static_cast<std::size_t>(i)];
        const int given = predicted[static_cast<std::size_t>(i)];
        const bool right = given == image.label;
        const int left = margin + i % grid.columns * cell_width, top = margin + i / grid.columns * cell_height;
        if (!right) examples::fill(sheet, left, top, tile, tile, wrong_color);
        for (int pixel = 0; pixel < image_size * image_size; ++pixel) {
            const std::uint8_t gray = image.gray[static_cast<std::size_t>(pixel)];
            examples::fill(sheet, left + frame + pixel % image_size * scale, top + frame + pixel / image_size * scale,
                           scale, scale, {gray, gray, gray});
        }
        const std::string caption =
            right ? std::to_string(given) : std::to_string(image.label) + ">" + std::to_string(given);
        const int caption_left = left + (tile - examples::text_width(caption, dot)) / 2;
        examples::draw_text(sheet, caption_left, top + tile + frame, caption, right ? right_color : wrong_color, dot);
    }
    return sheet;
}

}  // namespace digits

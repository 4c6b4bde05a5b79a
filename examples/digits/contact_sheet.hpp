// SPDX-License-Identifier: Apache-2.0
//
// Draws the digits on one sheet, each with the class it was given, and writes it as PNG. Knows no network.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "digits.hpp"

namespace digits {

struct Color {
    std::uint8_t red, green, blue;
    bool operator==(const Color&) const = default;
};

inline constexpr Color sheet_color{38, 41, 48}, right_color{150, 205, 150}, wrong_color{255, 70, 60};

/// An RGB picture, row by row from the top left.
class Canvas {
public:
    Canvas(int width, int height, Color color)
        : width_(width),
          height_(height),
          pixels_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), color) {}

    int width() const { return width_; }
    int height() const { return height_; }
    const Color* data() const { return pixels_.data(); }

    void fill(int left, int top, int width, int height, Color color) {
        for (int y = top; y < top + height; ++y) {
            for (int x = left; x < left + width; ++x) at(x, y) = color;
        }
    }

    /// Writes digits; '>' is an arrow. A character takes 6 x 7 dots, its gap to the next one included.
    void text(int left, int top, std::string_view characters, int dot, Color color) {
        // Five columns a row, the leftmost in the highest bit.
        static constexpr std::array<std::array<std::uint8_t, 7>, 11> font{{
            {0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110},
            {0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110},
            {0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111},
            {0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110},
            {0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010},
            {0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110},
            {0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110},
            {0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000},
            {0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110},
            {0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100},
            {0b00000, 0b00100, 0b00010, 0b11111, 0b00010, 0b00100, 0b00000},
        }};
        for (const char character : characters) {
            const auto& glyph = font[character == '>' ? 10 : static_cast<std::size_t>(character - '0')];
            for (int row = 0; row < 7; ++row) {
                for (int column = 0; column < 5; ++column) {
                    if ((glyph[static_cast<std::size_t>(row)] >> (4 - column) & 1) == 0) continue;
                    fill(left + column * dot, top + row * dot, dot, dot, color);
                }
            }
            left += 6 * dot;
        }
    }

private:
    Color& at(int x, int y) {
        return pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)];
    }

    int width_, height_;
    std::vector<Color> pixels_;
};

/// One tile for each image, with the predicted class below it; wrong ones in a red frame, "true > predicted" below.
inline Canvas draw_contact_sheet(std::span<const Image> images, std::span<const int> predicted) {
    constexpr int scale = 6, frame = 3, gap = 6, dot = 2, margin = 12;
    constexpr int picture = image_size * scale, tile = picture + 2 * frame;
    constexpr int cell_width = tile + gap, cell_height = tile + frame + 7 * dot + gap;
    // Half as many columns again as rows.
    const int count = static_cast<int>(images.size());
    const int columns = std::clamp(static_cast<int>(std::ceil(std::sqrt(1.5 * count))), 1, count);
    const int rows = (count + columns - 1) / columns;

    Canvas sheet(2 * margin + columns * cell_width - gap, 2 * margin + rows * cell_height - gap, sheet_color);
    for (int i = 0; i < count; ++i) {
        const Image& image = images[static_cast<std::size_t>(i)];
        const int given = predicted[static_cast<std::size_t>(i)];
        const bool right = given == image.label;
        const int left = margin + i % columns * cell_width, top = margin + i / columns * cell_height;
        if (!right) sheet.fill(left, top, tile, tile, wrong_color);
        for (int pixel = 0; pixel < image_size * image_size; ++pixel) {
            const std::uint8_t gray = image.gray[static_cast<std::size_t>(pixel)];
            sheet.fill(left + frame + pixel % image_size * scale, top + frame + pixel / image_size * scale, scale,
                       scale, {gray, gray, gray});
        }
        const std::string caption =
            right ? std::to_string(given) : std::to_string(image.label) + ">" + std::to_string(given);
        const int caption_width = (6 * static_cast<int>(caption.size()) - 1) * dot;
        sheet.text(left + (tile - caption_width) / 2, top + tile + frame, caption, dot,
                   right ? right_color : wrong_color);
    }
    return sheet;
}

/// Writes a PNG: whole, or not at all. Throws std::runtime_error with the path and the reason.
inline void write_png(const std::filesystem::path& path, const Canvas& canvas) {
    std::vector<char> bytes;
    const auto append = [](void* context, void* data, int size) {
        const char* begin = static_cast<const char*>(data);
        static_cast<std::vector<char>*>(context)->insert(static_cast<std::vector<char>*>(context)->end(), begin,
                                                         begin + size);
    };
    if (stbi_write_png_to_func(append, &bytes, canvas.width(), canvas.height(), 3, canvas.data(),
                               canvas.width() * static_cast<int>(sizeof(Color))) == 0) {
        throw std::runtime_error(path.string() + ": the picture could not be encoded as PNG");
    }
    // Written beside its place and then moved there, so that nobody ever finds half a picture.
    if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)) {
        throw std::runtime_error(path.string() + ": cannot be written: exists and is not a file");
    }
    std::filesystem::path partial = path;
    partial += ".partial";
    errno = 0;
    std::ofstream file(partial, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    std::error_code error;
    if (file) {
        std::filesystem::rename(partial, path, error);
        if (!error) return;
    } else {
        error = std::error_code(errno == 0 ? EIO : errno, std::generic_category());
    }
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);
    throw std::runtime_error(path.string() + ": cannot be written: " + error.message());
}

}  // namespace digits

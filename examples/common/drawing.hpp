// SPDX-License-Identifier: Apache-2.0
//
// Rectangles, text and pictures on pictures. What lies outside is cut off.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/images/resize.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#if __has_include(<stb/stb_easy_font.h>)
#include <stb/stb_easy_font.h>
#else
#include <stb_easy_font.h>
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace examples {

namespace ev = efficientvit;

inline constexpr ev::Rgb paper{38, 41, 48}, ink{225, 228, 235}, faint{120, 126, 138}, accent{112, 173, 224};

/// Rows of a line of text with dots of one pixel.
inline constexpr int line_height = 12;

inline void fill(ev::Image& image, int left, int top, int width, int height, ev::Rgb color) {
    const int right = std::min(left + width, image.width()), bottom = std::min(top + height, image.height());
    for (int y = std::max(top, 0); y < bottom; ++y) {
        for (int x = std::max(left, 0); x < right; ++x) image.set(y, x, color);
    }
}

/// What the font lacks becomes '?'.
inline std::string printable_ascii(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = c >= ' ' && c <= '~' ? c : '?';
    return out;
}

/// Columns that a text takes, with dots of `dot` x `dot` pixels.
inline int text_width(std::string_view text, int dot = 1) {
    std::string line = printable_ascii(text);
    return stb_easy_font_width(line.data()) * dot;
}

/// Writes one line, cut at its end with dots where it is wider than max_width. (left, top) is the upper left corner.
inline void draw_text(ev::Image& image, int left, int top, std::string_view text, ev::Rgb color, int dot = 1,
                      int max_width = 1 << 20) {
    std::string line = printable_ascii(text);
    if (text_width(line, dot) > max_width) {
        while (!line.empty() && text_width(line + "...", dot) > max_width) line.pop_back();
        line += "...";
    }
    struct Vertex {
        float x, y, z;
        unsigned char color[4];
    };
    // A letter is some ten rectangles of four corners.
    std::vector<Vertex> corners(line.size() * 64 + 4);
    const int rectangles = stb_easy_font_print(0, 0, line.data(), nullptr, corners.data(),
                                               static_cast<int>(corners.size() * sizeof(Vertex)));
    for (std::size_t i = 0; i < static_cast<std::size_t>(rectangles); ++i) {
        const Vertex &from = corners[4 * i], &to = corners[4 * i + 2];
        const auto pixels = [&](float at) { return static_cast<int>(std::lround(at)) * dot; };
        fill(image, left + pixels(from.x), top + pixels(from.y), pixels(to.x) - pixels(from.x),
             pixels(to.y) - pixels(from.y), color);
    }
}

inline void paste(ev::Image& onto, int left, int top, const ev::Image& image) {
    for (int y = std::max(0, -top); y < std::min(image.height(), onto.height() - top); ++y) {
        for (int x = std::max(0, -left); x < std::min(image.width(), onto.width() - left); ++x) {
            onto.set(top + y, left + x, image.at(y, x));
        }
    }
}

/// The largest size of this shape that fits into a box; at least one pixel each way.
inline ev::ImageSize fitted(ev::ImageSize size, ev::ImageSize box) {
    const double scale = std::min(double{1} * box.height / size.height, double{1} * box.width / size.width);
    return {std::max(1, static_cast<int>(size.height * scale)), std::max(1, static_cast<int>(size.width * scale))};
}

/// The picture as large as fits into a box.
inline ev::Image thumbnail(const ev::Image& image, ev::ImageSize box) {
    return ev::resize_pillow(image, fitted(image.size(), box), ev::PillowFilter::bicubic);
}

/// As many columns and rows of equal cells as `count` needs, about `shape` times as many columns as rows.
struct Grid {
    int columns = 1, rows = 1;
    Grid(int count, double shape) {
        columns = std::clamp(static_cast<int>(std::ceil(std::sqrt(shape * count))), 1, std::max(count, 1));
        rows = (count + columns - 1) / columns;
    }
};

}  // namespace examples

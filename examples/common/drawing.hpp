// SPDX-License-Identifier: Apache-2.0
//
// Rectangles, text and pictures on pictures. What lies outside is cut off.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/images/resize.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "font.hpp"

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

/// What the font lacks becomes '?', a letter of several bytes one of them.
inline std::string printable_ascii(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if ((static_cast<unsigned char>(c) & 0xc0) == 0x80) continue;  // goes on with a letter
        out += c >= ' ' && c <= '~' ? c : '?';
    }
    return out;
}

inline const Glyph& glyph(char ascii) { return font[static_cast<std::size_t>(ascii - ' ')]; }

/// Columns that a text takes, with dots of `dot` x `dot` pixels.
inline int text_width(std::string_view text, int dot = 1) {
    int width = 0;
    for (const char c : printable_ascii(text)) width += glyph(c).width;
    return width * dot;
}

/// A name as it fits into so many columns: what is too long loses its middle, where names differ least.
inline std::string shortened(std::string_view text, int max_width, int dot = 1) {
    const std::string line = printable_ascii(text);
    if (text_width(line, dot) <= max_width) return line;
    // A letter has two columns at least.
    for (std::size_t kept = std::min(line.size(), static_cast<std::size_t>(std::max(max_width, 0))); kept-- > 0;) {
        const std::string tried = line.substr(0, (kept + 1) / 2) + "..." + line.substr(line.size() - kept / 2);
        if (text_width(tried, dot) <= max_width) return tried;
    }
    return {};
}

/// The text in lines of so many columns, broken at blanks where there are any, and nothing lost.
inline std::vector<std::string> wrapped(std::string_view text, int max_width) {
    std::vector<std::string> lines;
    std::string rest = printable_ascii(text);
    while (text_width(rest) > max_width) {
        std::size_t fits = 1;
        int width = 0;
        for (std::size_t i = 0; i < rest.size() && (width += glyph(rest[i]).width) <= max_width; ++i) fits = i + 1;
        const std::size_t blank = rest.rfind(' ', fits);
        const bool at_blank = blank != std::string::npos && blank > 0;
        lines.push_back(rest.substr(0, at_blank ? blank : fits));
        rest.erase(0, at_blank ? blank + 1 : fits);
    }
    if (!rest.empty() || lines.empty()) lines.push_back(rest);
    return lines;
}

/// Writes one line, cut at its end where it is wider than max_width. (left, top) is the upper left corner.
inline void draw_text(ev::Image& image, int left, int top, std::string_view text, ev::Rgb color, int dot = 1,
                      int max_width = 1 << 20) {
    std::string line = printable_ascii(text);
    if (text_width(line, dot) > max_width) {
        line.resize(std::min(line.size(), static_cast<std::size_t>(std::max(max_width, 0))));  // a letter has 2 columns
        while (!line.empty() && text_width(line + "...", dot) > max_width) line.pop_back();
        line += "...";
    }
    for (const char c : line) {
        for (int y = 0; y < Glyph::height; ++y) {
            for (int x = 0; glyph(c).rows[static_cast<std::size_t>(y)] >> x != 0; ++x) {
                if ((glyph(c).rows[static_cast<std::size_t>(y)] >> x & 1) == 0) continue;
                fill(image, left + x * dot, top + y * dot, dot, dot, color);
            }
        }
        left += glyph(c).width * dot;
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

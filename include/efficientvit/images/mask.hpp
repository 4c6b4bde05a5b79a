// SPDX-License-Identifier: Apache-2.0
//
// A mask: which pixels of a picture belong to something. How one is made of a decoder's output is masks.hpp's, run
// lengths are mask_rle.hpp's, connected regions mask_regions.hpp's, duplicates box_nms.hpp's.
#pragma once

#include <efficientvit/images/image.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Which pixels of a picture belong to something.
struct Mask {
    int width = 0;                     ///< columns
    int height = 0;                    ///< rows
    std::vector<std::uint8_t> pixels;  ///< 0 or 1, row by row

    /// Rows and columns.
    ImageSize size() const { return {height, width}; }
    /// The pixel of row y, column x, which must be in the picture: 0 or 1.
    std::uint8_t at(int y, int x) const { return row(y)[x]; }
    /// The first pixel of row y.
    std::uint8_t* row(int y) { return pixels.data() + std::ptrdiff_t{y} * width; }
    /// The same to read.
    const std::uint8_t* row(int y) const { return pixels.data() + std::ptrdiff_t{y} * width; }
    /// Another size, which leaves pixels undefined. Memory is kept where there is enough. Throws ImageError.
    void resize(ImageSize size) {
        detail::check_size(size, "Mask");
        width = size.width;
        height = size.height;
        pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    }
    /// Whether size and pixels are equal.
    bool operator==(const Mask&) const = default;
};

/// The first and last column and row that have set pixels; all 0 where none has.
struct MaskBox {
    int x0 = 0;  ///< leftmost column
    int y0 = 0;  ///< uppermost row
    int x1 = 0;  ///< rightmost column, which is set
    int y1 = 0;  ///< lowest row, which is set
    /// Whether all sides are equal.
    bool operator==(const MaskBox&) const = default;
};

/// How many pixels are set.
inline std::int64_t mask_area(const Mask& mask) {
    std::int64_t area = 0;
    for (const std::uint8_t pixel : mask.pixels) area += pixel;
    return area;
}

/// The box around the set pixels.
inline MaskBox mask_box(const Mask& mask) {
    MaskBox box{mask.width, -1, -1, -1};
    for (int y = 0; y < mask.height; ++y) {
        const std::uint8_t* const row = mask.row(y);
        const std::uint8_t* const first = std::find(row, row + mask.width, 1);
        if (first == row + mask.width) continue;
        int last = mask.width - 1;
        while (row[last] == 0) --last;
        box = {std::min(box.x0, static_cast<int>(first - row)), box.y0 < 0 ? y : box.y0, std::max(box.x1, last), y};
    }
    return box.y0 < 0 ? MaskBox{} : box;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

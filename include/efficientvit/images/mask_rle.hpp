// SPDX-License-Identifier: Apache-2.0
//
// Masks as run lengths, the form of COCO's annotations: column after column, how many pixels are 0, how many then are
// 1, and so on; and these counts as the string that pycocotools writes.
#pragma once

#include <efficientvit/images/mask.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// COCO's uncompressed run lengths of a mask.
struct MaskRle {
    ImageSize size{};  ///< rows and columns of the mask
    std::vector<std::uint32_t>
        counts;  ///< of 0, of 1, of 0 …, down each column; the first is 0 if the first pixel is 1

    /// How many pixels are set.
    std::int64_t area() const {
        std::int64_t sum = 0;
        for (std::size_t i = 1; i < counts.size(); i += 2) sum += counts[i];
        return sum;
    }
    /// Whether size and counts are equal.
    bool operator==(const MaskRle&) const = default;
};

/// Run lengths of a mask that lies at (left, top) of a picture of this size, all 0 around it. Throws ImageError where
/// it does not fit.
inline MaskRle encode_rle(const Mask& mask, ImageSize size, int left = 0, int top = 0) {
    detail::check_size(size, "encode_rle");
    if (left < 0 || top < 0 || mask.width > size.width - left || mask.height > size.height - top) {
        throw ImageError(
            detail::concat({"encode_rle: a mask of ", detail::to_string(mask.size()), " at (", std::to_string(left),
                            ", ", std::to_string(top), ") in a picture of ", detail::to_string(size)}));
    }
    // Rows are read as they lie in memory, twice: a column's pixels that differ from those above are counted, then
    // written down where the columns before have left off.
    const MaskBox box = mask_box(mask);
    const auto columns = static_cast<std::size_t>(box.x1 - box.x0 + 1);
    std::vector<std::size_t> begin(columns + 1);
    const auto each_change = [&](auto&& found) {
        for (int y = box.y0; y <= box.y1 + 1; ++y) {
            const std::uint8_t* const above = y == box.y0 ? nullptr : mask.row(y - 1) + box.x0;
            const std::uint8_t* const here = y == box.y1 + 1 ? nullptr : mask.row(y) + box.x0;
            for (std::size_t x = 0; x < columns; ++x) {
                if ((above == nullptr ? 0 : above[x]) != (here == nullptr ? 0 : here[x])) found(x, y);
            }
        }
    };
    each_change([&](std::size_t x, int) { ++begin[x + 1]; });
    for (std::size_t x = 0; x < columns; ++x) begin[x + 1] += begin[x];
    std::vector<std::uint32_t> changes(begin.back());
    each_change([&](std::size_t x, int y) {
        const auto column = static_cast<std::uint32_t>(left + box.x0) + static_cast<std::uint32_t>(x);
        changes[begin[x]++] = column * static_cast<std::uint32_t>(size.height) + static_cast<std::uint32_t>(top + y);
    });
    MaskRle out{size, {}};
    std::uint32_t last = 0;
    const std::uint32_t all = static_cast<std::uint32_t>(size.height) * static_cast<std::uint32_t>(size.width);
    for (std::size_t i = 0; i < changes.size(); ++i) {
        // A run that ends at the foot of a column goes on at the head of the next.
        if (i + 1 < changes.size() && changes[i] == changes[i + 1]) {
            ++i;
            continue;
        }
        out.counts.push_back(changes[i] - last);
        last = changes[i];
    }
    if (last != all || out.counts.empty()) out.counts.push_back(all - last);
    return out;
}

/// Run lengths of a mask. Throws ImageError for one without pixels.
inline MaskRle encode_rle(const Mask& mask) { return encode_rle(mask, mask.size()); }

/// The mask of run lengths. Throws ImageError where they do not add up to its size.
inline Mask decode_rle(const MaskRle& rle) {
    Mask out;
    out.resize(rle.size);
    std::uint64_t sum = 0;
    for (const std::uint32_t count : rle.counts) sum += count;
    if (sum != out.pixels.size()) {
        throw ImageError(detail::concat({"decode_rle: the counts add up to ", std::to_string(sum), ", expected ",
                                         std::to_string(out.pixels.size()), " for ", detail::to_string(rle.size)}));
    }
    std::fill(out.pixels.begin(), out.pixels.end(), std::uint8_t{0});
    int x = 0, y = 0;
    for (std::size_t i = 0; i < rle.counts.size(); ++i) {
        for (std::uint32_t left = rle.counts[i]; left > 0;) {
            const auto run =
                static_cast<int>(std::min<std::uint32_t>(left, static_cast<std::uint32_t>(out.height - y)));
            if (i % 2 == 1) {
                for (int k = 0; k < run; ++k) out.row(y + k)[x] = 1;
            }
            left -= static_cast<std::uint32_t>(run);
            y += run;
            if (y == out.height) {
                y = 0;
                ++x;
            }
        }
    }
    return out;
}

/// The counts as pycocotools writes them: from the fourth on, what they are more than the one two places before; five
/// bits a character, the lowest first.
inline std::string to_coco_string(const MaskRle& rle) {
    std::string out;
    for (std::size_t i = 0; i < rle.counts.size(); ++i) {
        std::int64_t value = rle.counts[i];
        if (i > 2) value -= rle.counts[i - 2];
        for (bool more = true; more;) {
            const std::int64_t five = value & 31;
            value >>= 5;  // of a negative one too: its sign stays
            more = (five & 16) != 0 ? value != -1 : value != 0;
            out += static_cast<char>((more ? five | 32 : five) + 48);
        }
    }
    return out;
}

/// The run lengths of such a string. Throws ImageError where it is none, or of another size's mask.
EFFICIENTVIT_COLD inline MaskRle from_coco_string(std::string_view text, ImageSize size) {
    detail::check_size(size, "from_coco_string");
    const auto all = static_cast<std::int64_t>(size.height) * size.width;
    MaskRle out{size, {}};
    std::int64_t sum = 0;
    const auto fail = [](std::size_t at, std::string_view what) {
        throw ImageError(detail::concat({"from_coco_string: character ", std::to_string(at), ": ", what}));
    };
    for (std::size_t i = 0; i < text.size();) {
        std::int64_t value = 0;
        for (int shift = 0;; shift += 5) {
            if (i == text.size()) fail(i, "the string ends within a number");
            const int digit = text[i] - 48;
            if (digit < 0 || digit > 63) fail(i, "is none that pycocotools writes");
            if (shift > 35) fail(i, "a number is too long");
            value |= std::int64_t{digit & 31} << shift;
            ++i;
            if ((digit & 32) != 0) continue;
            if ((digit & 16) != 0) value -= std::int64_t{1} << (shift + 5);
            break;
        }
        if (out.counts.size() > 2) value += out.counts[out.counts.size() - 2];
        sum += value;
        if (value < 0 || sum > all) fail(i, "the counts are more than the mask has pixels, or negative");
        out.counts.push_back(static_cast<std::uint32_t>(value));
    }
    if (sum != all) fail(text.size(), "the counts are fewer than the mask has pixels");
    return out;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

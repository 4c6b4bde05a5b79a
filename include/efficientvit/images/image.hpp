// SPDX-License-Identifier: Apache-2.0
//
// A picture: 8-bit RGB that owns its memory. Reading and writing of files is codec.hpp's, other sizes are resize.hpp's,
// the way into a network's input is preprocess.hpp's.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// A picture that cannot be read, written or made: a broken file, a folder without pictures, a size that is none.
class ImageError : public Error {
public:
    using Error::Error;
};

/// A color, each part 0 to 255.
struct Rgb {
    std::uint8_t red = 0;    ///< 0 to 255
    std::uint8_t green = 0;  ///< 0 to 255
    std::uint8_t blue = 0;   ///< 0 to 255
    /// Whether all members are equal.
    EFFICIENTVIT_ALWAYS_INLINE bool operator==(const Rgb&) const = default;
};

/// Rows and columns, in pixels.
struct ImageSize {
    int height = 0;  ///< rows
    int width = 0;   ///< columns
    /// Whether all members are equal.
    EFFICIENTVIT_ALWAYS_INLINE bool operator==(const ImageSize&) const = default;
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Pixels that a picture may have: more than any camera's, and their bytes still fit an int.
inline constexpr std::int64_t max_pixels = std::int64_t{1} << 29;

EFFICIENTVIT_COLD inline std::string to_string(ImageSize size) {
    return concat({std::to_string(size.height), " x ", std::to_string(size.width)});
}

/// Throws ImageError for a size that no picture has.
inline void check_size(ImageSize size, const char* where) {
    if (size.height >= 1 && size.width >= 1 && std::int64_t{size.height} * size.width <= max_pixels) return;
    throw ImageError(
        concat({where, ": a picture of ", to_string(size), " pixels (height x width); expected 1 to 2^29"}));
}

/// A computed side as an int; throws ImageError for one that no picture has.
inline int checked_side(double side, const char* where) {
    if (side >= 1 && side <= double{max_pixels}) return static_cast<int>(side);
    throw ImageError(concat({where, ": a side of ", std::to_string(side), " pixels; expected 1 to 2^29"}));
}

}  // namespace detail

/// Height x width pixels, row by row from the top left, three bytes a pixel: red, green, blue. No gaps.
class Image {
public:
    static constexpr int channels = 3;  ///< bytes a pixel

    /// Without pixels.
    Image() = default;

    /// Filled with one color. Throws ImageError for a size that is none.
    explicit Image(ImageSize size, Rgb color = {}) : size_(size) {
        detail::check_size(size, "Image");
        bytes_.resize(static_cast<std::size_t>(size.height) * row_bytes());
        if (color != Rgb{}) {
            for (std::size_t i = 0; i < bytes_.size(); i += channels) set(&bytes_[i], color);
        }
    }

    /// Copies the pixels.
    Image(const Image&) = default;
    /// Likewise.
    Image& operator=(const Image&) = default;
    /// Takes the pixels; the other is without any then.
    Image(Image&& other) noexcept : size_(std::exchange(other.size_, {})), bytes_(std::exchange(other.bytes_, {})) {}
    /// Likewise.
    Image& operator=(Image&& other) noexcept {
        size_ = std::exchange(other.size_, {});
        bytes_ = std::exchange(other.bytes_, {});
        return *this;
    }

    /// Rows.
    int height() const { return size_.height; }
    /// Columns.
    int width() const { return size_.width; }
    /// Rows and columns.
    ImageSize size() const { return size_; }
    /// Whether it has no pixels.
    bool empty() const { return bytes_.empty(); }

    /// All bytes, row by row.
    std::span<std::uint8_t> bytes() { return bytes_; }
    /// The same to read.
    std::span<const std::uint8_t> bytes() const { return bytes_; }

    /// The first byte of row y.
    std::uint8_t* row(int y) { return bytes_.data() + static_cast<std::size_t>(y) * row_bytes(); }
    /// The same to read.
    const std::uint8_t* row(int y) const { return bytes_.data() + static_cast<std::size_t>(y) * row_bytes(); }

    /// The pixel of row y, column x, which must be in the picture.
    Rgb at(int y, int x) const {
        const std::uint8_t* const p = row(y) + std::ptrdiff_t{channels} * x;
        return {p[0], p[1], p[2]};
    }
    /// Sets it.
    void set(int y, int x, Rgb color) { set(row(y) + std::ptrdiff_t{channels} * x, color); }

    /// Whether size and pixels are equal.
    bool operator==(const Image&) const = default;

private:
    std::size_t row_bytes() const { return static_cast<std::size_t>(size_.width) * channels; }
    static void set(std::uint8_t* p, Rgb color) {
        p[0] = color.red;
        p[1] = color.green;
        p[2] = color.blue;
    }

    ImageSize size_{};
    std::vector<std::uint8_t> bytes_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

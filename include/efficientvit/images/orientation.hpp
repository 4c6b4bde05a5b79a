// SPDX-License-Identifier: Apache-2.0
//
// How a camera was held: EXIF's orientation of a JPEG or PNG file, and pictures turned upright. Reads bytes alone, and
// takes whatever is broken for "nothing said", as Pillow does.
#pragma once

#include <efficientvit/images/image.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// The bytes of a file, read without a step beyond its end.
class FileBytes {
public:
    explicit FileBytes(std::span<const std::byte> bytes, bool little_endian = false)
        : bytes_(bytes), little_endian_(little_endian) {}

    std::size_t size() const { return bytes_.size(); }

    /// `count` bytes as a number; 0 where the file has ended.
    std::size_t number(std::size_t at, std::size_t count) const {
        if (at > size() || count > size() - at) return 0;
        std::size_t out = 0;
        for (std::size_t i = 0; i < count; ++i) {
            out = out << 8 | std::to_integer<std::size_t>(bytes_[at + (little_endian_ ? count - 1 - i : i)]);
        }
        return out;
    }

    /// From `at` on, at most `count`.
    std::span<const std::byte> part(std::size_t at, std::size_t count) const {
        return at > size() ? std::span<const std::byte>() : bytes_.subspan(at, std::min(count, size() - at));
    }
    std::string_view text(std::size_t at, std::size_t count) const {
        const auto found = part(at, count);
        return {reinterpret_cast<const char*>(found.data()), found.size()};
    }

private:
    std::span<const std::byte> bytes_;
    bool little_endian_;
};

inline constexpr std::string_view exif_begin("Exif\0\0", 6), png_begin = "\x89PNG\r\n\x1a\n";

/// The orientation in a TIFF structure's first directory, 0 if there is none.
inline int tiff_orientation(std::span<const std::byte> tiff) {
    const std::string_view order = FileBytes(tiff).text(0, 2);
    const FileBytes bytes(tiff, order == "II");
    if ((order != "II" && order != "MM") || bytes.number(2, 2) != 42) return 0;
    const std::size_t directory = bytes.number(4, 4), entries = bytes.number(directory, 2);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (bytes.number(entry, 2) != 0x112 || bytes.number(entry + 4, 4) != 1) continue;
        switch (bytes.number(entry + 2, 2)) {
            case 3:
                return static_cast<int>(bytes.number(entry + 8, 2));  // SHORT, as it should be
            case 4:
                return static_cast<int>(bytes.number(entry + 8, 4) & 0xff);
            default:
                return 0;
        }
    }
    return 0;
}

/// The orientation in XMP, which is XML: tiff:Orientation="6" or <tiff:Orientation>6.
inline int xmp_orientation(std::string_view xmp) {
    constexpr std::string_view name = "tiff:Orientation";
    for (std::size_t at = 0; (at = xmp.find(name, at)) != std::string_view::npos;) {
        at += name.size();
        std::string_view rest = xmp.substr(at);
        if (rest.starts_with("=\"")) rest.remove_prefix(1);
        if (rest.size() > 1 && (rest[0] == '"' || rest[0] == '>') && rest[1] >= '0' && rest[1] <= '9') {
            return rest[1] - '0';
        }
    }
    return 0;
}

/// What the parts of a file say, as they come: EXIF first, then XMP, and of each the first.
struct FoundOrientation {
    int exif = 0, xmp = 0;

    void add_exif(std::span<const std::byte> block) {
        for (int i = 0; i < 2 && FileBytes(block).text(0, 6) == exif_begin; ++i) block = block.subspan(6);
        if (exif == 0) exif = tiff_orientation(block);
    }
    void add_xmp(std::string_view text) {
        if (xmp == 0) xmp = xmp_orientation(text);
    }
    /// 1 to 8.
    int value() const {
        const int said = exif != 0 ? exif : xmp;
        return said >= 1 && said <= 8 ? said : 1;
    }
};

/// In segments APP1, before the first scan.
inline void find_orientation_in_jpeg(FileBytes file, FoundOrientation& found) {
    constexpr std::string_view xmp_begin("http://ns.adobe.com/xap/1.0/\0", 29);
    for (std::size_t i = 2; i + 4 <= file.size();) {
        const std::size_t marker = file.number(i, 2);
        if (marker < 0xff02 || marker == 0xffff) {  // neither a marker nor one byte that fills
            ++i;
            continue;
        }
        if (marker == 0xffda || marker == 0xffd9) return;
        if (marker >= 0xffd0 && marker <= 0xffd8) {  // these have no length
            i += 2;
            continue;
        }
        const std::size_t length = std::max<std::size_t>(file.number(i + 2, 2), 2), begin = i + 4;
        if (marker == 0xffe1 && file.text(begin, 6) == exif_begin) found.add_exif(file.part(begin, length - 2));
        if (marker == 0xffe1 && file.text(begin, xmp_begin.size()) == xmp_begin) {
            found.add_xmp(file.text(begin, length - 2));
        }
        i += 2 + length;
    }
}

/// In chunks eXIf and iTXt, before or behind the pixels.
inline void find_orientation_in_png(FileBytes file, FoundOrientation& found) {
    constexpr std::string_view xmp_begin("XML:com.adobe.xmp\0\0", 19);  // the second 0: not compressed
    for (std::size_t i = png_begin.size(); i + 12 <= file.size();) {
        const std::size_t length = file.number(i, 4), begin = i + 8;
        if (length > file.size() - begin) return;
        const std::string_view chunk = file.text(i + 4, 4);
        if (chunk == "eXIf") found.add_exif(file.part(begin, length));
        if (chunk == "iTXt" && file.text(begin, xmp_begin.size()) == xmp_begin) {
            found.add_xmp(file.text(begin, length));
        }
        i = begin + length + 4;
    }
}

/// What a JPEG or PNG file says: 1 to 8 as in EXIF, 1 where it says nothing that is one of these.
EFFICIENTVIT_COLD inline int orientation_of(std::span<const std::byte> file) {
    FoundOrientation found;
    const FileBytes bytes(file);
    if (bytes.text(0, 2) == "\xff\xd8") find_orientation_in_jpeg(bytes, found);
    if (bytes.text(0, png_begin.size()) == png_begin) find_orientation_in_png(bytes, found);
    return found.value();
}

/// A picture as it is to be seen, from one stored with this orientation (1 to 8): as Pillow's ImageOps.exif_transpose.
EFFICIENTVIT_COLD inline Image upright(Image image, int orientation) {
    if (orientation <= 1 || orientation > 8) return image;
    const bool transposed = orientation >= 5;
    const bool rows_reversed = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const bool columns_reversed = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const int height = image.height(), width = image.width();
    Image out(transposed ? ImageSize{width, height} : image.size());
    constexpr int tile = 32;  // rows and columns that stay in the cache together
    for (int top = 0; top < height; top += tile) {
        for (int left = 0; left < width; left += tile) {
            for (int y = top; y < std::min(top + tile, height); ++y) {
                const int to_y = rows_reversed ? height - 1 - y : y;
                for (int x = left; x < std::min(left + tile, width); ++x) {
                    const int to_x = columns_reversed ? width - 1 - x : x;
                    out.set(transposed ? to_x : to_y, transposed ? to_y : to_x, image.at(y, x));
                }
            }
        }
    }
    return out;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

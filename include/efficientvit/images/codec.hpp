// SPDX-License-Identifier: Apache-2.0
//
// Pictures from PNG and JPEG files and back to PNG, by libpng and libjpeg-turbo, which Pillow uses too: compile
// <efficientvit/images/codec.cpp> with the program and link -ljpeg -lpng, or link efficientvit::codec with CMake.
//
// Pixels are those of Pillow's Image.open(path).convert("RGB"), and what Pillow takes for broken is an error here too:
// transparency is dropped, gamma and color profiles are passed over, four components of a JPEG are taken for Adobe's
// inverted CMYK. Three differences: of 16 bits of gray the upper 8 are kept, where Pillow cuts off at 255; a PNG's
// checksums all count as far as its last pixel; CgBI, the PNG of Apple's tools, is refused by name.
#pragma once

#include <efficientvit/images/codec_library.hpp>
#include <efficientvit/images/image.hpp>
#include <efficientvit/images/orientation.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/replacement_file.hpp>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// How a file becomes a picture.
struct ReadOptions {
    /// Turns the picture as the camera noted that it was held (EXIF, else XMP), as Pillow's ImageOps.exif_transpose.
    /// Without it pixels are as stored, which is what Pillow gives by itself, and what published accuracies were
    /// measured with.
    bool apply_orientation = false;
};

namespace detail {

/// Throws ImageError for a file that is no picture of any size.
EFFICIENTVIT_COLD inline void check_file_size(std::size_t bytes, std::string_view name) {
    if (bytes > INT_MAX) throw ImageError(concat({name, ": is larger than 2 GiB"}));
}

/// Whether this PNG is in the form that Xcode gives to an app's pictures: other colors, another compression.
inline bool is_cgbi(FileBytes file) {
    for (std::size_t i = png_begin.size(); i + 8 <= file.size();) {
        const std::string_view chunk = file.text(i + 4, 4);
        if (chunk == "CgBI" || chunk == "IDAT") return chunk == "CgBI";
        i += std::min(file.number(i, 4), file.size()) + 12;
    }
    return false;
}

EFFICIENTVIT_COLD inline Image decode_image(std::span<const std::byte> file, std::string_view name,
                                            const ReadOptions& options) {
    if (file.empty()) throw ImageError(concat({name, ": is empty, not a PNG or JPEG picture"}));
    check_file_size(file.size(), name);
    const FileBytes bytes(file);
    Image image;
    const codec_library::PixelMemory memory{&image, [](void* owner, int height, int width) {
                                                auto& to = *static_cast<Image*>(owner);
                                                to = Image({height, width});
                                                return to.bytes().data();
                                            }};
    try {
        if (bytes.text(0, 3) == "\xff\xd8\xff") {
            codec_library::decode_jpeg(file.data(), file.size(), memory);
        } else if (bytes.text(0, 4) == png_begin.substr(0, 4)) {
            if (is_cgbi(bytes)) throw ImageError("a CgBI file, Apple's own form of PNG, which is not read");
            codec_library::decode_png(file.data(), file.size(), memory);
        } else {
            throw ImageError("not a PNG or JPEG picture");
        }
    } catch (const ImageError& error) {
        throw ImageError(concat({name, ": ", error.what()}));
    }
    return options.apply_orientation ? upright(std::move(image), orientation_of(file)) : image;
}

/// PNG of height x width pixels of 1 (gray) or 3 (RGB) bytes each.
EFFICIENTVIT_COLD inline std::vector<std::byte> encode_png(const std::uint8_t* pixels, ImageSize size, int channels) {
    check_size(size, "encode_png");
    std::vector<std::byte> file;
    codec_library::encode_png(pixels, size.height, size.width, channels,
                              {&file, [](void* owner, const std::uint8_t* bytes, std::size_t count) {
                                   const auto* const begin = reinterpret_cast<const std::byte*>(bytes);
                                   auto& to = *static_cast<std::vector<std::byte>*>(owner);
                                   to.insert(to.end(), begin, begin + count);
                               }});
    return file;
}

/// Whether a file in a folder is a picture by its name, which no system shows if it begins with a dot.
inline bool is_image_name(const std::filesystem::path& path) {
    const std::u8string name = path.filename().u8string();
    if (name.starts_with(u8'.')) return false;
    std::u8string extension = path.extension().u8string();
    for (char8_t& c : extension) c = c >= u8'A' && c <= u8'Z' ? static_cast<char8_t>(c - u8'A' + u8'a') : c;
    return extension == u8".png" || extension == u8".jpg" || extension == u8".jpeg" || extension == u8".jpe" ||
           extension == u8".jfif";
}

EFFICIENTVIT_COLD inline void write_whole(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    try {
        ReplacementFile file(path);
        file.write(bytes);
        file.keep();
    } catch (const WeightsError& error) {
        throw ImageError(error.what());
    }
}

}  // namespace detail

/// Decodes a PNG or JPEG file in memory; gray and palettes become RGB, 16 bits become 8. Throws ImageError.
EFFICIENTVIT_COLD inline Image decode_image(std::span<const std::byte> file, const ReadOptions& options = {}) {
    return detail::decode_image(file, "picture in memory", options);
}

/// The same from a file. Throws ImageError, which names it.
EFFICIENTVIT_COLD inline Image read_image(const std::filesystem::path& path, const ReadOptions& options = {}) {
    std::vector<std::byte> bytes;
    std::string name;
    try {
        const detail::FileHandle file(path);
        name = file.path();
        detail::check_file_size(file.size(), name);
        bytes.resize(file.size());
        file.read_at(0, bytes);
    } catch (const WeightsError& error) {
        throw ImageError(error.what());
    }
    return detail::decode_image(bytes, name, options);
}

/// A PNG file's bytes.
EFFICIENTVIT_COLD inline std::vector<std::byte> encode_png(const Image& image) {
    return detail::encode_png(image.bytes().data(), image.size(), Image::channels);
}

/// Writes a PNG: whole, or not at all. Throws ImageError with the path and the reason; what was there stays then.
EFFICIENTVIT_COLD inline void write_png(const std::filesystem::path& path, const Image& image) {
    detail::write_whole(path, encode_png(image));
}

/// The same for one byte a pixel, such as the labels of a LabelMap: a gray PNG that holds these very numbers.
EFFICIENTVIT_COLD inline void write_gray_png(const std::filesystem::path& path, ImageSize size,
                                             std::span<const std::uint8_t> pixels) {
    detail::check_size(size, "write_gray_png");
    if (pixels.size() != static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width)) {
        throw ImageError(detail::concat(
            {"write_gray_png: ", std::to_string(pixels.size()), " bytes for ", detail::to_string(size), " pixels"}));
    }
    detail::write_whole(path, detail::encode_png(pixels.data(), size, 1));
}

/// The pictures that a path means: itself if it is a file, else all *.png, *.jpg, *.jpeg, *.jpe and *.jfif in the
/// folder, sorted by name, without hidden ones (".…") and not in folders below. Throws ImageError if there are none.
EFFICIENTVIT_COLD inline std::vector<std::filesystem::path> find_images(const std::filesystem::path& path) {
    const std::string name = detail::path_text(path);
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status)) throw ImageError(detail::concat({name, ": no such file or folder"}));
    if (!std::filesystem::is_directory(status)) return {path};
    std::vector<std::filesystem::path> found;
    for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
        std::error_code unknown;
        if (detail::is_image_name(entry->path()) && !entry->is_directory(unknown)) found.push_back(entry->path());
    }
    if (error) throw ImageError(detail::concat({name, ": cannot be listed: ", error.message()}));
    if (found.empty()) throw ImageError(detail::concat({name, ": no PNG or JPEG pictures in this folder"}));
    std::sort(found.begin(), found.end());
    return found;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

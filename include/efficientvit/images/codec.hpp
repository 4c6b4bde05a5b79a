// SPDX-License-Identifier: Apache-2.0
//
// Pictures from PNG and JPEG files and back to PNG, by stb. One .cpp of the program must include
// <efficientvit/images/stb_implementation.inl>.
//
// A JPEG may differ from other decoders' by a few grey levels: the standard leaves the enlarging of its coarser colors
// open. As in the reference, the orientation that a camera notes beside the picture is not applied, and transparency
// is dropped.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/images/jpeg_check.hpp>
#include <efficientvit/images/stb.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/replacement_file.hpp>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Bytes of 256 colors.
inline constexpr std::size_t whole_palette = 768;

/// Throws ImageError for a file that stb, which counts in int, cannot read.
EFFICIENTVIT_COLD inline void check_file_size(std::size_t bytes, std::string_view name) {
    if (bytes > INT_MAX - whole_palette) throw ImageError(concat({name, ": is larger than 2 GiB"}));
}

/// The file of a PNG with black in its palette for the colors that this lacks: stb takes them from memory that nobody
/// wrote. Empty for any other file.
EFFICIENTVIT_COLD inline std::vector<std::byte> with_whole_palette(std::span<const std::byte> file) {
    const auto begins = [&](std::size_t i, std::string_view text) {
        return file.size() - i >= text.size() && std::memcmp(file.data() + i, text.data(), text.size()) == 0;
    };
    if (!begins(0, "\x89PNG\r\n\x1a\n")) return {};
    for (std::size_t i = 8; file.size() - i >= 8;) {  // chunks: length, name, bytes, checksum, which stb ignores
        std::size_t length = 0;
        for (std::size_t k = 0; k < 4; ++k) length = length << 8 | std::to_integer<std::size_t>(file[i + k]);
        if (length > file.size() - i - 8) return {};
        const std::size_t end = i + 8 + length;
        if (begins(i + 4, "PLTE")) {
            if (length == 0 || length >= whole_palette || length % 3 != 0) return {};
            std::vector<std::byte> out(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(end));
            out[i + 2] = std::byte{whole_palette >> 8};
            out[i + 3] = std::byte{whole_palette & 0xff};
            out.resize(out.size() + whole_palette - length);
            out.insert(out.end(), file.begin() + static_cast<std::ptrdiff_t>(end), file.end());
            return out;
        }
        if (file.size() - end < 4) return {};
        i = end + 4;
    }
    return {};
}

EFFICIENTVIT_COLD inline Image decode_image(std::span<const std::byte> file, std::string_view name) {
    const auto fail = [&](std::string_view what) { throw ImageError(concat({name, ": ", what})); };
    const auto reason = [] {
        const char* const text = stbi_failure_reason();
        return std::string_view(text == nullptr ? "unknown" : text);
    };
    if (file.empty()) fail("is empty, not a PNG or JPEG picture");
    check_file_size(file.size(), name);
    if (const std::string_view fault = JpegCheck::fault(file); !fault.empty()) {
        fail(concat({"broken picture (", fault, ")"}));
    }
    const std::vector<std::byte> changed = with_whole_palette(file);
    if (!changed.empty()) file = changed;
    const auto* const data = reinterpret_cast<const stbi_uc*>(file.data());
    const int bytes = static_cast<int>(file.size());

    int width = 0, height = 0, channels = 0;
    if (stbi_info_from_memory(data, bytes, &width, &height, &channels) == 0) {
        fail(concat({"not a PNG or JPEG picture, or a broken one (", reason(), ")"}));
    }
    check_size({height, width}, std::string(name).c_str());
    const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
        stbi_load_from_memory(data, bytes, &width, &height, &channels, Image::channels), stbi_image_free);
    if (pixels == nullptr) fail(concat({"broken picture (", reason(), ")"}));
    Image image({height, width});
    std::copy_n(pixels.get(), image.bytes().size(), image.bytes().data());
    return image;
}

/// PNG of height x width pixels of 1 (gray) or 3 (RGB) bytes each.
EFFICIENTVIT_COLD inline std::vector<std::byte> encode_png(const std::uint8_t* pixels, ImageSize size, int channels) {
    check_size(size, "encode_png");
    std::vector<std::byte> file;
    const auto append = [](void* to, void* data, int bytes) {
        const auto* const begin = static_cast<const std::byte*>(data);
        auto& out = *static_cast<std::vector<std::byte>*>(to);
        out.insert(out.end(), begin, begin + bytes);
    };
    if (stbi_write_png_to_func(append, &file, size.width, size.height, channels, pixels, size.width * channels) == 0) {
        throw ImageError(concat({"a picture of ", to_string(size), " could not be encoded as PNG: out of memory"}));
    }
    return file;
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
EFFICIENTVIT_COLD inline Image decode_image(std::span<const std::byte> file) {
    return detail::decode_image(file, "picture in memory");
}

/// The same from a file. Throws ImageError, which names it.
EFFICIENTVIT_COLD inline Image read_image(const std::filesystem::path& path) {
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
    return detail::decode_image(bytes, name);
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

/// The pictures that a path means: itself if it is a file, else all *.png, *.jpg and *.jpeg in the folder (not in
/// folders below), sorted by name. Throws ImageError if there are none.
EFFICIENTVIT_COLD inline std::vector<std::filesystem::path> find_images(const std::filesystem::path& path) {
    const std::string name = detail::path_text(path);
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status)) throw ImageError(detail::concat({name, ": no such file or folder"}));
    if (!std::filesystem::is_directory(status)) return {path};
    std::vector<std::filesystem::path> found;
    for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
        std::string extension = entry->path().extension().string();
        for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        if (extension == ".png" || extension == ".jpg" || extension == ".jpeg") found.push_back(entry->path());
    }
    if (error) throw ImageError(detail::concat({name, ": cannot be listed: ", error.message()}));
    if (found.empty()) throw ImageError(detail::concat({name, ": no PNG or JPEG pictures in this folder"}));
    std::sort(found.begin(), found.end());
    return found;
}

EFFICIENTVIT_END_NAMESPACE

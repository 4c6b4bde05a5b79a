// SPDX-License-Identifier: Apache-2.0
//
// What a file of weights is, by its first bytes: names say little (`model_best.pth.tar` is a zip archive). Not for
// users: load_weights.hpp is.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// What can be read, and what can not.
enum class FileKind {
    safetensors,
    torch,    ///< a zip archive, or a bare pickle, which is refused with advice
    index,    ///< JSON: the index of a model in several files
    foreign,  ///< something else that is known: foreign_name() says what
    unknown
};

/// The bytes at the beginning that tell.
inline constexpr std::size_t telling_bytes = 512;

/// What a file that begins so is called, if it is known and is no weights of ours; else empty.
EFFICIENTVIT_COLD inline std::string_view foreign_name(std::string_view first) {
    struct Magic {
        std::string_view begin;
        std::string_view name;
    };
    constexpr std::string_view packed = "a compressed file, not weights: unpack it first";
    constexpr std::array<Magic, 11> magics{{
        {"version https://git-lfs",
         "a Git LFS pointer, not the weights themselves: fetch these with `git lfs pull`, or download the file"},
        {"\x1f\x8b", packed},
        {"BZh", packed},
        {"\xfd"
         "7zXZ",
         packed},
        {"7z\xbc\xaf", packed},
        {"\x28\xb5\x2f\xfd", packed},
        {"Rar!", packed},
        {"\x89HDF", "an HDF5 file, which is not read: save safetensors, or with torch.save"},
        {"\x93NUMPY", "a NumPy array, not weights"},
        {"GGUF", "a GGUF file, which is not read: save safetensors, or with torch.save"},
        {"\x08\x0apytorch", "an ONNX file, which is not read: save safetensors, or with torch.save"},
    }};
    for (const Magic& magic : magics) {
        if (first.starts_with(magic.begin)) return magic.name;
    }
    if (first.size() >= 262 && first.substr(257, 5) == "ustar") {
        return "a tar archive, expected the zip archive that torch.save writes, or safetensors: unpack it first";
    }
    std::string_view text = first;
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    while (!text.empty() && (text[0] == ' ' || text[0] == '\n' || text[0] == '\r' || text[0] == '\t')) {
        text.remove_prefix(1);
    }
    for (const std::string_view tag : {"<!doctype", "<html", "<head", "<?xml", "<!--", "<body"}) {
        const bool same =
            text.size() >= tag.size() && std::equal(tag.begin(), tag.end(), text.begin(), [](char a, char b) {
                return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
            });
        if (same) return "a web page, not weights: the download gave a page in their place";
    }
    return {};
}

/// By the first `telling_bytes` of a file, or all where there are fewer.
EFFICIENTVIT_COLD inline FileKind file_kind(std::string_view first) {
    std::uint64_t length = 0;  // of a safetensors header
    for (std::size_t i = 8; i-- > 0 && first.size() > 8;) length = length << 8 | static_cast<unsigned char>(first[i]);
    if (first.size() > 8 && first[8] == '{' && length <= 100'000'000) return FileKind::safetensors;
    if (first.starts_with("PK\3\4") || first.starts_with("PK\5\6")) return FileKind::torch;
    if (first.size() > 1 && first[0] == '\x80' && first[1] >= 2 && first[1] <= 5) return FileKind::torch;
    if (!foreign_name(first).empty()) return FileKind::foreign;
    const std::size_t text = first.find_first_not_of(" \n\r\t");
    if (text != std::string_view::npos && first[text] == '{') return FileKind::index;
    return FileKind::unknown;
}

/// The first bytes of a file.
inline std::string telling_part(const Entry& file) {
    std::string first((std::min)(telling_bytes, file.data.size()), '\0');
    read_bytes(file, 0, std::as_writable_bytes(std::span(first)));
    return first;
}

/// Throws WeightsError that names what the file is, if it is known to be no weights.
EFFICIENTVIT_COLD inline void refuse_foreign(std::string_view first, std::string_view source) {
    const std::string_view name = foreign_name(first);
    if (!name.empty() && file_kind(first) == FileKind::foreign) throw WeightsError(concat({source, ": ", name}));
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

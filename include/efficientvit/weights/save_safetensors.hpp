// SPDX-License-Identifier: Apache-2.0
//
// Writes a state dict as a safetensors file, whole or not at all. Reading is safetensors.hpp's; needs no JSON library.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/replacement_file.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Text as JSON writes it, its quotes included. Throws WeightsError if it is not UTF-8.
inline std::string json_text(std::string_view text) {
    if (first_not_utf8(text) != text.size()) throw WeightsError(concat({in_quotes(text), " is not UTF-8"}));
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20) {
            out += "\\u00";
            out += digits[byte >> 4];
            out += digits[byte & 15];
        } else {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
    }
    out += '"';
    return out;
}

/// Calls write(bytes) with one piece of the file after the other.
template <class Write>
void write_safetensors(const StateDict& weights, const Write& write) {
    // The largest elements first, so that each tensor is aligned to its elements' size.
    std::vector<const StateDict::Map::value_type*> order;
    for (const auto& tensor : weights) order.push_back(&tensor);
    std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
        return dtype_size(a->second.dtype) > dtype_size(b->second.dtype);
    });

    std::string header = "{";
    const auto member = [&header](std::string_view name, std::string_view value) {
        header += concat({header.back() == '{' ? "" : ",", json_text(name), ":", value});
    };
    if (!weights.metadata().empty()) {
        header += "\"__metadata__\":{";
        for (const auto& [key, value] : weights.metadata()) member(key, json_text(value));
        header += "}";
    }
    std::uint64_t begin = 0;
    for (const auto* tensor : order) {
        const Entry& entry = tensor->second;
        if (tensor->first == "__metadata__") throw WeightsError("a tensor cannot be called '__metadata__'");
        const std::uint64_t end = begin + entry.data.size();
        member(tensor->first,
               concat({"{\"dtype\":\"", dtype_name(entry.dtype), "\",\"shape\":", shape_text(entry.shape),
                       ",\"data_offsets\":[", std::to_string(begin), ",", std::to_string(end), "]}"}));
        begin = end;
    }
    header += "}";
    header.append((8 - header.size() % 8) % 8, ' ');

    std::string length;
    for (unsigned i = 0; i < 8; ++i) length += static_cast<char>(header.size() >> (8 * i) & 0xff);
    write(std::as_bytes(std::span(length)));
    write(std::as_bytes(std::span(header)));
    std::vector<std::byte> piece(std::size_t{1} << 16);
    for (const auto* tensor : order) {
        const Entry& entry = tensor->second;
        for (std::size_t done = 0; done < entry.data.size(); done += piece.size()) {
            const std::span<std::byte> to = std::span(piece).first(std::min(piece.size(), entry.data.size() - done));
            read_bytes(entry, done, to);
            write(std::span<const std::byte>(to));
        }
    }
}

}  // namespace detail

/// The bytes of a safetensors file with the tensors and the metadata of `weights`. Throws WeightsError for a name that
/// is not UTF-8.
inline std::vector<std::byte> serialize_safetensors(const StateDict& weights) {
    std::vector<std::byte> bytes;
    detail::write_safetensors(
        weights, [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
    return bytes;
}

/// Writes the tensors and the metadata of `weights` to a safetensors file. An existing file is replaced only once the
/// new one is whole, and keeps its permissions; on failure it stays as it was, and nothing else is left behind. Of a
/// symbolic link the file that it leads to is replaced, or made where there is none. Throws WeightsError if it cannot
/// be written, or if something other than a file is there: a folder, a pipe, a device. Windows replaces no file that is
/// mapped: there `weights` must not come from the one at `path`.
inline void save_safetensors(const std::filesystem::path& path, const StateDict& weights) {
    std::optional<detail::ReplacementFile> file;  // made once the header is known to be right
    detail::write_safetensors(weights, [&](std::span<const std::byte> part) {
        if (!file) file.emplace(path);
        file->write(part);
    });
    file->keep();
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

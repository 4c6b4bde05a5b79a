// SPDX-License-Identifier: Apache-2.0
//
// Reads safetensors: from a file, from memory, from an array compiled into the program. Optional: the only
// header of the library, with its JSON handler, that needs nlohmann/json. Writing is save_safetensors.hpp's.
//
// Nothing in a file is trusted. The JSON header is read as a stream of events, never as a tree, so a hostile
// one costs a small multiple of its own size (4 times for tensors, 8 for metadata, 10 for one endless token); every
// tensor must lie inside the file, and all of them must cover it without hole or overlap, as the format demands.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/file_kind.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/safetensors_header.hpp>
#include <efficientvit/weights/sharded_index.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// The length of the JSON header, which the first 8 of `total` bytes state.
EFFICIENTVIT_COLD inline std::size_t safetensors_header_length(std::string_view source, std::size_t total,
                                                               std::span<const std::byte> first) {
    constexpr std::uint64_t largest = 100'000'000;  // the format's own limit
    const std::string bytes = std::to_string(total);
    if (first.size() < 8) {
        throw WeightsError(concat({source, ": too small for safetensors: ", bytes,
                                   " bytes, expected 8 for the header's length and at least 2 for the header"}));
    }
    std::uint64_t length = 0;
    for (std::size_t i = 8; i-- > 0;) length = length << 8 | std::to_integer<std::uint64_t>(first[i]);
    if (length > largest) {
        throw WeightsError(
            concat({source, ": not safetensors: its first 8 bytes give a header of ", std::to_string(length),
                    " bytes, more than the format's limit of ", std::to_string(largest)}));
    }
    if (length > total - 8) {
        throw WeightsError(concat({source, ": cut short or not safetensors: its first 8 bytes give a header of ",
                                   std::to_string(length), " bytes, but only ", std::to_string(total - 8), " follow"}));
    }
    return static_cast<std::size_t>(length);
}

/// Reads what lies in memory; `own` takes the tensors' bytes and says where they shall stay and who keeps them.
template <class Own>
StateDict parse_safetensors_with(std::span<const std::byte> bytes, std::string source, Own own) {
    const std::size_t length =
        safetensors_header_length(source, bytes.size(), bytes.first(bytes.size() < 8 ? bytes.size() : 8));
    StateDict out;
    out.set_source(std::move(source));
    const auto [data, owner] = own(bytes.subspan(8 + length));
    read_safetensors_header(out, bytes.subspan(8, length), data, owner);
    return out;
}

EFFICIENTVIT_COLD inline StateDict map_safetensors(const std::shared_ptr<const MappedFile>& file) {
    const std::span<const std::byte> bytes = file->bytes();
    refuse_foreign(telling_part({DType::u8, {}, bytes, file}), file->path());
    std::array<std::byte, 8> first{};
    const std::span<std::byte> head = std::span(first).first(bytes.size() < 8 ? bytes.size() : 8);
    file->read(bytes.data(), head);
    const std::size_t length = safetensors_header_length(file->path(), bytes.size(), head);
    std::vector<std::byte> header(length);
    file->read(bytes.data() + 8, header);
    StateDict out;
    out.set_source(file->path());
    read_safetensors_header(out, header, bytes.subspan(8 + length), file);
    return out;
}

EFFICIENTVIT_COLD inline StateDict load_one_safetensors(const std::filesystem::path& path) {
    return map_safetensors(std::make_shared<const MappedFile>(path));
}

}  // namespace detail

/// Reads a safetensors file. It is mapped, not copied; the StateDict and the copies made of it keep the mapping,
/// a model keeps nothing of it. The `__metadata__` is StateDict::metadata(). Of the index of a model in several files,
/// `model.safetensors.index.json`, the files are read. Throws WeightsError, with the path,
/// what was found and what was expected, if the file cannot be read or is not safetensors in every respect.
/// A file cut short later is a WeightsError when its tensors are read (see mapped_file.hpp).
EFFICIENTVIT_COLD inline StateDict load_safetensors(const std::filesystem::path& path) {
    const auto file = std::make_shared<const MappedFile>(path);
    const std::string begin = detail::telling_part({DType::u8, {}, file->bytes(), file});
    if (detail::file_kind(begin) == detail::FileKind::index) {
        return detail::load_shards(path, *file, detail::load_one_safetensors);
    }
    return detail::map_safetensors(file);
}

/// Reads safetensors from memory and copies the tensors, so that `bytes` may go afterwards. `source` names them in
/// messages. Throws like load_safetensors().
EFFICIENTVIT_COLD inline StateDict parse_safetensors(std::span<const std::byte> bytes,
                                                     std::string source = "safetensors in memory") {
    return detail::parse_safetensors_with(bytes, std::move(source), [](std::span<const std::byte> data) {
        using Bytes = HeapStorage<std::vector<std::byte>>;
        const auto owner = std::make_shared<const Bytes>(std::vector<std::byte>(data.begin(), data.end()));
        return std::pair(owner->bytes(), std::shared_ptr<const Storage>(owner));
    });
}

/// Reads safetensors from memory without a copy: `bytes` must live, unchanged, as long as the StateDict, its copies
/// and entries. For arrays compiled into the program: `parse_safetensors_borrowed(std::as_bytes(std::span(array)))`.
/// A loaded model keeps nothing of it. Throws like load_safetensors().
EFFICIENTVIT_COLD inline StateDict parse_safetensors_borrowed(std::span<const std::byte> bytes,
                                                              std::string source = "safetensors in memory") {
    return detail::parse_safetensors_with(bytes, std::move(source), [](std::span<const std::byte> data) {
        return std::pair(data, std::shared_ptr<const Storage>());
    });
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// The index of a model in several files, `model.safetensors.index.json`: which tensor is in which file beside it. Not
// for users: load_weights.hpp and safetensors.hpp are. Needs nlohmann/json.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Shards by name, and the tensors that each holds.
using ShardMap = std::map<std::string, std::vector<std::string>, std::less<>>;

/// Reads the index. Throws WeightsError for what is none.
EFFICIENTVIT_COLD inline ShardMap read_shard_map(const MappedFile& file) {
    constexpr std::size_t largest = std::size_t{16} << 20;
    const auto fail = [&file](std::string_view what) { throw WeightsError(concat({file.path(), ": ", what})); };
    if (file.bytes().size() > largest) fail("too large for an index of weights in several files");
    std::string text(file.bytes().size(), '\0');
    file.read(file.bytes().data(), std::as_writable_bytes(std::span(text)));
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded()) fail("not valid JSON, expected weights or the index of weights in several files");
    const auto map = json.find("weight_map");
    if (map == json.end() || !map->is_object()) {
        fail("JSON without \"weight_map\", expected weights or the index of weights in several files");
    }
    ShardMap shards;
    for (const auto& [tensor, shard] : map->items()) {
        if (!shard.is_string()) fail(concat({"weight_map: tensor ", in_quotes(tensor), " is in no file's name"}));
        const auto& name = shard.get_ref<const std::string&>();
        const bool outside = name.empty() || name == "." || name == ".." || name.find_first_of("/\\:") != name.npos ||
                             name.find('\0') != name.npos;
        if (outside) {
            fail(concat({"weight_map: tensor ", in_quotes(tensor), " is in ", in_quotes(name),
                         ", expected the name of a file beside the index"}));
        }
        shards[name].push_back(tensor);
    }
    return shards;
}

/// Loads every shard by load(path), checks that it holds what the index says, and puts all together.
template <class Load>
EFFICIENTVIT_COLD StateDict load_shards(const std::filesystem::path& path, const MappedFile& file, const Load& load) {
    StateDict out;
    out.set_source(file.path());
    for (const auto& pair : read_shard_map(file)) {
        const std::string& name = pair.first;
        const std::vector<std::string>& tensors = pair.second;
        const std::filesystem::path shard =
            path.parent_path() / std::filesystem::path(std::u8string(name.begin(), name.end()));
        const auto fail = [&](std::string_view what, std::string_view tensor) {
            throw WeightsError(concat(
                {file.path(), ": tensor ", in_quotes(tensor), " should be in the file ", in_quotes(name), what}));
        };
        std::error_code error;
        if (!std::filesystem::exists(shard, error)) {
            fail(concat({" beside it, which is missing; ", std::to_string(tensors.size()), " tensors are there"}),
                 tensors.front());
        }
        const StateDict part = load(shard);
        for (const std::string& tensor : tensors) {
            if (!part.contains(tensor) && !part.unreadable().contains(tensor))
                fail(", which has none of that name", tensor);
        }
        for (const auto& [tensor, entry] : part) out.insert(tensor, entry.dtype, entry.shape, entry.data, entry.owner);
        for (const auto& [tensor, what] : part.unreadable()) out.insert_unreadable(tensor, what);
    }
    return out;
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// The index of a model in several files, `model.safetensors.index.json`: which tensor is in which file beside it. Not
// for users: load_weights.hpp and safetensors.hpp are. Needs nlohmann/json.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/json_events.hpp>
#include <efficientvit/weights/mapped_file.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Shards by name, and the tensors that each holds.
using ShardMap = std::map<std::string, std::vector<std::string>, std::less<>>;

/// Takes the events of an index. All but "weight_map" is passed over.
class ShardMapHandler final : public JsonEvents {
public:
    explicit ShardMapHandler(std::string_view source) : source_(source) {}

    bool null() override { return value(nullptr); }
    bool boolean(bool) override { return value(nullptr); }
    bool number_integer(number_integer_t) override { return value(nullptr); }
    bool number_unsigned(number_unsigned_t) override { return value(nullptr); }
    bool number_float(number_float_t, const std::string&) override { return value(nullptr); }
    bool string(std::string& text) override { return value(&text); }
    bool binary(binary_t&) override { return value(nullptr); }

    bool key(std::string& text) override {
        key_ = text;
        return true;
    }

    bool start_object(std::size_t) override {
        value(nullptr);
        if (depth_++ == 1 && key_ == "weight_map") in_map_ = found_ = true;
        return true;
    }

    bool end_object() override {
        if (--depth_ == 1) in_map_ = false;
        return true;
    }

    bool start_array(std::size_t) override {
        value(nullptr);
        ++depth_;
        return true;
    }

    bool end_array() override { return end_object(); }

    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
        fail({"not valid JSON, expected weights or the index of weights in several files"});
    }

    /// After the last event.
    ShardMap take() {
        if (!found_) fail({"JSON without \"weight_map\", expected weights or the index of weights in several files"});
        return std::move(shards_);
    }

private:
    [[noreturn]] void fail(std::initializer_list<std::string_view> what) const {
        throw WeightsError(concat({source_, ": ", concat(what)}));
    }

    /// The value of key_: a string, or anything else.
    bool value(const std::string* name) {
        if (!in_map_) return true;
        if (name == nullptr) fail({"weight_map: tensor ", in_quotes(key_), " is in no file's name"});
        const bool outside = name->empty() || *name == "." || *name == ".." ||
                             name->find_first_of("/\\:") != name->npos || name->find('\0') != name->npos;
        if (outside) {
            fail({"weight_map: tensor ", in_quotes(key_), " is in ", in_quotes(*name),
                  ", expected the name of a file beside the index"});
        }
        shards_[*name].push_back(key_);
        return true;
    }

    std::string_view source_;
    ShardMap shards_;
    std::string key_;
    std::size_t depth_ = 0;
    bool in_map_ = false;
    bool found_ = false;
};

/// Reads the index. Throws WeightsError for what is none.
EFFICIENTVIT_COLD inline ShardMap read_shard_map(const MappedFile& file) {
    constexpr std::size_t largest = std::size_t{16} << 20;
    if (file.bytes().size() > largest) {
        throw WeightsError(concat({file.path(), ": too large for an index of weights in several files"}));
    }
    std::string text(file.bytes().size(), '\0');
    file.read(file.bytes().data(), std::as_writable_bytes(std::span(text)));
    ShardMapHandler handler(file.path());
    parse_json(text, handler);
    return handler.take();
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
        if (!file_exists(shard)) {
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

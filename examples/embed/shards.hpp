// SPDX-License-Identifier: Apache-2.0
//
// Features of many pictures in files of a fixed number of pictures each, and their index. What is in a file depends on
// the list of pictures, the model and the number a file alone, never on who computed it.
//
// A shard is a safetensors file. Its rows are those of its pictures that could be read, in the list's order:
//
//   <output>   (rows, C, H, W), F32
//   picture    (rows), I64: which of the list
//   size       (rows, 2), I64: the picture's height and width
//
// and its metadata say of which model and of which pictures ("pictures", one a line, the unreadable ones too; what no
// line of UTF-8 can hold, and '\', stands there as \xNN, and so in the index).
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/tensor.hpp>
#include <efficientvit/weights/replacement_file.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "provenance.hpp"

namespace examples {

/// Which picture goes into which shard, and what is there already.
class ShardPlan {
public:
    ShardPlan(fs::path folder, std::vector<Source> pictures, std::size_t pictures_a_shard, Metadata about)
        : folder_(std::move(folder)),
          pictures_(std::move(pictures)),
          a_shard_(pictures_a_shard),
          about_(std::move(about)) {
        about_["pictures_a_shard"] = std::to_string(a_shard_);
    }

    std::size_t shards() const { return (pictures_.size() + a_shard_ - 1) / a_shard_; }
    const std::vector<Source>& pictures() const { return pictures_; }
    std::size_t begin(std::size_t shard) const { return shard * a_shard_; }
    std::size_t end(std::size_t shard) const { return std::min(pictures_.size(), begin(shard) + a_shard_); }

    fs::path path(std::size_t shard) const {
        const std::string number = std::to_string(shard);
        return folder_ /
               ("shard-" + std::string(number.size() < 8 ? 8 - number.size() : 0, '0') + number + ".safetensors");
    }

    /// What a shard's file says it is.
    Metadata about(std::size_t shard) const {
        Metadata all = about_;
        std::string& names = all["pictures"];
        std::string& stamps = all["picture_stamps"];
        for (std::size_t i = begin(shard); i < end(shard); ++i) {
            names += one_line(path_bytes(pictures_[i].path)) + '\n';
            stamps += pictures_[i].stamp + '\n';
        }
        return all;
    }

    /// Whether the shard is there, whole, of this run and not stale. Throws std::runtime_error if it is of another.
    bool is_done(std::size_t shard) const { return examples::is_done(path(shard), about(shard)); }

    /// Removes what a killed run left half written.
    void remove_leftovers() const {
        std::error_code ignored;
        for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
            const std::string name = entry.path().filename().string();
            if ((name.starts_with("shard-") || name.starts_with("index.csv.")) && name.ends_with(".tmp")) {
                fs::remove(entry.path(), ignored);
            }
        }
    }

    /// index.csv: each picture's shard and row in it, empty where it could not be read. Reads the shards' small
    /// tensors. Returns how many could not be read. Throws ev::WeightsError.
    std::size_t write_index() const {
        std::size_t unreadable = 0;
        std::string text = "picture,shard,row,height,width\n";
        for (std::size_t shard = 0; shard < shards(); ++shard) {
            const ev::StateDict file = ev::load_safetensors(path(shard));
            const std::vector<std::int64_t> rows = integers(file.at("picture")), sizes = integers(file.at("size"));
            std::size_t row = 0;
            for (std::size_t i = begin(shard); i < end(shard); ++i) {
                text += quoted(one_line(path_bytes(pictures_[i].path))) + ',' + path(shard).filename().string() + ',';
                if (row < rows.size() && rows[row] == static_cast<std::int64_t>(i)) {
                    text += std::to_string(row) + ',' + std::to_string(sizes[2 * row]) + ',' +
                            std::to_string(sizes[2 * row + 1]) + '\n';
                    ++row;
                } else {
                    text += ",,\n";
                    ++unreadable;
                }
            }
        }
        ev::detail::ReplacementFile file(folder_ / "index.csv");
        file.write(std::as_bytes(std::span(text)));
        file.keep();
        return unreadable;
    }

private:
    static std::vector<std::int64_t> integers(const ev::Entry& entry) {
        std::vector<std::int64_t> out(entry.element_count());
        entry.owner->read(entry.data.data(), std::as_writable_bytes(std::span(out)));
        return out;
    }
    static std::string quoted(const std::string& text) {
        if (text.find_first_of(",\"\r") == std::string::npos) return text;
        std::string out = "\"";
        for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
        return out + '"';
    }

    fs::path folder_;
    std::vector<Source> pictures_;
    std::size_t a_shard_;
    Metadata about_;
};

/// A shard while it is filled.
class Shard {
public:
    /// features: (1, C, H, W), the same shape for all.
    void add(std::size_t picture, ev::ImageSize size, const ev::Tensor& features) {
        shape_ = {features.dimension(1), features.dimension(2), features.dimension(3)};
        values_.insert(values_.end(), features.data(), features.data() + features.size());
        pictures_.push_back(static_cast<std::int64_t>(picture));
        sizes_.insert(sizes_.end(), {size.height, size.width});
    }

    /// The whole file, or none. Throws ev::WeightsError.
    void save(const fs::path& path, const std::string& output, Metadata about) && {
        const auto rows = static_cast<std::int64_t>(pictures_.size());
        ev::StateDict file;
        file.insert(output, {rows, shape_[0], shape_[1], shape_[2]}, std::move(values_));
        insert(file, "picture", {rows}, std::move(pictures_));
        insert(file, "size", {rows, 2}, std::move(sizes_));
        file.metadata() = std::move(about);
        ev::save_safetensors(path, file);
    }

private:
    static void insert(ev::StateDict& file, const char* name, std::vector<std::int64_t> shape,
                       std::vector<std::int64_t> values) {
        const auto owner = std::make_shared<const ev::HeapStorage<std::vector<std::int64_t>>>(std::move(values));
        file.insert(name, ev::DType::i64, std::move(shape), owner->bytes(), owner);
    }

    std::vector<std::int64_t> shape_{0, 0, 0}, pictures_, sizes_;
    std::vector<float> values_;
};

}  // namespace examples

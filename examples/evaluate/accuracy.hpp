// SPDX-License-Identifier: Apache-2.0
//
// Top-1 and top-5: pictures in folders named by class, or in a list, and how many are right.
#pragma once

#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/predictions.hpp>
#include <efficientvit/tensor.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "../common/text.hpp"

namespace examples {

namespace fs = std::filesystem;

/// A picture and the class that it is of.
struct LabelledPicture {
    fs::path path;
    int label = 0;
};

/// What a line of a list says: a path, and behind its last blank what belongs to it.
struct ListedPair {
    fs::path path;
    std::string second;
    std::size_t line = 0;  ///< from 1
};

/// "path what" lines; paths that are not absolute are below `root`. Throws std::runtime_error, which names the line.
inline std::vector<ListedPair> read_pairs(const fs::path& list, const fs::path& root) {
    constexpr std::string_view blanks = " \t";
    std::vector<ListedPair> pairs;
    std::size_t number = 0;
    for (const std::string& line : text_lines(list)) {
        ++number;
        const std::size_t end = line.find_last_not_of(blanks);
        if (end == std::string::npos) continue;
        const std::size_t gap = line.find_last_of(blanks, end);
        const std::size_t path_end = gap == std::string::npos ? gap : line.find_last_not_of(blanks, gap);
        if (path_end == std::string::npos) {
            throw std::runtime_error(shown(list) + ": line " + std::to_string(number) +
                                     ": expected 'path label', found '" + ev::detail::printable(line) + "'");
        }
        pairs.push_back(
            {root / path_from_bytes(line.substr(0, path_end + 1)), line.substr(gap + 1, end - gap), number});
    }
    if (pairs.empty()) throw std::runtime_error(shown(list) + ": names no pictures");
    return pairs;
}

/// A whole number that is not negative, and nothing else.
inline std::optional<int> number_of(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
    return value;
}

/// The number of the class that is called so.
inline std::optional<int> class_called(std::string_view name, const std::vector<std::string>& names) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return std::nullopt;
    return static_cast<int>(found - names.begin());
}

/// The pictures of a list. A label is a class's number, or its name if `names` has it. Throws std::runtime_error.
inline std::vector<LabelledPicture> pictures_in_list(const fs::path& list, const fs::path& root,
                                                     const std::vector<std::string>& names, int classes) {
    std::vector<LabelledPicture> pictures;
    for (ListedPair& pair : read_pairs(list, root)) {
        std::optional<int> label = class_called(pair.second, names);
        if (!label) label = number_of(pair.second);
        if (!label || *label >= classes) {
            throw std::runtime_error(shown(list) + ": line " + std::to_string(pair.line) +
                                     ": expected a class from 0 to " + std::to_string(classes - 1) +
                                     (names.empty() ? "" : " or a name of --classes") + ", found '" +
                                     ev::detail::printable(pair.second) + "'");
        }
        pictures.push_back({std::move(pair.path), *label});
    }
    return pictures;
}

/// The folders of a folder by name, without hidden ones.
inline std::vector<fs::path> folders_in(const fs::path& folder) {
    std::vector<fs::path> folders;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
        std::error_code unknown;
        if (entry->is_directory(unknown) && !path_bytes(entry->path().filename()).starts_with('.')) {
            folders.push_back(entry->path());
        }
    }
    if (error) throw std::runtime_error(shown(folder) + ": cannot be listed: " + error.message());
    std::sort(folders.begin(), folders.end());
    return folders;
}

/// Which class each folder is of: all by the names in `names`, or all by numbers, or else, where there are as many as
/// classes, in the order of their names, as torchvision's ImageFolder counts them. Throws std::runtime_error.
inline std::map<fs::path, int> classes_of_folders(const fs::path& root, const std::vector<fs::path>& folders,
                                                  const std::vector<std::string>& names, int classes) {
    std::map<fs::path, int> by_name, by_number, by_order;
    std::string unknown;
    for (const fs::path& folder : folders) {
        const std::string name = path_bytes(folder.filename());
        if (const auto found = class_called(name, names)) {
            by_name[folder] = *found;
        } else if (unknown.empty()) {
            unknown = name;
        }
        const std::optional<int> number = number_of(name);
        if (number && *number < classes && name == std::to_string(*number)) by_number[folder] = *number;
        by_order[folder] = static_cast<int>(by_order.size());
    }
    if (by_name.size() == folders.size()) return by_name;
    if (!by_name.empty()) {
        throw std::runtime_error(shown(root) + ": no class of --classes is called '" + ev::detail::printable(unknown) +
                                 "', as a folder is");
    }
    if (by_number.size() == folders.size()) return by_number;
    if (static_cast<int>(folders.size()) == classes) return by_order;
    throw std::runtime_error(shown(root) + ": expected a folder for each of " + std::to_string(classes) +
                             " classes, or folders called as in --classes or by number; found " +
                             std::to_string(folders.size()) + " folders");
}

/// The pictures in root's folders, each of the class that its folder is called by. Throws std::runtime_error.
inline std::vector<LabelledPicture> pictures_in_folders(const fs::path& root, const std::vector<std::string>& names,
                                                        int classes) {
    const std::vector<fs::path> folders = folders_in(root);
    if (folders.empty()) throw std::runtime_error(shown(root) + ": expected a folder for each class, found none");
    const std::map<fs::path, int> labels = classes_of_folders(root, folders, names, classes);
    std::vector<LabelledPicture> pictures;
    for (const fs::path& folder : folders) {
        for (const fs::path& path : ev::find_images(folder)) pictures.push_back({path, labels.at(folder)});
    }
    return pictures;
}

/// How many pictures' classes are first, and among the first five.
class Accuracy {
public:
    /// The logits of a picture of this class. Throws ev::ShapeError for such as are no numbers.
    void add(std::span<const float> logits, int label) {
        const std::vector<ev::Prediction> top = ev::top_k(logits, 5);
        ++pictures_;
        if (top.front().index == label) ++first_;
        if (std::any_of(top.begin(), top.end(), [&](const ev::Prediction& p) { return p.index == label; })) ++five_;
    }

    std::size_t pictures() const { return pictures_; }
    std::size_t top1() const { return first_; }
    std::size_t top5() const { return five_; }

private:
    std::size_t pictures_ = 0, first_ = 0, five_ = 0;
};

}  // namespace examples

// SPDX-License-Identifier: Apache-2.0
//
// Which label map belongs to which picture, as Cityscapes and ADE20K lay their files out.
#pragma once

#include <efficientvit/images/codec.hpp>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "../common/text.hpp"
#include "accuracy.hpp"
#include "mean_iou.hpp"

namespace examples {

/// A picture and its label map's file.
struct LabelledMap {
    fs::path path, labels;
};

/// `text` with the last `from` in it replaced; as it is where there is none.
inline std::string with_last_replaced(std::string text, std::string_view from, std::string_view to) {
    const std::size_t at = text.rfind(from);
    if (at != std::string::npos) text.replace(at, from.size(), to);
    return text;
}

/// The label map of a picture in `folder`: in `labels`, which is laid out as `folder` is, or else where the data set
/// has it. Throws std::runtime_error, which says where it was looked for.
inline fs::path labels_of(const fs::path& picture, const fs::path& folder, const fs::path& labels) {
    fs::path at = picture;
    if (!labels.empty()) {
        at = labels / picture.lexically_relative(folder);
    } else {
        const std::string absolute = path_bytes(fs::absolute(picture).lexically_normal());
        std::string moved = with_last_replaced(absolute, "/leftImg8bit/", "/gtFine/");
        if (moved == absolute) moved = with_last_replaced(absolute, "/images/", "/annotations/");
        if (moved == absolute) {
            throw std::runtime_error(shown(picture) +
                                     ": where are its labels? Neither 'leftImg8bit' nor 'images' is in its path; say "
                                     "--labels FOLDER");
        }
        at = path_from_bytes(moved);
    }
    const std::string stem = path_bytes(at.stem());
    std::string tried;
    for (const std::string_view ending : {"_gtFine_labelIds", "_gtFine_labelTrainIds", ""}) {
        const std::string name = ending.empty() ? stem : with_last_replaced(stem, "_leftImg8bit", ending);
        if (!ending.empty() && name == stem) continue;
        const fs::path candidate = at.parent_path() / path_from_bytes(name + ".png");
        std::error_code unknown;
        if (fs::is_regular_file(candidate, unknown)) return candidate;
        tried += (tried.empty() ? "" : " nor ") + shown(candidate);
    }
    throw std::runtime_error(shown(picture) + ": its labels are not there: no " + tried);
}

/// The pictures in a folder by name, hidden ones left out; perhaps none.
inline std::vector<fs::path> pictures_in(const fs::path& folder) {
    std::vector<fs::path> found;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
        std::error_code unknown;
        if (ev::detail::is_image_name(entry->path()) && !entry->is_directory(unknown)) found.push_back(entry->path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

/// The pictures in a folder and the folders in it, each with its label map.
inline std::vector<LabelledMap> label_maps_beside(const fs::path& folder, const fs::path& labels) {
    std::vector<LabelledMap> pictures;
    std::vector<fs::path> folders{folder};
    for (std::size_t i = 0; i < folders.size(); ++i) {
        std::error_code unknown;
        if (!fs::is_directory(folders[i], unknown)) {
            throw std::runtime_error(shown(folders[i]) + ": expected a folder of pictures");
        }
        const std::vector<fs::path> inner = folders_in(folders[i]);
        folders.insert(folders.end(), inner.begin(), inner.end());
        for (const fs::path& path : pictures_in(folders[i])) {
            pictures.push_back({path, labels_of(path, folder, labels)});
        }
    }
    if (pictures.empty()) throw std::runtime_error(shown(folder) + ": no PNG or JPEG pictures in it");
    return pictures;
}

/// 'picture labels' lines.
inline std::vector<LabelledMap> label_maps_in_list(const fs::path& list, const fs::path& root) {
    std::vector<LabelledMap> pictures;
    for (const ListedPair& pair : read_pairs(list, root)) {
        pictures.push_back({pair.path, root / path_from_bytes(pair.second)});
    }
    return pictures;
}

/// The convention that is called so; without a name, what the file's name and the number of classes tell. Throws
/// UsageError.
inline LabelConvention convention_of(const std::string& name, const fs::path& labels, int classes) {
    if (name == "cityscapes" || name == "ade20k" || name == "plain") {
        const int expected = name == "cityscapes" ? 19 : classes;
        if (classes != expected) {
            throw UsageError("--convention cityscapes is for 19 classes, the weights have " + std::to_string(classes));
        }
        return name == "cityscapes" ? LabelConvention::cityscapes
               : name == "ade20k"   ? LabelConvention::ade20k
                                    : LabelConvention::plain;
    }
    if (!name.empty()) throw UsageError("--convention must be cityscapes, ade20k or plain, not '" + name + "'");
    if (path_bytes(labels.stem()).ends_with("labelTrainIds")) return LabelConvention::plain;
    return classes == 19    ? LabelConvention::cityscapes
           : classes == 150 ? LabelConvention::ade20k
                            : LabelConvention::plain;
}

}  // namespace examples

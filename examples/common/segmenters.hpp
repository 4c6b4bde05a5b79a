// SPDX-License-Identifier: Apache-2.0
//
// What programs with a segmenter have in common: the names and colors of its classes, and whose evaluation it follows.
#pragma once

#include <efficientvit/images/seg_classes.hpp>
#include <efficientvit/models/pictures.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "classifiers.hpp"
#include "models.hpp"

namespace examples {

/// A class of a segmenter.
struct SegClass {
    std::string name;
    ev::Rgb color;
};

/// The data set's names and colors. A segmenter of another number of classes has numbers for names, and ADE20K's
/// colors; a file with a name a line names those of any, unless its name is empty. Throws std::runtime_error.
inline std::vector<SegClass> seg_classes(const std::string& names, const ev::ModelInfo& info) {
    const auto count = static_cast<std::size_t>(info.n_classes);
    std::vector<SegClass> classes;
    if (count == ev::cityscapes_classes.size()) {
        for (const ev::SegClass& c : ev::cityscapes_classes) classes.push_back({std::string(c.name), c.color});
    } else {
        for (std::size_t i = 0; i < count; ++i) {
            const ev::SegClass& c = ev::ade20k_classes[i % ev::ade20k_classes.size()];
            const bool published = count == ev::ade20k_classes.size();
            classes.push_back({published ? std::string(c.name) : "class " + std::to_string(i), c.color});
        }
    }
    if (names.empty()) return classes;
    const std::vector<std::string> own = read_names(names, info.n_classes);
    for (std::size_t i = 0; i < count; ++i) classes[i].name = own[i];
    return classes;
}

}  // namespace examples

// SPDX-License-Identifier: Apache-2.0
//
// What programs with a classifier have in common: how it sees pictures, and what its classes are called.
#pragma once

#include <efficientvit/images/imagenet_classes.hpp>
#include <efficientvit/images/preprocess.hpp>

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "command_line.hpp"
#include "models.hpp"
#include "text.hpp"

namespace examples {

/// --size and --crop-ratio.
inline void add_preprocessing_options(cxxopts::Options& options) {
    options.add_options()  //
        ("size", "rows and columns that the network sees; else as its name says, or 224", cxxopts::value<int>(),
         "N")  //
        ("crop-ratio", "part of the short side that is seen; else what the model was published with",
         cxxopts::value<double>(), "R");
}

/// How the classifier called `asked` sees pictures: as the publisher evaluates it, but for --size and --crop-ratio.
/// Without a name the weights tell whose model it is, timm's or the reference's, and their file's name may tell the
/// size ("…_r288.pt").
inline ev::ClsPreprocessing cls_preprocessing(const cxxopts::ParseResult& arguments, const std::string& asked,
                                              const ev::ModelInfo& info, const ev::StateDict& weights) {
    std::string name = asked;
    if (name.empty()) {
        const int size = ev::cls_preprocessing(weights_of(arguments).stem().string()).size;
        const std::string width = info.name.substr(info.name.find('_') + 1), tag = "r" + std::to_string(size);
        name = has_timm_names(weights) ? "efficientvit_" + width + "." + tag + "_in1k"
                                       : "efficientvit-" + width + "-" + tag;
    }
    ev::ClsPreprocessing how = ev::cls_preprocessing(name);
    if (arguments.count("size") != 0) how.size = arguments["size"].as<int>();
    if (arguments.count("crop-ratio") != 0) how.crop_ratio = arguments["crop-ratio"].as<double>();
    return how;
}

/// Text files with a name a line. Throws std::runtime_error unless there are `count`.
inline std::vector<std::string> read_names(const std::filesystem::path& path, int count) {
    std::vector<std::string> names = text_lines(path);
    if (static_cast<int>(names.size()) != count) {
        throw std::runtime_error(shown(path) + ": expected a name a line for " + std::to_string(count) +
                                 " classes, found " + std::to_string(names.size()));
    }
    return names;
}

/// The names in --classes; without it ImageNet's, if there are as many.
inline std::vector<std::string> class_names(const cxxopts::ParseResult& arguments, int count) {
    const std::string path = arguments["classes"].as<std::string>();
    if (!path.empty()) return read_names(path, count);
    std::vector<std::string> names;
    if (count == static_cast<int>(ev::imagenet_classes.size())) {
        for (const std::string_view name : ev::imagenet_classes) names.emplace_back(name);
    } else {
        for (int i = 0; i < count; ++i) names.push_back("class " + std::to_string(i));
    }
    return names;
}

}  // namespace examples

// SPDX-License-Identifier: Apache-2.0
//
// What the command lines of examples with a model have in common: the model and its weights, pictures, threads.
#pragma once

#include <efficientvit/images/codec.hpp>
#include <efficientvit/runtime/context.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "arguments.hpp"
#include "models.hpp"
#include "program.hpp"
#include "text.hpp"

namespace examples {

/// Options that every example has.
inline void add_common_options(cxxopts::Options& options) {
    options.add_options()  //
        ("weights", "the model's weights: safetensors, or what PyTorch saves; or name the file before the pictures",
         cxxopts::value<std::string>(),
         "FILE")  //
        ("entry", "of a PyTorch checkpoint, the part with the weights, such as state_dict_ema or ema.0.9998",
         cxxopts::value<std::string>()->default_value(""), "NAME")  //
        ("prefix", "what stands before the names of the model's weights, such as vit.; other weights are passed over",
         cxxopts::value<std::string>()->default_value(""), "NAME")  //
        ("model", "name of the model, such as efficientvit-b1-r256; without it, what the weights look like",
         cxxopts::value<std::string>()->default_value(""), "NAME")  //
        ("threads", "threads that work on one picture; 0: as many as there are CPUs for",
         cxxopts::value<int>()->default_value("0"), "N")           //
        ("list-models", "print the names of all models and stop")  //
        ("help", "print this and stop")                            //
        ("images", "a PNG or JPEG, or a folder of them", cxxopts::value<std::vector<std::string>>(), "PATH");
    options.parse_positional({"images"});
    options.positional_help("[WEIGHTS] PATH...");
}

/// Without --weights, the file among the paths that is called as no picture is: `classify b0.pt photos/`. Else none.
inline std::string weights_among_paths(const cxxopts::ParseResult& arguments) {
    if (arguments.count("weights") != 0 || arguments.count("images") == 0) return {};
    for (const std::string& path : arguments["images"].as<std::vector<std::string>>()) {
        std::error_code unknown;
        if (!ev::detail::is_image_name(path) && !std::filesystem::is_directory(path, unknown)) return path;
    }
    return {};
}

/// The paths that the command line names, but for that of weights.
inline std::vector<std::string> paths_of(const cxxopts::ParseResult& arguments) {
    if (arguments.count("images") == 0) return {};
    std::vector<std::string> paths = arguments["images"].as<std::vector<std::string>>();
    const auto weights = std::find(paths.begin(), paths.end(), weights_among_paths(arguments));
    if (weights != paths.end()) paths.erase(weights);
    return paths;
}

/// The pictures that a path means, but for `own`, which the program itself draws and an earlier run may have left in
/// this folder. Throws ev::ImageError if there are none.
inline std::vector<std::filesystem::path> images_at(const std::filesystem::path& path,
                                                    const std::filesystem::path& own) {
    std::vector<std::filesystem::path> images = ev::find_images(path);
    std::error_code unknown;
    if (own.empty() || !std::filesystem::is_directory(path, unknown)) return images;
    std::erase_if(images, [&](const std::filesystem::path& image) {
        std::error_code none;
        return std::filesystem::equivalent(image, own, none);
    });
    if (images.empty()) throw ev::ImageError(shown(path) + ": no PNG or JPEG pictures in this folder");
    return images;
}

/// The pictures of the command line, and for each path that means none, such as a link that leads nowhere or an empty
/// folder, the path itself: PictureLog says what is wrong with it when its turn comes, and the others are done.
/// `wrong` has the reasons.
inline std::vector<std::filesystem::path> images_of(const cxxopts::ParseResult& arguments,
                                                    std::vector<std::string>& wrong,
                                                    const std::filesystem::path& own = {}) {
    std::vector<std::filesystem::path> images;
    for (const std::string& path : paths_of(arguments)) {
        try {
            for (const std::filesystem::path& image : images_at(path, own)) images.push_back(image);
        } catch (const ev::ImageError& error) {
            wrong.emplace_back(error.what());
            images.emplace_back(path);
        }
    }
    return images;
}

/// The same where the command line alone names pictures. Throws std::runtime_error if all of its paths mean none.
inline std::vector<std::filesystem::path> images_of(const cxxopts::ParseResult& arguments,
                                                    const std::filesystem::path& own = {}) {
    std::vector<std::string> wrong;
    const std::vector<std::filesystem::path> images = images_of(arguments, wrong, own);
    if (images.empty()) throw UsageError("which pictures? Name files or folders; see --help");
    if (wrong.size() < images.size()) return images;
    std::string reasons;
    for (const std::string& reason : wrong) reasons += (reasons.empty() ? "" : "; ") + reason;
    throw std::runtime_error(reasons);
}

/// A Context with --threads threads.
inline ev::Context context_of(const cxxopts::ParseResult& arguments) {
    const int threads = arguments["threads"].as<int>();
    if (threads < 0 || threads > 1024) throw UsageError("--threads must be 0 to 1024");
    try {
        return ev::Context({.threads = threads});
    } catch (const std::system_error& error) {
        throw std::runtime_error(std::string("no more threads could be started (--threads): ") + error.what());
    }
}

/// The file of weights that the command line names.
inline std::filesystem::path weights_of(const cxxopts::ParseResult& arguments) {
    const std::string path =
        arguments.count("weights") != 0 ? arguments["weights"].as<std::string>() : weights_among_paths(arguments);
    if (path.empty()) throw UsageError("which weights? Say --weights FILE; see --help");
    return path;
}

/// The weights that --weights, --entry and --prefix name, without the prefix. Throws ev::WeightsError.
inline ev::StateDict read_weights(const cxxopts::ParseResult& arguments) {
    const std::filesystem::path path = weights_of(arguments);
    const std::string prefix = arguments["prefix"].as<std::string>();
    ev::StateDict all = read_weights(path, arguments["entry"].as<std::string>());
    return prefix.empty() ? all : below_prefix(all, prefix);
}

/// run_program(), with --list-models.
inline int run(const std::string& program, cxxopts::Options& options, int argc, char** argv,
               const std::function<int(const cxxopts::ParseResult&)>& body) {
    return run_program(program, options, argc, argv, [&](const cxxopts::ParseResult& arguments) {
        if (arguments.count("list-models") == 0) return body(arguments);
        std::cout << model_list();
        return EXIT_SUCCESS;
    });
}

}  // namespace examples

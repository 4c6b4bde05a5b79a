// SPDX-License-Identifier: Apache-2.0
//
// What the examples' command lines have in common: --help, the model and its weights, errors that end the program with
// a message and a status.
#pragma once

#include <efficientvit/images/codec.hpp>
#include <efficientvit/runtime/context.hpp>

#include <cstdlib>
#include <cxxopts.hpp>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "models.hpp"
#include "text.hpp"

namespace examples {

/// A mistake on the command line.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Options that every example has.
inline void add_common_options(cxxopts::Options& options) {
    options.add_options()  //
        ("weights", "the model's weights: safetensors, or what PyTorch saves", cxxopts::value<std::string>(),
         "FILE")  //
        ("entry", "of a PyTorch checkpoint, the part with the weights, such as state_dict_ema or ema.0.9998",
         cxxopts::value<std::string>()->default_value(""), "NAME")  //
        ("model", "name of the model, such as efficientvit-b1-r256; without it, what the weights look like",
         cxxopts::value<std::string>()->default_value(""), "NAME")  //
        ("threads", "threads that work on one picture; 0: as many as there are CPUs for",
         cxxopts::value<int>()->default_value("0"), "N")           //
        ("list-models", "print the names of all models and stop")  //
        ("help", "print this and stop")                            //
        ("images", "a PNG or JPEG, or a folder of them", cxxopts::value<std::vector<std::string>>(), "PATH");
    options.parse_positional({"images"});
    options.positional_help("PATH...");
}

/// The pictures that the command line names.
inline std::vector<std::filesystem::path> images_of(const cxxopts::ParseResult& arguments) {
    if (arguments.count("images") == 0) throw UsageError("which pictures? Name files or folders; see --help");
    std::vector<std::filesystem::path> images;
    for (const std::string& path : arguments["images"].as<std::vector<std::string>>()) {
        for (const std::filesystem::path& image : ev::find_images(path)) images.push_back(image);
    }
    return images;
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

/// The file that --weights names.
inline std::filesystem::path weights_of(const cxxopts::ParseResult& arguments) {
    if (arguments.count("weights") == 0) throw UsageError("which weights? Say --weights FILE; see --help");
    return arguments["weights"].as<std::string>();
}

/// Parses the command line, answers --help and --list-models, else calls body(arguments), whose result is the exit
/// status. What is thrown becomes a message and status 1.
inline int run(const std::string& program, cxxopts::Options& options, int argc, char** argv,
               const std::function<int(const cxxopts::ParseResult&)>& body) {
    try {
        const cxxopts::ParseResult arguments = options.parse(argc, argv);
        int status = EXIT_SUCCESS;
        if (arguments.count("help") != 0) {
            std::cout << options.help();
        } else if (arguments.count("list-models") != 0) {
            std::cout << model_list();
        } else {
            status = body(arguments);
        }
        if (!std::cout.flush()) throw std::runtime_error("the results cannot be printed");
        return status;
    } catch (const std::exception& error) {
        std::cerr << program << ": " << reason(error) << '\n';
        return EXIT_FAILURE;
    }
}

}  // namespace examples

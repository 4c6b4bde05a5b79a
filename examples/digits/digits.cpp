// SPDX-License-Identifier: Apache-2.0
//
// Handwritten digits: loads a network that train_digits.py trained in PyTorch, classifies the images that training
// never saw, and prints how well and how fast. Draws them all on one sheet.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

#include "../common/program.hpp"
#include "contact_sheet.hpp"
#include "digits.hpp"

#ifndef EFFICIENTVIT_DIGITS_DIR
#define EFFICIENTVIT_DIGITS_DIR "examples/digits"
#endif

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;

struct Options {
    fs::path weights, images, output;
    int threads = 1;
};

struct Results {
    std::vector<int> predicted;        // the class with the largest logit
    std::vector<double> milliseconds;  // of forward alone
};

Results classify(const digits::Network& network, const std::vector<digits::Image>& images, ev::Context& context) {
    Results results;
    ev::Tensor input(1, 3, digits::input_size, digits::input_size);
    ev::Tensor logits;
    digits::to_input(images.front(), input);
    network.forward(input, logits, context);  // takes the memory that all later calls use again
    for (const digits::Image& image : images) {
        digits::to_input(image, input);
        const auto start = std::chrono::steady_clock::now();
        network.forward(input, logits, context);
        const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
        const float* best = std::max_element(logits.data(), logits.data() + digits::classes);
        results.predicted.push_back(static_cast<int>(best - logits.data()));
        results.milliseconds.push_back(time.count());
    }
    return results;
}

void print_confusion(const std::vector<digits::Image>& images, const std::vector<int>& predicted) {
    std::array<std::array<int, digits::classes>, digits::classes> count{};
    for (std::size_t i = 0; i < images.size(); ++i) {
        ++count[static_cast<std::size_t>(images[i].label)][static_cast<std::size_t>(predicted[i])];
    }
    std::cout << "\n      predicted\ntrue ";
    for (int column = 0; column < digits::classes; ++column) std::cout << std::setw(5) << column;
    std::cout << '\n';
    for (std::size_t row = 0; row < count.size(); ++row) {
        std::cout << std::setw(4) << row << ' ';
        for (const int n : count[row]) std::cout << std::setw(5) << (n == 0 ? "." : std::to_string(n));
        std::cout << '\n';
    }
    std::cout << '\n';
    for (std::size_t i = 0; i < images.size(); ++i) {
        if (predicted[i] == images[i].label) continue;
        std::cout << images[i].path.string() << " is taken for a " << predicted[i] << '\n';
    }
}

void run(const Options& options) {
    digits::Network network;
    network.load_state_dict(ev::load_safetensors(options.weights));
    const std::vector<digits::Image> images = digits::load_images(options.images);

    ev::Context context({.threads = options.threads});
    Results results = classify(network, images, context);

    std::size_t right = 0;
    for (std::size_t i = 0; i < images.size(); ++i) right += results.predicted[i] == images[i].label ? 1U : 0U;
    std::vector<double>& times = results.milliseconds;
    std::sort(times.begin(), times.end());
    std::cout << std::fixed << std::setprecision(2) << "accuracy: " << right << " of " << images.size() << " = "
              << 100.0 * static_cast<double>(right) / static_cast<double>(images.size()) << " %\n"
              << std::setprecision(3) << "time per image: " << times[times.size() / 2] << " ms (median), "
              << times.front() << " ms (fastest), " << context.threads() << " thread"
              << (context.threads() == 1 ? "\n" : "s\n");
    print_confusion(images, results.predicted);

    const ev::Image sheet = digits::draw_contact_sheet(images, results.predicted);
    ev::write_png(options.output, sheet);
    std::cout << "all images with their predicted class: " << options.output.string() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    const fs::path folder = EFFICIENTVIT_DIGITS_DIR;
    cxxopts::Options parser("digits", "Classifies images of handwritten digits with EfficientViT-B0.");
    const auto path = [](const fs::path& standard) {
        return cxxopts::value<std::string>()->default_value(standard.string());
    };
    parser.add_options()                                                                                        //
        ("weights", "safetensors file", path(folder / "digits_b0.safetensors"), "FILE")                         //
        ("images", "folder with a folder of 8x8 PNG images for each digit", path(folder / "images"), "FOLDER")  //
        ("output", "PNG file to write, a sheet with every image", path("digits.png"), "FILE")                   //
        ("threads", "threads that work on one image", cxxopts::value<int>()->default_value("1"), "N")           //
        ("help", "print this and stop");
    return examples::run_program("digits", parser, argc, argv, [](const cxxopts::ParseResult& arguments) {
        const Options options{.weights = arguments["weights"].as<std::string>(),
                              .images = arguments["images"].as<std::string>(),
                              .output = arguments["output"].as<std::string>(),
                              .threads = arguments["threads"].as<int>()};
        if (options.threads < 1) throw examples::UsageError("--threads must be 1 or more");
        run(options);
        return EXIT_SUCCESS;
    });
}

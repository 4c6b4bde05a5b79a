// SPDX-License-Identifier: Apache-2.0
//
// Printed characters of 200 kinds: loads a network that train_glyphs.py trained in PyTorch, classifies 2000 pictures in
// fonts that training never saw, in float and with fewer bits, and prints how well and how fast. Status 1 where float
// does not find what PyTorch found, or fewer bits read more than 0.5 % fewer.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/weights/load_npy.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/program.hpp"
#include "glyphs.hpp"

#ifndef EFFICIENTVIT_GLYPHS_DIR
#define EFFICIENTVIT_GLYPHS_DIR "examples/glyphs"
#endif

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;

/// What held_out.csv says that PyTorch finds: a class for each picture.
std::vector<int> read_torch(const fs::path& path) {
    std::ifstream file(path);
    std::string line, field;
    std::getline(file, line);  // the columns' names
    std::vector<int> found;
    while (std::getline(file, line)) {
        std::istringstream fields(line);
        for (int column = 0; column < 3; ++column) std::getline(fields, field, ',');
        found.push_back(std::stoi(field));
    }
    return found;
}

/// The characters of the classes, in UTF-8.
std::vector<std::string> read_classes(const fs::path& path) {
    std::vector<std::string> classes = examples::text_lines(path);
    if (classes.size() != glyphs::Network::n_classes) {
        throw std::runtime_error(path.string() + ": expected 200 lines, found " + std::to_string(classes.size()));
    }
    return classes;
}

/// How far the logits of every twentieth picture are from PyTorch's, at most.
float largest_error(const glyphs::Network& network, const glyphs::Pictures& pictures, const ev::Tensor& expected,
                    ev::Context& context) {
    float largest = 0;
    ev::Tensor input(1, 3, glyphs::side, glyphs::side), logits;
    for (Eigen::Index row = 0; row < expected.dimension(2); ++row) {
        pictures.to_input(static_cast<int>(row) * glyphs::logits_every, input);
        network.forward(input, logits, context);
        for (Eigen::Index i = 0; i < logits.size(); ++i) {
            const float error = std::abs(logits.data()[i] - expected(0, 0, row, i));
            if (!(error <= largest)) largest = error;  // NaN, too
        }
    }
    return largest;
}

int differing(const std::vector<int>& a, const std::vector<int>& b) {
    int count = 0;
    for (std::size_t i = 0; i < a.size(); ++i) count += a[i] == b.at(i) ? 0 : 1;
    return count;
}

void print_wrong(const std::vector<int>& found, const std::vector<std::string>& classes) {
    for (std::size_t i = 0; i < found.size(); ++i) {
        const int label = glyphs::Pictures::label(static_cast<int>(i));
        if (found[i] == label) continue;
        std::printf("picture %zu: %s is taken for %s\n", i, classes[static_cast<std::size_t>(label)].c_str(),
                    classes[static_cast<std::size_t>(found[i])].c_str());
    }
}

bool run(const fs::path& folder, int threads, bool wrong) {
    const ev::StateDict weights = ev::load_safetensors(folder / "glyphs_b0.safetensors");
    const glyphs::Pictures pictures(folder / "held_out.png");
    const std::vector<int> torch = read_torch(folder / "held_out.csv");
    if (static_cast<int>(torch.size()) != pictures.count()) throw std::runtime_error("held_out.csv: another length");
    ev::Context context({.threads = threads});
    bool good = true;
    std::vector<int> in_float;
    for (const ev::Precision precision :
         {ev::Precision::f32, ev::Precision::bf16, ev::Precision::bf16_weights, ev::Precision::int8}) {
        glyphs::Network network;
        network.load_state_dict(weights, {.precision = precision});
        const auto start = std::chrono::steady_clock::now();
        const std::vector<int> found = glyphs::classify(network, pictures, context);
        const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
        const int right = glyphs::count_right(found);
        std::printf("%-20s %d of %d = %.2f %%, %.3f ms a picture", std::string(network.precision()).c_str(), right,
                    pictures.count(), 100.0 * right / pictures.count(), time.count() / pictures.count());
        if (in_float.empty()) {
            in_float = found;
            const float error = largest_error(network, pictures, ev::load_npy(folder / "expected_logits.npy"), context);
            const int others = differing(found, torch);
            std::printf("; PyTorch: %d, %d pictures taken for something else, logits at most %.1e away\n",
                        glyphs::count_right(torch), others, static_cast<double>(error));
            good = others == 0 && error <= 1e-4F && right >= 0.9 * pictures.count();
            if (wrong) print_wrong(found, read_classes(folder / "classes.txt"));
        } else {
            std::printf("; %d pictures taken for something else than in float\n", differing(found, in_float));
            good = good && std::abs(right - glyphs::count_right(in_float)) <= 0.005 * pictures.count();
        }
    }
    return good;
}

}  // namespace

int main(int argc, char** argv) {
    cxxopts::Options parser("glyphs", "Classifies pictures of printed characters with EfficientViT-B0.");
    parser.add_options()  //
        ("folder", "has what train_glyphs.py writes",
         cxxopts::value<std::string>()->default_value(EFFICIENTVIT_GLYPHS_DIR), "FOLDER")                //
        ("threads", "threads that work on one picture", cxxopts::value<int>()->default_value("1"), "N")  //
        ("wrong", "list the pictures that are taken for something else than they are")                   //
        ("help", "print this and stop");
    return examples::run_program("glyphs", parser, argc, argv, [](const cxxopts::ParseResult& arguments) {
        const int threads = arguments["threads"].as<int>();
        if (threads < 1) throw examples::UsageError("--threads must be 1 or more");
        return run(arguments["folder"].as<std::string>(), threads, arguments.count("wrong") != 0) ? EXIT_SUCCESS
                                                                                                  : EXIT_FAILURE;
    });
}

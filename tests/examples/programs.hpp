// SPDX-License-Identifier: Apache-2.0
//
// The examples run in a folder of the test's own, with two photos in it and weights made from names.
#pragma once

#include <efficientvit/images/codec.hpp>
#include <efficientvit/models/classifier.hpp>
#include <efficientvit/models/segmenter.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

#include "../golden_values.hpp"
#include "../images/fixtures.hpp"
#include "shell.hpp"

template <class Network>
inline void save_weights(const fs::path& path) {
    ev::StateDict weights;
    for (const ev::Parameter& p : Network::parameters())
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    ev::save_safetensors(path, weights);
}

/// The weights of a file a little changed, as training goes on.
inline void save_changed(const fs::path& from, const fs::path& to) {
    ev::StateDict changed;
    for (const ev::StateDict before = ev::load_safetensors(from); const auto& [name, entry] : before) {
        std::vector<float> values = ev::to_float(entry);
        values[0] += 0.25F;
        changed.insert(name, entry.shape, values);
    }
    ev::save_safetensors(to, changed);
}

class Programs : public testing::Test {
protected:
    static void SetUpTestSuite() {
        // One for each process: ctest runs several of these at once, and each removes its own.
        weights_ = fs::path(testing::TempDir()) / ("efficientvit_programs_weights_" + std::to_string(::getpid()));
        fs::create_directories(weights_);
        save_weights<ev::ClsB0<>>(weights_ / "cls_b0.safetensors");
        save_weights<ev::SegB0Cityscapes<>>(weights_ / "seg_b0.safetensors");
    }
    static void TearDownTestSuite() {
        std::error_code ignored;
        fs::remove_all(weights_, ignored);
    }
    void SetUp() override {
        fs::create_directories(scratch_ / "photos");
        fs::copy_file(fixture_path("china.png"), scratch_ / "photos" / "china.png");
        fs::copy_file(fixture_path("flower_444.jpg"), scratch_ / "photos" / "flower.jpg");
    }

    /// Runs a program in the scratch folder.
    Outcome run(const std::string& arguments, const std::string& before = {}) const {
        return shell("cd '" + scratch_.path().string() + "' && " + before + EFFICIENTVIT_EXAMPLES_DIR "/" + arguments);
    }
    static std::string weights(const std::string& name) {
        return " --threads 1 --weights '" + (weights_ / (name + ".safetensors")).string() + "' ";
    }
    std::set<std::string> files(const std::string& folder) const {
        std::set<std::string> names;
        for (const auto& entry : fs::directory_iterator(scratch_ / folder))
            names.insert(entry.path().filename().string());
        return names;
    }

    std::string contents(const std::string& file) const {
        std::ifstream in(scratch_ / file, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    Scratch scratch_;
    inline static fs::path weights_;
};

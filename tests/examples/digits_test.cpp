// SPDX-License-Identifier: Apache-2.0
//
// The digits demo against PyTorch: a network trained there and loaded from its float16 file must see every held-out
// image as it did. Also the example's own parts: images that are broken, a sheet that cannot be written.
#include <efficientvit/weights/safetensors.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../examples/digits/contact_sheet.hpp"
#include "../../examples/digits/digits.hpp"
#include "../../examples/evaluate/accuracy.hpp"

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;

const fs::path folder = EFFICIENTVIT_DIGITS_DIR;

struct Expected {
    int label = 0;
    std::array<float, digits::classes> logits{};
    int predicted() const { return static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()); }
};

/// expected_logits.csv by image name ("3/0007.png").
std::map<std::string, Expected> read_expected() {
    std::ifstream file(folder / "expected_logits.csv");
    std::map<std::string, Expected> expected;
    std::string line, name, field;
    std::getline(file, line);  // the columns' names
    while (std::getline(file, line)) {
        std::istringstream fields(line);
        std::getline(fields, name, ',');
        Expected& row = expected[name];
        std::getline(fields, field, ',');
        row.label = std::stoi(field);
        for (float& logit : row.logits) {
            if (!std::getline(fields, field, ','))
                throw std::runtime_error("expected_logits.csv: a short row: " + line);
            logit = std::stof(field);
        }
    }
    return expected;
}

class DigitsTest : public testing::Test {
protected:
    // A folder of its own: tests of this file run at the same time.
    DigitsTest()
        : scratch_(fs::path(testing::TempDir()) / ("efficientvit_digits_" + std::to_string(std::random_device()()))) {
        fs::create_directories(scratch_ / "0");
    }
    ~DigitsTest() override { fs::remove_all(scratch_); }

    std::string message_of_load() const {
        try {
            digits::load_images(scratch_);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "";
    }

    fs::path scratch_;
};

TEST_F(DigitsTest, EveryImageIsSeenAsInPyTorch) {
    const std::map<std::string, Expected> expected = read_expected();
    const std::vector<digits::Image> images = digits::load_images(folder / "images");
    ASSERT_EQ(images.size(), 360U);
    ASSERT_EQ(expected.size(), images.size());

    digits::Network network;
    network.load_state_dict(ev::load_safetensors(folder / "digits_b0.safetensors"));
    ev::Context context;
    ev::Tensor input(1, 3, digits::input_size, digits::input_size);
    ev::Tensor logits;
    std::size_t right = 0;
    float largest_error = 0.0F;
    for (const digits::Image& image : images) {
        const std::string name = image.path.lexically_relative(folder / "images").generic_string();
        ASSERT_TRUE(expected.contains(name)) << name;
        const Expected& row = expected.at(name);
        ASSERT_EQ(row.label, image.label) << name;

        digits::to_input(image, input);
        network.forward(input, logits, context);
        ASSERT_EQ(logits.size(), digits::classes);
        const float* best = std::max_element(logits.data(), logits.data() + digits::classes);
        const int predicted = static_cast<int>(best - logits.data());
        EXPECT_EQ(predicted, row.predicted()) << name;
        right += predicted == image.label ? 1U : 0U;
        for (std::size_t i = 0; i < row.logits.size(); ++i) {
            // Absolute: the logits lie between -2 and 5. Written so that a NaN fails.
            const float error = std::abs(logits.data()[i] - row.logits[i]);
            EXPECT_TRUE(error <= 1e-4F) << name << " class " << i << ": " << logits.data()[i] << ", PyTorch "
                                        << row.logits[i];
            largest_error = std::max(largest_error, error);
        }
    }
    EXPECT_GE(static_cast<double>(right), 0.98 * static_cast<double>(images.size()));
    RecordProperty("right", static_cast<int>(right));
    RecordProperty("largest_error", std::to_string(largest_error));
}

/// evaluate's own folders, labels and counts, on this network: top-1 and top-5 are PyTorch's on all 360.
TEST_F(DigitsTest, EvaluationFindsThePyTorchAccuracy) {
    const std::map<std::string, Expected> expected = read_expected();
    digits::Network network;
    network.load_state_dict(ev::load_safetensors(folder / "digits_b0.safetensors"));
    ev::Context context;
    ev::Tensor input(1, 3, digits::input_size, digits::input_size), logits;
    examples::Accuracy here, in_torch;
    for (const auto& [path, label] : examples::pictures_in_folders(folder / "images", {}, digits::classes)) {
        digits::to_input(digits::load_image(path, label), input);
        network.forward(input, logits, context);
        here.add({logits.data(), static_cast<std::size_t>(logits.size())}, label);
        const Expected& row = expected.at(path.lexically_relative(folder / "images").generic_string());
        ASSERT_EQ(row.label, label) << path;
        in_torch.add(row.logits, label);
    }
    EXPECT_EQ(here.pictures(), 360U);
    EXPECT_EQ(here.top1(), in_torch.top1());
    EXPECT_EQ(here.top5(), in_torch.top5());
    EXPECT_GE(here.top1(), 353U);
}

TEST_F(DigitsTest, RoundedNumbersSeeAsMuch) {
    const std::vector<digits::Image> images = digits::load_images(folder / "images");
    const ev::StateDict weights = ev::load_safetensors(folder / "digits_b0.safetensors");
    const auto count_right = [&](ev::Precision precision) {
        digits::Network network;
        network.load_state_dict(weights, {.precision = precision});
        ev::Tensor input(1, 3, digits::input_size, digits::input_size);
        int right = 0;
        for (const digits::Image& image : images) {
            digits::to_input(image, input);
            const ev::Tensor logits = network.forward(input);
            const float* best = std::max_element(logits.data(), logits.data() + digits::classes);
            right += best - logits.data() == image.label ? 1 : 0;
        }
        std::printf("[          ] %s: %d of %zu\n", std::string(network.precision()).c_str(), right, images.size());
        return right;
    };
    const int floats = count_right(ev::Precision::f32);
    // 0.3 % of 360 is one image.
    EXPECT_LE(std::abs(count_right(ev::Precision::bf16) - floats), 1);
    EXPECT_LE(std::abs(count_right(ev::Precision::bf16_weights) - floats), 1);
    EXPECT_LE(std::abs(count_right(ev::Precision::int8) - floats), 1);
}

TEST_F(DigitsTest, AnInputIsTheImageEnlarged) {
    digits::Image image;
    image.gray[8 * 2 + 5] = 51;  // row 2, column 5
    ev::Tensor input(1, 3, digits::input_size, digits::input_size);
    digits::to_input(image, input);
    for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < digits::input_size; ++y) {
            for (int x = 0; x < digits::input_size; ++x) {
                const bool inside = y >= 16 && y < 24 && x >= 40 && x < 48;
                ASSERT_EQ(input(0, c, y, x), inside ? 0.2F : 0.0F) << c << ' ' << y << ' ' << x;
            }
        }
    }
}

TEST_F(DigitsTest, AFolderWithoutImagesIsRefused) {
    EXPECT_NE(message_of_load().find("no images here"), std::string::npos) << message_of_load();
    EXPECT_NE(message_of_load().find(scratch_.string()), std::string::npos) << message_of_load();
}

TEST_F(DigitsTest, ABrokenImageIsNamed) {
    std::ofstream(scratch_ / "0" / "broken.png") << "not a picture";
    EXPECT_NE(message_of_load().find("broken.png"), std::string::npos) << message_of_load();
}

TEST_F(DigitsTest, ATruncatedImageIsNamed) {
    const fs::path whole = digits::load_images(folder / "images").front().path;
    std::ifstream file(whole, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    ASSERT_GT(bytes.size(), 60U);
    std::ofstream(scratch_ / "0" / "short.png", std::ios::binary) << bytes.substr(0, 60);
    EXPECT_NE(message_of_load().find("short.png"), std::string::npos) << message_of_load();
}

TEST_F(DigitsTest, AnImageOfAnotherSizeIsRefused) {
    ev::write_png(scratch_ / "0" / "wide.png", ev::Image({8, 16}));
    const std::string message = message_of_load();
    EXPECT_NE(message.find("wide.png: expected 8 x 8 pixels, found 16 x 8"), std::string::npos) << message;
}

TEST_F(DigitsTest, TheSheetMarksOnlyTheWrongOnes) {
    const std::vector<digits::Image> images(7);  // seven times a black image of label 0
    const auto wrong_pixels = [&](const std::vector<int>& predicted) {
        const ev::Image sheet = digits::draw_contact_sheet(images, predicted);
        int count = 0;
        for (int y = 0; y < sheet.height(); ++y) {
            for (int x = 0; x < sheet.width(); ++x) count += sheet.at(y, x) == digits::wrong_color ? 1 : 0;
        }
        return count;
    };
    EXPECT_EQ(wrong_pixels({0, 0, 0, 0, 0, 0, 0}), 0);
    const int one = wrong_pixels({0, 0, 8, 0, 0, 0, 0});
    EXPECT_GT(one, 54 * 54 - 48 * 48);  // the frame, and the caption below it
    EXPECT_EQ(wrong_pixels({0, 0, 8, 0, 0, 0, 8}), 2 * one);
}

}  // namespace

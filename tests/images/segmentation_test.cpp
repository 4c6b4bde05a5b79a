// SPDX-License-Identifier: Apache-2.0
//
// Labels at full size: PyTorch's for stored cases, and a naive double loop's for many shapes, threads and instruction
// sets. Pictures of labels.
#include <efficientvit/images/seg_classes.hpp>
#include <efficientvit/images/segmentation.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "../golden_values.hpp"
#include "fixtures.hpp"

namespace {

/// Bicubic (a = -0.75, align_corners=false) at one place, in double.
double cubic_at(const float* plane, int h, int w, double y, double x) {
    const auto weight = [](double d) {
        d = std::abs(d);
        constexpr double a = -0.75;
        if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
        return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0.0;
    };
    const int y0 = static_cast<int>(std::floor(y)), x0 = static_cast<int>(std::floor(x));
    double sum = 0;
    for (int i = -1; i <= 2; ++i) {
        for (int j = -1; j <= 2; ++j) {
            const int row = std::clamp(y0 + i, 0, h - 1), column = std::clamp(x0 + j, 0, w - 1);
            sum += weight(y - (y0 + i)) * weight(x - (x0 + j)) * double{plane[row * w + column]};
        }
    }
    return sum;
}

struct Case {
    int classes, h, w;
    ev::ImageSize frame, size;
};

std::vector<float> logits_of(const Case& c) {
    return golden_tensor("input", {1, c.classes, c.h, c.w}, "logits_" + std::to_string(c.classes));
}

ev::LabelMap labels_of(const Case& c, const std::vector<float>& logits, int threads) {
    ev::LabelMap map;
    ev::Context context({.threads = threads});
    ev::upsample_argmax(ev::ConstTensorView{logits.data(), {1, c.classes, c.h, c.w}}, c.frame, c.size, map, context);
    return map;
}

TEST(Segmentation, LabelsArePyTorchs) {
    for (const Case& c : {Case{19, 12, 20, {96, 160}, {96, 160}}, Case{150, 9, 7, {61, 50}, {61, 50}},
                          Case{5, 16, 30, {11, 90}, {11, 90}}}) {
        const auto by = [](int a, int b) { return std::to_string(a) + "x" + std::to_string(b); };
        const ev::Image expected = fixture("labels_" + std::to_string(c.classes) + "_" + by(c.h, c.w) + "_" +
                                           by(c.frame.height, c.frame.width) + ".png");
        const ev::LabelMap found = labels_of(c, logits_of(c), 1);
        ASSERT_EQ(found.size, expected.size());
        int different = 0;
        for (int y = 0; y < found.size.height; ++y) {
            for (int x = 0; x < found.size.width; ++x) different += found.at(y, x) != expected.at(y, x).red ? 1 : 0;
        }
        EXPECT_EQ(different, 0) << c.classes;
    }
}

TEST(Segmentation, LabelsAreTheLargestAtEveryShape) {
    for (const Case& c :
         {Case{1, 3, 3, {10, 10}, {10, 10}}, Case{2, 1, 1, {5, 4}, {5, 4}}, Case{19, 6, 9, {48, 72}, {45, 70}},
          Case{256, 5, 6, {20, 33}, {20, 33}}, Case{7, 17, 31, {17, 31}, {17, 31}}, Case{7, 40, 30, {9, 7}, {9, 7}},
          Case{3, 8, 5, {100, 201}, {99, 1}}}) {
        const std::vector<float> logits = logits_of(c);
        const ev::LabelMap found = labels_of(c, logits, 1);
        ASSERT_EQ(found.size, c.size);
        double worst = 0;
        for (int y = 0; y < c.size.height; ++y) {
            for (int x = 0; x < c.size.width; ++x) {
                const double at_y = (y + 0.5) * c.h / c.frame.height - 0.5;
                const double at_x = (x + 0.5) * c.w / c.frame.width - 0.5;
                double best = -INFINITY, of_label = -INFINITY;
                for (int k = 0; k < c.classes; ++k) {
                    const double value = cubic_at(logits.data() + std::ptrdiff_t{k} * c.h * c.w, c.h, c.w, at_y, at_x);
                    best = std::max(best, value);
                    if (k == found.at(y, x)) of_label = value;
                }
                worst = std::max(worst, best - of_label);
            }
        }
        EXPECT_LE(worst, 1e-5) << c.classes << " classes";  // ties
        EXPECT_EQ(labels_of(c, logits, 3), found);
    }
}

TEST(Segmentation, EveryInstructionSetGivesTheLabels) {
    const Case c{19, 12, 20, {96, 161}, {96, 161}};
    const std::vector<float> logits = logits_of(c);
    const ev::LabelMap best = labels_of(c, logits, 1);
    const char* const before = std::getenv("EFFICIENTVIT_ISA");
    const std::string kept = before == nullptr ? "" : before;
    ASSERT_EQ(setenv("EFFICIENTVIT_ISA", "scalar", 1), 0);
    const ev::LabelMap scalar = labels_of(c, logits, 1);
    ASSERT_EQ(kept.empty() ? unsetenv("EFFICIENTVIT_ISA") : setenv("EFFICIENTVIT_ISA", kept.c_str(), 1), 0);
    EXPECT_EQ(scalar, best);
}

TEST(Segmentation, OfEqualClassesTheFirstWins) {
    const std::vector<float> logits(4 * 3 * 3, 1.5F);
    EXPECT_EQ(labels_of({4, 3, 3, {24, 24}, {24, 24}}, logits, 1).labels, std::vector<std::uint8_t>(24 * 24, 0));
}

TEST(Segmentation, NaNNeverWinsButInTheFirstClass) {
    std::vector<float> logits{0, NAN, 1};
    EXPECT_EQ(labels_of({3, 1, 1, {4, 9}, {4, 9}}, logits, 1).labels, std::vector<std::uint8_t>(36, 2));
    logits = {NAN, 3, 1};
    EXPECT_EQ(labels_of({3, 1, 1, {4, 9}, {4, 9}}, logits, 1).labels, std::vector<std::uint8_t>(36, 0));
}

#if defined(EFFICIENTVIT_X86)
TEST(Segmentation, TheCallersFloatingPointModesChangeNothing) {
    const Case c{19, 12, 20, {96, 161}, {96, 161}};
    const std::vector<float> logits = logits_of(c);
    const ev::LabelMap expected = labels_of(c, logits, 1);
    const auto colors = ev::palette(ev::cityscapes_classes);
    const ev::Image under(c.size, {255, 127, 3}), expected_over = ev::overlay(under, expected, colors, 0.3);
    for (const unsigned word : odd_modes) {
        ev::LabelMap found;
        ev::Image over;
        bool kept = false;
        {
            const FloatModes modes(word);
            found = labels_of(c, logits, 2);
            over = ev::overlay(under, expected, colors, 0.3);
            kept = _mm_getcsr() == word;
        }
        EXPECT_TRUE(kept);
        EXPECT_EQ(found, expected) << word;
        EXPECT_EQ(over, expected_over) << word;
    }
}
#endif

TEST(Segmentation, WhatDoesNotFitIsRefused) {
    const std::vector<float> logits(300);
    EXPECT_THROW(labels_of({300, 1, 1, {8, 8}, {8, 8}}, logits, 1), ev::ShapeError);
    EXPECT_THROW(labels_of({3, 1, 1, {8, 8}, {9, 8}}, logits, 1), ev::ShapeError);
    EXPECT_THROW(labels_of({3, 1, 1, {8, 0}, {8, 0}}, logits, 1), ev::ImageError);
}

TEST(Segmentation, LabelsAreDrawnInTheirColors) {
    const ev::LabelMap map{.size = {1, 3}, .labels = {0, 2, 255}};
    const std::vector<ev::Rgb> palette{{10, 20, 30}, {1, 1, 1}, {200, 100, 51}};
    const ev::Image drawn = ev::colorize(map, palette);
    EXPECT_EQ(drawn.at(0, 0), palette[0]);
    EXPECT_EQ(drawn.at(0, 1), palette[2]);
    EXPECT_EQ(drawn.at(0, 2), ev::Rgb{});
    const ev::Image over = ev::overlay(ev::Image({1, 3}, {100, 100, 100}), map, palette);
    EXPECT_EQ(over.at(0, 1), (ev::Rgb{150, 100, 75}));  // truncated, as the reference does
    EXPECT_THROW(ev::overlay(ev::Image({3, 1}), map, palette), ev::ShapeError);
    for (const double opacity : {-0.1, 1.1, 1e300, double{NAN}}) {
        EXPECT_THROW(ev::overlay(ev::Image({1, 3}), map, palette, opacity), ev::ImageError);
    }
    for (const std::size_t labels : {0U, 2U, 1000U}) {
        const ev::LabelMap wrong{.size = {1, 3}, .labels = std::vector<std::uint8_t>(labels)};
        EXPECT_THROW(ev::colorize(wrong, palette), ev::ShapeError);
        EXPECT_THROW(ev::overlay(ev::Image({1, 3}), wrong, palette), ev::ShapeError);
    }
    EXPECT_THROW(ev::colorize({.size = {-1, 3}, .labels = {}}, palette), ev::ImageError);
    EXPECT_EQ(ev::count_labels(map)[2], 1U);
    EXPECT_EQ(ev::count_labels(map)[1], 0U);
}

TEST(Segmentation, ClassesHaveColorsOfTheirOwn) {
    EXPECT_EQ(ev::cityscapes_classes[13].name, "car");
    EXPECT_EQ(ev::cityscapes_classes[13].color, (ev::Rgb{0, 0, 142}));
    EXPECT_EQ(ev::ade20k_classes[149].name, "flag");
    const auto colors = ev::palette(ev::cityscapes_classes);
    for (std::size_t i = 0; i < colors.size(); ++i) {
        EXPECT_EQ(std::count(colors.begin(), colors.end(), colors[i]), 1) << ev::cityscapes_classes[i].name;
    }
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Masks at a picture's size: PyTorch's for stored cases, a naive twin's for many shapes, threads and instruction sets.
// Run lengths, regions and boxes: pycocotools', OpenCV's and torchvision's, and naive twins.
#include <efficientvit/images/box_nms.hpp>
#include <efficientvit/images/mask_regions.hpp>
#include <efficientvit/images/mask_rle.hpp>
#include <efficientvit/images/masks.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../float_modes.hpp"
#include "../golden_values.hpp"
#include "../isas.hpp"
#include "../messages.hpp"
#include "mask_cases.hpp"

namespace {

std::vector<float> plane_of(std::size_t i, const ev::MaskGeometry& g) {
    std::vector<float> plane =
        golden_tensor("input", {1, 1, g.low_res.height, g.low_res.width}, "mask" + std::to_string(i));
    for (float& v : plane) v = v * 5 - (i == 0 ? 3.5F : 1.0F);
    return plane;
}

/// Bilinear interpolation of a whole map, in double.
std::vector<double> naive_resize(const std::vector<double>& x, ev::ImageSize from, ev::ImageSize to,
                                 ev::ImageSize cut) {
    const auto tap = [](int in, int out, int i) {
        const double at = std::max(0.0, double{1} * in / out * (i + 0.5) - 0.5);
        const int first = std::min(static_cast<int>(at), in - 1);
        return std::tuple(first, std::min(first + 1, in - 1), at - first);
    };
    std::vector<double> y;
    for (int r = 0; r < cut.height; ++r) {
        const auto [r0, r1, v] = tap(from.height, to.height, r);
        for (int c = 0; c < cut.width; ++c) {
            const auto [c0, c1, u] = tap(from.width, to.width, c);
            const auto at = [&](int row, int column) { return x[static_cast<std::size_t>(row * from.width + column)]; };
            y.push_back((1 - v) * ((1 - u) * at(r0, c0) + u * at(r0, c1)) +
                        v * ((1 - u) * at(r1, c0) + u * at(r1, c1)));
        }
    }
    return y;
}

std::vector<double> naive_enlarge(const std::vector<float>& low_res, const ev::MaskGeometry& g) {
    const std::vector<double> frame =
        naive_resize({low_res.begin(), low_res.end()}, g.low_res, {g.frame, g.frame}, g.input);
    return naive_resize(frame, g.input, g.original, g.original);
}

ev::Mask random_mask(std::mt19937& random, ev::ImageSize size, double share) {
    ev::Mask mask;
    mask.resize(size);
    std::bernoulli_distribution set(share);
    for (std::uint8_t& pixel : mask.pixels) pixel = set(random) ? 1 : 0;
    return mask;
}

class MasksOnIsa : public IsaTest {
protected:
    void SetUp() override { ::setenv("EFFICIENTVIT_ISA", std::string(ev::isa_name(GetParam())).c_str(), 1); }
    void TearDown() override { ::unsetenv("EFFICIENTVIT_ISA"); }
};

TEST_P(MasksOnIsa, AreWhatPyTorchAndPycocotoolsMake) {
    ev::Context context;
    for (std::size_t i = 0; i < mask_cases::enlarged.size(); ++i) {
        const mask_cases::Enlarged& c = mask_cases::enlarged[i];
        ev::Mask mask;
        const ev::MaskStatistics found =
            ev::enlarge_mask(plane_of(i, c.geometry).data(), c.geometry, mask, nullptr, context);
        EXPECT_EQ(ev::to_coco_string(ev::encode_rle(mask)), c.coco) << i;
        EXPECT_EQ(found.area, c.statistics.area) << i;
        EXPECT_EQ(found.inner, c.statistics.inner) << i;
        EXPECT_EQ(found.outer, c.statistics.outer) << i;
        EXPECT_EQ(found.box, c.statistics.box) << i;
    }
}

TEST_P(MasksOnIsa, AreTheNaiveTwins) {
    std::mt19937 random(5);
    const auto up_to = [&](int n) { return std::uniform_int_distribution<int>(1, n)(random); };
    for (int round = 0; round < 60; ++round) {
        const int frame = 8 + up_to(60);
        const ev::MaskGeometry g{{up_to(20), up_to(20)}, frame, {up_to(frame), up_to(frame)}, {up_to(150), up_to(150)}};
        std::vector<float> low_res(static_cast<std::size_t>(g.low_res.height * g.low_res.width));
        // Mostly far below, so that all but a part is passed over.
        for (float& v : low_res)
            v = std::uniform_real_distribution<float>(-1, 1)(random) * 4 - (up_to(4) > 1 ? 9.0F : 0.0F);
        const std::vector<double> expected = naive_enlarge(low_res, g);
        ev::Mask mask, again;
        std::vector<float> logits(expected.size());
        ev::Context context({.threads = 3}), alone;
        const ev::MaskThresholds thresholds{0.25F, 0.5F};
        const ev::MaskStatistics with_logits =
            ev::enlarge_mask(low_res.data(), g, mask, logits.data(), context, thresholds);
        const ev::MaskStatistics found = ev::enlarge_mask(low_res.data(), g, again, nullptr, alone, thresholds);
        EXPECT_EQ(mask, again) << round;
        std::int64_t area = 0, inner = 0, outer = 0;
        for (std::size_t i = 0; i < expected.size(); ++i) {
            ASSERT_NEAR(logits[i], expected[i], 5e-6) << round;
            ASSERT_EQ(mask.pixels[i], logits[i] > 0.25F ? 1 : 0);
            area += logits[i] > 0.25F;
            inner += logits[i] > 0.75F;
            outer += logits[i] > -0.25F;
        }
        for (const ev::MaskStatistics& s : {with_logits, found}) {
            EXPECT_EQ(s.area, area) << round;
            EXPECT_EQ(s.inner, inner) << round;
            EXPECT_EQ(s.outer, outer) << round;
            EXPECT_EQ(s.box, ev::mask_box(mask)) << round;
        }
        EXPECT_EQ(ev::mask_area(mask), area);
    }
}

EFFICIENTVIT_ON_EVERY_ISA(MasksOnIsa);

TEST(Masks, NothingSetHasNoBoxAndNoStability) {
    const std::vector<float> low_res(16, -5.0F);
    ev::Mask mask;
    ev::Context context;
    const ev::MaskStatistics s =
        ev::enlarge_mask(low_res.data(), {{4, 4}, 16, {16, 16}, {20, 20}}, mask, nullptr, context);
    EXPECT_EQ(s.area, 0);
    EXPECT_EQ(s.box, ev::MaskBox{});
    EXPECT_TRUE(std::isnan(s.stability_score()));
    EXPECT_EQ(ev::mask_area(mask), 0);
}

TEST(Masks, ValuesThatAreNoNumbersAreNotSet) {
    std::vector<float> low_res(16, std::numeric_limits<float>::quiet_NaN());
    ev::Mask mask;
    ev::Context context;
    EXPECT_EQ(ev::enlarge_mask(low_res.data(), {{4, 4}, 16, {16, 16}, {20, 20}}, mask, nullptr, context).area, 0);
}

#if defined(EFFICIENTVIT_X86)
TEST(Masks, DoNotDependOnTheCallersModes) {
    const mask_cases::Enlarged& c = mask_cases::enlarged[1];
    const std::vector<float> plane = plane_of(1, c.geometry);
    ev::Context context;
    ev::Mask mask, other;
    std::vector<float> logits(static_cast<std::size_t>(c.geometry.original.height * c.geometry.original.width)),
        changed(logits);
    ev::enlarge_mask(plane.data(), c.geometry, mask, logits.data(), context);
    {
        const FloatModes modes(0xffc0);  // denormals are zero, round to zero
        ev::enlarge_mask(plane.data(), c.geometry, other, changed.data(), context);
    }
    EXPECT_EQ(mask, other);
    EXPECT_EQ(logits, changed);
}
#endif

TEST(Masks, SizesThatAreNoneAreRefused) {
    ev::Mask mask;
    ev::Context context;
    const float one = 1;
    EXPECT_EQ(message_of<ev::ImageError>([&] {
                  ev::enlarge_mask(&one, {{1, 1}, 8, {9, 8}, {3, 3}}, mask, nullptr, context);
              }),
              "enlarge_mask: the picture covers 9 x 8, expected at most the frame, 8 x 8");
    EXPECT_THROW(ev::enlarge_mask(&one, {{1, 1}, 8, {8, 8}, {0, 3}}, mask, nullptr, context), ev::ImageError);
}

TEST(MaskRle, GoesForthAndBack) {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        const auto up_to = [&](int n) { return std::uniform_int_distribution<int>(1, n)(random); };
        const ev::ImageSize size{up_to(30), up_to(30)};
        const ev::Mask mask = random_mask(random, size,
                                          std::uniform_real_distribution<double>(-0.2, 1.2)(random) > 0.9 ? 1.0
                                          : round % 5 == 0                                                ? 0.0
                                                                                                          : 0.5);
        const ev::MaskRle rle = ev::encode_rle(mask);
        // The naive twin: pixel after pixel down the columns.
        std::vector<std::uint32_t> counts{0};
        std::uint8_t value = 0;
        for (int x = 0; x < size.width; ++x) {
            for (int y = 0; y < size.height; ++y) {
                if (mask.at(y, x) != value) {
                    counts.push_back(0);
                    value = mask.at(y, x);
                }
                ++counts.back();
            }
        }
        EXPECT_EQ(rle.counts, counts);
        EXPECT_EQ(ev::decode_rle(rle), mask);
        EXPECT_EQ(rle.area(), ev::mask_area(mask));
        EXPECT_EQ(ev::from_coco_string(ev::to_coco_string(rle), size), rle);
        // A part of a larger picture.
        const int left = up_to(9) - 1, top = up_to(9) - 1;
        ev::Mask larger;
        larger.resize({top + size.height + round % 3, left + size.width + round % 2});
        std::fill(larger.pixels.begin(), larger.pixels.end(), std::uint8_t{0});
        for (int y = 0; y < size.height; ++y) std::copy_n(mask.row(y), size.width, larger.row(top + y) + left);
        EXPECT_EQ(ev::encode_rle(mask, larger.size(), left, top), ev::encode_rle(larger));
    }
}

TEST(MaskRle, LargeCountsAreWritten) {
    const ev::MaskRle rle{{1 << 14, 1 << 15}, {1U << 29}};
    EXPECT_EQ(ev::from_coco_string(ev::to_coco_string(rle), rle.size), rle);
    const ev::MaskRle parts{{1 << 14, 1 << 15}, {0, 1U << 28, 3, 1, (1U << 28) - 4}};
    EXPECT_EQ(ev::from_coco_string(ev::to_coco_string(parts), parts.size), parts);
}

TEST(MaskRle, WhatIsNoneIsRefused) {
    EXPECT_EQ(message_of<ev::ImageError>([] {
                  ev::decode_rle({{2, 2}, {1, 4}});
              }),
              "decode_rle: the counts add up to 5, expected 4 for 2 x 2");
    EXPECT_THROW(ev::decode_rle({{2, 2}, {}}), ev::ImageError);
    for (const char* const text : {"", "P", "1", "9", "~", "05N", "PPPPPPPPPPPP0", "/4"}) {
        EXPECT_THROW(ev::from_coco_string(text, {2, 2}), ev::ImageError) << text;
    }
    EXPECT_THROW(ev::encode_rle(ev::Mask{}), ev::ImageError);
    std::mt19937 random(1);
    EXPECT_THROW(ev::encode_rle(random_mask(random, {3, 3}, 1), {3, 3}, 1, 0), ev::ImageError);
}

TEST(MaskRegions, AreOpenCVs) {
    for (std::size_t i = 0; i < mask_cases::regions.size(); ++i) {
        const mask_cases::Regions& c = mask_cases::regions[i];
        ev::Mask mask;
        mask.resize(c.size);
        const std::vector<float> values =
            golden_tensor("input", {c.size.height, c.size.width}, "regions" + std::to_string(i));
        std::transform(values.begin(), values.end(), mask.pixels.begin(), [&](float v) { return v > c.level ? 1 : 0; });
        ev::Mask no_holes = mask, no_islands = mask;
        ev::remove_small_regions(no_holes, c.area, ev::SmallRegions::holes);
        ev::remove_small_regions(no_islands, c.area, ev::SmallRegions::islands);
        EXPECT_EQ(ev::to_coco_string(ev::encode_rle(no_holes)), c.no_holes) << i;
        EXPECT_EQ(ev::to_coco_string(ev::encode_rle(no_islands)), c.no_islands) << i;
        ev::remove_small_regions(no_holes, c.area, ev::SmallRegions::islands);
        EXPECT_EQ(ev::to_coco_string(ev::encode_rle(no_holes)), c.neither) << i;
    }
}

/// The regions of a value by flood fill; 0 elsewhere.
std::vector<int> flood(const ev::Mask& mask, std::uint8_t value) {
    std::vector<int> labels(mask.pixels.size());
    int next = 0;
    for (int start = 0; start < static_cast<int>(labels.size()); ++start) {
        const auto at = static_cast<std::size_t>(start);
        if (mask.pixels[at] != value || labels[at] != 0) continue;
        ++next;
        std::vector<int> open{start};
        labels[at] = next;
        while (!open.empty()) {
            const int y = open.back() / mask.width, x = open.back() % mask.width;
            open.pop_back();
            for (int v = std::max(y - 1, 0); v <= std::min(y + 1, mask.height - 1); ++v) {
                for (int u = std::max(x - 1, 0); u <= std::min(x + 1, mask.width - 1); ++u) {
                    const auto to = static_cast<std::size_t>(v * mask.width + u);
                    if (mask.pixels[to] != value || labels[to] != 0) continue;
                    labels[to] = next;
                    open.push_back(v * mask.width + u);
                }
            }
        }
    }
    return labels;
}

TEST(MaskRegions, AreTheNaiveTwins) {
    std::mt19937 random(11);
    for (int round = 0; round < 300; ++round) {
        const auto up_to = [&](int n) { return std::uniform_int_distribution<int>(1, n)(random); };
        const ev::Mask mask =
            random_mask(random, {up_to(24), up_to(24)}, std::uniform_real_distribution<double>(0, 1)(random));
        const bool holes = round % 2 == 0;
        const int least = up_to(12);
        const std::vector<int> labels = flood(mask, holes ? 0 : 1);
        std::vector<int> sizes(labels.size() + 1);
        for (const int label : labels) ++sizes[static_cast<std::size_t>(label)];
        sizes[0] = 0;
        const int largest = *std::max_element(sizes.begin(), sizes.end());
        ev::Mask found = mask;
        const bool changed =
            ev::remove_small_regions(found, least, holes ? ev::SmallRegions::holes : ev::SmallRegions::islands);
        bool any = false;
        for (const int size : sizes) any = any || (size > 0 && size < least);
        EXPECT_EQ(changed, any);
        if (!holes && largest < least) {  // the largest alone stays; which of equal ones is OpenCV's affair
            EXPECT_EQ(ev::mask_area(found), largest);
            continue;
        }
        for (std::size_t i = 0; i < labels.size(); ++i) {
            const int size = sizes[static_cast<std::size_t>(labels[i])];
            const bool goes = size > 0 && size < least;
            EXPECT_EQ(found.pixels[i], goes ? 1 - mask.pixels[i] : mask.pixels[i]);
        }
    }
}

TEST(BoxNms, IsTorchvisions) {
    for (std::size_t i = 0; i < mask_cases::suppressed.size(); ++i) {
        const mask_cases::Suppressed& c = mask_cases::suppressed[i];
        const std::vector<float> v = golden_tensor("input", {c.count, 5}, "boxes" + std::to_string(i));
        std::vector<ev::MaskBox> boxes;
        std::vector<float> scores;
        for (std::size_t k = 0; k < v.size(); k += 5) {
            const auto part = [&](std::size_t j, int n) {
                return static_cast<int>((v[k + j] + 1) / 2 * static_cast<float>(n));
            };
            boxes.push_back({part(0, 60), part(1, 60), part(0, 60) + part(2, 40), part(1, 60) + part(3, 40)});
            scores.push_back(c.levels > 0 ? static_cast<float>(part(4, c.levels)) : (v[k + 4] + 1) / 2);
        }
        EXPECT_EQ(ev::box_nms(boxes, scores, c.threshold), c.kept) << i;
    }
    EXPECT_EQ(ev::box_nms({}, {}, 0.5), std::vector<int>{});
}

TEST(BoxNms, ScoresAndBoxesMustBeAsMany) {
    const ev::MaskBox box{0, 0, 1, 1};
    EXPECT_EQ(message_of<ev::ShapeError>([&] { ev::box_nms({&box, 1}, {}, 0.5); }), "box_nms: 0 scores for 1 boxes");
}

}  // namespace

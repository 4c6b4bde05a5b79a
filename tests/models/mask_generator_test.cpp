// SPDX-License-Identifier: Apache-2.0
//
// The automatic mask generator: the reference's records for a predictor of a few lines, whatever the threads, and with
// a small SAM what its parts give one by one.
#include <efficientvit/models/mask_generator.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../messages.hpp"
#include "mask_generator_cases.hpp"

namespace {

namespace ev = efficientvit;

constexpr int frame = 128, side = 32, width = 150, height = 110;  // as in make_mask_generator.py

ev::Image picture() {
    ev::Image image({height, width});
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            image.set(y, x,
                      {static_cast<std::uint8_t>(y * 4 / height * 4 + x * 4 / width), static_cast<std::uint8_t>(x),
                       static_cast<std::uint8_t>(y)});
        }
    }
    return image;
}

/// The Predictor of make_mask_generator.py.
class SquarePredictor {
public:
    void set_image(const ev::Image& image, ev::Context&) { image_ = image; }
    void reset() { image_ = {}; }
    bool is_image_set() const { return !image_.empty(); }
    ev::ImageSize low_res_size() const { return {side, side}; }
    int frame_size() const { return frame; }
    ev::ImageSize input_size() const { return ev::sam_resized(image_.size(), frame); }

    void decode(std::span<const ev::SamPrompt> prompts, ev::MaskSink& sink, ev::Context& context) {
        context.run(ev::kernels::table(ev::default_isa()), [&](ev::detail::Session& session) {
            session.parallel(static_cast<int>(prompts.size()), [&](int i, int) { answer(prompts, i, sink); });
        });
    }

private:
    void answer(std::span<const ev::SamPrompt> prompts, int i, ev::MaskSink& sink) {
        const ev::SamPoint& point = prompts[static_cast<std::size_t>(i)].points.at(0);
        const int px = static_cast<int>(point.x + 1e-9), py = static_cast<int>(point.y + 1e-9);
        const int id = image_.at(std::min(py, image_.height() - 1), std::min(px, image_.width() - 1)).red;
        const ev::Rgb origin = image_.at(0, 0);
        std::vector<float> ious, low_res;
        for (int k = 0; k < 3; ++k) {
            ious.push_back(static_cast<float>(0.5 + (id * 5 + k * 3) % 8 / 16.0 + (px * 7 + py * 13) % 32 / 1024.0));
            for (int place = 0; place < side * side; ++place) {
                const double x =
                    origin.green + (place % side + 0.5) * (double{frame} / side) * image_.width() / input_size().width;
                const double y =
                    origin.blue + (place / side + 0.5) * (double{frame} / side) * image_.height() / input_size().height;
                low_res.push_back(static_cast<float>(logit(id, k, x, y)));
            }
        }
        if (sink.wants_masks(i, ious)) sink.take_masks(i, ious, low_res.data());
    }

    static double logit(int id, int k, double x, double y) {
        const double cx = (id % 4 + 0.5) * width / 4 + id % 3 - 1, cy = (id / 4 + 0.5) * height / 4 + id % 5 - 2;
        const int radius = 7 + 5 * k + id % 4;
        const double slope = 0.3 + 0.45 * ((id + k) % 4);
        const double away = std::max(std::abs(x - cx), std::abs(y - cy));
        double value = slope * (radius - away);
        if (id % 3 == 1) value = std::min(value, slope * (away - 3));
        if (id % 3 == 2) value = std::max(value, slope * (3 - std::max(std::abs(x - cx - 30), std::abs(y - cy))));
        return std::nearbyint(value * 4096) / 4096;
    }

    ev::Image image_;
};

void expect_same(const ev::MaskRecord& found, const ev::MaskRecord& expected) {
    EXPECT_EQ(found.coco_rle, expected.coco_rle);
    EXPECT_EQ(found.area, expected.area);
    EXPECT_EQ(found.bbox, expected.bbox);
    EXPECT_EQ(found.predicted_iou, expected.predicted_iou);
    EXPECT_DOUBLE_EQ(found.point_coords.x, expected.point_coords.x);
    EXPECT_DOUBLE_EQ(found.point_coords.y, expected.point_coords.y);
    EXPECT_EQ(found.stability_score, expected.stability_score);
    EXPECT_EQ(found.crop_box, expected.crop_box);
}

TEST(MaskGenerator, RecordsAreTheReferences) {
    for (const int threads : {1, 3}) {
        ev::Context context({.threads = threads});
        for (std::size_t i = 0; i < generator_cases.size(); ++i) {
            SCOPED_TRACE(i);
            ev::MaskGeneratorOptions options = generator_cases[i].options;
            options.output_mode = ev::MaskOutput::coco_rle;
            std::vector<std::size_t> steps;
            std::size_t last = 0;
            options.progress = [&](std::size_t done, std::size_t all) {
                steps.push_back(done);
                last = all;
            };
            SquarePredictor predictor;
            const std::vector<ev::MaskRecord> found = ev::generate_masks(predictor, picture(), options, context);
            EXPECT_FALSE(predictor.is_image_set());
            EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
            EXPECT_EQ(steps.back(), last);
            const std::vector<ev::MaskRecord>& expected = generator_cases[i].records;
            ASSERT_EQ(found.size(), expected.size());
            for (std::size_t k = 0; k < found.size(); ++k) expect_same(found[k], expected[k]);
        }
    }
}

TEST(MaskGenerator, FormsOfMasksAgree) {
    ev::MaskGeneratorOptions options = generator_cases[1].options;
    SquarePredictor predictor;
    const auto masks = ev::generate_masks(predictor, picture(), options);
    options.output_mode = ev::MaskOutput::uncompressed_rle;
    const auto runs = ev::generate_masks(predictor, picture(), options);
    options.output_mode = ev::MaskOutput::coco_rle;
    const auto strings = ev::generate_masks(predictor, picture(), options);
    ASSERT_FALSE(masks.empty());
    ASSERT_EQ(masks.size(), runs.size());
    ASSERT_EQ(masks.size(), strings.size());
    for (std::size_t i = 0; i < masks.size(); ++i) {
        EXPECT_EQ(ev::encode_rle(masks[i].segmentation), runs[i].rle);
        EXPECT_EQ(ev::to_coco_string(runs[i].rle), strings[i].coco_rle);
        EXPECT_EQ(ev::mask_area(masks[i].segmentation), masks[i].area);
        EXPECT_TRUE(runs[i].segmentation.pixels.empty() && strings[i].rle.counts.empty() && masks[i].coco_rle.empty());
    }
}

/// Thousands of masks wait for the last one to be known, and a mask of noise has a run for every few pixels.
TEST(MaskGenerator, AMaskThatWaitsTakesTwoBytesForEachRun) {
    const ev::detail::SamCrop crop{0, 0, width, height, 0};
    ev::detail::MaskFilter filter({}, crop, crop.size(),
                                  {{side, side}, frame, ev::sam_resized(crop.size(), frame), crop.size()});
    std::vector<float> noise;
    std::uint32_t state = 1;
    for (int i = 0; i < side * side; ++i) {
        state = state * 1664525U + 1013904223U;
        noise.push_back(static_cast<float>(state >> 8) / 8388608.0F - 1);
    }
    const float iou = 1;
    filter.begin({{1, 1}});
    filter.take_masks(0, std::span(&iou, 1), noise.data());
    std::vector<ev::detail::FoundMask> found;
    filter.end(found);
    ASSERT_EQ(found.size(), 1U);
    const std::size_t runs = ev::from_coco_string(found[0].coco_rle, crop.size()).counts.size();
    EXPECT_GT(runs, 1000U);
    EXPECT_LE(found[0].coco_rle.capacity(), 2 * runs);
}

TEST(MaskGenerator, OptionsWithoutSenseAreRefused) {
    SquarePredictor predictor;
    const auto message = [&](const ev::MaskGeneratorOptions& options) {
        return message_of<ev::ConfigError>([&] { ev::generate_masks(predictor, picture(), options); });
    };
    EXPECT_EQ(message({.points_per_side = 0}), "generate_masks: points_per_side is 0, expected 1 to 4096");
    EXPECT_EQ(message({.points_per_batch = 0}), "generate_masks: points_per_batch is 0, expected 1 or more");
    EXPECT_EQ(message({.pred_iou_thresh = NAN}), "generate_masks: pred_iou_thresh is nan, expected a number");
    EXPECT_EQ(message({.crop_n_layers = 9}), "generate_masks: crop_n_layers is 9, expected 0 to 8");
    EXPECT_EQ(message({.crop_overlap_ratio = 1}), "generate_masks: crop_overlap_ratio is 1, expected 0 to less than 1");
    EXPECT_EQ(message({.points_per_side = 2, .crop_n_layers = 2, .crop_n_points_downscale_factor = 2}),
              "generate_masks: points_per_side is 2, expected one point or more in the last layer of crops");
    EXPECT_EQ(message({.crop_n_layers = 1, .point_grids = {{{0.5, 0.5}}}}),
              "generate_masks: the number of point_grids is 1, expected crop_n_layers + 1");
    EXPECT_EQ(message({.point_grids = {{{0.5, 1.5}}}}),
              "generate_masks: y of a point in point_grids is 1.5, expected 0 to 1");
    EXPECT_THROW(ev::generate_masks(predictor, ev::Image{}), ev::ImageError);
}

TEST(MaskGenerator, VerySmallPicturesHaveCropsToo) {
    SquarePredictor predictor;
    EXPECT_NO_THROW(ev::generate_masks(predictor, ev::Image({1, 3}), {.points_per_side = 4, .crop_n_layers = 2}));
}

}  // namespace

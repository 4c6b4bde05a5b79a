// SPDX-License-Identifier: Apache-2.0
//
// Preprocessing chosen by a ModelInfo is that of the task, and says its shape before.
#include <efficientvit/models/pictures.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "fixtures.hpp"

namespace {

const ev::Image& chelsea() {
    static const ev::Image image = fixture("chelsea.png");
    return image;
}

bool same(const ev::Tensor& a, const ev::Tensor& b) {
    return a.dimensions() == b.dimensions() && std::equal(a.data(), a.data() + a.size(), b.data());
}

/// The input for chelsea, whose shape must be the one that was told.
ev::Tensor input_of(const ev::ModelInfo& info, const ev::PictureOptions& options = {}) {
    ev::Tensor input;
    ev::preprocess_picture(info, chelsea(), options, input);
    EXPECT_EQ(ev::detail::shape_of(input), ev::picture_shape(info, chelsea().size(), options)) << info.name;
    return input;
}

TEST(PictureOptions, ClassifiersAndBackbones) {
    ev::Tensor expected;
    for (const ev::Task task : {ev::Task::classification, ev::Task::backbone}) {
        const ev::ModelInfo info{.task = task, .height = 64, .width = 64, .crop_ratio = 0.95, .round_up = false};
        ev::preprocess_cls(chelsea(), {.size = 64, .crop_ratio = 0.95, .round_up = false}, expected);
        EXPECT_TRUE(same(input_of(info), expected));
        ev::preprocess_cls(chelsea(), {.size = 57, .crop_ratio = 1, .round_up = false}, expected);
        EXPECT_TRUE(same(input_of(info, {.side = 57, .crop_ratio = 1}), expected));
        ev::preprocess_plain(chelsea(), {}, expected);
        EXPECT_TRUE(same(input_of(info, {.fit = ev::PictureFit::whole}), expected));
    }
}

TEST(PictureOptions, Segmenters) {
    ev::Tensor expected;
    for (const auto& [name, dataset] : {std::pair{"seg_b0_cityscapes", ev::SegDataset::cityscapes},
                                        std::pair{"seg_b1_ade20k", ev::SegDataset::ade20k}}) {
        const ev::ModelInfo info{.name = name, .task = ev::Task::segmentation};
        ev::preprocess_seg(chelsea(), {.dataset = dataset}, expected);
        EXPECT_TRUE(same(input_of(info), expected)) << name;
        const ev::ImageSize frame = ev::preprocess_seg(chelsea(), {.fit = ev::SegFit::pad}, expected);
        EXPECT_TRUE(same(input_of(info, {.fit = ev::PictureFit::whole}), expected)) << name;
        ev::Tensor input;
        EXPECT_EQ(ev::preprocess_picture(info, chelsea(), {.fit = ev::PictureFit::whole}, input), frame);
    }
}

TEST(PictureOptions, ImageEncoders) {
    const ev::ModelInfo info{.name = "sam_l0", .task = ev::Task::image_encoder, .height = 128, .width = 128};
    ev::Tensor expected;
    ev::SamPreprocessing how;
    how.size = 128;
    ev::preprocess_sam(chelsea(), how, expected);
    EXPECT_TRUE(same(input_of(info), expected));
    ev::Tensor input;
    EXPECT_THROW(ev::preprocess_picture(info, chelsea(), {.fit = ev::PictureFit::whole}, input), ev::ConfigError);
}

TEST(PictureOptions, OwnNormalization) {
    const ev::ModelInfo info{.height = 32, .crop_ratio = 1, .mean{0.5f, 0.5f, 0.5f}, .std{0.25f, 0.5f, 1.0f}};
    ev::Tensor expected;
    ev::preprocess_cls(
        chelsea(), {.size = 32, .crop_ratio = 1, .normalization{.mean{0.5, 0.5, 0.5}, .std{0.25, 0.5, 1.0}}}, expected);
    EXPECT_TRUE(same(input_of(info), expected));
}

TEST(PictureOptions, Errors) {
    EXPECT_THROW(ev::picture_shape({.in_channels = 1}, {10, 10}), ev::ConfigError);
    EXPECT_THROW(ev::picture_shape({}, {0, 10}), ev::ImageError);
    EXPECT_THROW(ev::picture_shape({}, {10, 10}, {.side = -1}), ev::ImageError);
    EXPECT_THROW(ev::picture_shape({}, {1 << 15, 1 << 14}, {.fit = ev::PictureFit::whole}), ev::ImageError);
}

}  // namespace

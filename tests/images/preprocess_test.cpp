// SPDX-License-Identifier: Apache-2.0
//
// Each task's preprocessing: torchvision's bytes for classifiers, the reference's sizes and padding for the others.
#include <efficientvit/images/preprocess.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fixtures.hpp"

#include <efficientvit/images/imagenet_classes.hpp>
#include <efficientvit/images/predictions.hpp>

namespace {

float normalized(int byte, int channel) {
    const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
    return static_cast<float>((byte / 255.0 - mean[channel]) / std[channel]);
}

/// The largest difference between the input and the normalized picture in its upper left, zeros elsewhere.
double largest_error(const ev::Tensor& input, const ev::Image& image) {
    double error = 0;
    for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < input.dimension(2); ++y) {
            for (int x = 0; x < input.dimension(3); ++x) {
                const bool inside = y < image.height() && x < image.width();
                const float expected = inside ? normalized(image.row(y)[3 * x + c], c) : 0;
                const double difference = std::abs(double{input(0, c, y, x)} - expected);
                if (!(difference <= error)) error = difference;
            }
        }
    }
    return error;
}

ev::Shape shape(const ev::Tensor& x) { return {x.dimension(0), x.dimension(1), x.dimension(2), x.dimension(3)}; }

TEST(Preprocess, ClassifierInputsAreTorchvisions) {
    struct Case {
        ev::ClsPreprocessing how;
        const char* file;
    };
    for (const std::string name : {"china", "chelsea"}) {
        for (const Case& c : {Case{{.size = 64}, "64_of_68"}, Case{{.size = 64, .round_up = false}, "64_of_67"},
                              Case{{.size = 57, .crop_ratio = 1}, "57_of_57"}}) {
            ev::Tensor input;
            ev::preprocess_cls(fixture(name + ".png"), c.how, input);
            ASSERT_EQ(shape(input), (ev::Shape{1, 3, c.how.size, c.how.size}));
            EXPECT_LE(largest_error(input, fixture(name + "_cls_" + c.file + ".png")), 1e-6) << name << c.file;
        }
    }
}

TEST(Preprocess, TagsTellSizeAndCrop) {
    struct Case {
        const char* name;
        int size;
        double crop_ratio;
        bool round_up;
    };
    for (const Case& c : {Case{"efficientvit_b0.r224_in1k", 224, 0.95, false},
                          {"timm/efficientvit_b3.r224_in1k", 224, 0.95, false},
                          {"efficientvit_b1.r256_in1k", 256, 1, false},
                          {"efficientvit_b3.r288_in1k", 288, 1, false},
                          {"efficientvit_l1.r224_in1k", 224, 1, false},
                          {"efficientvit_l2.r384_in1k", 384, 1, false},
                          {"efficientvit_l3.r320_in1k", 320, 1, false},
                          {"efficientvit-b1-r288", 288, 0.95, true},
                          {"efficientvit_b0_r224.pt", 224, 0.95, true},
                          {"efficientvit-b1-r224", 224, 0.95, true},
                          {"efficientvit-b1-r256", 256, 0.95, true},
                          {"efficientvit-b2-r224", 224, 1.0, true},
                          {"efficientvit-b2-r256", 256, 1.0, true},
                          {"efficientvit_b2_r288.pt", 288, 1.0, true},
                          {"efficientvit-b3-r224", 224, 1.0, true},
                          {"efficientvit-b3-r256", 256, 1.0, true},
                          {"efficientvit_b3_r288", 288, 1.0, true},
                          {"efficientvit-l1-r224", 224, 1.0, true},
                          {"efficientvit-l2-r224", 224, 1.0, true},
                          {"efficientvit-l2-r256", 256, 1.0, true},
                          {"efficientvit-l2-r288", 288, 1.0, true},
                          {"efficientvit_l3_r224.pt", 224, 1.0, true},
                          {"efficientvit_l3_r256.pt", 256, 1.0, true},
                          {"efficientvit-l3-r320", 320, 1.0, true},
                          {"efficientvit-l3-r384", 384, 1.0, true},
                          {"cls_b3", 224, 1.0, true},
                          {"fine_tuned", 224, 0.95, true},
                          {"efficientvit_l2_r384.pt", 384, 1.0, true},
                          {"efficientvit-cls-l1", 224, 1.0, true}}) {
        const ev::ClsPreprocessing how = ev::cls_preprocessing(c.name);
        EXPECT_EQ(how.size, c.size) << c.name;
        EXPECT_EQ(how.crop_ratio, c.crop_ratio) << c.name;
        EXPECT_EQ(how.round_up, c.round_up) << c.name;
    }
    EXPECT_THROW(
        [] {
            ev::Tensor input;
            ev::preprocess_cls(ev::Image({4, 4}), {.crop_ratio = 0}, input);
        }(),
        ev::ImageError);
}

TEST(Preprocess, SegmenterSizesAreTheReferences) {
    const ev::SegPreprocessing ade{.dataset = ev::SegDataset::ade20k};
    EXPECT_EQ(ev::seg_input_size({427, 640}, ade), (ev::ImageSize{512, 768}));  // 767.4
    EXPECT_EQ(ev::seg_input_size({640, 427}, ade), (ev::ImageSize{768, 512}));
    EXPECT_EQ(ev::seg_input_size({300, 300}, ade), (ev::ImageSize{512, 512}));
    EXPECT_EQ(ev::seg_input_size({1080, 1920}, ade), (ev::ImageSize{512, 928}));  // 910.2
    EXPECT_EQ(ev::seg_input_size({1080, 1920}, {}), (ev::ImageSize{1024, 2048}));
    EXPECT_EQ(ev::seg_input_size({1080, 1920}, {.fit = ev::SegFit::pad}), (ev::ImageSize{1088, 1920}));
    EXPECT_EQ(ev::seg_input_size({1, 33}, {.fit = ev::SegFit::pad}), (ev::ImageSize{32, 64}));
}

/// Strips, whose resized whole would be larger than any picture: only what is seen is computed.
TEST(Preprocess, StripsTakeWhatIsSeenOfThem) {
    for (const ev::ImageSize size : {ev::ImageSize{1, 300}, ev::ImageSize{300, 1}, ev::ImageSize{2, 77}}) {
        ev::Image strip(size);
        for (std::size_t i = 0; i < strip.bytes().size(); ++i) strip.bytes()[i] = static_cast<std::uint8_t>(i * 37);
        const bool wide = size.width > size.height;
        const int long_side = wide ? 68 * size.width / size.height : 68 * size.height / size.width;
        const ev::ImageSize whole = wide ? ev::ImageSize{68, long_side} : ev::ImageSize{long_side, 68};
        const ev::Image resized = ev::resize_pillow(strip, whole, ev::PillowFilter::bicubic);
        ev::Tensor expected, found;
        ev::detail::fill_input(resized, ev::detail::centered(whole.height, 64), ev::detail::centered(whole.width, 64),
                               {64, 64}, ev::detail::normalization_table({}), {}, expected);
        ev::preprocess_cls(strip, {.size = 64}, found);
        ASSERT_EQ(shape(found), shape(expected));
        EXPECT_TRUE(std::equal(found.data(), found.data() + found.size(), expected.data()));
    }
    for (const ev::ImageSize size :
         {ev::ImageSize{1, 12000}, ev::ImageSize{12000, 1}, ev::ImageSize{3, 65000}, ev::ImageSize{1 << 21, 1}}) {
        ev::Tensor input;
        ev::preprocess_cls(ev::Image(size, {200, 30, 60}), {}, input);
        EXPECT_EQ(input.dimension(3), 224);
        ev::preprocess_sam(ev::Image(size, {200, 30, 60}), {}, input);
        EXPECT_EQ(input.dimension(3), 512);
        EXPECT_THROW(ev::preprocess_seg(ev::Image(size), {.dataset = ev::SegDataset::ade20k}, input), ev::ImageError);
    }
}

/// By the limit of forward(), before memory is taken.
TEST(Preprocess, InputsBeyondWhatANetworkTakesAreRefused) {
    ev::Tensor input;
    const ev::Image image({4, 4});
    const auto message = [](const auto& make) { return message_of<ev::ImageError>(make); };
    expect_in("at most 2^28", message([&] { ev::preprocess_cls(image, {.size = 16385}, input); }));
    expect_in("at most 2^28", message([&] { ev::preprocess_sam(image, {.size = 16385}, input); }));
    expect_in("at most 2^28", message([&] { ev::seg_input_size({16385, 16385}, {.fit = ev::SegFit::pad}); }));
    expect_in("512 x 563200", message([&] { ev::seg_input_size({1, 1100}, {.dataset = ev::SegDataset::ade20k}); }));
    EXPECT_EQ(input.size(), 0);
}

TEST(Preprocess, SegmenterInputsAreResizedOrPadded) {
    const ev::Image image = fixture("china.png");  // 96 x 144
    ev::Tensor input;
    EXPECT_EQ(ev::preprocess_seg(image, {.dataset = ev::SegDataset::ade20k}, input), image.size());
    ASSERT_EQ(shape(input), (ev::Shape{1, 3, 512, 768}));
    EXPECT_LE(largest_error(input, ev::resize_opencv_cubic(image, {512, 768})), 1e-6);
    EXPECT_EQ(ev::preprocess_seg(image, {.fit = ev::SegFit::pad}, input), (ev::ImageSize{96, 160}));
    ASSERT_EQ(shape(input), (ev::Shape{1, 3, 96, 160}));
    EXPECT_LE(largest_error(input, image), 1e-6);
}

TEST(Preprocess, PlainInputsAreThePicture) {
    ev::Tensor input;
    ev::preprocess_plain(fixture("chelsea.png"), {}, input);
    ASSERT_EQ(shape(input), (ev::Shape{1, 3, 101, 67}));
    EXPECT_LE(largest_error(input, fixture("chelsea.png")), 1e-6);
    EXPECT_THROW(ev::preprocess_plain(ev::Image(), {}, input), ev::ImageError);
}

TEST(Preprocess, SamInputsAreNormalizedThenPadded) {
    const ev::Image image = fixture("chelsea.png");  // 101 x 67
    ev::Tensor input;
    ev::preprocess_sam(image, {.size = 40}, input);
    ASSERT_EQ(shape(input), (ev::Shape{1, 3, 40, 40}));
    // 67 * 40 / 101 = 26.53
    const ev::Image resized = ev::resize_pillow(image, {40, 27}, ev::PillowFilter::bilinear);
    EXPECT_LE(largest_error(input, resized), 2e-6);
    EXPECT_EQ(input(0, 0, 39, 27), 0.0F);
    EXPECT_NE(input(0, 0, 39, 26), 0.0F);
}

TEST(Preprocess, PromptsLieInTheFrameOf1024) {
    const ev::ImageSize image{427, 640};  // 683.2 rows there, rounded to 683
    EXPECT_EQ(ev::sam_resized(image, 1024), (ev::ImageSize{683, 1024}));
    const ev::Point corner = ev::sam_prompt({640, 427}, image), middle = ev::sam_prompt({100, 200}, image);
    EXPECT_DOUBLE_EQ(corner.x, 1024);
    EXPECT_DOUBLE_EQ(corner.y, 683);
    EXPECT_DOUBLE_EQ(middle.x, 160);
    EXPECT_DOUBLE_EQ(middle.y, 200 * (683.0 / 427.0));
}

TEST(Preprocess, SizesThatNoPictureHasAreRefused) {
    const auto message = [](const auto& action) { return message_of<ev::ImageError>(action); };
    ev::Tensor input;
    expect_in("a side of 4294967808.0", message([&] {
                  ev::seg_input_size({1, 8388609}, {.dataset = ev::SegDataset::ade20k});
              }));
    expect_in("512 x 51200000", message([&] { ev::seg_input_size({1, 100000}, {.dataset = ev::SegDataset::ade20k}); }));
    expect_in("32 x 536870912", message([&] { ev::seg_input_size({1, 1 << 29}, {.fit = ev::SegFit::pad}); }));
    const ev::Image small({10, 10});
    expect_in("preprocess_cls: a side of", message([&] { ev::preprocess_cls(small, {.crop_ratio = 1e-9}, input); }));
    const ev::Image wide({1, 110000});
    expect_in("preprocess_cls: a side of", message([&] { ev::preprocess_cls(wide, {.size = 20000}, input); }));
    for (const int size : {0, -5, 2000000}) {
        expect_in(std::to_string(size) + " x " + std::to_string(size),
                  message([&] { ev::preprocess_sam(small, {.size = size}, input); }));
    }
    for (const int side : {0, -5, 1 << 30}) {
        expect_in("a side of " + std::to_string(side), message([&] { ev::sam_resized({10, 10}, side); }));
    }
}

TEST(Preprocess, AMovedPictureIsEmpty) {
    ev::Image a({10, 20}, {1, 2, 3});
    const ev::Image kept = a;
    ev::Image b = std::move(a);
    EXPECT_EQ(b, kept);
    EXPECT_EQ(a, ev::Image());
    a = std::move(b);
    EXPECT_EQ(a, kept);
    EXPECT_EQ(b, ev::Image());
    ev::Image& same = a;
    a = std::move(same);
    EXPECT_EQ(a, kept);
    ev::Tensor input;
    EXPECT_THROW(ev::preprocess_plain(b, {}, input), ev::ImageError);
    EXPECT_THROW(ev::preprocess_cls(b, {}, input), ev::ImageError);
    EXPECT_THROW(ev::preprocess_seg(b, {}, input), ev::ImageError);
    EXPECT_THROW(ev::preprocess_sam(b, {}, input), ev::ImageError);
}

#if defined(EFFICIENTVIT_X86)
TEST(Preprocess, TheCallersFloatingPointModesChangeNothing) {
    struct Results {
        ev::Tensor plain, cls, seg, sam;
        ev::ImageSize seg_size, sam_size;
        ev::Point prompt;
        std::vector<ev::Prediction> top;
    };
    const ev::Image image = fixture("china.png");
    const std::vector<float> logits{0.1F, 3, 2.7F, -1};
    const auto results = [&](unsigned word) {
        Results out;
        const FloatModes modes(word);
        ev::preprocess_plain(image, {}, out.plain);
        ev::preprocess_cls(image, {.size = 57}, out.cls);
        ev::preprocess_seg(image, {.dataset = ev::SegDataset::ade20k}, out.seg);
        ev::preprocess_sam(image, {.size = 64}, out.sam);
        out.seg_size = ev::seg_input_size({1021, 1513}, {.dataset = ev::SegDataset::ade20k});
        out.sam_size = ev::sam_resized({427, 641}, 1024);
        out.prompt = ev::sam_prompt({3.3, 7.7}, {427, 641});
        out.top = ev::top_k(logits, 2);
        const bool kept = _mm_getcsr() == word;
        EXPECT_TRUE(kept);
        return out;
    };
    const auto same = [](const ev::Tensor& a, const ev::Tensor& b) {
        return shape(a) == shape(b) && std::equal(a.data(), a.data() + a.size(), b.data());
    };
    const Results expected = results(0x1f80);
    for (const unsigned word : odd_modes) {
        const Results found = results(word);
        EXPECT_TRUE(same(found.plain, expected.plain)) << word;
        EXPECT_TRUE(same(found.cls, expected.cls)) << word;
        EXPECT_TRUE(same(found.seg, expected.seg)) << word;
        EXPECT_TRUE(same(found.sam, expected.sam)) << word;
        EXPECT_EQ(found.seg_size, expected.seg_size) << word;
        EXPECT_EQ(found.sam_size, expected.sam_size) << word;
        EXPECT_EQ(found.prompt.x, expected.prompt.x) << word;
        EXPECT_EQ(found.prompt.y, expected.prompt.y) << word;
        EXPECT_EQ(found.top[1].probability, expected.top[1].probability) << word;
    }
}
#endif

TEST(Predictions, AreSoftmaxedAndSorted) {
    const std::vector<float> logits{1, 3, 3, -1000, 2};
    const std::vector<ev::Prediction> top = ev::top_k(logits, 3);
    ASSERT_EQ(top.size(), 3U);
    EXPECT_EQ(top[0].index, 1);
    EXPECT_EQ(top[1].index, 2);
    EXPECT_EQ(top[2].index, 4);
    const double sum = std::exp(-2) + 2 + std::exp(-1);
    EXPECT_NEAR(top[0].probability, 1 / sum, 1e-12);
    EXPECT_NEAR(top[2].probability, std::exp(-1) / sum, 1e-12);
    EXPECT_EQ(ev::top_k(logits, 99).size(), 5U);
    EXPECT_EQ(ev::top_k(std::vector<float>{-5e37F}, 1).front().probability, 1);
    EXPECT_THROW(ev::top_k({}, 1), ev::ShapeError);
    EXPECT_THROW(ev::top_k(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}, 1), ev::ShapeError);
    constexpr float infinity = std::numeric_limits<float>::infinity();
    EXPECT_THROW(ev::top_k(std::vector<float>{1, infinity, 2}, 1), ev::ShapeError);
    EXPECT_THROW(ev::top_k(std::vector<float>{-infinity, -infinity}, 1), ev::ShapeError);
    EXPECT_EQ(ev::top_k(std::vector<float>{-infinity, 5}, 2).back().probability, 0);
}

TEST(Predictions, ImageNetsClassesAreInOrder) {
    EXPECT_EQ(ev::imagenet_classes[0], "tench, Tinca tinca");
    EXPECT_EQ(ev::imagenet_classes[134], "crane (bird)");
    EXPECT_EQ(ev::imagenet_classes[281], "tabby, tabby cat");
    EXPECT_EQ(ev::imagenet_classes[517], "crane (machine)");
    EXPECT_EQ(ev::imagenet_classes[963], "pizza, pizza pie");
    EXPECT_EQ(ev::imagenet_classes[999], "toilet tissue, toilet paper, bathroom tissue");
}

}  // namespace

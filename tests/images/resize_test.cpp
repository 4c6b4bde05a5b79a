// SPDX-License-Identifier: Apache-2.0
//
// Resizing against the originals: the same bytes as Pillow, within one grey level of OpenCV.
#include <efficientvit/images/resize.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fixtures.hpp"

namespace {

const std::string names[] = {"china", "chelsea"};
constexpr ev::ImageSize sizes[] = {{40, 61}, {150, 200}, {33, 160}};

std::string file_of(const std::string& name, ev::ImageSize size, const std::string& by) {
    return name + "_" + std::to_string(size.height) + "x" + std::to_string(size.width) + "_" + by + ".png";
}

TEST(Resize, PillowsBytes) {
    for (const std::string& name : names) {
        const ev::Image image = fixture(name + ".png");
        for (const ev::ImageSize size : sizes) {
            EXPECT_EQ(ev::resize_pillow(image, size, ev::PillowFilter::bilinear),
                      fixture(file_of(name, size, "pillow_bilinear")));
            EXPECT_EQ(ev::resize_pillow(image, size, ev::PillowFilter::bicubic),
                      fixture(file_of(name, size, "pillow_bicubic")));
        }
    }
}

/// Any part, of a picture that became larger or smaller, whichever way goes first.
TEST(Resize, APartIsCutFromTheWhole) {
    const ev::Image image = fixture("chelsea.png");  // 101 x 67
    for (const ev::ImageSize size :
         {ev::ImageSize{40, 61}, ev::ImageSize{150, 200}, ev::ImageSize{20, 160}, ev::ImageSize{101, 30},
          ev::ImageSize{77, 67}, ev::ImageSize{101, 67}, ev::ImageSize{3, 66}, ev::ImageSize{5, 500}}) {
        for (const auto filter : {ev::PillowFilter::bilinear, ev::PillowFilter::bicubic}) {
            const ev::Image whole = ev::resize_pillow(image, size, filter);
            for (const ev::ImageBox& box :
                 {ev::ImageBox{0, 0, size}, ev::ImageBox{size.height / 2, size.width / 3, {1, 1}},
                  ev::ImageBox{size.height / 3, 0, {size.height - size.height / 3, size.width / 2}},
                  ev::ImageBox{0, size.width - 2, {2, 2}}}) {
                const ev::Image part = ev::resize_pillow(image, size, filter, box);
                ASSERT_EQ(part.size(), box.size);
                for (int y = 0; y < part.height(); ++y) {
                    for (int x = 0; x < part.width(); ++x) {
                        ASSERT_EQ(part.at(y, x), whole.at(box.top + y, box.left + x)) << y << ' ' << x;
                    }
                }
            }
        }
    }
    const auto part = [&](ev::ImageBox box) {
        return ev::resize_pillow(image, {40, 61}, ev::PillowFilter::bicubic, box);
    };
    for (const ev::ImageBox& box : {ev::ImageBox{-1, 0, {1, 1}}, ev::ImageBox{0, -1, {1, 1}}, ev::ImageBox{0, 0, {}},
                                    ev::ImageBox{30, 0, {11, 1}}, ev::ImageBox{0, 1, {1, 61}}}) {
        EXPECT_THROW(part(box), ev::ImageError);
    }
}

TEST(Resize, OpenCVsBytesWithinOne) {
    for (const std::string& name : names) {
        const ev::Image image = fixture(name + ".png");
        for (const ev::ImageSize size : sizes) {
            const ev::Image expected = fixture(file_of(name, size, "opencv_cubic"));
            const ev::Image found = ev::resize_opencv_cubic(image, size);
            EXPECT_LE(largest_difference(found, expected), 1) << file_of(name, size, "opencv_cubic");
            EXPECT_LE(mean_difference(found, expected), 0.1);
        }
    }
}

TEST(Resize, OneSizeIsOneSizeAndFlatStaysFlat) {
    const ev::Image image = fixture("small.png");
    EXPECT_EQ(ev::resize_opencv_cubic(image, image.size()), image);
    EXPECT_EQ(ev::resize_pillow(image, image.size(), ev::PillowFilter::bicubic), image);
    const ev::Rgb color{255, 0, 77};
    for (const ev::ImageSize from : {ev::ImageSize{1, 1}, ev::ImageSize{2, 3}, ev::ImageSize{50, 7}}) {
        for (const ev::ImageSize to : {ev::ImageSize{1, 1}, ev::ImageSize{5, 9}, ev::ImageSize{1, 100}}) {
            const ev::Image flat(from, color), expected(to, color);
            EXPECT_EQ(ev::resize_opencv_cubic(flat, to), expected);
            EXPECT_EQ(ev::resize_pillow(flat, to, ev::PillowFilter::bicubic), expected);
            EXPECT_EQ(ev::resize_pillow(flat, to, ev::PillowFilter::bilinear), expected);
        }
    }
}

/// Floats have no odd numbers beyond 2^24.
TEST(Resize, NothingIsReadBehindAVeryWideRow) {
    constexpr int in = (1 << 24) + 4;
    const ev::detail::CubicAxis axis(in, in + 1);
    EXPECT_EQ(*std::min_element(axis.first.begin(), axis.first.end()), -2);
    EXPECT_EQ(*std::max_element(axis.first.begin(), axis.first.end()), in - 2);
}

TEST(Resize, NoMoreWeightsThanPixels) {
    constexpr int in = 1 << 20;
    const ev::detail::PillowAxis axis(in, 1, ev::PillowFilter::bicubic, 0, 1);
    EXPECT_EQ(axis.taps, in);
    EXPECT_EQ(axis.first, std::vector<int>{0});
    EXPECT_EQ(axis.count, std::vector<int>{in});
}

TEST(Resize, SizesThatAreNoneAreRefused) {
    EXPECT_THROW(ev::resize_opencv_cubic(ev::Image(), {4, 4}), ev::ImageError);
    EXPECT_THROW(ev::resize_pillow(ev::Image(), {4, 4}, ev::PillowFilter::bilinear), ev::ImageError);
    EXPECT_THROW(ev::resize_opencv_cubic(ev::Image({4, 4}), {0, 4}), ev::ImageError);
    EXPECT_THROW(ev::resize_pillow(ev::Image({4, 4}), {4, -1}, ev::PillowFilter::bilinear), ev::ImageError);
}

}  // namespace

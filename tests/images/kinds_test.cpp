// SPDX-License-Identifier: Apache-2.0
//
// Files of every kind against Pillow: make_kinds.py's pictures to the byte, and what is refused.
#include <efficientvit/images/codec.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "fixtures.hpp"

namespace {

/// The files beside which `ending` has what Pillow makes of them.
std::vector<std::string> kinds(const std::string& ending) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(fixture_path("kinds"))) {
        const std::string name = entry.path().filename().string();
        if (name.ends_with(ending)) names.push_back("kinds/" + name.substr(0, name.size() - ending.size()));
    }
    std::sort(names.begin(), names.end());
    return names;
}

/// Pillow's pixels to the byte, where its libjpeg-turbo is the same: other libraries may differ by 2.
void expect_as_pillow(const ev::Image& found, const std::string& name, const std::string& ending) {
    const ev::Image expected = fixture(name + ending);
    ASSERT_EQ(found.size(), expected.size()) << name;
    EXPECT_LE(largest_difference(found, expected), name.ends_with(".png") ? 0 : EFFICIENTVIT_JPEG_TOLERANCE) << name;
}

TEST(Kinds, PixelsArePillows) {
    const std::vector<std::string> names = kinds(".rgb.png");
    EXPECT_EQ(names.size(), 74U);
    for (const std::string& name : names) expect_as_pillow(fixture(name), name, ".rgb.png");
}

TEST(Kinds, OrientationIsAppliedWhereAsked) {
    const std::vector<std::string> names = kinds(".upright.png");
    EXPECT_EQ(names.size(), 32U);
    for (const std::string& name : names) {
        expect_as_pillow(ev::read_image(fixture_path(name), {.apply_orientation = true}), name, ".upright.png");
        EXPECT_EQ(fixture(name).size(), (ev::ImageSize{27, 37})) << name;
        EXPECT_EQ(fixture(name), ev::read_image(fixture_path(name), {.apply_orientation = false}));
    }
}

TEST(Kinds, WhatIsBrokenIsRefused) {
    const std::map<std::string, std::string> reasons{
        {"adler.png", "incorrect data check"},
        {"adler_split.png", "incorrect data check"},
        {"bits12.jpg", "precision 12"},
        {"cgbi.png", "CgBI"},
        {"cgbi_behind_ihdr.png", "CgBI"},
        {"cgbi_tail.png", "CgBI"},
        {"cgbi_zlib.png", "CgBI"},
        {"color_type_1.png", "Invalid"},
        {"crc_idat.png", "CRC error"},
        {"crc_ihdr.png", "CRC error"},
        {"crc_text.png", "CRC error"},
        {"cut.jpg", "the file ends before the picture does"},
        {"cut.png", "the file ends before the picture does"},
        {"cut_progressive.jpg", "the file ends before the picture does"},
        {"few_rows.png", "Not enough image data"},
        {"filter_5.png", "bad adaptive filter value"},
        {"header_bomb.png", "the file ends before the picture does"},
        {"hierarchical.jpg", "SOF type 0xc5"},
        {"line_ends.png", "corrupted by ASCII conversion"},
        {"no_end.jpg", "the file ends before the picture does"},
        {"no_height.jpg", "Empty JPEG"},
        {"no_idat.png", "out of place"},
        {"no_tables.jpg", "Quantization table"},
        {"two_components.jpg", "2 components"},
        {"zero_width.png", "Invalid IHDR data"},
    };
    std::size_t files = 0;
    for (const auto& entry : fs::directory_iterator(fixture_path("kinds/refused"))) {
        const std::string name = entry.path().filename().string();
        const std::string found = message_of<ev::ImageError>([&] { ev::read_image(entry.path()); });
        expect_in(name + ": ", found);
        ASSERT_TRUE(reasons.contains(name)) << name;
        expect_in(reasons.at(name), found);
        ++files;
    }
    EXPECT_EQ(files, reasons.size());
}

}  // namespace

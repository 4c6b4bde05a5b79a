// SPDX-License-Identifier: Apache-2.0
//
// Pictures from files and back, against Pillow; broken ones, and disks that take nothing.
#include <efficientvit/images/codec.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "fixtures.hpp"

namespace {

std::string bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_bytes(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string message_of_reading(const fs::path& path) {
    return message_of<ev::ImageError>([&] { ev::read_image(path); });
}

TEST(Codec, PngOfEveryKindIsAsPillowReadsIt) {
    const ev::Image small = fixture("small.png");
    EXPECT_EQ(small.size(), (ev::ImageSize{16, 20}));
    EXPECT_EQ(small, fixture("small_rgba.png"));  // transparency is dropped
    EXPECT_EQ(fixture("small_gray.png"), fixture("small_gray_decoded.png"));
    EXPECT_EQ(fixture("small_palette.png"), fixture("small_palette_decoded.png"));
}

TEST(Codec, JpegIsNearlyAsPillowReadsIt) {
    EXPECT_LE(largest_difference(fixture("flower_444.jpg"), fixture("flower_444_decoded.png")), 3);
    EXPECT_LE(largest_difference(fixture("flower_gray.jpg"), fixture("flower_gray_decoded.png")), 2);
    // Coarser colors are enlarged as each decoder likes.
    EXPECT_LE(mean_difference(fixture("flower_420_progressive.jpg"), fixture("flower_420_progressive_decoded.png")),
              1.0);
}

TEST(Codec, BytesAreReadAsFilesAre) {
    const std::string bytes = bytes_of(fixture_path("flower_444.jpg"));
    EXPECT_EQ(ev::decode_image(std::as_bytes(std::span(bytes))), fixture("flower_444.jpg"));
}

TEST(Codec, PngIsReadBackAsWritten) {
    const Scratch scratch;
    const ev::Image image = fixture("china.png");
    ev::write_png(scratch / "copy.png", image);
    EXPECT_EQ(ev::read_image(scratch / "copy.png"), image);
    EXPECT_EQ(ev::decode_image(ev::encode_png(image)), image);
    ev::write_png(scratch / "copy.png", fixture("small.png"));  // replaced
    EXPECT_EQ(ev::read_image(scratch / "copy.png"), fixture("small.png"));
    EXPECT_EQ(std::distance(fs::directory_iterator(scratch.path()), {}), 1);
}

TEST(Codec, GrayPngHoldsTheVeryBytes) {
    const Scratch scratch;
    const std::vector<std::uint8_t> labels{0, 1, 2, 149, 254, 255};
    ev::write_gray_png(scratch / "labels.png", {2, 3}, labels);
    const ev::Image read = ev::read_image(scratch / "labels.png");
    ASSERT_EQ(read.size(), (ev::ImageSize{2, 3}));
    for (int i = 0; i < 6; ++i) {
        const std::uint8_t label = labels[static_cast<std::size_t>(i)];
        EXPECT_EQ(read.at(i / 3, i % 3), (ev::Rgb{label, label, label}));
    }
    expect_in("6 bytes for 2 x 2", message_of<ev::ImageError>([&] {
                  ev::write_gray_png(scratch / "no.png", {2, 2}, labels);
              }));
    EXPECT_FALSE(fs::exists(scratch / "no.png"));
}

TEST(Codec, BrokenFilesAreNamed) {
    const Scratch scratch;
    write_bytes(scratch / "text.png", "this is not a picture");
    expect_in("text.png: not a PNG or JPEG", message_of_reading(scratch / "text.png"));
    write_bytes(scratch / "empty.jpg", "");
    expect_in("empty.jpg: is empty", message_of_reading(scratch / "empty.jpg"));
    expect_in("missing.png: cannot be opened", message_of_reading(scratch / "missing.png"));
    expect_in("not a regular file", message_of_reading(scratch.path()));
}

TEST(Codec, TruncatedFilesAreBrokenWhereverTheyEnd) {
    const Scratch scratch;
    for (const std::string name : {"china.png", "flower_444.jpg", "flower_420_progressive.jpg"}) {
        const std::string whole = bytes_of(fixture_path(name));
        for (const std::size_t part : {2U, 10U, 40U, 50U, 75U, 90U, 99U}) {
            const std::size_t size = std::min(whole.size() * part / 100, whole.size() - 20);
            write_bytes(scratch / name, whole.substr(0, size));
            expect_in(name, message_of_reading(scratch / name));
        }
    }
}

TEST(Codec, TheEndOfAThumbnailIsNotTheEndOfAJpeg) {
    const Scratch scratch;
    const std::string whole = bytes_of(fixture_path("flower_444.jpg"));
    // A segment of an application with the end marker in it, behind the start of the file; and a film behind its end.
    const std::string with_thumbnail =
        whole.substr(0, 2) + std::string("\xff\xe1\x00\x06\xff\xd8\xff\xd9", 8) + whole.substr(2);
    write_bytes(scratch / "whole.jpg", with_thumbnail + "film" + std::string("\xff\xda\x00\x00", 4) + "film");
    EXPECT_EQ(ev::read_image(scratch / "whole.jpg"), fixture("flower_444.jpg"));
    write_bytes(scratch / "cut.jpg", with_thumbnail.substr(0, with_thumbnail.size() / 2));
    expect_in("ends before the JPEG does", message_of_reading(scratch / "cut.jpg"));
    for (std::size_t missing : {1U, 2U, 3U}) {
        write_bytes(scratch / "cut.jpg", whole.substr(0, whole.size() - missing));
        expect_in("ends before the JPEG does", message_of_reading(scratch / "cut.jpg"));
    }
}

TEST(Codec, DamagedFilesNeverCrash) {
    for (const std::string name : {"small.png", "flower_444.jpg", "flower_420_progressive.jpg"}) {
        const std::string whole = bytes_of(fixture_path(name));
        for (std::size_t i = 0; i < whole.size(); i += whole.size() / 150 + 1) {
            std::string damaged = whole;
            damaged[i] = static_cast<char>(damaged[i] ^ 0x55);
            try {
                EXPECT_FALSE(ev::decode_image(std::as_bytes(std::span(damaged))).empty());
            } catch (const ev::ImageError&) {  // as good an answer
            }
        }
    }
}

TEST(Codec, NothingIsLeftOfAPictureThatCannotBeWritten) {
    const Scratch scratch;
    const ev::Image image = fixture("small.png");
    expect_in("missing", message_of<ev::ImageError>([&] { ev::write_png(scratch / "missing" / "a.png", image); }));
    EXPECT_TRUE(scratch.empty());
    fs::create_directory(scratch / "folder.png");
    expect_in("folder.png", message_of<ev::ImageError>([&] { ev::write_png(scratch / "folder.png", image); }));
    EXPECT_EQ(std::distance(fs::directory_iterator(scratch.path()), {}), 1);
    EXPECT_TRUE(fs::is_directory(scratch / "folder.png"));
}

TEST(Codec, AFolderIsItsPicturesInOrder) {
    const Scratch scratch;
    expect_in("no PNG or JPEG", message_of<ev::ImageError>([&] { ev::find_images(scratch.path()); }));
    expect_in("no such file", message_of<ev::ImageError>([&] { ev::find_images(scratch / "none"); }));
    for (const std::string name : {"b.png", "a.JPG", "c.jpeg", "notes.txt"}) write_bytes(scratch / name, "x");
    const std::vector<fs::path> expected{scratch / "a.JPG", scratch / "b.png", scratch / "c.jpeg"};
    EXPECT_EQ(ev::find_images(scratch.path()), expected);
    EXPECT_EQ(ev::find_images(scratch / "notes.txt"), std::vector<fs::path>{scratch / "notes.txt"});
}

TEST(Codec, ASizeThatIsNoneIsRefused) {
    EXPECT_THROW(ev::Image({0, 5}), ev::ImageError);
    EXPECT_THROW(ev::Image({5, -1}), ev::ImageError);
    EXPECT_THROW(ev::Image({1 << 16, 1 << 16}), ev::ImageError);
    EXPECT_THROW(ev::encode_png(ev::Image()), ev::ImageError);
}

}  // namespace

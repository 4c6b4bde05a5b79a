// SPDX-License-Identifier: Apache-2.0
//
// Pictures from files and back, against Pillow; broken ones, and disks that take nothing.
#include <efficientvit/images/codec.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <thread>
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

TEST(Codec, JpegIsAsPillowReadsIt) {
    for (const std::string name : {"flower_444", "flower_420_progressive", "flower_gray"}) {
        EXPECT_LE(largest_difference(fixture(name + ".jpg"), fixture(name + "_decoded.png")),
                  EFFICIENTVIT_JPEG_TOLERANCE);
    }
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

std::string message_of_decoding(const std::string& bytes) {
    return message_of<ev::ImageError>([&] { ev::decode_image(std::as_bytes(std::span(bytes))); });
}

ev::Image decoded(const std::string& bytes) { return ev::decode_image(std::as_bytes(std::span(bytes))); }

/// A segment of a JPEG: marker, length, and so much.
std::string segment(int marker, const std::string& bytes) {
    const std::size_t length = bytes.size() + 2;
    return std::string{'\xff', static_cast<char>(marker), static_cast<char>(length >> 8), static_cast<char>(length)} +
           bytes;
}

/// Frame headers of one gray component; tables by which every two bits that are 0 are a gray block.
const std::string start = "\xff\xd8", end = "\xff\xd9";
std::string gray_frame(int marker, int height, int width) {
    return segment(marker,
                   std::string{'\x08', static_cast<char>(height >> 8), static_cast<char>(height),
                               static_cast<char>(width >> 8), static_cast<char>(width), '\1', '\1', '\x11', '\0'});
}
const std::string gray_tables = segment(0xdb, '\0' + std::string(64, '\1')) +
                                segment(0xc4, std::string("\0\1", 2) + std::string(16, '\0')) +
                                segment(0xc4, std::string("\x10\1", 2) + std::string(16, '\0'));

TEST(Codec, TheEndOfAThumbnailIsNotTheEndOfAJpeg) {
    const std::string whole = bytes_of(fixture_path("flower_444.jpg"));
    // A segment of an application with the end marker in it, behind the start of the file; and a film behind its end.
    const std::string with_thumbnail =
        whole.substr(0, 2) + std::string("\xff\xe1\x00\x06\xff\xd8\xff\xd9", 8) + whole.substr(2);
    EXPECT_EQ(decoded(with_thumbnail + "film" + std::string("\xff\xda\x00\x00", 4) + "film"),
              fixture("flower_444.jpg"));
    expect_in("ends before the picture does", message_of_decoding(with_thumbnail.substr(0, with_thumbnail.size() / 2)));
    for (const std::size_t missing : {1U, 2U, 3U}) {
        expect_in("ends before the picture does", message_of_decoding(whole.substr(0, whole.size() - missing)));
    }
}

/// What the headers announce is not taken before there is a first row of it: 30 bytes that say 65500 x 8190.
TEST(Codec, AHeaderAloneTakesNoMemory) {
    const std::string head = start + gray_tables + gray_frame(0xc0, 65500, 8190);
    const std::string scan = segment(0xda, std::string("\1\1\0\0\x3f\0", 6));
    expect_in("ends before", message_of_decoding(head + scan));
    expect_in("ends before", message_of_decoding(head + scan + std::string(50, '\0')));
    expect_in("1 to 2^29", message_of_decoding(start + gray_tables + gray_frame(0xc0, 65500, 65500) + scan + end));
}

/// A progressive file of thousands of scans that say nothing would be passed over as often.
TEST(Codec, ScansWithoutEndAreRefused) {
    std::string file = start + gray_tables + gray_frame(0xc2, 64, 64);
    for (int i = 0; i < 2000; ++i) file += segment(0xda, std::string("\1\1\0\0\0\1", 6)) + std::string(8, '\0');
    expect_in("more than 500 scans", message_of_decoding(file + end));
}

/// libjpeg fills what a damaged file lacks with gray, and warns: Pillow takes that too. Never what was in memory.
TEST(Codec, WhatADamagedJpegLacksIsNotWhatWasInMemory) {
    const std::string damaged = start + gray_tables + gray_frame(0xc0, 64, 64) + segment(0xdd, std::string("\0\1", 2)) +
                                segment(0xda, std::string("\x01\x01\0\0\x3f\0", 6)) + std::string(8, '\0') + end;
    std::vector<std::vector<char>> memory(64, std::vector<char>(64 * 64 + 15, '\x77'));
    for (std::size_t i = 0; i < memory.size(); i += 2) memory[i] = {};
    EXPECT_EQ(decoded(damaged), ev::Image({64, 64}, {128, 128, 128}));
}

/// As decoding with one thread: nothing is shared.
TEST(Codec, ThreadsDecodeAtOnce) {
    std::vector<std::thread> threads;
    std::atomic<int> wrong = 0;
    const ev::Image png = fixture("china.png"), jpeg = fixture("flower_444.jpg");
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int k = 0; k < 10; ++k) {
                if (fixture("china.png") != png || fixture("flower_444.jpg") != jpeg) ++wrong;
                try {
                    ev::decode_image(std::as_bytes(std::span("\xff\xd8\xff\xe0")));
                    ++wrong;
                } catch (const ev::ImageError&) {
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
}

TEST(Codec, OneByteBehindAJpegIsLeftAlone) {
    EXPECT_EQ(decoded(bytes_of(fixture_path("flower_444.jpg")) + "x"), fixture("flower_444.jpg"));
}

/// So large that reading it would fail.
TEST(Codec, FilesThatAreTooLargeAreNotRead) {
    const Scratch scratch;
    write_bytes(scratch / "large.png", "x");
    std::error_code error;
    fs::resize_file(scratch / "large.png", std::uintmax_t{1} << 42, error);
    if (error) GTEST_SKIP() << "no file of 4 TiB: " << error.message();
    expect_in("large.png: is larger than 2 GiB", message_of_reading(scratch / "large.png"));
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
    for (const std::string name : {"b.png", "a.JPG", "c.jpeg", "d.JPE", "e.jfif", "notes.txt", "._a.jpg", ".b.png",
                                   "a.JPG.part", "png", ".png"}) {
        write_bytes(scratch / name, "x");
    }
    fs::create_directory(scratch / "folder.png");
    std::vector<fs::path> expected;
    for (const std::string name : {"a.JPG", "b.png", "c.jpeg", "d.JPE", "e.jfif"}) expected.push_back(scratch / name);
    EXPECT_EQ(ev::find_images(scratch.path()), expected);
    EXPECT_EQ(ev::find_images(scratch / "notes.txt"), std::vector<fs::path>{scratch / "notes.txt"});
    EXPECT_EQ(ev::find_images(scratch / "._a.jpg"), std::vector<fs::path>{scratch / "._a.jpg"});
}

TEST(Codec, ASizeThatIsNoneIsRefused) {
    EXPECT_THROW(ev::Image({0, 5}), ev::ImageError);
    EXPECT_THROW(ev::Image({5, -1}), ev::ImageError);
    EXPECT_THROW(ev::Image({1 << 16, 1 << 16}), ev::ImageError);
    EXPECT_THROW(ev::encode_png(ev::Image()), ev::ImageError);
}

}  // namespace

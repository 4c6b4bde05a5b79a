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

/// A segment of a JPEG: marker, length, and so much.
std::string segment(int marker, const std::string& bytes) {
    const std::size_t length = bytes.size() + 2;
    return std::string{'\xff', static_cast<char>(marker), static_cast<char>(length >> 8), static_cast<char>(length)} +
           bytes;
}

/// The file's segments up to its first scan, without those of one kind, then `added`, and the rest.
std::string changed_jpeg(const std::string& whole, int removed, const std::string& added) {
    std::string out = whole.substr(0, 2);
    std::size_t i = 2;
    while (whole[i + 1] != '\xda') {
        const auto byte = [&](std::size_t k) { return static_cast<std::size_t>(static_cast<unsigned char>(whole[k])); };
        const std::size_t size = 2 + (byte(i + 2) << 8 | byte(i + 3));
        if (whole[i + 1] != static_cast<char>(removed)) out += whole.substr(i, size);
        i += size;
    }
    return out + added + whole.substr(i);
}

std::string message_of_decoding(const std::string& bytes) {
    return message_of<ev::ImageError>([&] { ev::decode_image(std::as_bytes(std::span(bytes))); });
}

ev::Image decoded(const std::string& bytes) { return ev::decode_image(std::as_bytes(std::span(bytes))); }

const std::string start = "\xff\xd8", end = "\xff\xd9";

/// Tables by which every two bits that are 0 are a gray block.
const std::string gray_tables = segment(0xdb, std::string(65, '\x01')) + segment(0xdb, std::string(65, '\0')) +
                                segment(0xc4, std::string("\0\1", 2) + std::string(16, '\0')) +
                                segment(0xc4, std::string("\x10\1", 2) + std::string(16, '\0'));

/// stb 2.27 writes past its tables, also where it only looks for the size.
TEST(Codec, HuffmanTablesThatDoNotFitAreRefused) {
    const std::string whole = bytes_of(fixture_path("flower_444.jpg"));
    const auto table = [](char kind, std::string counts, std::size_t values) {
        counts.resize(16, '\0');
        return kind + counts + std::string(values, '\0');
    };
    const std::string many(9, '\xff'), bomb = segment(0xc4, table('\x13', std::string(7, '\0') + many, 9 * 255));
    for (const std::string& file :
         {start + bomb + whole.substr(2), "\xff" + start + bomb + whole.substr(2), changed_jpeg(whole, -1, bomb),
          changed_jpeg(whole, -1, "\xff" + bomb), whole.substr(0, whole.size() - 2) + bomb + end}) {
        expect_in("more than 255 values", message_of_decoding(file));
    }
    const std::string two = table('\x03', std::string{'\1', '\1'}, 2);
    for (const std::string& bytes : {table('\x03', "\1\1", 1), two + std::string(16, '\0'), two + '\x20',
                                     table('\x04', "\1", 1), table('\x23', "\1", 1)}) {
        expect_in("Huffman table of the JPEG is broken", message_of_decoding(start + segment(0xc4, bytes) + end));
    }
    // Those that fit are none of the picture's: it stays as it was.
    const std::string largest = table('\x13', std::string(7, '\0') + std::string{'\1', '\xfe'}, 255);
    EXPECT_EQ(decoded(start + segment(0xc4, two + largest) + whole.substr(2)), fixture("flower_444.jpg"));
}

/// stb would decode what was in memory.
TEST(Codec, JpegsWithoutDataAreRefused) {
    const std::string three("\x08\0\x10\0\x10\x03\x01\x11\0\x02\x11\0\x03\x11\0", 15);
    const std::string scan_of_first = segment(0xda, std::string("\x01\x01\0\0\x3f\0", 6));
    expect_in("no picture data", message_of_decoding(start + segment(0xc0, three) + end));
    expect_in("no picture data", message_of_decoding(start + gray_tables + segment(0xc0, three) + scan_of_first +
                                                     std::string(64, '\0') + end));
    // A progressive one whose only scan is of the later coefficients.
    expect_in("no picture data",
              message_of_decoding(start + gray_tables + segment(0xc2, three) +
                                  segment(0xda, std::string("\x01\x01\0\x01\x3f\0", 6)) + std::string(64, '\0') + end));
    for (const std::string name : {"flower_444.jpg", "flower_420_progressive.jpg"}) {
        const std::string whole = bytes_of(fixture_path(name));
        ASSERT_EQ(decoded(changed_jpeg(whole, -1, "")), fixture(name));
        for (const int table : {0xc4, 0xdb}) {
            expect_in("a table of the JPEG is missing", message_of_decoding(changed_jpeg(whole, table, "")));
        }
    }
}

TEST(Codec, BrokenHeadersOfJpegsAreRefused) {
    const std::string whole = bytes_of(fixture_path("flower_444.jpg"));
    expect_in("has no length", message_of_decoding(start + std::string("\xff\xe1\0\1", 4) + whole.substr(2)));
    expect_in("quantization table", message_of_decoding(changed_jpeg(whole, -1, segment(0xdb, std::string(64, '\0')))));
    expect_in("quantization table",
              message_of_decoding(changed_jpeg(whole, -1, segment(0xdb, '\x04' + std::string(64, '\0')))));
    for (const std::string& frame : {std::string("\x08\0\x10\0\x10", 5), std::string("\x08\0\x10\0\x10\0", 6),
                                     std::string("\x08\0\x10\0\x10\x05", 6) + std::string(15, '\1'),
                                     std::string("\x08\0\x10\0\x10\x02", 6) + std::string(5, '\1')}) {
        expect_in("header of the JPEG", message_of_decoding(start + segment(0xc0, frame) + end));
    }
    for (const std::string& scan : {std::string(), std::string("\x02\1\0\0\x3f\0", 6)}) {
        expect_in("header of a scan", message_of_decoding(changed_jpeg(whole, -1, segment(0xda, scan))));
    }
    expect_in("component that it has not",
              message_of_decoding(changed_jpeg(whole, -1, segment(0xda, std::string("\x01\x7f\0\0\x3f\0", 6)))));
}

/// The picture's first block, and no restart where one was announced: stb leaves the rest of its memory as it was.
TEST(Codec, WhatADamagedJpegLacksIsNotWhatWasInMemory) {
    const std::string frame("\x08\0\x40\0\x40\x01\x01\x11\0", 9), scan("\x01\x01\0\0\x3f\0", 6);
    const std::string damaged = start + gray_tables + segment(0xc0, frame) + segment(0xdd, std::string("\0\1", 2)) +
                                segment(0xda, scan) + std::string(8, '\0') + end;
    std::vector<std::vector<char>> memory(64, std::vector<char>(64 * 64 + 15, '\x77'));
    for (std::size_t i = 0; i < memory.size(); i += 2) memory[i] = {};
    const ev::Image image = decoded(damaged);
    ASSERT_EQ(image.size(), (ev::ImageSize{64, 64}));
    EXPECT_EQ(image.at(7, 7), (ev::Rgb{128, 128, 128}));
    for (int y = 0; y < 64; ++y) EXPECT_EQ(image.at(y, 63), ev::Rgb{});
}

TEST(Codec, ColorsThatAPngsPaletteLacksAreBlack) {
    const std::string whole = bytes_of(fixture_path("small_palette.png"));
    const ev::Image before = fixture("small_palette.png");
    const std::size_t palette = whole.find("PLTE"), rest = whole.find("IDAT");
    ASSERT_LT(palette, rest);
    const std::string one = whole.substr(0, palette - 4) + std::string("\0\0\0\3PLTE", 8) +
                            whole.substr(palette + 4, 3) + std::string(4, '\0') + whole.substr(rest - 4);
    const auto color = [&](std::size_t i) { return static_cast<std::uint8_t>(whole[palette + 4 + i]); };
    const ev::Rgb first{color(0), color(1), color(2)};
    const ev::Image after = decoded(one);
    ASSERT_EQ(after.size(), before.size());
    int black = 0;
    for (int y = 0; y < after.height(); ++y) {
        for (int x = 0; x < after.width(); ++x) {
            const ev::Rgb expected = before.at(y, x) == first ? first : ev::Rgb{};
            EXPECT_EQ(after.at(y, x), expected);
            black += expected == ev::Rgb{} ? 1 : 0;
        }
    }
    EXPECT_GT(black, 9);
    // None at all is refused.
    const std::string none =
        whole.substr(0, palette - 4) + std::string("\0\0\0\0PLTE\0\0\0\0", 12) + whole.substr(rest - 4);
    expect_in("or a broken one", message_of_decoding(none));
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

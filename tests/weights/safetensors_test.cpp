// SPDX-License-Identifier: Apache-2.0
//
// safetensors.hpp and mapped_file.hpp: what a good file gives, the message for each way in which one can be bad, and
// files that change while they are open.
#include <efficientvit/weights/load.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include "safetensors_files.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <system_error>

#if !defined(_WIN32)
#include <sys/stat.h>
#endif

namespace {

class Safetensors : public InDirectory {
protected:
    /// All three ways to read refuse it, with the same sentence behind the source.
    void expect_error(const std::string& content, const std::string& sentence) const {
        const fs::path path = write(content);
        EXPECT_EQ(message_of([&] { ev::load_safetensors(path); }), path.string() + ": " + sentence);
        EXPECT_EQ(message_of([&] { ev::parse_safetensors(bytes_of(content)); }), "safetensors in memory: " + sentence);
        EXPECT_EQ(message_of([&] { ev::parse_safetensors_borrowed(bytes_of(content), "array"); }),
                  "array: " + sentence);
    }

    /// As expect_error(), for messages whose end comes from elsewhere.
    void expect_error_beginning(const std::string& content, const std::string& sentence) const {
        const fs::path path = write(content);
        const std::string message = message_of([&] { ev::load_safetensors(path); });
        EXPECT_EQ(message.substr(0, path.string().size() + 2 + sentence.size()), path.string() + ": " + sentence);
        EXPECT_THROW(ev::parse_safetensors(bytes_of(content)), ev::WeightsError);
    }
};

TEST_F(Safetensors, ReadsAFile) {
    const fs::path path = write(good);
    const ev::StateDict dict = ev::load_safetensors(path);
    expect_good(dict);
    EXPECT_EQ(dict.source(), path.string());
}

TEST_F(Safetensors, ReadsAFileOfANameThatIsNotAscii) {
    const fs::path path = write(good, fs::path(u8"gewichte_\u00e4\u4e16.safetensors"));
    expect_good(ev::load_safetensors(path));
}

TEST_F(Safetensors, CopiesFromMemory) {
    std::string content = good;
    const ev::StateDict dict = ev::parse_safetensors(bytes_of(content), "mine");
    content.assign(content.size(), 'x');
    expect_good(dict);
    EXPECT_EQ(dict.source(), "mine");
}

TEST_F(Safetensors, BorrowsFromMemory) {
    std::string content = good;
    const ev::StateDict dict = ev::parse_safetensors_borrowed(bytes_of(content));
    expect_good(dict);
    EXPECT_EQ(dict.at("b").data.data(), bytes_of(content).data() + content.size() - 8);
    EXPECT_EQ(dict.at("b").owner, nullptr);
}

TEST_F(Safetensors, ReadsNoTensors) {
    EXPECT_TRUE(ev::load_safetensors(write(file_with("{}"))).empty());
    EXPECT_TRUE(ev::parse_safetensors(bytes_of(file_with("{\"__metadata__\":{}}"))).empty());
}

TEST_F(Safetensors, ReadsEveryDtype) {
    for (const std::string dtype : {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}) {
        const std::size_t size = ev::dtype_size(*ev::dtype_from_name(dtype));
        const std::string content = file_with("{" + tensor("x", dtype, "[3]", "0", std::to_string(3 * size)) + "}",
                                              std::string(3 * size, '\0'));
        const ev::StateDict dict = ev::load_safetensors(write(content));
        EXPECT_EQ(ev::dtype_name(dict.at("x").dtype), dtype);
        EXPECT_EQ(ev::to_float(dict.at("x")), std::vector<float>(3, 0.0f)) << dtype;
    }
}

TEST_F(Safetensors, ReadsTensorsInAnyOrderAndUnaligned) {
    const std::string content =
        file_with("{" + tensor("z", "U8", "[1]", "0", "1") + "," + tensor("a", "F32", "[1]", "3", "7") + "," +
                      tensor("m", "I16", "[1]", "1", "3") + "}",
                  std::string("\x05\x01\x02\x00\x00\x40\x40", 7));
    const ev::StateDict dict = ev::load_safetensors(write(content));
    EXPECT_EQ(ev::to_float(dict.at("z")), std::vector<float>{5});
    EXPECT_EQ(ev::to_float(dict.at("m")), std::vector<float>{513});
    EXPECT_EQ(ev::to_float(dict.at("a")), std::vector<float>{3});
}

TEST_F(Safetensors, RefusesFilesThatAreNone) {
#if defined(_WIN32)
    const int no_such_file = 2;  // ERROR_FILE_NOT_FOUND
#else
    const int no_such_file = ENOENT;
#endif
    EXPECT_EQ(message_of([&] { ev::load_safetensors(directory_ / "none"); }),
              (directory_ / "none").string() + ": cannot be opened: " + std::system_category().message(no_such_file));
#if defined(_WIN32)
    EXPECT_NE(message_of([&] { ev::load_safetensors(directory_); }).find("cannot be opened"), std::string::npos);
#else
    EXPECT_EQ(message_of([&] { ev::load_safetensors(directory_); }), directory_.string() + ": not a regular file");
    const fs::path pipe = directory_ / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_EQ(message_of([&] { ev::load_safetensors(pipe); }), pipe.string() + ": not a regular file")
        << "and does not wait";
#endif
}

TEST_F(Safetensors, HeaderTooSmall) {
    const std::string expected = " bytes, expected 8 for the header's length and at least 2 for the header";
    expect_error("", "too small for safetensors: 0" + expected);
    expect_error(std::string(7, '\0'), "too small for safetensors: 7" + expected);
    expect_error(std::string(8, '\0'), "the header is empty, expected a JSON object");
}

TEST_F(Safetensors, HeaderTooLarge) {
    expect_error(length_bytes(100000001) + "{}",
                 "not safetensors: its first 8 bytes give a header of 100000001 bytes, more than the format's limit of "
                 "100000000");
    expect_error(std::string(8, '\xff') + "{}",
                 "not safetensors: its first 8 bytes give a header of 18446744073709551615 bytes, more "
                 "than the format's limit of 100000000");
}

TEST_F(Safetensors, HeaderLengthBeyondTheEnd) {
    expect_error(length_bytes(3) + "{}",
                 "cut short or not safetensors: its first 8 bytes give a header of 3 bytes, but only 2 follow");
    expect_error(length_bytes(100000000) + "{}",
                 "cut short or not safetensors: its first 8 bytes give a header of 100000000 bytes, but only 2 follow");
}

TEST_F(Safetensors, HeaderNotUtf8) {
    expect_error(file_with("{\"a\xff\":1}"), "the header is not UTF-8 at its byte 3");
    expect_error(file_with("{\"\xed\xa0\x80\":1}"), "the header is not UTF-8 at its byte 2");
    expect_error(file_with("{}\xc3"), "the header is not UTF-8 at its byte 2");
}

TEST_F(Safetensors, HeaderDoesNotBeginWithABrace) {
    expect_error(file_with("[]"), "the header begins with '[', expected '{'");
    expect_error(file_with(" {}"), "the header begins with ' ', expected '{'");
    expect_error(file_with("\xef\xbb\xbf{}"), "the header begins with '\\xef', expected '{'");
}

TEST_F(Safetensors, HeaderNotJson) {
    for (const std::string header :
         {"{", "{]", "{\"a\"", "{\"a\":}", "{\"__metadata__\":{}", "{'a':1}", "{} x", "{}{}", "{,}", "{\"a\\x\":1}",
          "{\"a\\ud800\":1}", "{\"a\n\":1}", "{/**/}", "{\"a\":{\"shape\":[1,]}}", "{\"a\":{\"shape\":[01]}}",
          "{\"a\":{\"shape\":[1e999]}}", "{\"a\":{\"shape\":[nan]}}"}) {
        expect_error_beginning(file_with(header), "the header is not valid JSON at its byte ");
    }
    // A zero would end the input for the JSON parser.
    expect_error(file_with(std::string("{}\0 nonsense", 12)), "the header is not valid JSON: a zero at its byte 2");
}

TEST_F(Safetensors, NestingGetsNoDeeperThanItShould) {
    const std::string deep(5'000'000, '[');
    expect_error(file_with("{\"a\":" + deep), "tensor 'a': found an array, expected an object");
    expect_error(file_with("{\"a\":{\"shape\":" + deep),
                 "tensor 'a': shape: found an array, expected extents, which are integers >= 0");
    expect_error(file_with("{\"a\":{\"shape\":{"), "tensor 'a': shape: found an object, expected an array");
    expect_error(file_with("{\"a\":{\"data_offsets\":[[0,1]]}}"),
                 "tensor 'a': data_offsets: found an array, expected two integers >= 0");
    expect_error(file_with("{\"__metadata__\":{\"k\":" + deep),
                 "'__metadata__': key 'k': found an array, expected a string");
    expect_error(file_with("{\"a\":{\"dtype\":{\"a\":{\"a\":1}}}}"),
                 "tensor 'a': dtype: found an object, expected a string");
}

TEST_F(Safetensors, ValuesOfTheWrongKind) {
    expect_error(file_with("{\"a\":1}"), "tensor 'a': found 1, expected an object");
    expect_error(file_with("{\"a\":null}"), "tensor 'a': found null, expected an object");
    expect_error(file_with("{\"a\":\"F32\"}"), "tensor 'a': found 'F32', expected an object");
    expect_error(file_with("{\"a\":{\"dtype\":4}}"), "tensor 'a': dtype: found 4, expected a string");
    expect_error(file_with("{\"a\":{\"dtype\":true}}"), "tensor 'a': dtype: found a boolean, expected a string");
    expect_error(file_with("{\"a\":{\"shape\":4}}"), "tensor 'a': shape: found 4, expected an array");
    expect_error(file_with("{\"a\":{\"shape\":[\"4\"]}}"),
                 "tensor 'a': shape: found '4', expected extents, which are integers >= 0");
    expect_error(file_with("{\"a\":{\"shape\":[-1]}}"),
                 "tensor 'a': shape: found -1, expected extents, which are integers >= 0");
    expect_error(file_with("{\"a\":{\"shape\":[2.0]}}"),
                 "tensor 'a': shape: found 2.0, expected extents, which are integers >= 0");
    expect_error(file_with("{\"a\":{\"shape\":[99999999999999999999]}}"),
                 "tensor 'a': shape: found 99999999999999999999, expected extents, which are integers >= 0");
    expect_error(file_with("{\"a\":{\"data_offsets\":[0,-4]}}"),
                 "tensor 'a': data_offsets: found -4, expected two integers >= 0");
    expect_error(file_with("{\"a\":{\"data_offsets\":[0,1,2]}}"),
                 "tensor 'a': data_offsets: found 2, expected two integers >= 0");
    expect_error(file_with("{\"a\":{\"data_offsets\":[0]}}"), "tensor 'a': data_offsets of 1 numbers, expected 2");
    expect_error(file_with("{\"a\":{\"data_offsets\":0}}"), "tensor 'a': data_offsets: found 0, expected an array");
    expect_error(file_with("{\"__metadata__\":[]}"), "'__metadata__': found an array, expected an object");
    expect_error(file_with("{\"__metadata__\":{\"k\":1}}"), "'__metadata__': key 'k': found 1, expected a string");
    expect_error(file_with("{\"a\":{\"stride\":[1]}}"),
                 "tensor 'a': an unknown field 'stride', expected dtype, shape and data_offsets");
}

TEST_F(Safetensors, GiantNumbers) {
    const std::string digits(1'000'000, '9');
    expect_error_beginning(file_with("{\"a\":{\"shape\":[" + digits + "]}}"),
                           "the header is not valid JSON at its byte ");
    const std::string small = "0." + std::string(1'000'000, '0') + "1";
    const std::string message =
        message_of([&] { ev::parse_safetensors(bytes_of(file_with("{\"a\":{\"shape\":[" + small + "]}}"))); });
    EXPECT_NE(message.find("shape: found 0.000"), std::string::npos);
    EXPECT_LT(message.size(), 1000u);
}

TEST_F(Safetensors, MissingFields) {
    expect_error(file_with("{\"a\":{}}"), "tensor 'a': no dtype");
    expect_error(file_with("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0]}}"), "tensor 'a': no shape");
    expect_error(file_with("{\"a\":{\"dtype\":\"F32\",\"shape\":[0]}}"), "tensor 'a': no data_offsets");
    // Not what the tensor before had.
    expect_error(file_with("{" + tensor("a", "F32", "[0]", "0", "0") + ",\"b\":{\"dtype\":\"F32\"}}"),
                 "tensor 'b': no shape");
}

TEST_F(Safetensors, DuplicateKeys) {
    const std::string a = tensor("a", "F32", "[0]", "0", "0");
    expect_error(file_with("{" + a + "," + a + "}"), "tensor 'a': the name is there twice");
    expect_error(file_with("{" + a + ",\"\\u0061\":{}}"), "tensor 'a': the name is there twice");
    expect_error(file_with("{\"__metadata__\":{},\"__metadata__\":{}}"), "'__metadata__': the name is there twice");
    expect_error(file_with("{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}"),
                 "'__metadata__': the field 'k' is there twice");
    expect_error(file_with("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}"),
                 "tensor 'a': the field 'dtype' is there twice");
    expect_error(file_with("{\"a\":{\"shape\":[],\"shape\":[]}}"), "tensor 'a': the field 'shape' is there twice");
    expect_error(file_with("{\"a\":{\"data_offsets\":[0,0],\"data_offsets\":[0,0]}}"),
                 "tensor 'a': the field 'data_offsets' is there twice");
}

TEST_F(Safetensors, UnknownDtype) {
    const std::string known = ", expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL";
    expect_error(file_with("{" + tensor("a", "F12", "[1]", "0", "4") + "}", "abcd"),
                 "tensor 'a': the unknown dtype 'F12'" + known);
    expect_error(file_with("{" + tensor("a", "f32", "[1]", "0", "4") + "}", "abcd"),
                 "tensor 'a': the unknown dtype 'f32'" + known);
}

TEST_F(Safetensors, DtypesThatNoLayerHasSpoilNothingUnlessWanted) {
    for (const std::string dtype : {"F8_E4M3", "F8_E5M2", "F8_E8M0", "U16", "U32", "U64", "C64", "F4"}) {
        const std::string size = dtype == "F4"             ? "[8]"
                                 : dtype.starts_with("F8") ? "[4]"
                                 : dtype == "U16"          ? "[2]"
                                                           : "[1]";
        const bool wide = dtype == "U64" || dtype == "C64";
        const std::string file = file_with(
            "{" + tensor("a", "F32", "[1]", "0", "4") + "," + tensor("odd", dtype, size, "4", wide ? "12" : "8") + "}",
            std::string(wide ? 12 : 8, '\0'));
        const ev::StateDict dict = ev::parse_safetensors(bytes_of(file));
        EXPECT_EQ(dict.names(), std::vector<std::string>{"a"});
        EXPECT_EQ(dict.unreadable(), (ev::StateDict::Metadata{{"odd", dtype}}));
        EXPECT_NO_THROW(ev::MatchedWeights(dict, {{"a", {1}}}));
        EXPECT_NE(message_of([&] {
                      ev::MatchedWeights(dict, {{"a", {1}}, {"odd", {1}}});
                  }).find("odd: found " + dtype + ", expected F32, F16, BF16 or F64"),
                  std::string::npos);
        EXPECT_NE(message_of([&] { (void)dict.at("odd"); }).find("is " + dtype + ", which is not read"),
                  std::string::npos);
    }
    const std::string hole = file_with("{" + tensor("odd", "U32", "[1]", "4", "8") + "}", "abcdefgh");
    EXPECT_NE(message_of([&] { ev::parse_safetensors(bytes_of(hole)); }).find("begins at byte 4"), std::string::npos);
    const std::string twice = file_with(
        "{" + tensor("a", "U32", "[1]", "0", "4") + "," + tensor("a", "F32", "[1]", "4", "8") + "}", "abcdefgh");
    EXPECT_NE(message_of([&] { ev::parse_safetensors(bytes_of(twice)); }).find("twice"), std::string::npos);
}

TEST_F(Safetensors, Misaligned) {
    expect_error(file_with("{" + tensor("a", "F4", "[3]", "0", "1") + "}", "a"),
                 "tensor 'a': misaligned: shape [3] of dtype F4 is 12 bits, expected whole bytes");
    expect_error(file_with("{" + tensor("a", "F6_E2M3", "[2]", "0", "1") + "}", "a"),
                 "tensor 'a': misaligned: shape [2] of dtype F6_E2M3 is 12 bits, expected whole bytes");
}

TEST_F(Safetensors, Overflow) {
    expect_error(file_with("{" + tensor("a", "F32", "[4294967296,4294967296]", "0", "0") + "}"),
                 "tensor 'a': overflow: shape [4294967296, 4294967296] of dtype F32 is more than 2^64 bits");
    expect_error(file_with("{" + tensor("a", "F32", "[4611686018427387904]", "0", "0") + "}"),
                 "tensor 'a': overflow: shape [4611686018427387904] of dtype F32 is more than 2^64 bits");
    expect_error(file_with("{" + tensor("a", "F32", "[4294967296,4294967296,0]", "0", "0") + "}"),
                 "tensor 'a': overflow: shape [4294967296, 4294967296, 0] of dtype F32 is more than 2^64 bits");
    expect_error(file_with("{" + tensor("a", "F32", "[18446744073709551615]", "0", "0") + "}"),
                 "tensor 'a': overflow: an extent of 18446744073709551615");
}

TEST_F(Safetensors, TooManyDimensions) {
    const auto with = [](int n) {
        std::string shape = "[1";
        for (int i = 1; i < n; ++i) shape += ",1";
        return file_with("{" + tensor("a", "U8", shape + "]", "0", "1") + "}", "a");
    };
    EXPECT_EQ(ev::parse_safetensors(bytes_of(with(64))).at("a").shape.size(), 64u);
    expect_error(with(65), "tensor 'a': more than 64 dimensions");
}

TEST_F(Safetensors, ShapeDoesNotMakeTheBytes) {
    expect_error(file_with("{" + tensor("a", "F32", "[2,3]", "0", "23") + "}", std::string(23, 'a')),
                 "tensor 'a': data_offsets [0, 23] give 23 bytes, expected 24 for shape [2, 3] of dtype F32");
    expect_error(file_with("{" + tensor("a", "F16", "[]", "0", "4") + "}", "abcd"),
                 "tensor 'a': data_offsets [0, 4] give 4 bytes, expected 2 for shape [] of dtype F16");
}

TEST_F(Safetensors, OffsetsReversedOrBeyondTheEnd) {
    expect_error(file_with("{" + tensor("a", "U8", "[1]", "2", "1") + "}", "ab"),
                 "tensor 'a': data_offsets [2, 1] end before they begin");
    expect_error(
        file_with("{" + tensor("a", "U8", "[3]", "0", "3") + "}", "ab"),
        "tensor 'a': data_offsets [0, 3] reach beyond the data of 2 bytes: the file is cut short, or the header wrong");
    expect_error(file_with("{" + tensor("a", "U8", "[3]", "18446744073709551612", "18446744073709551615") + "}", "ab"),
                 "tensor 'a': data_offsets [18446744073709551612, 18446744073709551615] reach beyond the data of 2 "
                 "bytes: the file is "
                 "cut short, or the header wrong");
}

TEST_F(Safetensors, HolesOverlapsAndBytesBehind) {
    const auto two = [](const std::string& from, const std::string& to) {
        return file_with("{" + tensor("a", "U8", "[2]", "0", "2") + "," + tensor("b", "U8", "[2]", from, to) + "}",
                         "abcdef");
    };
    expect_error(two("4", "6"),
                 "tensor 'b' begins at byte 4 of the data, expected 2: a hole of bytes that belong to no tensor");
    expect_error(two("1", "3"), "tensor 'b' begins at byte 1 of the data, expected 2: it overlaps the one before");
    expect_error(two("0", "2"), "tensor 'b' begins at byte 0 of the data, expected 2: it overlaps the one before");
    expect_error(two("2", "4"), "2 bytes behind the last tensor, expected none: the data ends at byte 4 of 6");
    expect_error(file_with("{" + tensor("a", "U8", "[1]", "1", "2") + "}", "ab"),
                 "tensor 'a' begins at byte 1 of the data, expected 0: a hole of bytes that belong to no tensor");
    expect_error(
        file_with("{" + tensor("a", "U8", "[2]", "0", "2") + "," + tensor("b", "U8", "[0]", "1", "1") + "}", "ab"),
        "tensor 'b' begins at byte 1 of the data, expected 2: it overlaps the one before");
    expect_error(file_with("{}", "a"), "1 bytes behind the last tensor, expected none: the data ends at byte 0 of 1");
}

TEST_F(Safetensors, EveryTruncationIsAnError) {
    for (std::size_t size = 0; size < good.size(); ++size) {
        const std::string part = good.substr(0, size);
        EXPECT_THROW(ev::parse_safetensors_borrowed(bytes_of(part)), ev::WeightsError) << size;
    }
}

TEST_F(Safetensors, EveryChangedByteIsReadOrRefused) {
    // Nothing but WeightsError comes out, and what is read lies inside (a sanitizer sees the rest).
    for (std::size_t at = 0; at < good.size(); ++at) {
        for (const int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}) {
            std::string changed = good;
            changed[at] = static_cast<char>(changed[at] ^ flip);
            try {
                for (const auto& [name, entry] : ev::parse_safetensors_borrowed(bytes_of(changed)))
                    (void)ev::to_float(entry);
            } catch (const ev::WeightsError& error) {
                EXPECT_STRNE(error.what(), "");
            }
        }
    }
}

TEST_F(Safetensors, HostileNamesDoNotReachTheTerminal) {
    expect_error(file_with("{\"\\u001b[2J\":1}"), "tensor '\\x1b[2J': found 1, expected an object");
}

#if !defined(_WIN32)  // Windows refuses to shorten a mapped file

TEST_F(Safetensors, AFileCutShortWhileMappedIsAnError) {
    const std::size_t count = 100'000;
    const std::string content = file_with("{" + tensor("x", "F32", "[100000]", "0", "400000") + "," +
                                              tensor("y", "F16", "[100000]", "400000", "600000") + "}",
                                          std::string(6 * count, '\0'));
    for (const std::uintmax_t left : {content.size() - 1, content.size() / 2, std::size_t{0}}) {
        const fs::path path = write(content);
        const ev::StateDict dict = ev::load_safetensors(path);
        EXPECT_EQ(ev::to_float(dict.at("y")).size(), count);
        fs::resize_file(path, left);
        EXPECT_EQ(message_of([&] { ev::to_float(dict.at("y")); }),
                  path.string() + ": cut short while being read: ends at byte " +
                      std::to_string(std::max<std::size_t>(left, content.size() - 2 * count)) + ", expected " +
                      std::to_string(content.size()))
            << left;
    }
}

TEST_F(Safetensors, AFileReplacedOrRemovedIsStillRead) {
    const fs::path path = write(good);
    const ev::StateDict dict = ev::load_safetensors(path);
    fs::remove(path);
    write(file_with("{}"));
    expect_good(dict);
}

TEST_F(Safetensors, AFileSystemWithoutMappingsIsReadInstead) {
    // Linux's own: files of /sys cannot be mapped, and some tell a size of which they keep only a part.
    const fs::path whole = "/sys/kernel/notes";
    const fs::path part = "/sys/kernel/mm/transparent_hugepage/enabled";
    if (!fs::exists(whole) || !fs::exists(part)) GTEST_SKIP() << "no " << whole << " or " << part << " here";
    const ev::MappedFile file(whole);
    std::vector<std::byte> read(file.bytes().size());
    file.read(file.bytes().data(), read);
    std::ifstream in(whole, std::ios::binary);
    const std::string expected{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(read.data()), read.size()), expected);
    EXPECT_NE(message_of([&] { ev::MappedFile{part}; }).find("cut short while being read"), std::string::npos);
}

#endif

}  // namespace

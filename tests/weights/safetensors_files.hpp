// SPDX-License-Identifier: Apache-2.0
//
// For the tests of reading and writing safetensors: files made by hand, and a directory to put them in.
#pragma once

#include <efficientvit/weights/state_dict.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "../messages.hpp"

namespace ev = efficientvit;
namespace fs = std::filesystem;

inline std::string length_bytes(std::uint64_t length) {
    std::string out;
    for (int i = 0; i < 8; ++i) out += static_cast<char>(length >> (8 * i) & 0xff);
    return out;
}

inline std::string file_with(const std::string& header, const std::string& data = "") {
    return length_bytes(header.size()) + header + data;
}

inline std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

inline std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                          const std::string& from, const std::string& to) {
    return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" + from + "," +
           to + "]}";
}

/// A directory of its own for each test, gone afterwards.
class InDirectory : public testing::Test {
protected:
    void SetUp() override {
        const auto* test = testing::UnitTest::GetInstance()->current_test_info();
        directory_ = fs::temp_directory_path() /
                     ("efficientvit_" + std::string(test->name()) + "_" + std::to_string(std::random_device()()));
        fs::create_directories(directory_);
    }
    void TearDown() override { fs::remove_all(directory_); }

    fs::path write(const std::string& content, const fs::path& name = "file.safetensors") const {
        std::ofstream(directory_ / name, std::ios::binary) << content;
        return directory_ / name;
    }

    template <class Action>
    static std::string message_of(const Action& action) {
        return ::message_of<ev::WeightsError>(action);
    }

    fs::path directory_;
};

inline const std::string good_header =
    "{\"__metadata__\":{\"format\":\"pt\",\"a\\u00e4\":\"\\n\"}," + tensor("b", "F32", "[2,1]", "2", "10") + "," +
    tensor("a\\\"\\u0041", "F16", "[]", "0", "2") + "," + tensor("empty", "I64", "[3,0]", "10", "10") + "}   ";
inline const std::string good = file_with(good_header, std::string("\x00\x3c\x00\x00\x80\x3f\x00\x00\x00\x40", 10));

inline void expect_good(const ev::StateDict& dict) {
    EXPECT_EQ(dict.names(), (std::vector<std::string>{"a\"A", "b", "empty"}));
    EXPECT_EQ(ev::to_float(dict.at("a\"A")), std::vector<float>{1.0f});
    EXPECT_EQ(dict.at("a\"A").shape, std::vector<std::int64_t>{});
    EXPECT_EQ(ev::to_float(dict.at("b")), (std::vector<float>{1.0f, 2.0f}));
    EXPECT_EQ(dict.at("b").shape, (std::vector<std::int64_t>{2, 1}));
    EXPECT_EQ(dict.at("b").dtype, ev::DType::f32);
    EXPECT_EQ(dict.at("empty").shape, (std::vector<std::int64_t>{3, 0}));
    EXPECT_EQ(dict.metadata(), (ev::StateDict::Metadata{{"format", "pt"}, {"a\xc3\xa4", "\n"}}));
}

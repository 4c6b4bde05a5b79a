// SPDX-License-Identifier: Apache-2.0
//
// Where the pictures of make_fixtures.py are, and how two pictures are compared.
#pragma once

#include <efficientvit/images/codec.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "../float_modes.hpp"
#include "../messages.hpp"

/// Grey levels by which a JPEG may differ from Pillow's: none by libjpeg-turbo, the library that Pillow has.
#if !defined(EFFICIENTVIT_JPEG_TOLERANCE)
#define EFFICIENTVIT_JPEG_TOLERANCE 0
#endif

namespace ev = efficientvit;
namespace fs = std::filesystem;

inline fs::path fixture_path(const std::string& name) { return fs::path(EFFICIENTVIT_TEST_DATA) / "images" / name; }
inline ev::Image fixture(const std::string& name) { return ev::read_image(fixture_path(name)); }

/// The largest difference of a byte; 256 if the sizes differ.
inline int largest_difference(const ev::Image& a, const ev::Image& b) {
    if (a.size() != b.size() || a.empty()) return 256;
    int largest = 0;
    for (std::size_t i = 0; i < a.bytes().size(); ++i) {
        largest = std::max(largest, std::abs(int{a.bytes()[i]} - int{b.bytes()[i]}));
    }
    return largest;
}

inline double mean_difference(const ev::Image& a, const ev::Image& b) {
    if (a.size() != b.size() || a.empty()) return 256;
    double sum = 0;
    for (std::size_t i = 0; i < a.bytes().size(); ++i) sum += std::abs(int{a.bytes()[i]} - int{b.bytes()[i]});
    return sum / static_cast<double>(a.bytes().size());
}

#if defined(EFFICIENTVIT_X86)
/// Three other roundings, and a trap for whatever is not exact, overflows or is invalid.
inline constexpr unsigned odd_modes[] = {0x1f80 | _MM_ROUND_UP, 0x1f80 | _MM_ROUND_DOWN, 0x1f80 | _MM_ROUND_TOWARD_ZERO,
                                         0};
#endif

/// A folder of the test's own, gone afterwards.
class Scratch {
public:
    Scratch() {
        const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
        path_ = fs::path(testing::TempDir()) / (std::string("efficientvit_") + test->test_suite_name() + test->name());
        fs::remove_all(path_);
        fs::create_directories(path_);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    fs::path operator/(const std::string& name) const { return path_ / name; }
    const fs::path& path() const { return path_; }
    bool empty() const { return fs::is_empty(path_); }

private:
    fs::path path_;
};

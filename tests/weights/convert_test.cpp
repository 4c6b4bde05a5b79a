// SPDX-License-Identifier: Apache-2.0
//
// convert.hpp: that what it rounds does not depend on the caller's floating-point modes. What a network makes of
// converted weights is precision/precision_test.cpp's.
#include <efficientvit/weights/convert.hpp>

#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace ev = efficientvit;

namespace {

/// What action() gives in each rounding mode; asserts nothing inside it, since gtest computes too.
template <class Action>
auto in_every_mode(const Action& action) {
    std::vector<decltype(action())> out;
    for (const int mode : {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
        std::fesetround(mode);
        out.push_back(action());
        std::fesetround(FE_TONEAREST);
    }
    return out;
}

TEST(Converted, DenormalHalvesAreTheNearestInEveryMode) {
    std::vector<float> values;
    std::vector<std::uint16_t> expected;
    for (std::uint16_t bits = 0; bits <= 0x400; ++bits) {
        for (const float beyond : {0.0f, 0.25f, 0.5f, 0.75f}) {
            const auto up = static_cast<std::uint16_t>(beyond > 0.5f || (beyond == 0.5f && bits % 2 == 1) ? 1 : 0);
            values.push_back((static_cast<float>(bits) + beyond) * 0x1p-24f);
            expected.push_back(static_cast<std::uint16_t>(bits + up));
            values.push_back(-values.back());
            expected.push_back(static_cast<std::uint16_t>(expected.back() | 0x8000u));
        }
    }
    // Half of the smallest and its neighbours, and what is a denormal itself.
    for (const float value : {0x1p-25f, 0x1.fffffep-26f, 0x1p-126f, 0x1p-149f}) {
        values.push_back(value);
        expected.push_back(0);
    }
    values.push_back(0x1.000002p-25f);
    expected.push_back(1);
    for (const auto& found : in_every_mode([&] {
             std::vector<std::uint16_t> halves;
             for (const float value : values) halves.push_back(ev::float_to_half(value));
             return halves;
         })) {
        EXPECT_EQ(found, expected);
    }
}

TEST(Converted, DoublesRoundToTheNearestInEveryMode) {
    const std::vector<double> values{1 + 0x1p-25, 1 + 0x1.8p-24, -1 - 0x1p-25, -1 - 0x1.8p-24};
    ev::StateDict weights;
    weights.insert("x", ev::DType::f64, {4}, std::as_bytes(std::span(values)), nullptr);
    const auto floats = [&] { return ev::to_float(weights.at("x")); };
    for (const std::vector<float>& found : in_every_mode(floats)) {
        EXPECT_EQ(found, (std::vector<float>{1, 1 + 0x1p-23f, -1, -1 - 0x1p-23f}));
    }
    // To a float, then to a half: as if by way of the float that is nearest.
    const std::vector<double> to_half{1 + 0x1p-11 + 0x1p-26, -1 - 0x1p-11 - 0x1p-26};
    ev::StateDict close;
    close.insert("x", ev::DType::f64, {2}, std::as_bytes(std::span(to_half)), nullptr);
    for (const std::vector<float>& found :
         in_every_mode([&] { return ev::to_float(ev::converted(close, ev::DType::f16).at("x")); })) {
        EXPECT_EQ(found, (std::vector<float>{1, -1}));
    }
}

TEST(Converted, EightBitsAreTheNearestInEveryMode) {
    std::vector<float> values(64 * 144);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.01f * static_cast<float>((i * 7919) % 501) - 2.5f;
    ev::StateDict weights;
    weights.insert("conv.weight", {64, 144}, values);
    const auto integers = in_every_mode([&] {
        const ev::StateDict bytes = ev::converted(weights, ev::DType::i8);
        const std::span<const std::byte> q = bytes.at("conv.weight").data, s = bytes.at("conv.weight_scale").data;
        std::vector<std::byte> all(q.begin(), q.end());
        all.insert(all.end(), s.begin(), s.end());
        return all;
    });
    for (const auto& found : integers) EXPECT_EQ(found, integers[0]);
    const ev::StateDict bytes = ev::converted(weights, ev::DType::i8);
    const std::vector<float> q = ev::to_float(bytes.at("conv.weight")), s = ev::to_float(bytes.at("conv.weight_scale"));
    ASSERT_EQ(s.size(), 64U);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const float scale = s[i / 144];
        ASSERT_LE(std::abs(q[i]), 127.0f);
        ASSERT_LE(std::abs(q[i] * scale - values[i]), 0.501f * scale) << i;
    }
}

}  // namespace

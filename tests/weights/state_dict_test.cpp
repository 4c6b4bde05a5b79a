// SPDX-License-Identifier: Apache-2.0
//
// state_dict.hpp and text.hpp: what a StateDict accepts and keeps alive, and the conversion of every dtype to float.
#include <efficientvit/weights/state_dict.hpp>

#include "../golden_values.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

namespace ev = efficientvit;

namespace {

/// A tensor of dtype T, lying one byte off any alignment.
template <class T>
struct Unaligned {
    explicit Unaligned(const std::vector<T>& values) : bytes(values.size() * sizeof(T) + 1) {
        if (!values.empty()) std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(T));
    }
    ev::Entry entry(ev::DType dtype) const {
        const auto data = std::span(bytes).subspan(1);
        return {dtype, {static_cast<std::int64_t>(data.size() / sizeof(T))}, data, nullptr};
    }
    std::vector<std::byte> bytes;
};

template <class T>
std::vector<float> converted(ev::DType dtype, const std::vector<T>& values) {
    return ev::to_float(Unaligned<T>(values).entry(dtype));
}

/// Any IEEE-like 16-bit format, by the definition: sign, exponent, mantissa.
double by_definition(std::uint16_t bits, int mantissa_bits, int bias) {
    const int exponent = (bits & 0x7fff) >> mantissa_bits;
    const int mantissa = bits & ((1 << mantissa_bits) - 1);
    const int largest = 0x7fff >> mantissa_bits;
    double value = 0;
    if (exponent == largest) {
        value = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    } else if (exponent == 0) {
        value = std::ldexp(mantissa, 1 - bias - mantissa_bits);
    } else {
        value = std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
    }
    return std::copysign(value, (bits & 0x8000) != 0 ? -1.0 : 1.0);
}

std::string message_of(const auto& action) {
    try {
        action();
    } catch (const ev::WeightsError& error) {
        return error.what();
    }
    return "no error";
}

std::vector<std::uint16_t> every_16_bits() {
    std::vector<std::uint16_t> all(65536);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
    return all;
}

TEST(DType, SizesAndNames) {
    const std::vector<std::pair<ev::DType, std::pair<std::size_t, std::string>>> expected{
        {ev::DType::f64, {8, "F64"}},     {ev::DType::f32, {4, "F32"}}, {ev::DType::f16, {2, "F16"}},
        {ev::DType::bf16, {2, "BF16"}},   {ev::DType::i64, {8, "I64"}}, {ev::DType::i32, {4, "I32"}},
        {ev::DType::i16, {2, "I16"}},     {ev::DType::i8, {1, "I8"}},   {ev::DType::u8, {1, "U8"}},
        {ev::DType::boolean, {1, "BOOL"}}};
    for (const auto& [dtype, info] : expected) {
        EXPECT_EQ(ev::dtype_size(dtype), info.first);
        EXPECT_EQ(ev::dtype_name(dtype), info.second);
        EXPECT_EQ(ev::dtype_from_name(info.second), dtype);
        EXPECT_EQ(ev::is_floating_point(dtype), info.second.find('F') < 2);
    }
    EXPECT_EQ(ev::dtype_from_name("f32"), std::nullopt);
    EXPECT_EQ(ev::dtype_from_name(""), std::nullopt);
}

TEST(ToFloat, EveryHalf) {
    const auto all = every_16_bits();
    const auto got = converted(ev::DType::f16, all);
    ASSERT_EQ(got.size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        const double expected = by_definition(all[i], 10, 15);
        ASSERT_EQ(std::isnan(got[i]), std::isnan(expected)) << i;
        ASSERT_EQ(std::signbit(got[i]), std::signbit(expected)) << i;
        if (!std::isnan(expected)) {
            ASSERT_EQ(got[i], expected) << i;
        }
    }
}

TEST(ToFloat, EveryBFloat) {
    const auto all = every_16_bits();
    const auto got = converted(ev::DType::bf16, all);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const double expected = by_definition(all[i], 7, 127);
        ASSERT_EQ(std::isnan(got[i]), std::isnan(expected)) << i;
        ASSERT_EQ(std::signbit(got[i]), std::signbit(expected)) << i;
        if (!std::isnan(expected)) {
            ASSERT_EQ(got[i], expected) << i;
        }
    }
}

TEST(ToFloat, FloatKeepsEveryBit) {
    const std::vector<std::uint32_t> bits{0x3f800000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00001,
                                          0xffc12345, 0x00000001, 0x807fffff, 0x7f7fffff};
    const auto got = converted(ev::DType::f32, bits);
    for (std::size_t i = 0; i < bits.size(); ++i) EXPECT_EQ(std::bit_cast<std::uint32_t>(got[i]), bits[i]);
}

TEST(ToFloat, DoubleRoundsToNearest) {
    const double tie = 1.0 + std::ldexp(1.0, -24);
    const auto got = converted<double>(ev::DType::f64, {tie, std::nextafter(tie, 2.0), 1e300, -1e300, 1e-300, 0.1,
                                                        std::numeric_limits<double>::quiet_NaN()});
    EXPECT_EQ(got[0], 1.0f);
    EXPECT_EQ(got[1], std::nextafter(1.0f, 2.0f));
    EXPECT_EQ(got[2], std::numeric_limits<float>::infinity());
    EXPECT_EQ(got[3], -std::numeric_limits<float>::infinity());
    EXPECT_EQ(got[4], 0.0f);
    EXPECT_EQ(got[5], 0.1f);
    EXPECT_TRUE(std::isnan(got[6]));
}

TEST(ToFloat, Integers) {
    EXPECT_EQ(converted<std::int64_t>(ev::DType::i64, {-3, 1LL << 40}), (std::vector<float>{-3, 1099511627776.0f}));
    EXPECT_EQ(converted<std::int32_t>(ev::DType::i32, {-2147483647 - 1, 7}), (std::vector<float>{-2147483648.0f, 7}));
    EXPECT_EQ(converted<std::int16_t>(ev::DType::i16, {-32768, 300}), (std::vector<float>{-32768, 300}));
    EXPECT_EQ(converted<std::int8_t>(ev::DType::i8, {-128, 127}), (std::vector<float>{-128, 127}));
    EXPECT_EQ(converted<std::uint8_t>(ev::DType::u8, {0, 255}), (std::vector<float>{0, 255}));
    EXPECT_EQ(converted<std::uint8_t>(ev::DType::boolean, {0, 1, 2}), (std::vector<float>{0, 1, 1}));
}

TEST(ToFloat, EverySizeAroundAPiece) {
    for (const std::size_t size : {0u, 1u, 2u, 1023u, 1024u, 1025u, 4095u, 4096u, 4097u, 8191u, 8192u, 8193u, 20001u}) {
        std::vector<std::uint16_t> halves(size);
        std::vector<double> doubles(size);
        for (std::size_t i = 0; i < size; ++i) {
            halves[i] = static_cast<std::uint16_t>(i * 3 % 0x7c00);
            doubles[i] = static_cast<double>(i);
        }
        const auto from_half = converted(ev::DType::f16, halves);
        const auto from_double = converted(ev::DType::f64, doubles);
        ASSERT_EQ(from_half.size(), size);
        ASSERT_EQ(from_double.size(), size);
        for (std::size_t i = 0; i < size; ++i) {
            ASSERT_EQ(from_half[i], by_definition(halves[i], 10, 15)) << i << " of " << size;
            ASSERT_EQ(from_double[i], static_cast<float>(i)) << i << " of " << size;
        }
    }
}

TEST(ToFloat, RefusesAnotherSize) {
    const Unaligned<float> three({1, 2, 3});
    std::vector<float> two(2);
    const std::string message = message_of([&] { ev::to_float(three.entry(ev::DType::f32), two); });
    EXPECT_NE(message.find("2 elements"), std::string::npos) << message;
    EXPECT_NE(message.find("[3]"), std::string::npos) << message;
}

TEST(StateDict, HoldsTensorsByName) {
    ev::StateDict dict;
    EXPECT_TRUE(dict.empty());
    dict.insert("b", {2, 1}, {1.0f, 2.0f});
    dict.insert("a", {}, {3.0f});
    dict.insert("c", {0, 5}, {});
    EXPECT_EQ(dict.size(), 3u);
    EXPECT_EQ(dict.names(), (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_TRUE(dict.contains("a"));
    EXPECT_FALSE(dict.contains("A"));
    EXPECT_EQ(dict.find("x"), nullptr);
    EXPECT_EQ(dict.at("b").shape, (std::vector<std::int64_t>{2, 1}));
    EXPECT_EQ(dict.at("b").element_count(), 2u);
    EXPECT_EQ(ev::to_float(dict.at("b")), (std::vector<float>{1, 2}));
    EXPECT_EQ(ev::to_float(dict.at("a")), (std::vector<float>{3}));
    EXPECT_EQ(ev::to_float(dict.at("c")), std::vector<float>{});
    std::string seen;
    for (const auto& [name, entry] : dict) seen += name + std::string(ev::dtype_name(entry.dtype)) + " ";
    EXPECT_EQ(seen, "aF32 bF32 cF32 ");
    EXPECT_TRUE(dict.erase("a"));
    EXPECT_FALSE(dict.erase("a"));
    EXPECT_EQ(dict.size(), 2u);
}

TEST(StateDict, SaysWhatIsMissingAndWhere) {
    ev::StateDict dict;
    dict.insert("a", {}, {3.0f});
    dict.set_source("b0.safetensors");
    const std::string message = message_of([&] { dict.at("x\ny"); });
    EXPECT_EQ(message, "b0.safetensors: no tensor 'x\\x0ay' among the 1");
}

TEST(StateDict, RefusesWhatDoesNotFit) {
    ev::StateDict dict;
    const std::vector<std::byte> bytes(8);
    const auto insert = [&](ev::DType dtype, std::vector<std::int64_t> shape) {
        return message_of([&] { dict.insert("x", dtype, std::move(shape), bytes, nullptr); });
    };
    constexpr std::int64_t huge = std::int64_t{1} << 62;
    EXPECT_EQ(insert(ev::DType::f32, {3}), "state dict: tensor 'x' of shape [3] and dtype F32 cannot have 8 bytes");
    EXPECT_NE(insert(ev::DType::f32, {1}), "no error");
    EXPECT_NE(insert(ev::DType::f32, {-1, -2}), "no error");
    EXPECT_NE(insert(ev::DType::f32, {huge, 4}), "no error");                      // wraps to 0 elements
    EXPECT_NE(insert(ev::DType::f64, {(std::int64_t{1} << 61) + 1}), "no error");  // wraps to 8 bytes
    EXPECT_NE(insert(ev::DType::f32, {huge, huge, 0}), "no error");
    EXPECT_TRUE(dict.empty());
    EXPECT_EQ(insert(ev::DType::f32, {2}), "no error");
    EXPECT_EQ(insert(ev::DType::f32, {1, 2}), "state dict: tensor 'x' is there twice");
    EXPECT_EQ(dict.at("x").shape, std::vector<std::int64_t>{2}) << "the first stays";
    EXPECT_NE(message_of([&] { dict.insert("y", {3}, {1.0f, 2.0f}); }), "no error");
    // 3 * 6148914691236517205 is the largest number that fits.
    EXPECT_EQ(message_of([&] {
                  dict.insert("none", ev::DType::u8, {3, 6148914691236517205, 0}, {}, nullptr);
              }),
              "no error");
}

/// Counts its instances, and reads every byte as its complement.
class Probe final : public ev::Storage {
public:
    explicit Probe(int& alive) : alive_(alive) { ++alive_; }
    ~Probe() override { --alive_; }
    void read(const std::byte* from, std::span<std::byte> to) const override {
        for (std::size_t i = 0; i < to.size(); ++i) to[i] = ~from[i];
    }

private:
    int& alive_;
};

TEST(StateDict, RefusesANumberThatIsNoDType) {
    const std::vector<std::byte> bytes(8);
    for (const int number : {10, 99, -1}) {
        const auto dtype = static_cast<ev::DType>(number);
        const std::string expected = "DType(" + std::to_string(number) + ") is no dtype";
        ev::StateDict dict;
        EXPECT_EQ(message_of([&] { dict.insert("x", dtype, {2}, bytes, nullptr); }), expected);
        EXPECT_EQ(message_of([&] { dict.insert("x", dtype, {100}, bytes, nullptr); }), expected);
        EXPECT_TRUE(dict.empty());
        EXPECT_EQ(message_of([&] { ev::to_float({dtype, {8}, bytes, nullptr}); }), expected);
    }
}

TEST(StateDict, KeepsItsOwnersAliveAndReadsThroughThem) {
    int alive = 0;
    const std::vector<std::byte> bytes(20000, std::byte{0x0f});
    std::optional<ev::Entry> last;
    {
        ev::StateDict copy;
        {
            ev::StateDict dict;
            const auto owner = std::make_shared<const Probe>(alive);
            dict.insert("u8", ev::DType::u8, {20000}, bytes, owner);
            dict.insert("f32", ev::DType::f32, {5000}, bytes, owner);
            copy = dict;
            EXPECT_EQ(copy.at("u8").data.data(), dict.at("u8").data.data()) << "copies share the bytes";
        }
        EXPECT_EQ(alive, 1);
        const ev::StateDict moved = std::move(copy);
        for (const float value : ev::to_float(moved.at("u8"))) ASSERT_EQ(value, 240.0f);
        for (const float value : ev::to_float(moved.at("f32"))) {
            ASSERT_EQ(std::bit_cast<std::uint32_t>(value), 0xf0f0f0f0u);
        }
        last = moved.at("u8");
    }
    EXPECT_EQ(alive, 1) << "an entry alone keeps its bytes too";
    EXPECT_EQ(ev::to_float(*last).back(), 240.0f);
    last.reset();
    EXPECT_EQ(alive, 0);
}

TEST(StateDict, OwnsTheFloatsItIsGiven) {
    ev::StateDict dict;
    {
        std::vector<float> values(1000, 2.5f);
        dict.insert("x", {10, 100}, std::move(values));
    }
    EXPECT_EQ(ev::to_float(dict.at("x")), std::vector<float>(1000, 2.5f));
}

TEST(Text, PrintableEscapesAndCuts) {
    EXPECT_EQ(ev::detail::printable("a\x1b[2J\x7f"), "a\\x1b[2J\\x7f");
    EXPECT_EQ(ev::detail::printable("\xc3\xa4"), "\xc3\xa4");
    EXPECT_EQ(ev::detail::printable("\xc3"), "\\xc3") << "not UTF-8";
    EXPECT_EQ(ev::detail::printable(std::string(300, 'x')), std::string(300, 'x'));
    EXPECT_EQ(ev::detail::printable(std::string(301, 'x')), std::string(300, 'x') + "... (301 bytes)");
    EXPECT_EQ(ev::detail::printable(std::string(299, 'x') + "\xc3\xa4z"), std::string(299, 'x') + "... (302 bytes)");
}

TEST(Text, Utf8) {
    const std::vector<std::string> good{"",
                                        "a",
                                        "\xc2\x80",
                                        "\xdf\xbf",
                                        "\xe0\xa0\x80",
                                        "\xed\x9f\xbf",
                                        "\xee\x80\x80",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf"};
    for (const auto& text : good) EXPECT_EQ(ev::detail::first_not_utf8(text), text.size());
    const std::vector<std::string> bad{"\x80",
                                       "\xbf",
                                       "\xc0\x80",
                                       "\xc1\xbf",
                                       "\xc2",
                                       "\xc2 ",
                                       "\xe0\x9f\xbf",
                                       "\xe0\xa0",
                                       "\xe1\x80 ",
                                       "\xed\xa0\x80",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf0\x90\x80",
                                       "\xf0\x90\x80 ",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff"};
    for (const auto& text : bad) EXPECT_EQ(ev::detail::first_not_utf8("ab" + text), 2u) << ev::detail::printable(text);
}

TEST(GoldenValues, AreThoseOfTheReadme) {
    EXPECT_EQ(golden_hash("input"), 0x1ebbae8f5810b65bu);
    const auto input = golden_tensor("input", {1, 1, 2, 2});
    EXPECT_EQ(input, (std::vector<float>{-0.80436337f, 0.30472076f, -0.5927515f, -0.45111072f}));
    const auto weight = golden_tensor("input_stem.op_list.0.conv.weight", {8, 3, 3, 3});
    ASSERT_EQ(weight.size(), 216u);
    EXPECT_EQ(weight[0], -0.3638483f);
    EXPECT_EQ(weight[1], 0.335486f);
    EXPECT_EQ(weight[2], 0.17101157f);
    const auto variance = golden_tensor("input_stem.op_list.0.norm.running_var", {8});
    EXPECT_EQ(variance[0], 1.0063452f);
    EXPECT_EQ(variance[1], 1.3515499f);
}

TEST(GoldenValues, FollowTheKindOfTensor) {
    const auto v = [](std::string_view name) {
        return static_cast<double>(golden_tensor("input", {1}, std::string(name))[0]);
    };
    // golden_tensor("input", …, seed) hashes seed + "input": so a name that ends with "input" shows its own v.
    EXPECT_FLOAT_EQ(golden_tensor("x.input", {1})[0], static_cast<float>(0.85 + 0.2 * v("x.")));
    EXPECT_FLOAT_EQ(golden_tensor("x_module.input", {1})[0], static_cast<float>(0.15 + 0.1 * v("x_module.")));
    EXPECT_FLOAT_EQ(golden_tensor("x.input", {1, 2, 3})[0], static_cast<float>(v("x.")));
    EXPECT_LT(std::abs(golden_tensor("x.bias", {1})[0]), 0.1f);
    EXPECT_LT(std::abs(golden_tensor("x.running_mean", {1})[0]), 0.1f);
    EXPECT_NE(golden_tensor("x", {4}, "seed "), golden_tensor("x", {4}));
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Sizes that no int and no 32-bit pointer counts: the true number, or an exception, never a wrapped one. Also built for
// 32 bits (tests/cross).
#include "../support.hpp"

#include <efficientvit/images/image.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <cstdint>
#include <new>

namespace {

constexpr bool narrow = sizeof(void*) == 4;

const ev::BackboneB0& backbone() {
    static const auto b0 = golden_layer<ev::BackboneB0>();
    return b0;
}

TEST(Sizes, OfScratchMemoryAreTrue) {
    const ev::Context context;
    const auto bytes = [&](const ev::Shape& shape) { return backbone().workspace_bytes(shape, context); };
    const std::uint64_t one = bytes({1, 3, 4096, 4096});
    EXPECT_GT(one, std::uint64_t{100} << 20);
    // In proportion to the pixels, but for what a row takes.
    for (const ev::Shape& shape : {ev::Shape{1, 3, 16384, 16384}, ev::Shape{16, 3, 4096, 4096}}) {
        EXPECT_GT(bytes(shape), one * 15) << to_text(shape);
        EXPECT_LT(bytes(shape), one * 17) << to_text(shape);
        EXPECT_GT(bytes(shape), std::uint64_t{1} << 32) << to_text(shape);
    }
    EXPECT_GT(bytes({65536, 3, 64, 64}), std::uint64_t{1} << 32);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Sizes, BeyondMemoryAreBadAlloc) {
    ev::Context context;
    EXPECT_THROW(context.reserve(UINT64_MAX), std::bad_alloc);
    EXPECT_THROW(context.reserve(UINT64_MAX - 2), std::bad_alloc);
    EXPECT_THROW(context.reserve(std::uint64_t{1} << 60), std::bad_alloc);
    EXPECT_THROW(ev::detail::AlignedBuffer<float>(std::uint64_t{1} << 62), std::bad_alloc);
    ev::Tensor tensor;
    EXPECT_THROW(ev::detail::resize(tensor, {1 << 16, 1 << 25, 1 << 13, 1}), std::bad_alloc);
    if (!narrow) return;
    // What wraps to little in 32 bits. Inputs are not read: the memory comes first.
    const std::uint64_t wrapped = (std::uint64_t{1} << 32) + 4096;
    EXPECT_THROW(context.reserve(wrapped), std::bad_alloc);
    EXPECT_THROW(ev::detail::AlignedBuffer<float>(wrapped / 4), std::bad_alloc);
    EXPECT_THROW(ev::detail::resize(tensor, {1 << 16, 64, 32, 32}), std::bad_alloc);
    const float x = 0;
    for (const ev::Shape& shape : {ev::Shape{1, 3, 16384, 16384}, ev::Shape{1024, 3, 512, 512}}) {
        EXPECT_THROW(backbone().forward_final(ev::ConstTensorView{&x, shape}, context), std::bad_alloc);
    }
    const ev::Tensor image = golden_input({1, 3, 32, 32});
    EXPECT_TRUE(same_bits(backbone().forward_final(image, context), backbone().forward_final(image)));
}
#endif

TEST(Sizes, OfInputsHaveTheSameLimitsEverywhere) {
    const auto fits = [](const ev::Shape& s) { return !ev::detail::is_too_large(s); };
    for (const ev::Shape& s :
         {ev::Shape{1, 3, 32, 32}, ev::Shape{1, 3, 16384, 16384}, ev::Shape{65536, 1, 64, 64},
          ev::Shape{1, 33554431, 8, 8}, ev::Shape{8, 33554431, 8, 16}, ev::Shape{1, 1, 1, 1 << 28}}) {
        EXPECT_TRUE(fits(s)) << to_text(s);
    }
    for (const ev::Shape& s : {ev::Shape{1, 3, 16385, 16384}, ev::Shape{65537, 1, 1, 1}, ev::Shape{65536, 1, 4097, 1},
                               ev::Shape{1, 33554432, 1, 1}, ev::Shape{1, 1, 1, (1 << 28) + 1},
                               ev::Shape{1, 1, 65536, 65536}, ev::Shape{1 << 16, 1 << 24, 1 << 12, 1 << 16}}) {
        EXPECT_FALSE(fits(s)) << to_text(s);
    }
    EXPECT_THROW(ev::Image({65536, 65536}), ev::ImageError);
    EXPECT_THROW(ev::Image({100000, 100000}), ev::ImageError);
}

TEST(Sizes, InFilesAreNotWrapped) {
    const auto parse = [](const std::string& shape, const std::string& offsets) {
        const std::string header = R"({"a":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
        std::vector<std::byte> file(8 + header.size() + 16);
        const std::uint64_t length = header.size();
        std::memcpy(file.data(), &length, 8);
        std::memcpy(file.data() + 8, header.data(), header.size());
        return ev::parse_safetensors(file).size();
    };
    EXPECT_EQ(parse("[4]", "[0,16]"), 1u);
    for (const auto& [shape, offsets] :
         std::vector<std::pair<std::string, std::string>>{{"[4]", "[0,4294967312]"},
                                                          {"[4]", "[4294967296,4294967312]"},
                                                          {"[4294967300]", "[0,16]"},
                                                          {"[1073741828]", "[0,16]"},
                                                          {"[65536,65536,4]", "[0,16]"},
                                                          {"[2147483649,2]", "[0,16]"},
                                                          {"[4611686018427387908]", "[0,16]"}}) {
        EXPECT_THROW(parse(shape, offsets), ev::WeightsError) << shape << offsets;
    }
}

}  // namespace

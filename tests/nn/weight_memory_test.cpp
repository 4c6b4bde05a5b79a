// SPDX-License-Identifier: Apache-2.0
//
// Where packed weights lie, and for how long.
#include "../support.hpp"

#include <efficientvit/runtime/weight_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using ev::detail::PackedWeights;
using ev::detail::WeightMemory;

std::uintptr_t address(const PackedWeights& weights) { return reinterpret_cast<std::uintptr_t>(weights.data()); }

constexpr std::uint64_t some = 100'001;  // floats: no whole number of lines, pages or large pages
constexpr std::uintptr_t some_lines = (4 * some + 63) / 64 * 64;  // bytes

/// So many that more than a chunk of large pages is used.
std::vector<PackedWeights> take_many(WeightMemory& memory) {
    std::vector<PackedWeights> all;
    for (int i = 0; i < 120; ++i) all.push_back(memory.take(some, static_cast<float>(i)));
    return all;
}

void expect_values(const std::vector<PackedWeights>& all) {
    for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_EQ(all[i].size(), some);
        for (std::uint64_t j = 0; j < some; j += 33) ASSERT_EQ(all[i].data()[j], static_cast<float>(i));
        ASSERT_EQ(all[i].data()[some - 1], static_cast<float>(i));
    }
}

TEST(WeightMemory, IsAlignedAndNobodysTwice) {
    WeightMemory memory;
    const std::vector<PackedWeights> all = take_many(memory);
    for (const PackedWeights& weights : all) EXPECT_EQ(address(weights) % 64, 0);
    expect_values(all);
    const PackedWeights none = memory.take(0);
    EXPECT_TRUE(none.empty());
}

TEST(WeightMemory, OutlivesWhoHandedItOutAndSharesItWithCopies) {
    std::vector<PackedWeights> kept;
    const float* first = nullptr;
    {
        WeightMemory memory;
        const std::vector<PackedWeights> all = take_many(memory);
        first = all.front().data();
        kept = all;
    }
    EXPECT_EQ(kept.front().data(), first);
    expect_values(kept);
}

TEST(WeightMemory, OfMoreThanThereIsIsABadAlloc) {
    WeightMemory memory;
    std::vector<PackedWeights> all;
    for (const std::uint64_t floats : {std::uint64_t{1} << 62, UINT64_MAX, UINT64_MAX - 14}) {
        EXPECT_THROW(memory.take(floats), std::bad_alloc) << floats;
    }
    all = take_many(memory);
    for (const std::uint64_t floats : {std::uint64_t{1} << 62, UINT64_MAX, UINT64_MAX - 14}) {
        EXPECT_THROW(memory.take(floats), std::bad_alloc) << floats;
    }
    all.push_back(memory.take(some, 120));
    expect_values(all);
}

TEST(WeightMemory, OfALayerIsSharedByItsCopies) {
    using Layer = ev::ConvLayer<ev::ConvConfig{.in_channels = 16, .out_channels = 24}>;
    std::optional<Layer> layer = golden_layer<Layer>();
    const Layer copy = *layer;
    EXPECT_EQ(copy.packed().weights.data(), layer->packed().weights.data());
    const ev::Tensor x = golden_input({1, 16, 9, 7});
    const ev::Tensor y = layer->forward(x);
    layer.reset();
    EXPECT_TRUE(same_bits(copy.forward(x), y));
}

TEST(WeightMemory, IsEmptyWhereItHasBeenMovedFrom) {
    WeightMemory memory;
    PackedWeights one = memory.take(some, 1);
    const PackedWeights other = std::move(one);
    EXPECT_TRUE(one.empty());  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(one.data(), nullptr);
    one = other;
    EXPECT_EQ(one.data(), other.data());
    EXPECT_EQ(one[some - 1], 1);
}

TEST(WeightMemory, ReadsAllLayersIntoOneBuffer) {
    using Layer = ev::ConvLayer<ev::ConvConfig{.in_channels = 16, .out_channels = 24}>;
    using Attention = ev::LiteMLA<ev::LiteMLAConfig{.in_channels = 32, .out_channels = 32, .dim = 16}>;
    using Linear = ev::LinearLayer<ev::LinearConfig{.in_features = 60, .out_features = 5}>;
    const auto load = [](auto layer, std::size_t largest) {
        using L = decltype(layer);
        const ev::StateDict weights = golden_weights(L::parameters());
        const ev::MatchedWeights matched(weights, L::parameters());
        WeightMemory memory;
        layer.load({ev::WeightReader(matched), &ev::kernels::table(ev::default_isa()), true, &memory});
        EXPECT_EQ(memory.values.size(), largest);
    };
    load(Layer(), 16 * 24 * 9);
    load(Attention(), 32 * 64);
    load(Linear(), 60 * 5);
}

#if defined(__linux__)
/// The kernel's flags of the mapping that an address is in; empty where it does not say.
std::string flags_of(std::uintptr_t address) {
    std::ifstream maps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t begin = 0, end = 0;
        char dash = 0;
        std::istringstream words(line);
        if (words >> std::hex >> begin >> dash >> end && dash == '-') here = begin <= address && address < end;
        if (here && line.starts_with("VmFlags:")) return line + " ";
    }
    return {};
}

TEST(WeightMemory, OfManyIsInLargePages) {
    WeightMemory memory;
    const std::vector<PackedWeights> all = take_many(memory);
    const std::string flags = flags_of(address(all.back()));
    if (flags.empty() || !std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled")) {
        GTEST_SKIP() << "a system without large pages, or that does not tell";
    }
    const auto large = [](const std::string& text) { return text.find(" hg ") != std::string::npos; };
    EXPECT_TRUE(large(flags)) << flags;
    const std::vector<float> usual(some);  // malloc's own may be large
    EXPECT_EQ(large(flags_of(address(all.front()))), large(flags_of(reinterpret_cast<std::uintptr_t>(usual.data()))))
        << "a small model needs none";
    // One behind the other from 2 MB on, and no large page for each.
    int neighbours = 0, first = 0;
    for (std::size_t i = 1; i < all.size(); ++i) {
        neighbours += address(all[i]) - address(all[i - 1]) == some_lines;
        first += address(all[i]) % (2 << 20) == 0;
    }
    EXPECT_GE(neighbours, 100);
    EXPECT_GE(first, 1);
}
#endif

}  // namespace

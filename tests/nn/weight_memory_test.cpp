// SPDX-License-Identifier: Apache-2.0
//
// Where packed weights lie, and for how long.
#include "../support.hpp"

#include <efficientvit/runtime/weight_memory.hpp>

#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace {

using ev::detail::PackedWeights;
using ev::detail::WeightMemory;

std::uintptr_t address(const PackedWeights& weights) { return reinterpret_cast<std::uintptr_t>(weights.data()); }

constexpr std::uint64_t some = 100'000;  // floats: no whole number of lines, pages or large pages

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
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_THROW(memory.take(std::uint64_t{1} << 62), std::bad_alloc);
    std::vector<PackedWeights> all = take_many(memory);
    EXPECT_THROW(memory.take(std::uint64_t{1} << 62), std::bad_alloc);
    all.push_back(memory.take(some, 120));
    expect_values(all);
#endif
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
    EXPECT_NE(flags.find(" hg "), std::string::npos) << flags;
    EXPECT_EQ(flags_of(address(all.front())).find(" hg "), std::string::npos) << "a small model needs none";
    // One behind the other, and no large page for each.
    int neighbours = 0;
    for (std::size_t i = 1; i < all.size(); ++i) neighbours += address(all[i]) - address(all[i - 1]) == 4 * some;
    EXPECT_GE(neighbours, 100);
}
#endif

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// What loading may cost: memory in proportion to the header, whatever stands in it, and nothing lost when an
// allocation fails. Replaces the global operator new, so it must be a program of its own.
#include <efficientvit/weights/load.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include "safetensors_files.hpp"

#include <cstdlib>
#include <new>

namespace {

std::size_t in_use = 0;
std::size_t peak = 0;
std::size_t blocks = 0;
long long until_failure = -1;  // allocations; negative: never

}  // namespace

// NOLINTBEGIN: the size is kept in front of the block
void* operator new(std::size_t size) {
    if (until_failure == 0) throw std::bad_alloc();
    if (until_failure > 0) --until_failure;
    auto* block = static_cast<std::size_t*>(std::malloc(size + 16));
    if (block == nullptr) throw std::bad_alloc();
    *block = size;
    in_use += size;
    ++blocks;
    if (in_use > peak) peak = in_use;
    return block + 2;
}
void operator delete(void* pointer) noexcept {
    if (pointer == nullptr) return;
    auto* block = static_cast<std::size_t*>(pointer) - 2;
    in_use -= *block;
    --blocks;
    std::free(block);
}
void operator delete(void* pointer, std::size_t) noexcept { operator delete(pointer); }
// NOLINTEND

namespace {

/// The largest memory in use while reading, beyond what was before, per byte of the header.
double cost(const std::string& header, std::string* message = nullptr) {
    const std::string content = file_with(header);
    const std::size_t before = in_use;
    peak = in_use;
    try {
        const ev::StateDict dict = ev::parse_safetensors_borrowed(bytes_of(content));
        if (message != nullptr) *message = "";
    } catch (const ev::WeightsError& error) {
        if (message != nullptr) *message = error.what();
    }
    return static_cast<double>(peak - before) / static_cast<double>(header.size());
}

constexpr std::size_t large = 4'000'000;
constexpr double small_multiple = 6.0;
constexpr double with_copies_of_a_token =
    11.0;  // the JSON library's, for its message, where one token is the whole header

TEST(LoadingMemory, ManyTensorsWithShortNames) {
    std::string header = "{";
    for (int i = 0; header.size() < large; ++i) {
        header += (i > 0 ? "," : "") + tensor(std::to_string(i), "U8", "[0]", "0", "0");
    }
    header += "}";
    std::string message;
    EXPECT_LT(cost(header, &message), small_multiple);
    EXPECT_EQ(message, "");
}

TEST(LoadingMemory, ManyDimensions) {
    std::string shape = "[0";
    for (int i = 1; i < 64; ++i) shape += ",0";
    shape += "]";
    std::string header = "{";
    for (int i = 0; header.size() < large; ++i) {
        header += (i > 0 ? "," : "") + tensor(std::to_string(i), "U8", shape, "0", "0");
    }
    header += "}";
    std::string message;
    EXPECT_LT(cost(header, &message), small_multiple);
    EXPECT_EQ(message, "");
}

TEST(LoadingMemory, OneLongName) {
    std::string message;
    EXPECT_LT(cost("{" + tensor(std::string(large, 'x'), "U8", "[0]", "0", "0") + "}", &message), small_multiple);
    EXPECT_EQ(message, "");
}

TEST(LoadingMemory, OneLongNameInAnError) {
    std::string message;
    EXPECT_LT(cost("{\"" + std::string(large, 'x') + "\":1}", &message), small_multiple);
    EXPECT_LT(message.size(), 1000u);
    EXPECT_LT(cost("{\"a\":\"" + std::string(large, 'x') + "\"}", &message), small_multiple);
    EXPECT_LT(message.size(), 1000u);
    EXPECT_LT(cost("{\"" + std::string(large, 'x'), &message), with_copies_of_a_token);
    EXPECT_LT(message.size(), 1000u);
}

TEST(LoadingMemory, MetadataOfManyKeys) {
    std::string header = "{\"__metadata__\":{";
    for (int i = 0; header.size() < large; ++i) header += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
    header += "}}";
    std::string message;
    // A map's node for every 12 bytes of text: the worst there is.
    EXPECT_LT(cost(header, &message), 10.0);
    EXPECT_EQ(message, "");
}

TEST(LoadingMemory, DeepNestingAndGiantNumbers) {
    EXPECT_LT(cost("{\"a\":" + std::string(large, '[')), small_multiple);
    EXPECT_LT(cost("{\"a\":{\"shape\":[" + std::string(large, '1') + "]}}"), with_copies_of_a_token);
    std::string shape = "[1";
    while (shape.size() < large) shape += ",1";
    EXPECT_LT(cost("{\"a\":{\"shape\":" + shape + "]}}"), small_multiple);
}

TEST(LoadingMemory, ALengthThatLiesTakesNothing) {
    const std::string content = length_bytes(99'999'999) + "{}";
    const std::size_t before = in_use;
    peak = in_use;
    EXPECT_THROW(ev::parse_safetensors(bytes_of(content)), ev::WeightsError);
    EXPECT_LT(peak - before, 10'000u);
}

class LoadingFailures : public InDirectory {};

TEST_F(LoadingFailures, EveryAllocationFailingIsAnExceptionWithoutALeak) {
    const fs::path path = write(good);
    const std::vector<ev::Parameter> wanted{{"b", {2, 1}}, {"missing", {1}}};
    ev::LoadOptions options;
    options.strict = false;
    bool done = false;
    int failures = 0;
    for (long long n = 0; !done && n < 10'000; ++n) {
        const std::size_t before = blocks;
        try {
            until_failure = n;
            const ev::StateDict dict = ev::load_safetensors(path);
            const ev::StateDict copied = ev::parse_safetensors(bytes_of(good));
            const ev::MatchedWeights matched(dict, wanted, options);
            const std::vector<float> values = ev::WeightReader(matched).read("b");
            until_failure = -1;
            done = true;
            EXPECT_EQ(values, (std::vector<float>{1, 2}));
        } catch (const std::bad_alloc&) {
            until_failure = -1;
            ++failures;
        }
        until_failure = -1;
        ASSERT_EQ(blocks, before) << "after the failure of allocation " << n;
    }
    EXPECT_TRUE(done);
    EXPECT_GT(failures, 20);
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// What loading may cost: memory in proportion to the header, whatever stands in it, and nothing lost when an
// allocation fails. Replaces the global operator new, so it must be a program of its own.
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/torch_checkpoint.hpp>
#include <efficientvit/weights/weight_reader.hpp>

#include "safetensors_files.hpp"
#include "torch_files.hpp"

#include <cstdlib>
#include <ctime>
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

/// The largest memory in use during `parse`, beyond what was before, per byte of `size`.
template <class Parse>
double cost_of(Parse parse, std::size_t size, std::string* message) {
    const std::size_t before = in_use;
    peak = in_use;
    try {
        parse();
        if (message != nullptr) *message = "";
    } catch (const ev::WeightsError& error) {
        if (message != nullptr) *message = error.what();
    }
    return static_cast<double>(peak - before) / static_cast<double>(size);
}

/// Of safetensors, per byte of the header.
double cost(const std::string& header, std::string* message = nullptr) {
    const std::string content = file_with(header);
    return cost_of([&] { ev::parse_safetensors_borrowed(bytes_of(content)); }, header.size(), message);
}

/// Of a checkpoint, per byte of the pickle; the copy that is made of the archive counts too.
double checkpoint_cost(const std::string& pickle, std::string* message = nullptr) {
    const std::string content = checkpoint_of(pickle).bytes();
    return cost_of([&] { ev::parse_torch_checkpoint(bytes_of(content), {.skip_extra_entries = true}); }, pickle.size(),
                   message);
}

constexpr std::size_t large = 4'000'000;
constexpr double small_multiple = 6.0;
constexpr double worst_pickle = 30.0;
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

// ---- Checkpoints ----

std::string repeat(const std::string& piece, std::size_t bytes) {
    std::string out;
    while (out.size() < bytes) out += piece;
    return out;
}

TEST(CheckpointMemory, EveryInstructionRepeated) {
    for (const std::string piece :
         {"N", "(", "]", "}", ")", "K\1", "\x94", "\x85", "N\x94", "\x85\x94", "NNs", "K\1Ns", "}(u", "X\1"}) {
        EXPECT_LT(checkpoint_cost("\x80\2}" + repeat(piece, large) + "."), worst_pickle)
            << ev::detail::printable(piece);
    }
    // A thousand at once, as Python does it.
    for (const std::string value : {"N", "K\1", "]", "}", ")", "N\x85", "N\x94"}) {
        const std::string piece = "(" + repeat("N" + value, 1000 * (1 + value.size())) + "u";
        EXPECT_LT(checkpoint_cost("\x80\2}" + repeat(piece, large) + "."), worst_pickle)
            << ev::detail::printable(value);
    }
}

TEST(CheckpointMemory, ManyTensorsAsPythonWritesThem) {
    std::string pickle = "\x80\2}";
    for (int i = 0; pickle.size() < large; ++i) pickle += p_text(std::to_string(i)) + p_good_tensor() + "s";
    std::string message;
    EXPECT_LT(checkpoint_cost(pickle + ".", &message), small_multiple);
    EXPECT_EQ(message, "");
}

TEST(CheckpointMemory, AHundredThousandOpaqueEntries) {
    std::string entries = "}";
    for (int i = 0; i < 100'000; ++i) {
        if (i % 1000 == 0) entries += i == 0 ? "(" : "u(";  // a thousand at once, as Python does it
        const std::string object =
            i == 0 ? p_global("argparse", "Namespace") + std::string("q\0", 2) : std::string("h\0", 2);
        entries += p_text("entry " + std::to_string(i)) + object + ")\x81" + p_dict({p_text("lr"), p_int(i)}) + "b";
    }
    const std::string pickle =
        pickle_of(p_dict({p_text("state_dict"), p_dict({p_text("w"), p_good_tensor()}), p_text("log"), entries + "u"}));
    std::string message;
    const std::clock_t begin = std::clock();
    const double bytes = checkpoint_cost(pickle, &message) * static_cast<double>(pickle.size());
    const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    EXPECT_EQ(message, "");
    EXPECT_LT(bytes, 100e6);
#if defined(NDEBUG)
    EXPECT_LT(seconds, 1.0);
#else
    EXPECT_LT(seconds, 5.0);
#endif
    RecordProperty("bytes", static_cast<int>(bytes));
    RecordProperty("milliseconds", static_cast<int>(1000 * seconds));
    // And beside the tensors themselves.
    const std::string flat = pickle_of(p_dict({p_text("w"), p_good_tensor(), p_text("log"), entries + "u"}));
    EXPECT_LT(checkpoint_cost(flat, &message) * static_cast<double>(flat.size()), 100e6);
    EXPECT_EQ(message, "");
}

TEST(CheckpointMemory, ManyNamesForOneTensor) {
    std::string extents = "(";
    for (int i = 0; i < 64; ++i) extents += "K\1";
    extents += "t";
    const std::string deep = p_tensor(p_storage("0", 6), 0, extents, extents);
    for (const std::string& tensor : {deep, p_good_tensor()}) {
        std::string pickle = "\x80\2}" + p_text("") + tensor + std::string("q\0s", 3);
        for (int i = 0; pickle.size() < large; ++i) {
            const std::string name = std::to_string(i);
            pickle += "\x8c" + le(name.size(), 1) + name + std::string("h\0s", 3);
        }
        std::string message;
        EXPECT_LT(checkpoint_cost(pickle + ".", &message), worst_pickle);
        EXPECT_NE(message.find("there are more names than"), std::string::npos);
    }
}

TEST(CheckpointMemory, ManyFilesInTheArchive) {
    Zip zip = checkpoint_of(pickle_of("}"));
    for (int i = 0; i < 50'000; ++i) zip.members.push_back({.name = std::to_string(i)});
    const std::string content = zip.bytes();
    std::string message;
    EXPECT_LT(cost_of([&] { ev::parse_torch_checkpoint(bytes_of(content)); }, content.size(), &message),
              small_multiple);
    EXPECT_EQ(message, "");
}

TEST(CheckpointMemory, LengthsThatLieTakeNothing) {
    Zip zip = checkpoint_of(pickle_of("}"));
    zip.zip64 = true;
    zip.count = std::uint64_t{1} << 40;
    const std::string content = zip.bytes();
    const double size = 1000;
    EXPECT_LT(cost_of([&] { ev::parse_torch_checkpoint(bytes_of(content)); }, 1, nullptr), 3 * size);
    std::string message;
    EXPECT_LT(checkpoint_cost(std::string("\x80\2X\xff\xff\xff\x7f", 7), &message) * 7, 4 * size);
    EXPECT_NE(message.find("cut short"), std::string::npos);
}

class LoadingFailures : public InDirectory {};

TEST_F(LoadingFailures, EveryAllocationFailingIsAnExceptionWithoutALeak) {
    const fs::path path = write(good);
    // One tensor as it lies, one laid out anew.
    const std::string pt =
        checkpoint_of(pickle_of(p_dict({p_text("a"), p_good_tensor(), p_text("b"),
                                        p_tensor(p_storage("0", 6), 0, p_tuple({3, 2}), p_tuple({1, 3}))})))
            .bytes();
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
            const ev::StateDict checkpoint = ev::parse_torch_checkpoint(bytes_of(pt));
            const ev::MatchedWeights matched(dict, wanted, options);
            const std::vector<float> values = ev::WeightReader(matched).read("b", 2, 0.0f);
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

// SPDX-License-Identifier: Apache-2.0
//
// torch_checkpoint.hpp on what PyTorch 2.0 and 2.14 wrote (data/checkpoints), and on the published form of a model.
// What is wrong with files made to be wrong is hostile_checkpoint_test.cpp's.
#include <efficientvit/weights/load.hpp>
#include <efficientvit/weights/torch_checkpoint.hpp>

#include "../golden_values.hpp"
#include "safetensors_files.hpp"

#include <nlohmann/json.hpp>

#include <fstream>
#include <iterator>

namespace {

using Shape = std::vector<std::int64_t>;
using Values = std::vector<float>;

fs::path data(const std::string& name) { return fs::path(EFFICIENTVIT_TEST_DATA) / "checkpoints" / name; }

std::string content_of(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void expect_tensor(const ev::StateDict& dict, const std::string& name, ev::DType dtype, const Shape& shape,
                   const Values& values) {
    const ev::Entry& entry = dict.at(name);
    EXPECT_EQ(entry.dtype, dtype) << name;
    EXPECT_EQ(entry.shape, shape) << name;
    EXPECT_EQ(ev::to_float(entry), values) << name;
}

Values count(int n, float factor = 1, float first = 0) {
    Values out;
    for (int i = 0; i < n; ++i) out.push_back(first + factor * static_cast<float>(i));
    return out;
}

/// What make_checkpoints.py's module() holds, with `more` added to each value.
void expect_module(const ev::StateDict& dict, float more = 0) {
    EXPECT_EQ(dict.size(), 6u);
    expect_tensor(dict, "0.weight", ev::DType::f32, {2, 1, 3, 3}, count(18, 0.5f, more));
    expect_tensor(dict, "1.weight", ev::DType::f32, {2}, count(2, 0.5f, more));
    expect_tensor(dict, "1.bias", ev::DType::f32, {2}, count(2, 0.5f, more));
    expect_tensor(dict, "1.running_mean", ev::DType::f32, {2}, {more, more});
    expect_tensor(dict, "1.running_var", ev::DType::f32, {2}, {1 + more, 1 + more});
    expect_tensor(dict, "1.num_batches_tracked", ev::DType::i64, {}, {9 + more});
}

class TorchCheckpoint : public InDirectory, public testing::WithParamInterface<const char*> {
protected:
    static fs::path file(const std::string& name) { return data(name + "_torch" + GetParam() + ".pt"); }
};
INSTANTIATE_TEST_SUITE_P(SavedBy, TorchCheckpoint, testing::Values("2.0", "2.14"),
                         [](const auto& version) { return "Torch" + std::string(version.param).replace(1, 1, "_"); });

TEST_P(TorchCheckpoint, EveryElementTypeAndLayout) {
    using D = ev::DType;
    const ev::StateDict dict = ev::load_torch_checkpoint(file("tensors"));
    EXPECT_EQ(dict.size(), 23u);
    EXPECT_EQ(dict.source(), file("tensors").string());
    expect_tensor(dict, "f64", D::f64, {2, 3}, count(6, 0.25f, 1e-9f));
    expect_tensor(dict, "f32", D::f32, {2, 3}, count(6, 1, -2.5f));
    expect_tensor(dict, "f16", D::f16, {2, 3}, count(6, 0.5f));
    expect_tensor(dict, "bf16", D::bf16, {2, 3}, count(6, 0.5f));
    expect_tensor(dict, "i64", D::i64, {}, {12345678901234.0f});
    expect_tensor(dict, "i32", D::i32, {3}, {-1, 0, 1});
    expect_tensor(dict, "i16", D::i16, {3}, {-1, 0, 1});
    expect_tensor(dict, "i8", D::i8, {3}, {-1, 0, 1});
    expect_tensor(dict, "u8", D::u8, {3}, {253, 254, 255});
    expect_tensor(dict, "bool", D::boolean, {2}, {1, 0});
    expect_tensor(dict, "parameter", D::f32, {4}, count(4));
    expect_tensor(dict, "buffer_of_no_gradient", D::f32, {4}, count(4));
    expect_tensor(dict, "scalar", D::f32, {}, {1.5f});
    expect_tensor(dict, "empty", D::f32, {0, 3}, {});
    expect_tensor(dict, "transposed", D::f32, {3, 2}, {0, 3, 1, 4, 2, 5});
    Values permuted;
    for (int k = 0; k < 4; ++k) {
        for (int i = 0; i < 6; ++i) permuted.push_back(static_cast<float>(4 * i + k));
    }
    expect_tensor(dict, "permuted", D::f32, {4, 2, 3}, permuted);
    expect_tensor(dict, "sliced", D::f16, {2, 2}, {6, 9, 18, 21});
    expect_tensor(dict, "channels_last", D::f32, {1, 2, 2, 2}, count(8));
    expect_tensor(dict, "expanded", D::f32, {2, 3}, Values(6, 7.0f));
    expect_tensor(dict, "shared", D::f32, {8}, count(8));
    expect_tensor(dict, "shared.front", D::f32, {4}, count(4));
    expect_tensor(dict, "shared.back", D::f32, {2, 2}, {4, 5, 6, 7});
    expect_tensor(dict, "shared.odd", D::f32, {4}, {1, 3, 5, 7});
    EXPECT_EQ(dict.at("shared.back").data.data(), dict.at("shared").data.data() + 16) << "not copied";
}

TEST_P(TorchCheckpoint, AModulesStateDict) {
    expect_module(ev::load_torch_checkpoint(file("module")));
    expect_module(ev::load_torch_checkpoint(file("module_protocol4")));
}

TEST_P(TorchCheckpoint, ExtraEntriesAreNamedAndSkippedOnlyWhenAsked) {
    const fs::path path = file("training");
    EXPECT_EQ(message_of([&] { ev::load_torch_checkpoint(path); }),
              path.string() +
                  ": beside the 6 tensors of its state dict it holds 'epoch' (an integer), 'best' (a number), 'arch' "
                  "(a string), 'history' (a list), 'big' (a number), 'negative' (an integer), 'optimizer' (a dict of "
                  "2), 'ema' (a dict of 2); {.skip_extra_entries = true} passes them over, {.entry = \"...\"} reads "
                  "one of them");
    expect_module(ev::load_torch_checkpoint(path, {.skip_extra_entries = true}));
    expect_module(ev::load_torch_checkpoint(path, {.entry = "state_dict"}));
}

TEST_P(TorchCheckpoint, OneEntryOfSeveral) {
    const fs::path path = file("training");
    EXPECT_EQ(message_of([&] { ev::load_torch_checkpoint(path, {.entry = "ema"}); }),
              path.string() +
                  ": beside the 6 tensors of its state dict it holds 'decay' (a number); "
                  "{.skip_extra_entries = true} passes them over, {.entry = \"...\"} reads one of them");
    expect_module(ev::load_torch_checkpoint(path, {.entry = "ema", .skip_extra_entries = true}), 1);
    EXPECT_EQ(message_of([&] { ev::load_torch_checkpoint(path, {.entry = "none"}); }),
              path.string() +
                  ": its entry 'none' is missing, expected a dict; it holds 'epoch' (an integer), 'best' (a number), "
                  "'arch' (a string), 'history' (a list), 'big' (a number), 'negative' (an integer), 'state_dict' (a "
                  "dict of 6), 'optimizer' (a dict of 2), 'ema' (a dict of 2)");
    EXPECT_NE(message_of([&] {
                  ev::load_torch_checkpoint(path, {.entry = "epoch"});
              }).find("its entry 'epoch' is an integer, expected a dict"),
              std::string::npos);
    EXPECT_NE(message_of([&] {
                  ev::load_torch_checkpoint(path, {.entry = "optimizer"});
              }).find("tensors are in several of its entries: 'optimizer.state.0' (a dict of "),
              std::string::npos);
    EXPECT_NE(message_of([&] {
                  ev::load_torch_checkpoint(path, {.entry = "ema.none"});
              }).find("its entry 'ema.none' is missing, expected a dict; 'ema' holds '"),
              std::string::npos);
}

TEST_P(TorchCheckpoint, OldFormatIsRefusedWithTheWayToConvertIt) {
    EXPECT_EQ(message_of([&] { ev::load_torch_checkpoint(file("legacy")); }),
              file("legacy").string() +
                  ": a pickle that is not in a zip archive: PyTorch's format before version 1.6, which is not read; "
                  "convert it in Python: torch.save(torch.load(path, map_location=\"cpu\", weights_only=True), path)");
}

TEST_P(TorchCheckpoint, FromMemoryWhichMayGoAfterwards) {
    std::string content = content_of(file("module"));
    const ev::StateDict dict = ev::parse_torch_checkpoint(bytes_of(content));
    content.assign(content.size(), 'x');
    expect_module(dict);
    EXPECT_EQ(dict.source(), "checkpoint in memory");
}

TEST_P(TorchCheckpoint, EveryTruncationIsAnError) {
    for (const std::string name : {"tensors", "module_protocol4"}) {
        const std::string content = content_of(file(name));
        for (std::size_t size = 0; size < content.size(); ++size) {
            const std::string part = content.substr(0, size);
            EXPECT_NE(message_of([&] { ev::parse_torch_checkpoint(bytes_of(part)); }), "no error") << size;
        }
    }
}

TEST_P(TorchCheckpoint, EveryChangedByteIsReadOrRefused) {
    // Nothing but WeightsError comes out, and what is read lies inside (a sanitizer sees the rest).
    const std::string content = content_of(file("tensors"));
    int read = 0;
    int refused = 0;
    for (std::size_t at = 0; at < content.size(); ++at) {
        for (const int flip : {0x01, 0x80, 0xff}) {
            std::string changed = content;
            changed[at] = static_cast<char>(changed[at] ^ flip);
            try {
                const ev::StateDict dict = ev::parse_torch_checkpoint(bytes_of(changed));
                for (const auto& [name, entry] : dict) (void)ev::to_float(entry);
                ++read;
            } catch (const ev::WeightsError& error) {
                EXPECT_STRNE(error.what(), "");
                ++refused;
            }
        }
    }
    EXPECT_GT(read, 1000) << "values, padding, checksums";
    EXPECT_GT(refused, 1000);
}

#if !defined(_WIN32)  // Windows refuses to shorten a mapped file

TEST_P(TorchCheckpoint, AFileCutShortWhileMappedIsAnError) {
    const fs::path path = write(content_of(file("module")));
    const ev::StateDict dict = ev::load_torch_checkpoint(path);
    fs::resize_file(path, 0);
    EXPECT_NE(message_of([&] { ev::to_float(dict.at("0.weight")); }).find("cut short while being read"),
              std::string::npos);
}

#endif

TEST(PublishedCheckpoint, HoldsExactlyTheModelsWeights) {
    const ev::StateDict dict = ev::load_torch_checkpoint(data("backbone_b0_official.pt"));
    std::ifstream in(fs::path(EFFICIENTVIT_TEST_DATA) / "names" / "keys_backbone_b0.json");
    const auto keys = nlohmann::ordered_json::parse(in);
    std::vector<ev::Parameter> wanted;
    std::size_t counters = 0;
    for (const auto& [name, shape] : keys.items()) wanted.push_back({name, shape});
    for (const auto& [name, entry] : dict) {
        if (name.ends_with("num_batches_tracked")) {
            ++counters;
            EXPECT_EQ(entry.dtype, ev::DType::i64);
            continue;
        }
        EXPECT_EQ(ev::to_float(entry), golden_tensor(name, entry.shape)) << name;
    }
    EXPECT_GT(counters, 0u);
    const ev::MatchedWeights matched(dict, wanted);
    for (const auto& parameter : wanted) EXPECT_NE(matched.find(parameter.name), nullptr) << parameter.name;
}

}  // namespace

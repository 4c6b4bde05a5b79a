// SPDX-License-Identifier: Apache-2.0
//
// load.hpp, name_matching.hpp and timm_names.hpp: every published model's key set into the full model and into its bare
// backbone, under every wrapper and naming convention, and what the errors say.
#include <efficientvit/weights/weight_reader.hpp>

#include "../golden_values.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace ev = efficientvit;
namespace fs = std::filesystem;

namespace {

using Names = std::vector<ev::Parameter>;

nlohmann::ordered_json read_json(const std::string& file) {
    std::ifstream in(fs::path(EFFICIENTVIT_TEST_DATA) / "names" / file);
    return nlohmann::ordered_json::parse(in);
}

Names keys(const std::string& model) {
    Names out;
    const auto json = read_json("keys_" + model + ".json");
    for (const auto& [name, shape] : json.items()) out.push_back({name, shape});
    return out;
}

/// The models whose key sets are there, such as "cls_b0", by what the file's name begins with.
std::vector<std::string> models(const std::string& beginning) {
    std::set<std::string> out;
    for (const auto& file : fs::directory_iterator(fs::path(EFFICIENTVIT_TEST_DATA) / "names")) {
        const std::string name = file.path().stem().string();
        if (name.starts_with("keys_" + beginning)) out.insert(name.substr(5));
    }
    return {out.begin(), out.end()};
}

Names backbone_of(const Names& full) {
    Names out;
    for (ev::Parameter parameter : full) {
        if (!parameter.name.starts_with("backbone.")) continue;
        parameter.name.erase(0, 9);
        out.push_back(parameter);
    }
    return out;
}

/// Tensors without values: matching looks at names, shapes and dtypes only. The k-th tensor added lies at the k-th byte
/// of memory that nobody touches, so that a tensor found can be told from all others.
class FakeFile {
public:
    void add(const std::string& name, const std::vector<std::int64_t>& shape, ev::DType dtype = ev::DType::f32) {
        const std::size_t bytes = static_cast<std::size_t>(*ev::detail::element_count(shape)) * ev::dtype_size(dtype);
        ASSERT_LT(dict.size() + bytes, size);
        place_[name] = memory() + dict.size();
        dict.insert(name, dtype, shape, {memory() + dict.size(), bytes}, nullptr);
    }
    void add(const Names& names, const std::string& before = "") {
        for (const auto& parameter : names) add(before + parameter.name, parameter.shape);
    }
    /// The counter that published files hold beside each batch norm.
    void add_counters() {
        for (const std::string& name : dict.names()) {
            if (name.ends_with(".running_var"))
                add(name.substr(0, name.size() - 11) + "num_batches_tracked", {}, ev::DType::i64);
        }
    }

    /// Under strict every tensor of `wanted` is found, namely that which `in_file` says, and nothing is left.
    template <class InFile>
    void expect_fits(const Names& wanted, InFile in_file, const ev::LoadOptions& options = {}) const {
        try {
            const ev::MatchedWeights matched(dict, wanted, options);
            for (const auto& parameter : wanted) {
                const ev::Entry* entry = matched.find(parameter.name);
                ASSERT_NE(entry, nullptr) << parameter.name;
                ASSERT_EQ(entry->data.data(), place_.at(in_file(parameter.name))) << parameter.name;
            }
            EXPECT_TRUE(matched.report().missing.empty());
            EXPECT_TRUE(matched.report().unexpected.empty());
        } catch (const ev::WeightsError& error) {
            ADD_FAILURE() << error.what();
        }
    }
    void expect_fits_below(const Names& wanted, const std::string& before, const ev::LoadOptions& options = {}) const {
        expect_fits(
            wanted, [&](const std::string& name) { return before + name; }, options);
    }

    std::string message(const Names& wanted, const ev::LoadOptions& options = {}) const {
        try {
            ev::MatchedWeights(dict, wanted, options);
        } catch (const ev::WeightsError& error) {
            return error.what();
        }
        return "no error";
    }

    ev::StateDict dict;

private:
    static constexpr std::size_t size = std::size_t{400} << 20;

    /// Address space for all tests together, of which no page is ever touched.
    static const std::byte* memory() {
        static const std::unique_ptr<void, decltype(&std::free)> zeros(std::calloc(size, 1), &std::free);
        return static_cast<const std::byte*>(zeros.get());
    }

    std::map<std::string, const std::byte*> place_;
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::size_t lines_of(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

const std::vector<std::string> wrappers{"",
                                        "module.",
                                        "_orig_mod.",
                                        "model.",
                                        "module._orig_mod.",
                                        "_orig_mod.module.",
                                        "model.module.",
                                        "module.model._orig_mod.",
                                        "net.",
                                        "model.encoder."};

TEST(KeySets, AreAllThere) {
    EXPECT_EQ(models("cls").size(), 7u);
    EXPECT_EQ(models("seg").size(), 11u);
    EXPECT_EQ(models("sam_encoder").size(), 5u);
    EXPECT_EQ(models("backbone").size(), 8u);
}

TEST(KeySets, ClassifiersAndSegmentersLoadWholeAndIntoTheirBackbone) {
    for (const char* kind : {"cls", "seg"}) {
        for (const std::string& model : models(kind)) {
            SCOPED_TRACE(model);
            const Names full = keys(model);
            const Names backbone = backbone_of(full);
            ASSERT_LT(backbone.size(), full.size());
            for (const std::string& wrapper : wrappers) {
                SCOPED_TRACE(wrapper);
                FakeFile file;
                file.add(full, wrapper);
                file.add_counters();
                file.expect_fits_below(full, wrapper);
                file.expect_fits_below(backbone, wrapper + "backbone.");
            }
        }
    }
}

TEST(KeySets, TheBackbonesOfPublishedModelsAreTheBareOnes) {
    for (const std::string& model : models("cls")) {
        const Names bare = keys("backbone_" + model.substr(4));
        FakeFile file;
        file.add(keys(model));
        file.expect_fits_below(bare, "backbone.");
    }
}

TEST(KeySets, BareBackbonesLoadUnderAnyWrapper) {
    for (const std::string& model : models("backbone")) {
        const Names bare = keys(model);
        for (const std::string& wrapper : wrappers) {
            for (const std::string inner : {"", "backbone.", "image_encoder.", "image_encoder.backbone."}) {
                SCOPED_TRACE(model + " " + wrapper + inner);
                FakeFile file;
                file.add(bare, wrapper + inner);
                file.add_counters();
                file.expect_fits_below(bare, wrapper + inner);
            }
        }
    }
}

TEST(KeySets, SamEncodersLoadWholeAndIntoTheirBackbone) {
    for (const std::string& model : models("sam_encoder")) {
        const Names full = keys(model);
        const Names backbone = backbone_of(full);
        for (const std::string& wrapper : wrappers) {
            SCOPED_TRACE(model + " " + wrapper);
            FakeFile encoder;
            encoder.add(full, wrapper);
            encoder.add_counters();
            encoder.expect_fits_below(full, wrapper);
            encoder.expect_fits_below(backbone, wrapper + "backbone.");

            FakeFile sam;
            sam.add(full, wrapper + "image_encoder.");
            sam.add_counters();
            sam.add(wrapper + "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", {2, 128});
            sam.add(wrapper + "prompt_encoder.point_embeddings.0.weight", {1, 256});
            sam.add(wrapper + "mask_decoder.transformer.layers.0.norm1.weight", {256});
            sam.add(wrapper + "mask_decoder.iou_token.weight", {1, 256});
            sam.add(wrapper + "pixel_mean", {3, 1, 1});
            sam.add(wrapper + "pixel_std", {3, 1, 1});
            sam.expect_fits_below(full, wrapper + "image_encoder.");
            sam.expect_fits_below(backbone, wrapper + "image_encoder.backbone.");
        }
    }
}

TEST(KeySets, WrappersInTheMiddleAreFound) {
    const Names full = keys("cls_b0");
    FakeFile file;
    for (const auto& parameter : full) {
        std::string name = parameter.name;
        if (name.starts_with("backbone.")) name.insert(9, "_orig_mod.");
        file.add("module." + name, parameter.shape);
    }
    const auto in_file = [](std::string name) {
        if (name.starts_with("backbone.")) name.insert(9, "_orig_mod.");
        return "module." + name;
    };
    file.expect_fits(full, in_file);
    file.expect_fits(backbone_of(full), [&](const std::string& name) { return in_file("backbone." + name); });
}

std::string features_only(std::string timm) {
    const std::size_t dot = timm.find('.');
    timm[dot] = '_';
    return timm;
}

TEST(TimmNames, EveryClassifierLoadsWholeAndIntoItsBackbone) {
    int seen = 0;
    for (const std::string& model : models("cls")) {
        SCOPED_TRACE(model);
        ++seen;
        const auto names = read_json("timm_names_" + model + ".json");
        const Names full = keys(model);
        const Names backbone = backbone_of(full);
        ASSERT_EQ(names.size(), full.size());
        for (const std::string& wrapper : wrappers) {
            FakeFile classifier;
            FakeFile headless;
            FakeFile features;
            for (const auto& parameter : full) {
                const std::string timm = names.at(parameter.name);
                classifier.add(wrapper + timm, parameter.shape);
                if (timm.starts_with("head.")) continue;
                headless.add(wrapper + timm, parameter.shape);
                features.add(wrapper + features_only(timm), parameter.shape);
            }
            classifier.add_counters();
            features.add_counters();
            const auto bare = [&](const std::string& name) {
                return wrapper + std::string(names.at("backbone." + name));
            };
            classifier.expect_fits(full,
                                   [&](const std::string& name) { return wrapper + std::string(names.at(name)); });
            classifier.expect_fits(backbone, bare);
            headless.expect_fits(backbone, bare);
            features.expect_fits(backbone, [&](const std::string& name) {
                return wrapper + features_only(names.at("backbone." + name));
            });
        }
    }
    EXPECT_EQ(seen, 7);
}

TEST(TimmNames, ByName) {
    using ev::detail::Family;
    using ev::detail::timm_name;
    EXPECT_EQ(timm_name("input_stem.op_list.0.conv.weight", Family::b), "stem.in_conv.conv.weight");
    EXPECT_EQ(timm_name("backbone.input_stem.op_list.12.main.x", Family::b), "stem.res11.main.x");
    EXPECT_EQ(timm_name("stages.0.op_list.3.x", Family::b), "stages.0.blocks.3.x");
    EXPECT_EQ(timm_name("stages.0.op_list.3.x", Family::l), "stem.res2.x");
    EXPECT_EQ(timm_name("stages.3.op_list.0.x", Family::l), "stages.2.blocks.0.x");
    EXPECT_EQ(timm_name("op_list.2.main.x", Family::l), "blocks.2.main.x");
    EXPECT_EQ(timm_name("head.op_list.2.norm.bias", Family::b), "head.classifier.1.bias");
    for (const std::string none :
         {"conv.weight", "head.op_list.1.x", "head.op_list.0", "head.input_ops.0.conv.weight", "stages.x.op_list.0.y",
          "stages.0.op_list.0", "stages.0.op_list.1234567.x", "stages.0", "", "neck.x", "backbone.op_list.0.x"}) {
        EXPECT_EQ(timm_name(none, Family::b), "") << none;
        EXPECT_EQ(timm_name(none, Family::l), "") << none;
    }
    EXPECT_EQ(timm_name("input_stem.op_list.0.x", Family::l), "");
    EXPECT_EQ(ev::detail::timm_features_name("stem.in_conv.x"), "stem_in_conv.x");
    EXPECT_EQ(ev::detail::timm_features_name("stages.0.blocks.1.x"), "stages_0.blocks.1.x");
    EXPECT_EQ(ev::detail::timm_features_name("head.in_conv.x"), "");
}

TEST(Heads, AreNotPassedOverWhereTheyMatter) {
    const Names full = keys("cls_b0");
    {  // A classifier wants its own head and no other tensor of it.
        FakeFile file;
        file.add(full);
        file.add("head.op_list.9.weight", {1});
        EXPECT_TRUE(has(file.message(full), "unexpected:\n  head.op_list.9.weight, shape [1]"));
        EXPECT_EQ(file.message(backbone_of(full)), "no error");
    }
    {  // A segmenter's head is not a classifier's.
        FakeFile file;
        file.add(keys("seg_b0_cityscapes"));
        EXPECT_TRUE(has(file.message(full), "head.op_list.0.conv.weight, shape [1024, 128, 1, 1]"));
    }
    {  // Beside a backbone that is not wrapped no head is known.
        FakeFile file;
        file.add(backbone_of(full));
        file.add("head.x", {1});
        EXPECT_NE(file.message(backbone_of(full)), "no error");
    }
    {  // Only the known ones.
        FakeFile file;
        file.add(full);
        file.add("decoder.x", {1});
        file.add("headless", {1});
        const std::string message = file.message(backbone_of(full));
        EXPECT_TRUE(has(message, "unexpected:\n  decoder.x, shape [1]\n  headless, shape [1]"));
        EXPECT_FALSE(has(message, "head.op_list"));
    }
    {  // prompt_encoder beside something that is not SAM.
        FakeFile file;
        file.add(full);
        file.add("prompt_encoder.x", {1});
        EXPECT_NE(file.message(backbone_of(full)), "no error");
    }
    {  // One layer asks for nothing of a backbone.
        FakeFile file;
        file.add("conv.weight", {8, 3, 3, 3});
        file.add("head.x", {1});
        EXPECT_NE(file.message({{"conv.weight", {8, 3, 3, 3}}}), "no error");
    }
}

TEST(Errors, TensorsOfADeeperModelAreUnexpected) {
    FakeFile file;
    file.add(keys("cls_b1"));
    Names b0 = backbone_of(keys("cls_b1"));
    std::erase_if(b0, [](const ev::Parameter& p) { return p.name.starts_with("stages.2.op_list.3."); });
    const std::string message = file.message(b0);
    EXPECT_TRUE(has(message, "0 missing, 0 of the wrong shape, 0 of the wrong dtype"));
    EXPECT_TRUE(
        has(message, "\n  backbone.stages.2.op_list.3.context_module.main.qkv.conv.weight, shape [384, 128, 1, 1]"));
    EXPECT_FALSE(has(message, "op_list.2"));
    EXPECT_FALSE(has(message, "another model"));
}

TEST(Errors, AllMisfitsStandInOneMessage) {
    FakeFile file;
    file.add("module.a.weight", {4, 3});
    file.add("module.a.bias", {4}, ev::DType::boolean);
    file.add("module.b.weight", {4}, ev::DType::i8);
    file.add("module.c.weight", {4}, ev::DType::f16);
    file.add("module.c.extra", {2});
    file.add("module.c.num_batches_tracked", {}, ev::DType::boolean);
    file.dict.set_source("x.safetensors");
    const Names wanted{{"a.weight", {3, 4}}, {"a.bias", {4}},      {"b.weight", {4}},
                       {"c.weight", {4}},    {"d.weight", {1, 2}}, {"e", {}}};
    EXPECT_EQ(file.message(wanted),
              "x.safetensors does not fit the model: of the model's 6 tensors 2 missing, 1 of the wrong shape, 2 of "
              "the wrong dtype; of "
              "the file's 6 tensors 1 unexpected\n"
              "missing:\n"
              "  d.weight, shape [1, 2]\n"
              "  e, shape []\n"
              "wrong shape:\n"
              "  module.a.weight (the model's a.weight): found [4, 3], expected [3, 4]\n"
              "wrong dtype:\n"
              "  module.a.bias (the model's a.bias): found BOOL, expected F32, F16, BF16 or F64\n"
              "  module.b.weight (the model's b.weight): found I8, expected F32, F16, BF16 or F64\n"
              "unexpected:\n"
              "  module.c.extra, shape [2]");
}

TEST(Errors, NamesOfTheFileAndOfTheModel) {
    const auto names = read_json("timm_names_cls_b0.json");
    const Names full = keys("cls_b0");
    FakeFile file;
    for (const auto& parameter : full) {
        if (parameter.name == "backbone.input_stem.op_list.0.norm.bias") continue;
        const bool stem = parameter.name == "backbone.input_stem.op_list.0.conv.weight";
        file.add("model." + std::string(names.at(parameter.name)),
                 stem ? std::vector<std::int64_t>{8, 1, 3, 3} : parameter.shape);
    }
    const std::string message = file.message(backbone_of(full));
    EXPECT_TRUE(
        has(message,
            "\nits names were read as timm's\nthe model's names were found below 'model.'\nmissing:\n  "
            "model.stem.in_conv.norm.bias (the model's input_stem.op_list.0.norm.bias), shape [8]\nwrong shape:\n  "
            "model.stem.in_conv.conv.weight (the model's input_stem.op_list.0.conv.weight): found [8, 1, 3, 3], "
            "expected [8, 3, 3, 3]"))
        << message;
    EXPECT_FALSE(has(message, "unexpected:"));
}

TEST(Errors, AnotherModelsWeights) {
    FakeFile file;
    for (int i = 0; i < 300; ++i) file.add("layer" + std::to_string(1000 + i) + ".weight", {64, 64});
    const Names wanted = keys("backbone_b0");
    const std::string message = file.message(wanted);
    EXPECT_TRUE(has(
        message,
        "of the model's 161 tensors 161 missing, 0 of the wrong shape, 0 of the wrong dtype; of the file's 300 tensors "
        "300 unexpected\nthese look like the weights of another model, or a prefix is needed; the file's first "
        "names: 'layer1000.weight', 'layer1001.weight', 'layer1002.weight', 'layer1003.weight', 'layer1004.weight'\n"))
        << message.substr(0, 600);
    EXPECT_EQ(lines_of(message), 1 + 1 + 161 + 1 + 300u);
    EXPECT_TRUE(has(FakeFile().message(wanted), "the file's first names: none"));
}

TEST(Errors, WeightsOfAnotherSizeDisagreeInShape) {
    FakeFile file;
    file.add(keys("cls_b1"));
    const std::string message = file.message(keys("backbone_b0"));
    EXPECT_TRUE(has(message, "0 missing, 161 of the wrong shape") || has(message, "0 missing, 1"))
        << message.substr(0, 300);
    EXPECT_TRUE(
        has(message,
            "\n  backbone.input_stem.op_list.0.conv.weight (the model's input_stem.op_list.0.conv.weight): found "
            "[16, 3, 3, 3], expected [8, 3, 3, 3]"));
}

TEST(Errors, WhatLiesBesideTheModelHasACure) {
    const Names wanted{{"a.weight", {1}}, {"b.weight", {1}}};
    const std::string cure = "prefixes with which all names and shapes would fit: ";
    FakeFile file;
    for (const std::string name : {"model.a.weight", "model.b.weight", "criterion.weight"}) file.add(name, {1});
    EXPECT_TRUE(has(file.message(wanted), "\n" + cure + "'model.'\nunexpected:\n  criterion.weight"));
    ev::LoadOptions options;
    options.prefix = "model.";
    EXPECT_NO_THROW(ev::MatchedWeights(file.dict, wanted, options));
    for (const std::string name : {"ema_model.module.a.weight", "ema_model.module.b.weight"}) file.add(name, {1});
    EXPECT_TRUE(has(file.message(wanted), cure + "'ema_model.module.', 'model.'\n"));
    file.add("model.c.weight", {1});  // for which the prefix is no cure
    EXPECT_TRUE(has(file.message(wanted), cure + "'ema_model.module.'\n"));
    EXPECT_FALSE(has(file.message(wanted, options), cure + "'model.'"));
}

/// torch.optim.swa_utils.AveragedModel's state_dict().
TEST(Counters, OfAnAveragedModel) {
    FakeFile file;
    file.add("n_averaged", {}, ev::DType::i64);
    file.add("module.a", {1});
    EXPECT_EQ(ev::MatchedWeights(file.dict, {{"a", {1}}}).report().unexpected, std::vector<std::string>{});
}

TEST(Errors, TwoNamesForOneTensor) {
    FakeFile file;
    file.add("a", {1});
    file.add("module.a", {1});
    EXPECT_TRUE(has(file.message({{"a", {1}}}), "unexpected:\n  module.a, shape [1]"));
}

TEST(NotStrict, ReportsWhatPyTorchReports) {
    FakeFile file;
    file.add("module.a", {1});
    file.add("module.x", {1});
    file.add("module.n.num_batches_tracked", {}, ev::DType::i64);
    ev::LoadOptions options;
    options.strict = false;
    const ev::MatchedWeights matched(file.dict, {{"a", {1}}, {"b", {1}}}, options);
    EXPECT_EQ(matched.report().missing, std::vector<std::string>{"b"});
    EXPECT_EQ(matched.report().unexpected, std::vector<std::string>{"module.x"});
    EXPECT_NE(matched.find("a"), nullptr);
    EXPECT_EQ(matched.find("b"), nullptr);
    EXPECT_EQ(matched.find("x"), nullptr);

    const std::string shape = file.message({{"a", {2}}, {"b", {1}}}, options);
    EXPECT_TRUE(has(shape, "module.a (the model's a): found [1], expected [2]"))
        << "as in PyTorch, an error all the same";
    EXPECT_FALSE(has(shape, "missing:"));
    EXPECT_FALSE(has(shape, "unexpected:"));
    file.add("module.c", {1}, ev::DType::u8);
    EXPECT_TRUE(has(file.message({{"c", {1}}}, options), "found U8"));
}

const Names stem_layer{{"conv.weight", {8, 3, 3, 3}},
                       {"norm.weight", {8}},
                       {"norm.bias", {8}},
                       {"norm.running_mean", {8}},
                       {"norm.running_var", {8}}};

TEST(Prefix, SelectsALayer) {
    FakeFile file;
    file.add(keys("cls_b0"));
    file.add_counters();
    const std::string prefix = "backbone.input_stem.op_list.0.";
    ev::LoadOptions options;
    options.prefix = prefix;
    file.expect_fits_below(stem_layer, prefix, options);
    options.prefix = "backbone.";
    file.expect_fits_below(backbone_of(keys("cls_b0")), "backbone.", options);
    // What lies below the prefix must fit, whatever lies outside.
    options.prefix = "backbone.input_stem.";
    EXPECT_NE(file.message(stem_layer, options), "no error");
}

TEST(Prefix, LeavesTheOtherRulesAsTheyAre) {
    FakeFile file;
    file.add(keys("cls_b0"), "student.module.");
    file.add(keys("cls_b0"), "teacher.module.");
    ev::LoadOptions options;
    options.prefix = "teacher.";
    file.expect_fits_below(backbone_of(keys("cls_b0")), "teacher.module.backbone.", options);
    EXPECT_NE(file.message(backbone_of(keys("cls_b0"))), "no error");
}

TEST(Prefix, IsSuggestedForALayer) {
    FakeFile file;
    file.add(keys("cls_b0"));
    const std::string message = file.message(stem_layer);
    EXPECT_TRUE(
        has(message, "\nprefixes with which all names and shapes would fit: 'backbone.input_stem.op_list.0.'\n"))
        << message.substr(0, 700);
    ev::LoadOptions options;
    options.prefix = "input_stem.op_list.0";
    EXPECT_TRUE(has(file.message(stem_layer, options),
                    "no name begins with the prefix 'input_stem.op_list.0', which does not end with a dot"));
}

TEST(Prefix, IsSuggestedForAModelWithinAnotherOfAnyConvention) {
    const auto timm = read_json("timm_names_cls_b0.json");
    const Names whole = keys("cls_b0"), backbone = backbone_of(whole);
    FakeFile official, of_timm, features;
    official.add(whole, "vit.");
    for (const auto& parameter : whole)
        of_timm.add("vit.module." + std::string(timm.at(parameter.name)), parameter.shape);
    for (const auto& parameter : backbone) {
        const std::string name = timm.at("backbone." + parameter.name);
        features.add("m.vit." + ev::detail::timm_features_name(name), parameter.shape);
    }
    for (FakeFile* file : {&official, &of_timm, &features}) file->add("decoder.layers.0.weight", {4, 4});
    const std::string text = "\nprefixes with which all names and shapes would fit: ";
    EXPECT_TRUE(has(official.message(whole), text + "'vit.'\n")) << official.message(whole).substr(0, 700);
    EXPECT_TRUE(has(official.message(backbone), text + "'vit.backbone.'\n"));
    EXPECT_TRUE(has(of_timm.message(whole), text + "'vit.module.'\n"));
    EXPECT_TRUE(has(of_timm.message(backbone), text + "'vit.module.'\n"));
    EXPECT_TRUE(has(features.message(backbone), text + "'m.vit.'\n"));
    ev::LoadOptions options;
    options.prefix = "m.vit.";
    EXPECT_EQ(features.message(backbone, options), "no error");
}

TEST(Prefix, EachPlaceThatFitsIsSuggested) {
    FakeFile file;
    for (const char* name : {"a.conv.weight", "b.conv.weight", "b.norm.weight", "b.conv.weights"}) file.add(name, {8});
    file.add("c.conv.weight", {9});
    const std::string message = file.message({{"conv.weight", {8}}});
    EXPECT_TRUE(has(message, "\nprefixes with which all names and shapes would fit: 'a.', 'b.'\n")) << message;
}

TEST(Prefix, AStageOfTimm) {
    const auto names = read_json("timm_names_cls_b0.json");
    FakeFile file;
    Names stage;
    for (const auto& parameter : keys("cls_b0")) {
        file.add(names.at(parameter.name), parameter.shape);
        if (parameter.name.starts_with("backbone.stages.2."))
            stage.push_back({parameter.name.substr(18), parameter.shape});
    }
    ev::LoadOptions options;
    options.prefix = "stages.2.";
    file.expect_fits(
        stage, [&](const std::string& name) { return std::string(names.at("backbone.stages.2." + name)); }, options);
}

TEST(WeightReader, ReadsByPlace) {
    ev::StateDict dict;
    const std::vector<std::int64_t> shape{2, 3};
    dict.insert("backbone.input_stem.op_list.0.conv.weight", shape, golden_tensor("weight", shape));
    dict.insert("backbone.input_stem.op_list.0.conv.bias", {2}, {1.5f, -2.0f});
    ev::LoadOptions options;
    options.strict = false;
    const ev::MatchedWeights matched(dict,
                                     {{"input_stem.op_list.0.conv.weight", shape},
                                      {"input_stem.op_list.0.conv.bias", {2}},
                                      {"input_stem.op_list.1.conv.bias", {2}}},
                                     options);
    const ev::WeightReader root(matched);
    const ev::WeightReader layer = root.at("input_stem").at("op_list.0");
    EXPECT_EQ(layer.full_name("conv.weight"), "input_stem.op_list.0.conv.weight");
    EXPECT_EQ(root.full_name("x"), "x");
    EXPECT_TRUE(layer.has("conv.bias"));
    EXPECT_FALSE(layer.has("conv"));
    EXPECT_EQ(layer.at("conv").read("weight", 6, 0.0f), golden_tensor("weight", shape));
    EXPECT_EQ(layer.read("conv.bias", 2, 0.0f), (std::vector<float>{1.5f, -2.0f}));
    EXPECT_FALSE(root.at("input_stem.op_list.1").has("conv.bias"));
    EXPECT_EQ(root.at("input_stem.op_list.1").read("conv.bias", 2, 0.5f), (std::vector<float>{0.5f, 0.5f}));
    EXPECT_EQ(ev::WeightReader(matched, "input_stem.op_list.0.").read("conv.bias", 2, 0.0f).size(), 2u);
}

/// Empty tensors below every chain of four of the known wrappers.
ev::StateDict chains_of_wrappers() {
    const std::vector<std::string> known{"model.", "net.", "network.", "encoder.", "image_encoder.", "backbone."};
    ev::StateDict out;
    for (std::size_t i = 0; i < 6 * 6 * 6 * 6; ++i) {
        out.insert(known[i % 6] + known[i / 6 % 6] + known[i / 36 % 6] + known[i / 216] + "x", {0}, {});
    }
    return out;
}

TEST(Hostile, NamesMadeToWasteTimeAreMatchedAtOnce) {
    FakeFile file;
    std::string endless;
    for (int i = 0; i < 200'000; ++i) endless += "model.";
    file.add(endless + "x", {1});
    for (const auto& [name, entry] : chains_of_wrappers()) file.dict.insert(name, entry.dtype, {0}, {}, nullptr);
    Names wanted;
    for (int i = 0; i < 10'000; ++i) wanted.push_back({"stages.1.op_list." + std::to_string(i) + ".x", {1}});
    const std::clock_t begin = std::clock();
    const std::string message = file.message(wanted);
    EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 2.0) << "each name below each wrapper?";
    EXPECT_TRUE(has(message, "10000 missing"));
    EXPECT_TRUE(has(message, "... (1200001 bytes)"));
}

TEST(Hostile, ManyWrappersHideNoTensors) {
    FakeFile file;
    const Names names = keys("backbone_b0");
    const std::string wrapper = "network.encoder.model.backbone.";
    file.dict = chains_of_wrappers();
    file.add(names, wrapper);
    ev::LoadOptions options;
    options.strict = false;
    const ev::MatchedWeights matched(file.dict, names, options);
    EXPECT_TRUE(matched.report().missing.empty());
    EXPECT_EQ(matched.report().unexpected.size(), 1296u);
}

}  // namespace

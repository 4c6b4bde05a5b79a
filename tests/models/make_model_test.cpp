// SPDX-License-Identifier: Apache-2.0
//
// Networks chosen at run time: their names, what they say about themselves, weights of all naming conventions and of
// other models, and that they compute what their types compute.
#include "../golden/backbones.hpp"

#include <efficientvit/models/make_model.hpp>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <memory>

namespace {

using Parameters = std::vector<ev::Parameter>;

nlohmann::ordered_json names_file(const std::string& name) {
    std::ifstream in(std::filesystem::path(EFFICIENTVIT_TEST_DATA) / "names" / (name + ".json"));
    return in ? nlohmann::ordered_json::parse(in) : nlohmann::ordered_json();
}

/// The file of a known model's published names: sam_l0's is called sam_encoder_l0.
std::string names_of(const std::string& model) {
    return model.starts_with("sam_") ? "sam_encoder_" + model.substr(4) : model;
}

/// Tensors of these names and shapes without values: who looks at names only never touches them.
ev::StateDict without_values(const Parameters& parameters, const std::string& prefix = "") {
    static constexpr std::size_t size = std::size_t{400} << 20;
    static const std::unique_ptr<void, decltype(&std::free)> memory(std::calloc(size, 1), &std::free);
    ev::StateDict out;
    for (const ev::Parameter& p : parameters) {
        const auto bytes = static_cast<std::size_t>(*ev::detail::element_count(p.shape)) * sizeof(float);
        EXPECT_LT(bytes, size);
        out.insert(prefix + p.name, ev::DType::f32, p.shape, {static_cast<const std::byte*>(memory.get()), bytes},
                   nullptr);
    }
    return out;
}

void expect_fits(const ev::StateDict& file, const ev::AnyModel& model) {
    const Parameters wanted = model.parameters();
    EXPECT_NO_THROW({
        const ev::MatchedWeights matched(file, wanted);
        EXPECT_TRUE(matched.report().missing.empty() && matched.report().unexpected.empty());
    }) << model.info().name;
}

TEST(ModelNames, AllThere) {
    const std::vector<std::string> names = ev::model_names();
    EXPECT_EQ(names.size(), 33u);
    for (const std::string& name : names) EXPECT_EQ(ev::make_model(name)->info().name, name);
}

/// The published names of every model, each shape as it is published, none left over; SAM's with what stands beside an
/// encoder in a published file, classifiers' by timm's names too. And of all models the right one is recognised.
TEST(PublishedNames, OfEveryModel) {
    int seen = 0, seen_timm = 0;
    for (const std::string& name : ev::model_names()) {
        SCOPED_TRACE(name);
        const auto model = ev::make_model(name);
        const Parameters parameters = model->parameters();
        if (!names_file("keys_" + names_of(name)).is_null()) {
            ++seen;
            EXPECT_EQ(lines(parameters), published(names_of(name)));
        }
        for (const std::string prefix : {"", "module.", "image_encoder."}) {
            ev::StateDict file = without_values(parameters, prefix);
            if (name.starts_with("sam_") && prefix == "image_encoder.") {
                file.insert("mask_decoder.iou_token.weight", {1, 2}, {0, 0});
                file.insert("prompt_encoder.not_a_point_embed.weight", {1, 2}, {0, 0});
            }
            expect_fits(file, *model);
            EXPECT_EQ(ev::identify(file), name);
        }
        const auto timm = names_file("timm_names_" + name);
        if (timm.is_null()) continue;
        ++seen_timm;
        ev::StateDict file;
        for (const auto& [in_file, entry] : without_values(parameters)) {
            file.insert(timm.at(in_file).get<std::string>(), entry.dtype, entry.shape, entry.data, nullptr);
        }
        expect_fits(file, *model);
        expect_fits(file, *ev::make_model("backbone_" + name.substr(4)));
        EXPECT_EQ(ev::identify(file), name);
    }
    EXPECT_EQ(seen, 31);  // all but the backbones xl0 and xl1
    EXPECT_EQ(seen_timm, 7);
}

TEST(ModelNames, ThatWeightsArePublishedUnder) {
    struct Case {
        const char* asked;
        const char* name;
        int size;
        double crop;
    };
    for (const Case& c : {Case{"cls_b1", "cls_b1", 224, 0.95},
                          {"CLS-L1", "cls_l1", 224, 1.0},
                          {"efficientvit-b1-r288", "cls_b1", 288, 0.95},
                          {"efficientvit_b3_r256", "cls_b3", 256, 1.0},
                          {"efficientvit-l2-r384", "cls_l2", 384, 1.0},
                          {"efficientvit-cls-b0", "cls_b0", 224, 0.95},
                          {"efficientvit_b0", "cls_b0", 224, 0.95},
                          {"efficientvit_b0.r224_in1k", "cls_b0", 224, 0.95},
                          {"efficientvit_b2.r256_in1k", "cls_b2", 256, 1.0},
                          {"efficientvit_l1", "cls_l1", 224, 1.0},
                          {"efficientvit_l1.r224_in1k", "cls_l1", 224, 1.0},
                          {"efficientvit_l3.r320_in1k", "cls_l3", 320, 1.0}}) {
        const auto model = ev::make_model(c.asked);
        EXPECT_EQ(model->info().name, c.name) << c.asked;
        EXPECT_EQ(model->info().height, c.size) << c.asked;
        EXPECT_EQ(model->info().width, c.size) << c.asked;
        EXPECT_EQ(model->info().crop_ratio, c.crop) << c.asked;
    }
    EXPECT_TRUE(ev::make_model("efficientvit-b0-r224")->info().round_up);
    EXPECT_FALSE(ev::make_model("efficientvit_b0.r224_in1k")->info().round_up);
    EXPECT_EQ(ev::make_model("efficientvit-seg-l1-ade20k")->info().name, "seg_l1_ade20k");
    EXPECT_EQ(ev::make_model("efficientvit_sam_xl1")->info().name, "sam_xl1");
}

TEST(ModelNames, Unknown) {
    const auto message = [](const std::string& name) {
        return message_of<ev::ConfigError>([&] { ev::make_model(name); });
    };
    expect_in("'cls_b7'; the nearest names are cls_b0, cls_b1 and cls_b2", message("cls_b7"));
    expect_in("nearest names are seg_b1_cityscapes, seg_b1_ade20k", message("efficientvit-seg-b1"));
    expect_in("nearest names are seg_b1_ade20k", message("seg_b0_ade20k"));
    expect_in("nearest names are sam_l0", message("sma_l0"));
    expect_in("backbone_l1", message("backbone_l1_r224"));  // a resolution makes sense for classifiers only
    for (const char* name : {"", "b", "efficientvit", "efficientvit_in1k", "_r224", "cls_b1_r2a4", "cls_b1-r22"}) {
        EXPECT_THROW(ev::make_model(name), ev::ConfigError) << name;
    }
    EXPECT_THROW(ev::make_model(std::string(100, 'x')), ev::ConfigError);
}

TEST(ModelInfo, OfEveryTask) {
    const auto classifier = ev::make_model("cls_l1");
    EXPECT_EQ(classifier->info().task, ev::Task::classification);
    EXPECT_EQ(classifier->info().n_classes, 1000);
    EXPECT_EQ(classifier->info().size_multiple, 1);
    EXPECT_EQ(classifier->info().in_channels, 3);
    EXPECT_FLOAT_EQ(classifier->info().mean[0] * 255, 123.675f);
    EXPECT_FLOAT_EQ(classifier->info().std[2] * 255, 57.375f);

    const auto city = ev::make_model("seg_b0_cityscapes");
    EXPECT_EQ(city->info().task, ev::Task::segmentation);
    EXPECT_EQ(city->info().n_classes, 19);
    EXPECT_EQ(city->info().size_multiple, 32);
    EXPECT_EQ(city->info().height, 1024);
    EXPECT_EQ(city->info().width, 2048);
    EXPECT_EQ(ev::make_model("seg_l2_ade20k")->info().n_classes, 150);
    EXPECT_EQ(ev::make_model("seg_l2_ade20k")->info().width, 512);

    EXPECT_EQ(ev::make_model("sam_l2")->info().task, ev::Task::image_encoder);
    EXPECT_EQ(ev::make_model("sam_l2")->info().height, 512);
    EXPECT_EQ(ev::make_model("sam_xl0")->info().height, 1024);
    EXPECT_EQ(ev::make_model("sam_xl0")->info().n_classes, 0);
    EXPECT_EQ(ev::make_model("backbone_xl1")->info().task, ev::Task::backbone);
}

TEST(ModelInfo, OutputsOfEveryTask) {
    const auto outputs = [](const char* name, const ev::Shape& input) {
        std::string out;
        for (const auto& [output, shape] : ev::make_model(name)->outputs(input)) {
            out += output + " " + to_text(shape) + "; ";
        }
        return out;
    };
    EXPECT_EQ(outputs("cls_b0", {2, 3, 50, 60}), "logits 2x1000x1x1; ");
    EXPECT_EQ(outputs("seg_l1_ade20k", {1, 3, 64, 96}), "segout 1x150x8x12; ");
    EXPECT_EQ(outputs("sam_xl1", {1, 3, 1024, 1024}), "image_embeddings 1x256x64x64; ");
    EXPECT_EQ(outputs("backbone_l0", {1, 3, 64, 97}),
              "stage0 1x32x32x49; stage1 1x64x16x25; stage2 1x128x8x13; stage3 1x256x4x7; stage4 1x512x2x4; ");
    EXPECT_THROW(outputs("seg_b0_cityscapes", {1, 3, 33, 64}), ev::ShapeError);
    EXPECT_THROW(outputs("cls_b0", {1, 4, 64, 64}), ev::ShapeError);
    EXPECT_THROW(outputs("backbone_b0", {0, 3, 64, 64}), ev::ShapeError);
}

std::unique_ptr<ev::AnyModel> loaded(const char* name) {
    auto model = ev::make_model(name);
    model->load_state_dict(golden_weights(model->parameters()));
    return model;
}

/// Outputs go where others were, of whichever model.
TEST(AnyModel, ComputesWhatItsTypeComputes) {
    const ev::Tensor x = golden_input({1, 3, 64, 96});
    ev::Context context({.threads = 2});
    ev::NamedTensors y;

    const auto backbone = loaded("backbone_b0");
    backbone->forward(x, y, context);
    const auto features = golden_layer<ev::BackboneB0>().forward(x);
    ASSERT_EQ(y.size(), 5u);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(same_bits(y["stage" + std::to_string(i)], features[i])) << i;
    EXPECT_TRUE(same_bits(y["stage_final"], features.stage_final()));
    const float* const place = y["stage2"].data();
    backbone->forward(ev::view(x), y, context);
    EXPECT_EQ(y["stage2"].data(), place);  // nothing is allocated where the size is the same

    loaded("cls_b0")->forward(x, y, context);
    ASSERT_EQ(y.size(), 1u);
    EXPECT_TRUE(same_bits(y["logits"], golden_layer<ev::ClsB0<>>().forward(x)));
    expect_in("no 'segout'; there are logits", message_of<ev::Error>([&] { y["segout"]; }));
    EXPECT_THROW(y["stage_final"], ev::Error);

    loaded("seg_b0_cityscapes")->forward(x, y, context);
    EXPECT_TRUE(same_bits(y["segout"], golden_layer<ev::SegB0Cityscapes<>>().forward(x)));

    const auto sam = loaded("sam_l0");
    EXPECT_TRUE(same_bits(sam->forward(x)["image_embeddings"], golden_layer<ev::SamImageEncoderL0>().forward(x)));
    EXPECT_GT(sam->workspace_bytes({1, 3, 64, 96}, context), std::size_t{1} << 20);
    EXPECT_EQ(sam->isa(), ev::best_isa());
}

/// The backbones of L have the eps of the weights that there are for them.
TEST(AnyModel, LargeBackbonesHaveThePublishedEps) {
    const GoldenFile golden("backbone_l1_eps1e-7_1x64x96");
    const ev::NamedTensors y = loaded("backbone_l1")->forward(golden_input(golden.input_shape()));
    EXPECT_LE(relative_error(y["stage4"], golden.map("stage4")), large_bound);
}

TEST(AnyModel, AnExceptionLeavesTheOutputs) {
    const ev::Tensor x = golden_input({1, 3, 32, 32});
    ev::Context context;
    ev::NamedTensors y;
    loaded("backbone_b0")->forward(x, y, context);
    const ev::Tensor before = y["stage3"];
    EXPECT_THROW(ev::make_model("backbone_b0")->forward(x, y, context), ev::WeightsError);
    EXPECT_THROW(loaded("backbone_b0")->forward(golden_input({1, 2, 32, 32}), y, context), ev::ShapeError);
    EXPECT_TRUE(same_bits(y["stage3"], before));
    EXPECT_FALSE(ev::make_model("backbone_b0")->loaded());
}

TEST(AnyModel, OfOnesOwnType) {
    ev::AnyModelOf<ev::ClsB0<10>> model({.name = "digits", .task = ev::Task::classification});
    EXPECT_EQ(model.info().n_classes, 10);
    model.load_state_dict(golden_weights(model.parameters()));
    EXPECT_EQ(model.forward(golden_input({1, 3, 32, 32}))["logits"].dimension(1), 10);
    EXPECT_TRUE(model.network().loaded());
}

TEST(Identify, ModelsThatAreAlike) {
    // Another number of classes: still a classifier of that size.
    EXPECT_EQ(ev::identify(without_values(ev::ClsB0<10>::parameters())), "cls_b0");
    EXPECT_EQ(ev::identify(without_values(ev::SegB1ADE20K<21>::parameters())), "seg_b1_ade20k");
    EXPECT_EQ(ev::identify(without_values(ev::BackboneL2::parameters(), "backbone.")), "backbone_l2");
    EXPECT_EQ(ev::identify(without_values(ev::BackboneB3::parameters(), "a.b."), "a.b."), "backbone_b3");
    EXPECT_EQ(ev::identify({}), "");
    EXPECT_EQ(ev::identify(without_values({{"conv1.weight", {64, 3, 7, 7}}, {"fc.weight", {1000, 512}}})), "");
    Parameters few = ev::BackboneB0::parameters();
    few.resize(few.size() / 3);
    EXPECT_EQ(ev::identify(without_values(few)), "");
}

TEST(Identify, ANetworkBelowAPrefixIsNamed) {
    const auto text = [](const ev::StateDict& weights) { return ev::detail::unknown_weights(weights); };
    const std::string unknown = "these look like the weights of no known model";
    EXPECT_EQ(text({}), unknown);
    EXPECT_EQ(text(without_values(ev::BackboneB1::parameters(), "vit.")),
              unknown + "; below the prefix 'vit.' they look like backbone_b1's");
    EXPECT_EQ(text(without_values(ev::ClsL1<>::parameters(), "a.vit.")),
              unknown + "; below the prefix 'a.vit.' they look like cls_l1's");
    ev::StateDict other = without_values({{"a.b.stem.in_conv.conv.weight", {1}}});
    EXPECT_EQ(text(other), unknown);
}

TEST(Identify, NamesMadeToWasteTimeAreRefusedAtOnce) {
    const std::vector<std::string> known{"model.", "net.", "network.", "encoder.", "image_encoder.", "backbone."};
    ev::StateDict file;
    for (std::size_t i = 0; i < 6 * 6 * 6 * 6; ++i) {
        file.insert(known[i % 6] + known[i / 6 % 6] + known[i / 36 % 6] + known[i / 216] + "x", {0}, {});
    }
    const std::clock_t begin = std::clock();
    EXPECT_EQ(ev::identify(file), "");
    EXPECT_THROW(ev::make_model("cls_l3")->load_state_dict(file), ev::WeightsError);
    EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 5.0);
}

TEST(Identify, WeightsOfAnotherModel) {
    const auto message = [](const char* name, const ev::StateDict& weights) {
        return message_of<ev::WeightsError>([&] { ev::make_model(name)->load_state_dict(weights); });
    };
    const std::string other = message("cls_b1", without_values(ev::make_model("cls_b2")->parameters()));
    expect_in("these look like the weights of cls_b2, not of cls_b1: ", other);
    expect_in("does not fit the model", other);
    expect_in("weights of sam_l1, not of seg_l1_cityscapes",
              message("seg_l1_cityscapes", without_values(ev::SamImageEncoderL1::parameters(), "image_encoder.")));
    // Ten classes are no other model, and no weights none at all.
    const std::unique_ptr<ev::AnyModel> model = ev::make_model("cls_b0");
    EXPECT_NO_THROW(model->load_state_dict(without_values(ev::ClsB0<10>::parameters())));
    EXPECT_EQ(model->info().n_classes, 10);
    EXPECT_EQ(message("cls_b0", {}).find("weights of cls"), std::string::npos);
}

}  // namespace

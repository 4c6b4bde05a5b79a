// SPDX-License-Identifier: Apache-2.0
//
// SamPredictor: stored cases at the picture's size, prompts that cannot be answered, and that all ways to ask the same
// give the same.
#include "../golden/sam_cases.hpp"
#include "../isas.hpp"
#include "../messages.hpp"

#include <efficientvit/models/make_sam.hpp>
#include <efficientvit/models/mask_generator.hpp>
#include <efficientvit/models/sam_predictor.hpp>
#include <efficientvit/weights/load_npy.hpp>
#include <efficientvit/weights/save_npy.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace {

/// A SAM with the published prompt encoder and mask decoder, and an image encoder of a few channels, so that tests need
/// not make 30 million weights.
using TinyBackbone = ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{
    .width_list = {8, 8, 8, 16, 16}, .depth_list = {1, 1, 1, 1, 1}, .qkv_dim = 8}>;
using TinyEncoder = ev::SamImageEncoder<TinyBackbone, ev::SamNeckConfig{.head_width = 16, .head_depth = 1}>;
using TinySam = ev::EfficientViTSam<TinyEncoder, ev::SamConfig{.image_size = 128}>;

/// Narrow in everything: heads of fewer channels than a block, other counts of layers, heads and masks, an oblong
/// embedding.
using NarrowEncoder =
    ev::SamImageEncoder<TinyBackbone, ev::SamNeckConfig{.head_width = 16, .out_dim = 40, .size = {9, 14}}>;
using NarrowSam = ev::EfficientViTSam<NarrowEncoder, ev::SamConfig{.image_size = 96,
                                                                   .prompt_encoder = {.embed_dim = 40,
                                                                                      .image_embedding_size = {9, 14},
                                                                                      .input_image_size = 224},
                                                                   .mask_decoder = {.embed_dim = 40,
                                                                                    .depth = 3,
                                                                                    .num_heads = 5,
                                                                                    .mlp_dim = 24,
                                                                                    .num_multimask_outputs = 2,
                                                                                    .iou_head_depth = 2,
                                                                                    .iou_head_hidden_dim = 20}}>;

template <class Sam>
const Sam& golden_sam(ev::Isa isa) {
    static std::vector<std::unique_ptr<Sam>> sams(8);
    std::unique_ptr<Sam>& sam = sams[static_cast<std::size_t>(isa)];
    if (sam == nullptr) {
        sam = std::make_unique<Sam>();
        sam->load_state_dict(golden_weights(Sam::parameters()), {.isa = isa});
    }
    return *sam;
}

ev::SamPrompt prompt_of(const SamCase& golden, int i, const ev::Tensor& mask) {
    ev::SamPrompt prompt{golden.points(i), golden.box(i), {}, golden.multimask()};
    if (golden.has_mask()) prompt.mask_input = const_view(mask);
    return prompt;
}

bool same(const ev::SamPrediction& a, const ev::SamPrediction& b) {
    if (a.masks.size() != b.masks.size() || a.iou != b.iou || !same_bits(a.low_res, b.low_res)) return false;
    for (std::size_t i = 0; i < a.masks.size(); ++i) {
        if (a.masks[i].pixels != b.masks[i].pixels) return false;
    }
    return true;
}

class SamPredictor : public IsaTest {
protected:
    static void check(const std::string& name) {
        const SamCase golden(name);
        const ev::Tensor embedding = golden_tensor_of("embedding", {1, 256, 64, 64});
        const ev::Tensor mask = golden_tensor_of("mask_input", {1, 1, 256, 256});
        ev::SamPredictor predictor(golden_sam<TinySam>(GetParam()));
        predictor.set_embedding(embedding, {golden.height(), golden.width()});
        std::vector<ev::SamPrompt> prompts;
        for (int i = 0; i < golden.prompts(); ++i) prompts.push_back(prompt_of(golden, i, mask));

        std::vector<ev::SamPrediction> first;
        for (const int threads : {1, 2, 3}) {
            ev::Context context({.threads = threads});
            const auto answers = predictor.predict(prompts, {.return_logits = threads == 1}, context);
            for (int i = 0; i < golden.prompts(); ++i) {
                const auto at = static_cast<std::size_t>(i);
                if (threads > 1) {
                    EXPECT_TRUE(same(answers[at], first[at])) << "prompt " << i << ", " << threads << " threads";
                } else {
                    compare(golden, i, answers[at]);
                    EXPECT_TRUE(same(answers[at], predictor.predict(prompts[at]))) << "prompt " << i << " alone";
                }
            }
            if (threads == 1) first = answers;
        }
    }

    static void compare(const SamCase& golden, int prompt, const ev::SamPrediction& found) {
        const auto of_prompt = [&](const reference::Map& all) {
            reference::Map one{1, all.c, all.h, all.w};
            std::copy_n(all.values.begin() + std::ptrdiff_t(one.values.size()) * prompt, one.values.size(),
                        one.values.begin());
            return one;
        };
        const reference::Map full = of_prompt(golden.map("full"));
        EXPECT_LE(largest_error(found.low_res, of_prompt(golden.map("low_res")), golden.low_res_step()), 1e-5);
        EXPECT_LE(largest_error(found.logits, full, golden.full_step()), 1e-5) << "full";
        const reference::Map iou = of_prompt(golden.map("iou")), area = of_prompt(golden.map("area"));
        ASSERT_EQ(found.masks.size(), iou.values.size());
        double largest = 0;
        for (const double value : golden.map("iou").values) largest = std::max(largest, std::abs(value));
        for (std::size_t i = 0; i < iou.values.size(); ++i) {
            EXPECT_NEAR(found.iou[i], iou.values[i], 1e-5 * largest);
            const auto& pixels = found.masks[i].pixels;
            const double pixels_set = std::accumulate(pixels.begin(), pixels.end(), 0.0);
            EXPECT_NEAR(pixels_set, area.values[i], std::max(2.0, 2e-4 * area.values[i])) << "area";
        }
    }
};

TEST_P(SamPredictor, Point) { check("point"); }
TEST_P(SamPredictor, PointsSingle) { check("points_single"); }
TEST_P(SamPredictor, Box) { check("box"); }
TEST_P(SamPredictor, BoxAndPoint) { check("box_point"); }
TEST_P(SamPredictor, MaskAndPoint) { check("mask_point"); }
TEST_P(SamPredictor, Batch) { check("batch"); }

EFFICIENTVIT_ON_EVERY_ISA(SamPredictor);

ev::Image picture(int height, int width) {
    ev::Image image({height, width});
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            image.set(y, x, {static_cast<std::uint8_t>(x * 3), static_cast<std::uint8_t>(y * 5), 80});
        }
    }
    return image;
}

TEST(SamPredictorUse, PictureOrItsEmbeddingIsTheSame) {
    const TinySam& sam = golden_sam<TinySam>(ev::best_isa());
    ev::SamPredictor predictor(sam), other(sam);
    const ev::SamPrompt prompt{.points = {{40, 20, 1}, {5, 6, 0}}};
    predictor.set_image(picture(60, 90));
    EXPECT_EQ(predictor.original_size(), (ev::ImageSize{60, 90}));
    EXPECT_EQ(predictor.input_size(), (ev::ImageSize{683, 1024}));
    const ev::SamPrediction expected = predictor.predict(prompt);
    EXPECT_EQ(shape_of(expected.low_res), (ev::Shape{1, 3, 256, 256}));
    EXPECT_EQ(expected.masks[0].width, 90);
    EXPECT_EQ(expected.masks[0].height, 60);
    EXPECT_EQ(expected.logits.size(), 0);

    const auto folder = std::filesystem::temp_directory_path();
    const auto npy = folder / "efficientvit_embedding.npy", safetensors = folder / "efficientvit_embedding.safetensors";
    ev::save_npy(npy, predictor.get_embedding());
    ev::save_safetensors(safetensors, predictor.embedding_state());
    other.set_embedding(ev::load_npy(npy), {60, 90});
    EXPECT_TRUE(same(other.predict(prompt), expected));
    other.reset();
    EXPECT_FALSE(other.is_image_set());
    other.set_embedding(ev::load_safetensors(safetensors));
    EXPECT_EQ(other.original_size(), (ev::ImageSize{60, 90}));
    EXPECT_TRUE(same(other.predict(prompt), expected));
    std::filesystem::remove(npy);
    std::filesystem::remove(safetensors);
}

TEST(SamPredictorUse, ManyPredictorsOnOneModel) {
    const TinySam& sam = golden_sam<TinySam>(ev::best_isa());
    const auto answer = [&](int i) {
        ev::SamPredictor predictor(sam);
        predictor.set_image(picture(50 + i, 70));
        return predictor.predict({.box = ev::Box{1, 2, 30.5 + i, 40}, .multimask_output = false});
    };
    std::vector<ev::SamPrediction> alone, together(4);
    for (int i = 0; i < 4; ++i) alone.push_back(answer(i));
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] { together[static_cast<std::size_t>(i)] = answer(i); });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(same(alone[i], together[i])) << i;
}

TEST(SamPredictorUse, ForgottenTypeIsTheSame) {
    ev::AnySamOf<TinySam> any("tiny");
    EXPECT_THROW(ev::SamPredictor{any}, ev::WeightsError);
    any.load_state_dict(golden_weights(any.parameters()));
    ev::SamPredictor predictor(any), typed(any.sam());
    predictor.set_image(picture(30, 40));
    typed.set_image(picture(30, 40));
    const ev::SamPrompt prompt{.points = {{1, 2}}};
    EXPECT_TRUE(same(predictor.predict(prompt), typed.predict(prompt)));
    EXPECT_EQ(ev::make_sam("efficientvit-sam-xl0")->image_size(), 1024);
    const std::string message = message_of<ev::Error>([] { ev::make_sam("sam_l7"); });
    EXPECT_NE(message.find("sam_l7"), std::string::npos) << message;
    EXPECT_NE(message.find("sam_xl1"), std::string::npos) << message;
}

/// Where masks are not wanted, none are made; those that are, are the same.
TEST(SamPredictorUse, SinkDecides) {
    const TinySam& sam = golden_sam<TinySam>(ev::best_isa());
    ev::SamPredictor predictor(sam);
    predictor.set_image(picture(60, 60));
    const std::vector<ev::SamPrompt> prompts{{.points = {{10, 10}}}, {.points = {{30, 50}}}, {.points = {{50, 20}}}};
    struct Odd final : ev::MaskSink {
        std::vector<float> iou[3], low_res[3];
        bool wants_masks(int i, std::span<const float> found) noexcept override {
            iou[i].assign(found.begin(), found.end());
            return i % 2 == 1;
        }
        void take_masks(int i, std::span<const float> found, const float* planes) noexcept override {
            low_res[i].assign(planes, planes + found.size() * 65536);
        }
    };
    const auto expected = predictor.predict(prompts);
    for (const int threads : {1, 2, 5}) {
        Odd sink;
        ev::Context context({.threads = threads});
        predictor.decode(prompts, sink, context);
        for (std::size_t i = 0; i < 3; ++i) {
            EXPECT_EQ(sink.iou[i], expected[i].iou);
            ASSERT_EQ(sink.low_res[i].size(), i == 1 ? 3 * 65536u : 0u);
            EXPECT_TRUE(std::equal(sink.low_res[i].begin(), sink.low_res[i].end(), expected[i].low_res.data()));
        }
    }
}

/// Sizes that no block or vector divides, on every instruction set: the prepared projections against none (a mask input
/// of zeros' logits makes a picture of its own), and threads.
TEST(SamPredictorUse, NarrowNetworks) {
    std::vector<ev::SamPrediction> first;
    for (const ev::Isa isa : isas()) {
        ev::SamPredictor predictor(golden_sam<NarrowSam>(isa));
        const ev::Tensor embedding = golden_tensor_of("embedding", {1, 40, 9, 14});
        predictor.set_embedding(embedding, {33, 57});
        std::vector<ev::SamPrompt> prompts{{.points = {{3, 4, 1}}}, {.box = ev::Box{1, 1, 50, 30}}};
        prompts.push_back({.points = std::vector<ev::SamPoint>(21, ev::SamPoint{20, 10, 0})});
        const auto answers = predictor.predict(prompts);
        EXPECT_EQ(shape_of(answers[0].low_res), (ev::Shape{1, 2, 36, 56}));
        for (std::size_t i = 0; i < answers.size(); ++i) {
            if (isa == ev::Isa::scalar) continue;
            EXPECT_LE(relative_error(answers[i].low_res, to_map(first[i].low_res)), 1e-5) << ev::isa_name(isa);
        }
        if (isa == ev::Isa::scalar) first = answers;
        ev::Context two({.threads = 2});
        for (std::size_t i = 0; i < answers.size(); ++i) {
            EXPECT_TRUE(same(predictor.predict(prompts, {}, two)[i], answers[i]));
        }

        // The decoder by itself projects nothing before.
        const NarrowSam& sam = golden_sam<NarrowSam>(isa);
        ev::Context context;
        const std::vector<ev::SamPoint> point{{3 * 224.0 / 57, 4 * 130.0 / 33, 1}};
        const ev::Tensor positions = sam.prompt_encoder().get_dense_pe(), dense = sam.prompt_encoder().embed_dense(),
                         sparse = sam.prompt_encoder().embed_sparse(point);
        ev::Tensor masks, iou;
        sam.mask_decoder().forward(const_view(embedding), const_view(positions), const_view(sparse), const_view(dense),
                                   {}, masks, iou, context);
        EXPECT_LE(relative_error(masks, to_map(answers[0].low_res)), 1e-5) << ev::isa_name(isa);
    }
}

std::string refusal(const ev::SamPredictor& predictor, const ev::SamPrompt& prompt) {
    return message_of<ev::PromptError>([&] { predictor.predict(prompt); });
}

TEST(SamPredictorBadInput, SaysWhatAndWhere) {
    const auto has = [](const std::string& message, std::initializer_list<const char*> words) {
        for (const char* word : words) EXPECT_NE(message.find(word), std::string::npos) << word << " in: " << message;
    };
    ev::SamPredictor predictor(golden_sam<TinySam>(ev::best_isa()));
    has(refusal(predictor, {.points = {{1, 1}}}), {"no picture", "set_image"});
    has(message_of<ev::PromptError>([&] { predictor.get_embedding(); }), {"get_embedding", "no picture"});
    const ev::Tensor embedding(1, 256, 64, 64), wrong(1, 256, 64, 63);
    has(message_of<ev::ShapeError>([&] {
            predictor.set_embedding(wrong, {10, 10});
        }),
        {"set_embedding", "63", "(1, 256, 64, 64)"});
    EXPECT_FALSE(predictor.is_image_set());
    EXPECT_THROW(predictor.set_embedding(embedding, {0, 10}), ev::ImageError);
    EXPECT_THROW(predictor.set_image(ev::Image()), ev::ImageError);
    predictor.set_embedding(golden_tensor_of("embedding", {1, 256, 64, 64}), {20, 30});

    const double nan = std::numeric_limits<double>::quiet_NaN();
    has(refusal(predictor, {}), {"neither points nor box nor mask_input"});
    has(refusal(predictor, {.points = {{30.5, 4}}}), {"point 0", "(30.5, 4)", "[0, 30]", "[0, 20]"});
    has(refusal(predictor, {.points = {{3, 4}, {3, -0.5}}}), {"point 1", "(3, -0.5)"});
    has(refusal(predictor, {.points = {{nan, 4}}}), {"point 0", "nan"});
    has(refusal(predictor, {.points = {{3, 4, 2}}}), {"label 2", "1, 0 or -1"});
    has(refusal(predictor, {.box = ev::Box{5, 5, 5, 9}}), {"(5, 5, 5, 9)", "empty", "x0 < x1"});
    has(refusal(predictor, {.box = ev::Box{9, 5, 5, 9}}), {"empty"});
    has(refusal(predictor, {.box = ev::Box{0, 0, 31, 9}}), {"31", "[0, 30]"});
    has(refusal(predictor, {.box = ev::Box{0, nan, 3, 9}}), {"nan"});
    const ev::Tensor mask(1, 3, 256, 256);
    has(message_of<ev::ShapeError>([&] { predictor.predict({.mask_input = const_view(mask)}); }),
        {"mask_input", "3", "(1, 1, 256, 256)"});
    const std::vector<ev::SamPrompt> second{{.points = {{1, 1}}}, {.points = {{1, 100}}}};
    has(message_of<ev::PromptError>([&] { predictor.predict(second); }), {"prompt 1", "(1, 100)"});
    // Edges are inside.
    EXPECT_NO_THROW(predictor.predict({.points = {{0, 0}, {30, 20}}, .box = ev::Box{0, 0, 30, 20}}));
}

/// In bfloat16 every kind of prompt is near float's answer, with the same bits for any number of threads.
template <class Sam>
void expect_near_floats(const ev::Tensor& embedding, const std::vector<ev::SamPrompt>& prompts, double limit) {
    Sam rounded;
    rounded.load_state_dict(golden_weights(Sam::parameters()), {.precision = ev::Precision::bf16});
    ev::SamPredictor floats(golden_sam<Sam>(ev::best_isa())), predictor(rounded);
    floats.set_embedding(embedding, {33, 57});
    predictor.set_embedding(embedding, {33, 57});
    const auto answers = predictor.predict(prompts);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        const ev::SamPrediction expected = floats.predict(prompts[i]);
        EXPECT_LE(relative_error(answers[i].low_res, to_map(expected.low_res)), limit) << i;
        EXPECT_FALSE(same_bits(answers[i].low_res, expected.low_res)) << i;
        for (const int threads : {1, 2, 3}) {
            ev::Context context({.threads = threads});
            EXPECT_TRUE(same(predictor.predict(prompts[i], {}, context), answers[i])) << i << ", " << threads;
            EXPECT_TRUE(same(predictor.predict(prompts, {}, context)[i], answers[i])) << i << ", " << threads;
        }
    }
}

TEST(SamPredictorUse, Bfloat16IsNear) {
    std::vector<ev::SamPrompt> prompts{{.points = {{3, 4, 1}}},
                                       {.box = ev::Box{1, 1, 50, 30}, .multimask_output = false}};
    prompts.push_back({.points = std::vector<ev::SamPoint>(21, ev::SamPoint{20, 10, 0})});
    const ev::Tensor narrow = golden_tensor_of("mask_input", {1, 1, 36, 56});
    prompts.push_back({.points = {{5, 5}}, .mask_input = const_view(narrow)});
    expect_near_floats<NarrowSam>(golden_tensor_of("embedding", {1, 40, 9, 14}), prompts, 3e-2);
    const ev::Tensor mask = golden_tensor_of("mask_input", {1, 1, 256, 256});
    prompts.back().mask_input = const_view(mask);
    expect_near_floats<TinySam>(golden_tensor_of("embedding", {1, 256, 64, 64}), prompts, 3e-2);
}

/// One NaN in a tensor of the decoder or of the prompt encoder: an error, or the tensor has no part in the answer.
TEST(SamPredictorUse, DamagedWeightsAreToldOf) {
    const auto damaged = [](const std::string& damage) {
        ev::StateDict weights;
        for (const ev::Parameter& p : NarrowSam::parameters()) {
            std::vector<float> values = golden_tensor(p.name, p.shape);
            if (p.name == damage) values[values.size() / 2] = std::numeric_limits<float>::quiet_NaN();
            weights.insert(p.name, p.shape, values);
        }
        NarrowSam sam;
        sam.load_state_dict(weights);
        return sam;
    };
    std::size_t told = 0, all = 0;
    for (const ev::Parameter& p : NarrowSam::parameters()) {
        if (p.name.starts_with("image_encoder.")) continue;
        const NarrowSam sam = damaged(p.name);
        ev::SamPredictor predictor(sam);
        predictor.set_embedding(golden_tensor_of("embedding", {1, 40, 9, 14}), {33, 57});
        ++all;
        for (const bool multimask : {false, true}) {
            try {
                const ev::SamPrediction found = predictor.predict(
                    {.points = {{3, 4, 1}}, .box = ev::Box{1, 1, 50, 30}, .multimask_output = multimask});
                EXPECT_TRUE(std::all_of(found.low_res.data(), found.low_res.data() + found.low_res.size(), [](float x) {
                    return std::isfinite(x);
                })) << p.name;
            } catch (const ev::WeightsError& error) {
                EXPECT_NE(std::string(error.what()).find("NaN in the answer to the prompt"), std::string::npos);
                ++told;
                break;
            }
        }
    }
    // Label 0 and mask_input were not asked.
    EXPECT_GE(told, all * 3 / 4) << "of " << all;
    for (const std::string name : {"mask_decoder.transformer.layers.0.norm1.weight",  // all of a mask and its IoU
                                   "mask_decoder.output_upscaling.3.weight"}) {       // one logit in sixteen
        const NarrowSam sam = damaged(name);
        ev::SamPredictor predictor(sam);
        for (const int threads : {1, 2}) {
            ev::Context context({.threads = threads});
            const std::string message = message_of<ev::WeightsError>([&] {
                ev::generate_masks(predictor, picture(33, 57), {.points_per_side = 3, .pred_iou_thresh = 0}, context);
            });
            EXPECT_NE(message.find("NaN in the answer to prompt 0, expected finite numbers"), std::string::npos)
                << message;
        }
    }
}

TEST(SamLoading, BareEncoderIsToldApart) {
    ev::StateDict bare;
    for (const ev::Parameter& p : TinyEncoder::parameters())
        bare.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    TinySam sam;
    const std::string message = message_of<ev::WeightsError>([&] { sam.load_state_dict(bare); });
    EXPECT_EQ(message.find("found the weights of an image encoder alone, expected those of a whole SAM"), 0u)
        << message;
    EXPECT_FALSE(sam.loaded());
}

/// Every tensor of a whole file is used, with counters and DataParallel's prefix; one too many is an error.
TEST(SamLoading, WholeFilesAreStrict) {
    ev::StateDict whole;
    for (const ev::Parameter& p : TinySam::parameters())
        whole.insert("module." + p.name, p.shape, golden_tensor(p.name, p.shape));
    TinySam sam;
    EXPECT_NO_THROW(sam.load_state_dict(whole));
    TinyEncoder encoder;  // passes over the decoder
    EXPECT_NO_THROW(encoder.load_state_dict(whole));
    TinySam::Prompts prompts;
    EXPECT_NO_THROW(prompts.load_state_dict(whole, {.prefix = "module.prompt_encoder."}));
    TinySam::Masks masks;
    EXPECT_NO_THROW(masks.load_state_dict(whole, {.prefix = "module.mask_decoder."}));
    whole.insert("module.mask_decoder.extra.weight", {1}, {0.0f});
    EXPECT_THROW(sam.load_state_dict(whole), ev::WeightsError);
    EXPECT_TRUE(sam.loaded());
}

/// The parameters of a decoder under the names of a file, with an encoder of another kind beside them.
ev::StateDict file_of(const std::string& wrapper, const std::vector<std::string>& beside, bool prompts, bool masks) {
    ev::StateDict file;
    const auto add = [&](const std::string& part, const std::vector<ev::Parameter>& parameters) {
        for (const ev::Parameter& p : parameters)
            file.insert(wrapper + part + p.name, p.shape, golden_tensor(p.name, p.shape));
    };
    if (prompts) add("prompt_encoder.", NarrowSam::Prompts::parameters());
    if (masks) add("mask_decoder.", NarrowSam::Masks::parameters());
    for (const std::string& name : beside) file.insert(wrapper + name, {1}, {0.5F});
    return file;
}

/// SAM's, MobileSAM's and MedSAM's image encoders are others; what decodes has the same names in all of them.
TEST(SamLoading, DecodersOfOtherSams) {
    const std::vector<std::string> original{"image_encoder.pos_embed", "image_encoder.blocks.0.norm1.weight",
                                            "image_encoder.neck.0.weight"},
        mobile{"image_encoder.patch_embed.seq.0.c.weight", "image_encoder.layers.0.blocks.0.conv1.c.weight",
               "image_encoder.neck.3.bias"},
        with_pixels{"image_encoder.blocks.0.attn.rel_pos_h", "pixel_mean", "pixel_std"};
    for (const std::string wrapper : {"", "module.", "model.", "module.model."}) {
        for (const auto& beside : {original, mobile, with_pixels, {}}) {
            const ev::StateDict file = file_of(wrapper, beside, true, true);
            NarrowSam::Prompts prompts;
            EXPECT_TRUE(prompts.load_state_dict(file).missing.empty()) << wrapper;
            NarrowSam::Masks masks;
            EXPECT_TRUE(masks.load_state_dict(file).missing.empty()) << wrapper;
        }
    }
    // Each part in a file of its own, with and without its name before it.
    NarrowSam::Prompts prompts;
    EXPECT_NO_THROW(prompts.load_state_dict(file_of("", {}, true, false)));
    NarrowSam::Masks masks, bare, other_eps;
    EXPECT_NO_THROW(masks.load_state_dict(file_of("", {}, false, true)));
    EXPECT_NO_THROW(bare.load_state_dict(golden_weights(NarrowSam::Masks::parameters())));
    EXPECT_THROW(prompts.load_state_dict(file_of("", {}, false, true)), ev::WeightsError);
    EXPECT_THROW(masks.load_state_dict(file_of("", {}, true, false)), ev::WeightsError);
    // What belongs to the part itself, such as SAM-HQ's token, is not passed over.
    const std::string message = message_of<ev::WeightsError>([&] {
        masks.load_state_dict(file_of("", {"image_encoder.pos_embed", "mask_decoder.hf_token.weight"}, true, true));
    });
    EXPECT_NE(message.find("unexpected:\n  mask_decoder.hf_token.weight"), std::string::npos) << message;
    EXPECT_EQ(message.find("pos_embed"), std::string::npos) << message;
}

/// Weights are the same whatever stands before their names, and norm_eps is the decoder's.
TEST(SamLoading, OtherSamsNormEps) {
    static constexpr ev::MaskDecoderConfig meta = [] {
        ev::MaskDecoderConfig c = NarrowSam::Masks::config;
        c.norm_eps = 1e-2;  // far enough from 1e-6 to be seen
        return c;
    }();
    const ev::StateDict file = file_of("", {"image_encoder.pos_embed"}, true, true);
    NarrowSam::Prompts prompts;
    prompts.load_state_dict(file);
    const ev::Tensor embedding = golden_tensor_of("embedding", {1, 40, 9, 14}), positions = prompts.get_dense_pe(),
                     dense = prompts.embed_dense(), sparse = prompts.embed_sparse(std::vector<ev::SamPoint>{{70, 50}});
    ev::Context context;
    const auto masks_of = [&](auto decoder, const ev::StateDict& weights) {
        decoder.load_state_dict(weights);
        ev::Tensor masks, iou;
        decoder.forward(const_view(embedding), const_view(positions), const_view(sparse), const_view(dense), {}, masks,
                        iou, context);
        return masks;
    };
    const ev::StateDict bare = golden_weights(NarrowSam::Masks::parameters());
    const ev::Tensor ours = masks_of(NarrowSam::Masks(), file), theirs = masks_of(ev::MaskDecoder<meta>(), file);
    EXPECT_TRUE(same_bits(ours, masks_of(NarrowSam::Masks(), bare)));
    EXPECT_GT(relative_error(theirs, to_map(ours)), 1e-4);
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// After the first forward of a size nothing is allocated, by nobody: operator new in all its forms is counted, and
// malloc where it can be replaced. A program of its own, since it replaces both.
#include "../support.hpp"
#include "counting_allocator.hpp"

#include <efficientvit/models/any_model_of.hpp>
#include <efficientvit/models/sam_predictor.hpp>

namespace {

/// How many allocations action() makes.
template <class Action>
long count(const Action& action) {
    const long before = allocations();
    action();
    return allocations() - before;
}

TEST(Allocations, AreCounted) {
    std::vector<int> vector;
    EXPECT_GE(count([&] { vector.resize(100); }), 1);
    ev::Tensor tensor;
    EXPECT_GE(count([&] { tensor.resize(1, 2, 3, 4); }), malloc_is_counted() ? 1 : 0);
    ev::detail::AlignedBuffer<float> buffer;
    EXPECT_GE(count([&] { buffer = ev::detail::AlignedBuffer<float>(10); }), 1);
    EXPECT_EQ(count([] {}), 0);
}

class NoAllocation : public testing::TestWithParam<int> {
protected:
    const ev::BackboneB0 backbone = golden_layer<ev::BackboneB0>();
    ev::Context context{{.threads = GetParam()}};
};

TEST_P(NoAllocation, InASecondForward) {
    const ev::Tensor x = golden_input({1, 3, 70, 61});
    ev::BackboneB0::Features features;
    ev::Tensor last;
    backbone.forward(x, features, context);
    backbone.forward_final(x, last, context);
    const ev::Tensor expected = features.stage_final();
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(count([&] { backbone.forward(x, features, context); }), 0) << i;
        EXPECT_EQ(count([&] { backbone.forward_final(x, last, context); }), 0) << i;
        EXPECT_EQ(count([&] { backbone.forward_final(x, ev::view(last), context); }), 0) << i;
    }
    EXPECT_TRUE(same_bits(features.stage_final(), expected));
    EXPECT_TRUE(same_bits(last, expected));
}

TEST_P(NoAllocation, InAFirstForwardWhoseMemoryWasTaken) {
    const ev::Tensor x = golden_input({1, 3, 40, 61});
    ev::Tensor y(backbone.output_shape({1, 3, 40, 61}).n, 128, 2, 2);
    context.reserve(backbone.workspace_bytes({1, 3, 40, 61}, context));
    EXPECT_EQ(count([&] { backbone.forward_final(x, ev::view(y), context); }), 0);
}

/// Points, a box, several masks or one: kinds may alternate.
TEST_P(NoAllocation, InASecondPromptOfAKind) {
    using Encoder =
        ev::SamImageEncoder<ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{
                                .width_list = {8, 8, 8, 16, 16}, .depth_list = {1, 1, 1, 1, 1}, .qkv_dim = 8}>,
                            ev::SamNeckConfig{.head_width = 16, .out_dim = 32, .size = {16, 16}}>;
    using Sam =
        ev::EfficientViTSam<Encoder,
                            ev::SamConfig{.image_size = 64,
                                          .prompt_encoder = {.embed_dim = 32, .image_embedding_size = {16, 16}},
                                          .mask_decoder = {.embed_dim = 32, .mlp_dim = 64, .iou_head_hidden_dim = 32}}>;
    struct Sink final : ev::MaskSink {
        bool wants_masks(int, std::span<const float>) noexcept override { return true; }
        void take_masks(int, std::span<const float>, const float*) noexcept override {}
    } sink;
    const auto sam = golden_layer<Sam>();
    ev::SamPredictor predictor(sam);
    predictor.set_image(ev::Image({20, 30}, {10, 20, 30}), context);
    const ev::Tensor mask = golden_input({1, 1, 64, 64});
    const std::vector<ev::SamPrompt> prompts{
        {.points = {{3, 4}}},
        {.box = ev::Box{1, 2, 20, 15}, .multimask_output = false},
        {.points = {{3, 4}, {5, 6, 0}, {7, 8}}, .mask_input = ev::view(mask)},
    };
    for (int i = 0; i < 9; ++i) {
        const std::span<const ev::SamPrompt> one(&prompts[static_cast<std::size_t>(i % 3)], 1);
        const long allocated = count([&] { predictor.decode(one, sink, context); });
        EXPECT_TRUE(allocated == 0 || i < 3) << i << ": " << allocated;
    }
    predictor.decode(prompts, sink, context);
    EXPECT_EQ(count([&] { predictor.decode(prompts, sink, context); }), 0);
}

TEST_P(NoAllocation, WhereSizesAlternate) {
    const ev::Tensor sizes[] = {golden_input({1, 3, 70, 61}), golden_input({2, 3, 33, 20}), golden_input({1, 3, 1, 1})};
    ev::BackboneB0::Features features[3];
    for (int i = 0; i < 3; ++i) backbone.forward(sizes[i], features[i], context);
    for (int i = 0; i < 12; ++i) {
        EXPECT_EQ(count([&] { backbone.forward(sizes[i % 3], features[i % 3], context); }), 0) << i;
    }
}

TEST_P(NoAllocation, InAnyLayer) {
    const auto check = [&](const auto& layer, const ev::Shape& shape) {
        const ev::Tensor x = golden_input(shape);
        ev::Tensor y;
        layer.forward(x, y, context);
        EXPECT_EQ(count([&] { layer.forward(x, y, context); }), 0) << to_text(shape);
    };
    using ev::ConvConfig;
    using ev::ConvLayer;
    check(golden_layer<ConvLayer<ConvConfig{.in_channels = 9, .out_channels = 17}>>(), {2, 9, 8, 11});
    check(golden_layer<ConvLayer<ConvConfig{.in_channels = 9, .out_channels = 6, .groups = 3}>>(), {2, 9, 8, 11});
    check(golden_layer<ConvLayer<ConvConfig{.in_channels = 9, .out_channels = 9, .dilation = 2, .groups = 9}>>(),
          {2, 9, 8, 11});
    check(golden_layer<ev::LiteMLA<ev::LiteMLAConfig{.in_channels = 17, .out_channels = 9, .scales = {3, 7}}>>(),
          {2, 17, 8, 11});
    check(golden_layer<ev::EfficientViTCls<
              ev::EfficientViTBackbone<ev::BackboneConfig{.width_list = {3, 5}, .depth_list = {1, 1}}>,
              ev::ClsHeadConfig{.width_list = {9, 17}, .n_classes = 3}>>(),
          {2, 3, 30, 11});
    using Large = ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{
        .width_list = {4, 8, 9},
        .depth_list = {1, 1, 1},
        .block_list = {ev::LargeBlock::res, ev::LargeBlock::fmb, ev::LargeBlock::mb},
        .expand_list = {1, 2, 2},
        .fewer_norm_list = {false, false, true}}>;
    check(golden_layer<ev::EfficientViTSeg<
              Large, ev::SegHeadConfig{.head_width = 8, .head_depth = 1, .final_expand = 2, .n_classes = 3}>>(),
          {2, 3, 40, 16});
    check(golden_layer<ev::SamImageEncoder<Large, ev::SamNeckConfig{.head_depth = 1, .size = {5, 7}}>>(),
          {2, 3, 30, 11});
}

TEST_P(NoAllocation, WhereTheTypeIsForgotten) {
    ev::AnyModelOf<ev::BackboneB0> any({.name = "b0"});
    any.load_state_dict(golden_weights(any.parameters()));
    const ev::AnyModel& model = any;
    const ev::Tensor x = golden_input({1, 3, 70, 61});
    ev::NamedTensors y;
    model.forward(x, y, context);
    EXPECT_EQ(count([&] { model.forward(x, y, context); }), 0);
    ev::Tensor stage(1, 1, 1, 1);
    model.forward_stage("stage2", x, stage, context);
    EXPECT_EQ(count([&] { model.forward_stage("stage2", x, stage, context); }), 0);
}

TEST_P(NoAllocation, TheFirstTakesWhatItSaidAndNoMore) {
    for (const ev::Shape& shape : {ev::Shape{1, 3, 70, 61}, ev::Shape{2, 3, 33, 20}}) {
        const ev::Tensor x = golden_input(shape);
        ev::Tensor y(1, 1, 1, 1);
        backbone.forward_final(golden_input({1, 3, 1, 1}), y, context);  // what is not per size: threads, first calls
        ev::Context fresh({.threads = GetParam()});
        const std::size_t needed = backbone.workspace_bytes(shape, fresh);
        ev::BackboneB0::Features features = backbone.forward(x, context);
        const std::size_t before = aligned_bytes();
        backbone.forward(x, features, fresh);
        backbone.forward_final(x, y, fresh);
        EXPECT_LE(aligned_bytes() - before, 2 * needed) << "forward's memory, and forward_final's if that needs more";
        EXPECT_EQ(fresh.allocated_bytes(), needed);
        ev::Context once({.threads = GetParam()});
        once.reserve(needed);
        const std::size_t then = aligned_bytes();
        backbone.forward(x, features, once);
        backbone.forward_final(x, y, once);
        EXPECT_EQ(aligned_bytes() - then, 0u);
    }
}

TEST_P(NoAllocation, WithAPoolOfOnesOwn) {
    ev::ThreadPoolExecutor executor(2);
    ev::Context own({.threads = GetParam(), .executor = &executor});
    const ev::Tensor x = golden_input({1, 3, 70, 61});
    ev::Tensor y;
    backbone.forward_final(x, y, own);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(count([&] { backbone.forward_final(x, y, own); }), 0) << i;
}

INSTANTIATE_TEST_SUITE_P(Threads, NoAllocation, testing::Values(1, 2, 3));

}  // namespace

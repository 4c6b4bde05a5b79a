// SPDX-License-Identifier: Apache-2.0
//
// AnyModel on weights of any number of classes: what a type compiled for that number gives, to the bit. Parts of a
// forward: pre-logits, and one stage.
#include <efficientvit/models/any_model_of.hpp>
#include <efficientvit/models/classifier.hpp>
#include <efficientvit/models/segmenter.hpp>

#include "../messages.hpp"

#include <algorithm>

namespace {

namespace ev = efficientvit;

constexpr ev::BackboneConfig small{.width_list = {8, 8, 16, 16}, .depth_list = {1, 1, 1, 1}, .dim = 8};
using Backbone = ev::EfficientViTBackbone<small>;
template <int Classes>
using Cls = ev::EfficientViTCls<Backbone, ev::ClsHeadConfig{.width_list = {24, 40}, .n_classes = Classes}>;
template <int Classes, int FinalExpand>
using Seg = ev::EfficientViTSeg<
    Backbone, ev::SegHeadConfig{
                  .inputs = 2, .head_width = 16, .head_depth = 1, .final_expand = FinalExpand, .n_classes = Classes}>;

ev::StateDict weights_of(const std::vector<ev::Parameter>& parameters) {
    ev::StateDict out;
    unsigned state = 1;
    for (const ev::Parameter& parameter : parameters) {
        const auto count = static_cast<std::size_t>(*ev::detail::element_count(parameter.shape));
        std::vector<float> values(count);
        for (float& value : values) {
            state = state * 1664525u + 1013904223u;
            value = static_cast<float>(state >> 8) * 0x1p-24f - (parameter.name.ends_with("running_var") ? 0.0f : 0.5f);
        }
        out.insert(parameter.name, parameter.shape, std::move(values));
    }
    return out;
}

ev::Tensor image() {
    ev::Tensor x(2, 3, 64, 32);
    for (int i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i % 97) / 97.0f - 0.5f;
    return x;
}

template <class Published, class Own>
void expect_same(ev::Task task) {
    const ev::StateDict weights = weights_of(Own::parameters());
    Own own;
    own.load_state_dict(weights);
    ev::AnyModelOf<Published> any({.name = "published", .task = task});
    EXPECT_EQ(any.info().n_classes, Published::n_classes);
    any.load_state_dict(weights);
    EXPECT_EQ(any.info().n_classes, Own::n_classes);
    EXPECT_EQ(any.parameters().back().shape.front(), Own::n_classes);
    const ev::Tensor x = image();
    const ev::Tensor expected = own.forward(x);
    ev::Context context({.threads = 2});
    const ev::NamedTensors found = any.forward(x, context);
    ASSERT_EQ(found.begin()->tensor.dimensions(), expected.dimensions());
    EXPECT_TRUE(std::equal(expected.data(), expected.data() + expected.size(), found.begin()->tensor.data()));
    ev::Tensor y(expected.dimensions());
    any.forward_final(ev::view(x), ev::view(y), context);
    EXPECT_TRUE(std::equal(expected.data(), expected.data() + expected.size(), y.data()));
    EXPECT_EQ(any.outputs({2, 3, 64, 32}).front().shape.c, Own::n_classes);
    EXPECT_GT(any.workspace_bytes({2, 3, 64, 32}, context), 0u);
}

TEST(Classes, ClassifiersOfAnyNumber) {
    expect_same<Cls<1000>, Cls<1>>(ev::Task::classification);
    expect_same<Cls<1000>, Cls<37>>(ev::Task::classification);
    expect_same<Cls<1>, Cls<1000>>(ev::Task::classification);
}

TEST(Classes, SegmentersOfAnyNumber) {
    expect_same<Seg<19, 0>, Seg<5, 0>>(ev::Task::segmentation);
    expect_same<Seg<19, 4>, Seg<2, 4>>(ev::Task::segmentation);
}

TEST(Classes, WhatDoesNotFitLeavesTheModelAsItWas) {
    using Model = ev::AnyModelOf<Cls<1000>>;
    Model model({.name = "published", .task = ev::Task::classification});
    const auto error = [&](const ev::StateDict& weights) {
        return message_of<ev::WeightsError>([&] { model.load_state_dict(weights); });
    };
    ev::StateDict weights = weights_of(Cls<5>::parameters());
    model.load_state_dict(weights);
    weights.erase("head.op_list.3.linear.bias");
    EXPECT_NE(error(weights).find("1 missing"), std::string::npos);
    weights.insert("head.op_list.3.linear.bias", {4}, {0, 0, 0, 0});
    EXPECT_NE(error(weights).find("head.op_list.3.linear.bias: found [4], expected [5]"), std::string::npos);
    weights.erase("head.op_list.3.linear.weight");
    weights.insert("head.op_list.3.linear.weight", {5, 39}, std::vector<float>(195));
    EXPECT_NE(error(weights).find("head.op_list.3.linear.weight: found [5, 39], expected [5, 40]"), std::string::npos);
    EXPECT_TRUE(model.loaded());
    EXPECT_EQ(model.info().n_classes, 5);
    EXPECT_EQ(model.forward(image()).begin()->tensor.dimension(1), 5);
}

TEST(Classes, ASegmenterNeedsItsLastLayer) {
    ev::AnyModelOf<Seg<19, 0>> model({.name = "seg", .task = ev::Task::segmentation});
    ev::StateDict weights = weights_of(Seg<19, 0>::parameters());
    weights.erase("head.output_ops.0.op_list.0.conv.weight");
    weights.erase("head.output_ops.0.op_list.0.conv.bias");
    const std::string error = message_of<ev::WeightsError>([&] { model.load_state_dict(weights); });
    expect_in("2 missing", error);
    expect_in("head.output_ops.0.op_list.0.conv.weight, shape [N, 16, 1, 1]", error);
    EXPECT_FALSE(model.loaded());
}

/// A classifier's weights without the layer that makes the classes, as of timm's num_classes=0.
template <class Classifier>
ev::StateDict without_last_layer() {
    ev::StateDict weights = weights_of(Classifier::parameters());
    weights.erase("head.op_list.3.linear.weight");
    weights.erase("head.op_list.3.linear.bias");
    return weights;
}

TEST(PreLogits, AreWhatTheLastLayerReads) {
    const ev::StateDict weights = weights_of(Cls<5>::parameters());
    Cls<5> model;
    model.load_state_dict(weights);
    ev::LinearLayer<ev::LinearConfig{.in_features = 40, .out_features = 5}> last;
    last.load_state_dict(weights, {.prefix = "head.op_list.3."});
    ev::Context context({.threads = 2});
    const ev::Tensor x = image();
    const ev::Tensor features = model.forward_pre_logits(x, context);
    EXPECT_EQ(Cls<5>::pre_logits_shape({2, 3, 64, 32}), (ev::Shape{2, 40, 1, 1}));
    ASSERT_EQ(ev::detail::shape_of(features), (ev::Shape{2, 40, 1, 1}));
    const ev::Tensor logits = model.forward(x, context), again = last.forward(features, context);
    ASSERT_EQ(again.dimensions(), logits.dimensions());
    EXPECT_TRUE(std::equal(logits.data(), logits.data() + logits.size(), again.data()));

    ev::Tensor y(2, 40, 1, 1);
    model.forward_pre_logits(x, ev::view(y), context);
    EXPECT_TRUE(std::equal(y.data(), y.data() + y.size(), features.data()));
    ev::Tensor wrong(1, 40, 1, 1);
    expect_in("forward_pre_logits: the output view is (1, 40, 1, 1), expected (2, 40, 1, 1)",
              message_of<ev::ShapeError>([&] { model.forward_pre_logits(x, ev::view(wrong), context); }));
    const ev::Tensor gray(1, 1, 64, 32);
    expect_in("1 channels, expected 3", message_of<ev::ShapeError>([&] { model.forward_pre_logits(gray, context); }));
    EXPECT_THROW(Cls<5>().forward_pre_logits(x), ev::WeightsError);

    // What it takes is what it says that it takes at most.
    ev::Context fresh;
    EXPECT_GE(model.workspace_bytes({2, 3, 64, 32}, fresh), model.pre_logits_workspace_bytes({2, 3, 64, 32}, fresh));
}

TEST(PreLogits, WithoutClassesTheyAreAllThereIs) {
    const ev::StateDict weights = without_last_layer<Cls<5>>();
    Cls<5> with_classes;
    with_classes.load_state_dict(weights_of(Cls<5>::parameters()));
    const ev::Tensor x = image(), expected = with_classes.forward_pre_logits(x);
    const auto expect_equal = [&](const ev::Tensor& found) {
        ASSERT_EQ(found.dimensions(), expected.dimensions());
        EXPECT_TRUE(std::equal(expected.data(), expected.data() + expected.size(), found.data()));
    };

    Cls<0> typed;
    typed.load_state_dict(weights);
    expect_equal(typed.forward(x));
    expect_equal(typed.forward_pre_logits(x));
    EXPECT_EQ(Cls<0>::parameters().size() + 2, Cls<5>::parameters().size());

    ev::AnyModelOf<Cls<1000>> any({.name = "published", .task = ev::Task::classification});
    any.load_state_dict(weights);
    EXPECT_EQ(any.info().n_classes, 0);
    EXPECT_EQ(any.parameters().size(), Cls<0>::parameters().size());
    ASSERT_EQ(any.outputs({2, 3, 64, 32}).size(), 1u);
    EXPECT_EQ(any.outputs({2, 3, 64, 32})[0].name, "pre_logits");
    EXPECT_EQ(any.outputs({2, 3, 64, 32})[0].shape, (ev::Shape{2, 40, 1, 1}));
    ev::Context context({.threads = 2});
    EXPECT_EQ(any.workspace_bytes({2, 3, 64, 32}, context),
              with_classes.pre_logits_workspace_bytes({2, 3, 64, 32}, context));
    expect_equal(any.forward(x, context)["pre_logits"]);
    expect_equal(any.forward_pre_logits(x, context));
    ev::Tensor y(2, 40, 1, 1);
    any.forward_final(ev::view(x), ev::view(y), context);
    expect_equal(y);

    ev::StateDict timm;
    for (const auto& [name, entry] : weights) {
        timm.insert(ev::detail::timm_name(name, ev::detail::Family::b), entry.dtype, entry.shape, entry.data,
                    entry.owner);
    }
    any.load_state_dict(timm);
    EXPECT_EQ(any.info().n_classes, 0);
    expect_equal(any.forward(x, context)["pre_logits"]);

    any.load_state_dict(weights_of(Cls<7>::parameters()));  // and back to classes
    EXPECT_EQ(any.info().n_classes, 7);
    expect_equal(any.forward_pre_logits(x, context));
    EXPECT_EQ(any.forward(x, context)["logits"].dimension(1), 7);

    ev::AnyModelOf<Cls<0>> none({.name = "none", .task = ev::Task::classification});
    none.load_state_dict(weights);
    expect_equal(none.forward(x, context)["pre_logits"]);
    ev::AnyModelOf<Backbone> backbone({.name = "mine"});
    EXPECT_EQ(message_of<ev::Error>([&] { static_cast<void>(backbone.forward_pre_logits(x, context)); }),
              "forward_pre_logits: mine is no classifier");
}

/// Counts the sections that a forward has.
struct Sections : ev::ChunkTrace {
    int count = 0;
    void section(int) override { ++count; }
    void chunk(int, double) override {}
};

template <class Network>
int sections_of_stage(const Network& network, int stage) {
    Sections sections;
    ev::Context context({.trace = &sections});
    ev::Tensor y;
    network.forward_stage(stage, image(), y, context);
    return sections.count;
}

template <class Network>
void expect_stages() {
    Network network;
    network.load_state_dict(weights_of(Network::parameters()));
    const ev::Tensor x = image();
    ev::Context context({.threads = 2});
    const auto features = network.forward(x, context);
    ev::AnyModelOf<Network> any({.name = "mine"});
    any.load_state_dict(weights_of(Network::parameters()));
    int before = 0;
    for (int stage = 0; stage < Network::stages; ++stage) {
        const ev::Tensor& expected = features[stage];
        ev::Tensor y;
        any.forward_stage("stage" + std::to_string(stage), x, y, context);
        ASSERT_EQ(y.dimensions(), expected.dimensions());
        EXPECT_TRUE(std::equal(y.data(), y.data() + y.size(), expected.data())) << stage;
        const int sections = sections_of_stage(network, stage);
        EXPECT_GT(sections, before);  // a stage has some, and those of later ones are not run
        before = sections;
    }
    const ev::Tensor third = network.template forward_stage<2>(x, context);
    EXPECT_TRUE(std::equal(third.data(), third.data() + third.size(), features.template stage<2>().data()));
    const ev::Tensor last = any.forward_stage("stage_final", x, context);
    EXPECT_TRUE(std::equal(last.data(), last.data() + last.size(), features.stage_final().data()));

    ev::Tensor wrong(1, 1, 1, 1);
    expect_in("forward_stage: the output view is (1, 1, 1, 1), expected (2, ",
              message_of<ev::ShapeError>([&] { any.forward_stage("stage1", x, ev::view(wrong), context); }));
    EXPECT_EQ(message_of<ev::Error>([&] { static_cast<void>(any.forward_stage("stage9", x, context)); }),
              "forward_stage: mine has no 'stage9'; there are stage0, stage1, stage2, stage3 and stage_final");
    EXPECT_EQ(message_of<ev::Error>([&] { network.forward_stage(4, x, wrong, context); }),
              "forward_stage: no stage 4; there are 0 to 3");
    EXPECT_THROW(Network().template forward_stage<0>(x), ev::WeightsError);
}

TEST(Stages, OneAloneComputesNoLaterOne) {
    expect_stages<Backbone>();
    expect_stages<ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{
        .width_list = {8, 8, 16, 16},
        .depth_list = {1, 1, 1, 1},
        .block_list = {ev::LargeBlock::res, ev::LargeBlock::fmb, ev::LargeBlock::mb, ev::LargeBlock::att},
        .expand_list = {1, 4, 4, 4},
        .fewer_norm_list = {false, false, true, true},
        .qkv_dim = 8}>>();
    ev::AnyModelOf<Cls<5>> cls({.name = "cls", .task = ev::Task::classification});
    cls.load_state_dict(weights_of(Cls<5>::parameters()));
    ev::Context context;
    expect_in("cls has no 'stage2': it gives logits",
              message_of<ev::Error>([&] { static_cast<void>(cls.forward_stage("stage2", image(), context)); }));
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// AnyModel on weights of any number of classes: what a type compiled for that number gives, to the bit.
#include <efficientvit/models/any_model.hpp>
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
    any.forward_final({x.data(), {2, 3, 64, 32}}, ev::view(y), context);
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
    weights.erase("head.op_list.3.linear.weight");
    weights.erase("head.op_list.3.linear.bias");
    EXPECT_NE(error(weights).find("no last layer (num_classes=0)"), std::string::npos);
    EXPECT_TRUE(model.loaded());
    EXPECT_EQ(model.info().n_classes, 5);
    EXPECT_EQ(model.forward(image()).begin()->tensor.dimension(1), 5);
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Backbones and classifiers of any configuration against the reference; b0 at sizes from one pixel up; the names of the
// published networks.
#include "check_layer.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace {

using ev::Activation;
using ev::BackboneConfig;
using ev::Norm;
using reference::Map;
using reference::Weights;

/// Every stage, for 1, 2 and 3 threads, on every ISA.
template <class Backbone>
void check_backbone(const std::vector<ev::Shape>& sizes, const std::string& what) {
    for (ev::Shape size : sizes) {
        size.c = Backbone::in_channels;
        const ev::Tensor x = golden_input(size);
        Weights::Asked asked;
        const std::vector<Map> expected = reference::backbone(to_map(x), Weights::golden(&asked), Backbone::config);
        EXPECT_EQ(lines(Backbone::parameters()), lines(asked)) << what;
        ASSERT_EQ(expected.size(), std::size_t{Backbone::stages});
        for (const ev::Isa isa : isas()) {
            const Backbone backbone = golden_layer<Backbone>(isa);
            for (const int threads : {1, 2, 3}) {
                ev::Context context({.threads = threads});
                const typename Backbone::Features features = backbone.forward(x, context);
                for (int i = 0; i < Backbone::stages; ++i) {
                    EXPECT_LE(relative_error(features[i], expected[std::size_t(i)], 0.25), bound)
                        << what << " on " << to_text(size) << ", stage " << i << ", " << ev::isa_name(isa) << ", "
                        << threads << " threads";
                }
                EXPECT_TRUE(same_bits(backbone.forward_final(x, context), features.stage_final())) << what;
                if (threads > 1) continue;
                EXPECT_EQ(backbone.output_shape(size), shape_of(features.stage_final())) << what;
            }
        }
        if (testing::Test::HasFailure()) return;
    }
}

/// A backbone of any configuration, in small sizes.
template <BackboneConfig C>
void check(const std::string& what) {
    check_backbone<ev::EfficientViTBackbone<C>>({{1, 0, 1, 1}, {2, 0, 19, 34}, {1, 0, 48, 41}}, what);
}

TEST(BackboneB0, SizesFromOnePixelUp) {
    std::vector<ev::Shape> sizes;
    for (const std::ptrdiff_t h : {1, 2, 3, 9, 32, 33}) {
        for (const std::ptrdiff_t w : {1, 2, 5, 17, 31, 65}) sizes.push_back({1, 0, h, w});
    }
    sizes.push_back({3, 0, 21, 50});
    check_backbone<ev::BackboneB0>(sizes, "b0");
}

// The literals of the documentation, as they stand there.
// clang-format off
using Mine = ev::EfficientViTBackbone<ev::BackboneConfig{.width_list = {12, 20, 28, 40, 72}, .depth_list = {2, 1, 2, 1, 3},
                                                         .in_channels = 1, .dim = 8, .expand_ratio = 3}>;
using Stem = ev::OpSequential<ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 8, .stride = 2}>,
                              ev::ResidualBlock<ev::DSConv<ev::DSConvConfig{.in_channels = 8, .out_channels = 8}>, ev::IdentityLayer>>;
// clang-format on

TEST(Documentation, ItsOwnBackbone) { check_backbone<Mine>({{1, 0, 1, 1}, {2, 0, 40, 57}}, "Mine"); }

TEST(Documentation, ItsOwnStem) {
    check_layer<Stem>([](const Map& x, const Weights& weights) {
        const Weights list = weights.at("op_list");
        const auto main = [](const Map& map, const Weights& w) {
            return reference::ds_conv(map, w, ev::DSConvConfig{.in_channels = 8, .out_channels = 8});
        };
        const ev::ConvConfig conv{.in_channels = 3, .out_channels = 8, .stride = 2};
        return reference::residual_block(reference::conv_layer(x, list.at(0), conv), list.at(1), main,
                                         reference::identity);
    });
}

TEST(Backbone, WidthsThatNoVectorDivides) {
    check<BackboneConfig{.width_list = {3, 5, 7, 20, 25}, .depth_list = {1, 1, 2, 1, 1}, .dim = 5}>("dim 5");
    check<BackboneConfig{
        .width_list = {9, 17, 18, 48, 50}, .depth_list = {1, 2, 1, 1, 1}, .in_channels = 5, .dim = 24}>("dim 24");
}

TEST(Backbone, NoExpansionMakesDSConv) {
    check<BackboneConfig{
        .width_list = {8, 12, 16, 24, 32}, .depth_list = {1, 2, 1, 1, 1}, .dim = 8, .expand_ratio = 1}>("ratio 1");
}

TEST(Backbone, StagesOfDepthZero) {
    check<BackboneConfig{.width_list = {8, 12, 16, 24, 32}, .depth_list = {0, 1, 1, 0, 0}, .dim = 8}>("0 1 1 0 0");
    // The reference leaves stages 1 and 2 out where their depth is 0: neither channels nor size change.
    check<BackboneConfig{.width_list = {8, 12, 16, 24, 32}, .depth_list = {1, 0, 1, 1, 1}, .dim = 8}>("1 0 1 1 1");
    check<BackboneConfig{.width_list = {8, 12, 16, 24, 32}, .depth_list = {0, 0, 0, 0, 0}, .dim = 8}>("0 0 0 0 0");
}

TEST(Backbone, AnyNumberOfStages) {
    check<BackboneConfig{.width_list = {7}, .depth_list = {2}}>("1 stage");
    check<BackboneConfig{.width_list = {8, 12}, .depth_list = {1, 1}}>("2 stages");
    check<BackboneConfig{.width_list = {4, 8, 12, 16, 16, 24}, .depth_list = {1, 1, 1, 1, 1, 2}, .dim = 8}>("6 stages");
}

TEST(Backbone, NormsAndActivations) {
    check<BackboneConfig{.width_list = {8, 12, 16, 16, 24},
                         .depth_list = {1, 1, 1, 1, 1},
                         .dim = 8,
                         .act_func = Activation::gelu,
                         .norm_eps = 1e-3}>("gelu");
    check<BackboneConfig{.width_list = {8, 12, 16, 16, 24},
                         .depth_list = {1, 1, 1, 1, 1},
                         .dim = 8,
                         .norm = Norm::none,
                         .act_func = Activation::relu6}>("no norm");
    check<BackboneConfig{.width_list = {8, 12, 16, 16, 24},
                         .depth_list = {1, 1, 1, 1, 1},
                         .dim = 8,
                         .expand_ratio = 2.5,
                         .act_func = Activation::silu}>("silu");
}

constexpr BackboneConfig random_backbone(int seed) {
    Dice dice(seed);
    const int dim = dice.pick({4, 6, 8, 10, 16});
    const auto width = [&] { return dice.pick({3, 4, 6, 8, 10, 12, 16, 17}); };
    const auto attended = [&] { return dim * (1 + dice.below(3)) + dice.below(2); };
    const auto depth = [&] { return dice.below(3); };
    return {.width_list = {width(), width(), width(), attended(), attended()},
            .depth_list = {depth(), 1 + depth(), 1 + depth(), depth(), depth()},
            .in_channels = dice.pick({1, 3, 3, 4, 7}),
            .dim = dim,
            .expand_ratio = dice.pick({1.0, 2.0, 3.0, 1.5}),
            .norm = dice.norm(),
            .act_func = dice.pick(
                {Activation::relu, Activation::relu6, Activation::hswish, Activation::silu, Activation::gelu})};
}

template <std::size_t... Seed>
void check_random(std::index_sequence<Seed...>) {
    (check<random_backbone(int(Seed))>("random " + std::to_string(Seed)), ...);
}
TEST(Backbone, Random) { check_random(std::make_index_sequence<6>()); }

TEST(Classifier, AnyHead) {
    static constexpr BackboneConfig c{.width_list = {4, 6, 8, 8, 12}, .depth_list = {1, 1, 1, 1, 1}, .dim = 4};
    static constexpr ev::ClsHeadConfig head{
        .width_list = {21, 33}, .n_classes = 7, .act_func = Activation::gelu, .norm_eps = 1e-7};
    check_layer<ev::EfficientViTCls<ev::EfficientViTBackbone<c>, head>>(
        [](const Map& x, const Weights& w) { return reference::classifier(x, w, c, head); },
        {{1, 0, 1, 1}, {3, 0, 20, 33}, {1, 0, 64, 48}}, "a small classifier");
}

// ---- Names ---------------------------------------------------------------------------------------------------------

std::vector<std::string> published(const std::string& model) {
    std::ifstream in(std::filesystem::path(EFFICIENTVIT_TEST_DATA) / "names" / ("keys_" + model + ".json"));
    const auto json = nlohmann::ordered_json::parse(in);
    std::vector<ev::Parameter> out;
    for (const auto& [name, shape] : json.items()) out.push_back({name, shape});
    return lines(out);
}

TEST(Names, AreThePublishedOnesInTheirOrder) {
    EXPECT_EQ(lines(ev::BackboneB0::parameters()), published("backbone_b0"));
    EXPECT_EQ(lines(ev::BackboneB1::parameters()), published("backbone_b1"));
    EXPECT_EQ(lines(ev::BackboneB2::parameters()), published("backbone_b2"));
    EXPECT_EQ(lines(ev::BackboneB3::parameters()), published("backbone_b3"));
    EXPECT_EQ(lines(ev::ClsB0<>::parameters()), published("cls_b0"));
    EXPECT_EQ(lines(ev::ClsB1<>::parameters()), published("cls_b1"));
    EXPECT_EQ(lines(ev::ClsB2<>::parameters()), published("cls_b2"));
    EXPECT_EQ(lines(ev::ClsB3<>::parameters()), published("cls_b3"));
}

TEST(Names, NumberOfClasses) {
    std::vector<std::string> expected = published("cls_b0");
    expected.at(expected.size() - 2) = "head.op_list.3.linear.weight 10 1280";
    expected.at(expected.size() - 1) = "head.op_list.3.linear.bias 10";
    EXPECT_EQ(lines(ev::ClsB0<10>::parameters()), expected);
}

/// What users may ask of a type without an object.
TEST(Backbone, Constants) {
    static_assert(ev::BackboneB0::stages == 5 && ev::BackboneB0::in_channels == 3);
    static_assert(ev::BackboneB0::out_channels == 128 && ev::BackboneB0::stride == 32);
    static_assert(ev::BackboneB0::stage_channels<0> == 8 && ev::BackboneB0::stage_channels<3> == 64);
    static_assert(ev::ClsB0<10>::n_classes == 10 && ev::ClsB0<10>::out_channels == 10);
    static_assert(ev::BackboneB0::Features::size() == 5);
    EXPECT_EQ(ev::BackboneB0::output_shape({2, 3, 97, 131}), (ev::Shape{2, 128, 4, 5}));
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Backbones and classifiers of any configuration against the reference; b0 at sizes from one pixel up. The published
// networks are in golden/.
#include "../reference_large.hpp"

#include "check_layer.hpp"

#include <utility>

namespace {

using ev::Activation;
using ev::BackboneConfig;
using ev::Norm;
using reference::Map;
using reference::Weights;

/// A backbone whose type is forgotten, as AnyLayer.
class AnyBackbone {
public:
    virtual ~AnyBackbone() = default;
    virtual std::vector<ev::Parameter> parameters() const = 0;
    virtual void load(const ev::StateDict& weights, ev::Isa isa) = 0;
    virtual ev::Shape output_shape(const ev::Shape& shape) const = 0;
    virtual std::vector<ev::Tensor> forward(const ev::Tensor& x, ev::Context& context) const = 0;
    virtual ev::Tensor forward_final(const ev::Tensor& x, ev::Context& context) const = 0;
};

template <class Backbone>
class AnyBackboneOf final : public AnyBackbone {
public:
    std::vector<ev::Parameter> parameters() const override { return Backbone::parameters(); }
    void load(const ev::StateDict& weights, ev::Isa isa) override { backbone_.load_state_dict(weights, {.isa = isa}); }
    ev::Shape output_shape(const ev::Shape& shape) const override { return Backbone::output_shape(shape); }
    std::vector<ev::Tensor> forward(const ev::Tensor& x, ev::Context& context) const override {
        const typename Backbone::Features features = backbone_.forward(x, context);
        std::vector<ev::Tensor> out;
        for (int i = 0; i < Backbone::stages; ++i) out.push_back(features[i]);
        return out;
    }
    ev::Tensor forward_final(const ev::Tensor& x, ev::Context& context) const override {
        return backbone_.forward_final(x, context);
    }

private:
    Backbone backbone_;
};

/// Every stage, for 1, 2 and 3 threads, on every ISA. Config is BackboneConfig or LargeBackboneConfig.
template <class Config>
void check_backbone(AnyBackbone& backbone, const Config& config, const std::vector<ev::Shape>& sizes,
                    const std::string& what) {
    const ev::StateDict weights = golden_weights(backbone.parameters());
    for (ev::Shape size : sizes) {
        size.c = config.in_channels;
        const ev::Tensor x = golden_input(size);
        Weights::Asked asked;
        const std::vector<Map> expected = reference::backbone(to_map(x), Weights::golden(&asked), config);
        EXPECT_EQ(lines(backbone.parameters()), lines(asked)) << what;
        for (const ev::Isa isa : isas()) {
            backbone.load(weights, isa);
            std::vector<ev::Tensor> first;
            for (const int threads : {1, 2, 3}) {
                const std::string where = what + " on " + to_text(size) + ", " + std::string(ev::isa_name(isa)) + ", " +
                                          std::to_string(threads) + " threads";
                ev::Context context({.threads = threads});
                const std::vector<ev::Tensor> stages = backbone.forward(x, context);
                ASSERT_EQ(stages.size(), expected.size()) << where;
                if (threads == 1) first = stages;
                for (std::size_t i = 0; i < stages.size(); ++i) {
                    ASSERT_LE(relative_error(stages[i], expected[i], 0.25), bound) << where << ", stage " << i;
                    ASSERT_TRUE(same_bits(stages[i], first[i])) << where << ", stage " << i;
                }
                ASSERT_TRUE(same_bits(backbone.forward_final(x, context), stages.back())) << where;
                ASSERT_EQ(backbone.output_shape(size), shape_of(stages.back())) << where;
            }
        }
    }
}

template <class Backbone>
void check_backbone(const std::vector<ev::Shape>& sizes, const std::string& what) {
    AnyBackboneOf<Backbone> backbone;
    check_backbone(backbone, Backbone::config, sizes, what);
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
void check_random_backbones(std::index_sequence<Seed...>) {
    (check<random_backbone(int(Seed))>("random " + std::to_string(Seed)), ...);
}
TEST(Backbone, Random) { check_random_backbones(std::make_index_sequence<4>()); }

// ---- EfficientViTLargeBackbone
// ---------------------------------------------------------------------------------------

using ev::LargeBackboneConfig;
using ev::LargeBlock;

template <LargeBackboneConfig C>
void check_large(const std::string& what) {
    check_backbone<ev::EfficientViTLargeBackbone<C>>({{1, 0, 1, 1}, {2, 0, 19, 34}, {1, 0, 48, 41}}, what);
}

TEST(LargeBackbone, DefaultsAreTheReferences) {
    constexpr LargeBackboneConfig c{.width_list = {4, 9, 12, 16, 20}, .depth_list = {1, 1, 1, 1, 1}, .qkv_dim = 8};
    static_assert(c.block_list == ev::ShortList<LargeBlock>{LargeBlock::res, LargeBlock::fmb, LargeBlock::fmb,
                                                            LargeBlock::mb, LargeBlock::att});
    static_assert(c.expand_list == ev::ShortList<double>{1, 4, 4, 4, 6});
    static_assert(c.fewer_norm_list == ev::ShortList<bool>{false, false, false, true, true});
    check_large<c>("defaults");
}

TEST(LargeBackbone, EveryBlockInEveryPlace) {
    using enum LargeBlock;
    check_large<LargeBackboneConfig{.width_list = {5, 8, 12},
                                    .depth_list = {2, 2, 1},
                                    .block_list = {fmb, res, att_at_3},
                                    .expand_list = {2, 1, 2},
                                    .fewer_norm_list = {true, true, false},
                                    .qkv_dim = 4}>("fmb, res, att@3");
    check_large<LargeBackboneConfig{.width_list = {8, 9, 16},
                                    .depth_list = {1, 1, 1},
                                    .block_list = {mb, att, mb},
                                    .expand_list = {1, 1.5, 1},
                                    .fewer_norm_list = {true, false, false},
                                    .in_channels = 4,
                                    .qkv_dim = 3}>("mb, att, mb");
    check_large<LargeBackboneConfig{.width_list = {16, 17},
                                    .depth_list = {0, 0},
                                    .block_list = {res, fmb},
                                    .expand_list = {1, 2},
                                    .fewer_norm_list = {false, true},
                                    .in_channels = 5}>("no depth");
    check_large<LargeBackboneConfig{.width_list = {12, 20, 8, 24},
                                    .depth_list = {1, 0, 1, 1},
                                    .block_list = {res, att_at_3, fmb, mb},
                                    .expand_list = {4, 1, 3, 2},  // of which res takes no notice
                                    .fewer_norm_list = {true, true, true, true},
                                    .norm = Norm::none,
                                    .act_func = Activation::hswish}>("hswish, no norm");
}

TEST(LargeBackbone, NormEps) {
    constexpr LargeBackboneConfig c{.width_list = {8, 12},
                                    .depth_list = {1, 1},
                                    .block_list = {LargeBlock::res, LargeBlock::fmb},
                                    .expand_list = {1, 2},
                                    .fewer_norm_list = {false, false}};
    static_assert(ev::with_norm_eps(c, 0.25).norm_eps == 0.25);
    check_large<ev::with_norm_eps(c, 0.25)>("eps 0.25");
}

TEST(LargeBackbone, Constants) {
    EXPECT_EQ(ev::BackboneL1::stages, 5);
    EXPECT_EQ(ev::BackboneL1::stride, 32);
    EXPECT_EQ(ev::BackboneL3::out_channels, 1024);
    EXPECT_EQ(ev::BackboneXL0::stages, 6);
    EXPECT_EQ(ev::BackboneXL1::stride, 64);
    EXPECT_EQ(ev::BackboneXL1::stage_channels<4>, 512);
    const auto shapes = ev::BackboneL0::stage_shapes({2, 3, 97, 131});
    EXPECT_EQ(shapes[0], (ev::Shape{2, 32, 49, 66}));
    EXPECT_EQ(shapes[4], (ev::Shape{2, 512, 4, 5}));
    EXPECT_THROW(ev::BackboneL0::stage_shapes({1, 4, 97, 131}), ev::ShapeError);
}

TEST(Classifier, AnyHead) {
    static constexpr BackboneConfig c{.width_list = {4, 6, 8, 8, 12}, .depth_list = {1, 1, 1, 1, 1}, .dim = 4};
    static constexpr ev::ClsHeadConfig head{
        .width_list = {21, 33}, .n_classes = 7, .act_func = Activation::gelu, .norm_eps = 1e-7};
    check_layer<ev::EfficientViTCls<ev::EfficientViTBackbone<c>, head>>("a small classifier",
                                                                        {{1, 0, 1, 1}, {3, 0, 20, 33}, {1, 0, 64, 48}});
}

/// What users may ask of a type without an object.
TEST(Backbone, Constants) {
    static_assert(ev::BackboneB0::stages == 5 && ev::BackboneB0::in_channels == 3);
    static_assert(ev::BackboneB0::out_channels == 128 && ev::BackboneB0::stride == 32);
    static_assert(ev::BackboneB0::stage_channels<0> == 8 && ev::BackboneB0::stage_channels<3> == 64);
    static_assert(ev::BackboneB0::stage_stride<0> == 2 && ev::BackboneB0::stage_stride<4> == 32);
    static_assert(ev::BackboneB0::stage_stride<4> == ev::BackboneB0::stride);
    static_assert(ev::BackboneB0::Features::size() == 5);
    EXPECT_EQ(ev::BackboneB0::output_shape({2, 3, 97, 131}), (ev::Shape{2, 128, 4, 5}));
}

}  // namespace

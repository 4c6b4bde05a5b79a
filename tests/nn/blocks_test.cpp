// SPDX-License-Identifier: Apache-2.0
//
// DSConv, MBConv, LiteMLA, EfficientViTBlock, ResidualBlock, OpSequential, LinearLayer and pooling against the
// reference, at every size from one pixel up.
#include "check_layer.hpp"

#include <efficientvit/nn/up_sample_layer.hpp>

#include <utility>

namespace {

using ev::Activation;
using ev::Norm;
using reference::Map;
using reference::Weights;

template <ev::DSConvConfig C>
void check_ds_conv(const std::string& what, const std::vector<ev::Shape>& sizes = usual_sizes()) {
    check_layer<ev::DSConv<C>>(what, sizes);
}
template <ev::MBConvConfig C>
void check_mb_conv(const std::string& what, const std::vector<ev::Shape>& sizes = usual_sizes()) {
    check_layer<ev::MBConv<C>>(what, sizes);
}
template <ev::LiteMLAConfig C>
void check_lite_mla(const std::string& what, const std::vector<ev::Shape>& sizes = usual_sizes()) {
    check_layer<ev::LiteMLA<C>>(what, sizes);
}
template <ev::EfficientViTBlockConfig C>
void check_block(const std::string& what) {
    check_layer<ev::EfficientViTBlock<C>>(what);
}

// ---- DSConv, MBConv -----------------------------------------------------------------------------------------------

constexpr ev::DSConvConfig random_ds_conv(int seed) {
    Dice dice(seed);
    return {.in_channels = dice.channels(),
            .out_channels = dice.channels(),
            .kernel_size = dice.pick({1, 3, 5, 7}),
            .stride = 1 + dice.below(2),
            .use_bias = {dice.coin(), dice.coin()},
            .norm = {dice.norm(), dice.norm()},
            .act_func = {dice.act(), dice.act()}};
}

constexpr ev::MBConvConfig random_mb_conv(int seed) {
    Dice dice(seed);
    return {.in_channels = dice.channels(),
            .out_channels = dice.channels(),
            .kernel_size = dice.pick({1, 3, 5, 7}),
            .stride = 1 + dice.below(2),
            .mid_channels = dice.coin() ? dice.channels() : 0,
            .expand_ratio = dice.pick({1.0, 2.0, 3.0, 2.5, 4.0}),
            .use_bias = {dice.coin(), dice.coin(), dice.coin()},
            .norm = {dice.norm(), dice.norm(), dice.norm()},
            .act_func = {dice.act(), dice.act(), dice.act()}};
}

template <std::size_t... Seed>
void check_random_bottlenecks(std::index_sequence<Seed...>) {
    (check_ds_conv<random_ds_conv(int(Seed))>("random DSConv " + std::to_string(Seed)), ...);
    (check_mb_conv<random_mb_conv(int(Seed))>("random MBConv " + std::to_string(Seed)), ...);
}
TEST(InvertedBottlenecks, Random) { check_random_bottlenecks(std::make_index_sequence<16>()); }

/// Sizes at which rows are taken in steps, in bands for threads, or all at once.
TEST(InvertedBottlenecks, ManySizes) {
    std::vector<ev::Shape> sizes;
    for (const std::ptrdiff_t h : {1, 2, 3, 5, 8, 19}) {
        for (const std::ptrdiff_t w : {1, 3, 14, 33}) sizes.push_back({1 + h % 2, 0, h, w});
    }
    sizes.push_back({1, 0, 9, 300});
    sizes.push_back({2, 0, 70, 40});
    constexpr std::array hswish{Activation::hswish, Activation::hswish, Activation::none};
    check_mb_conv<ev::MBConvConfig{.in_channels = 8, .out_channels = 8, .expand_ratio = 4, .act_func = hswish}>(
        "MBConv", sizes);
    check_mb_conv<ev::MBConvConfig{
        .in_channels = 5, .out_channels = 9, .kernel_size = 5, .stride = 2, .expand_ratio = 10, .act_func = hswish}>(
        "MBConv, stride 2", sizes);
    check_ds_conv<ev::DSConvConfig{.in_channels = 20, .out_channels = 7, .kernel_size = 5}>("DSConv", sizes);
    check_ds_conv<ev::DSConvConfig{.in_channels = 8, .out_channels = 16, .stride = 2}>("DSConv, stride 2", sizes);
}

/// Python rounds half to even: 5 * 2.5 = 12.5 becomes 12, 3 * 2.5 = 7.5 becomes 8.
TEST(InvertedBottlenecks, MiddleChannelsAreRoundedAsPythonDoes) {
    const auto mid = [](const std::vector<ev::Parameter>& p) { return p.at(0).shape.at(0); };
    EXPECT_EQ(mid(ev::MBConv<ev::MBConvConfig{.in_channels = 5, .out_channels = 1, .expand_ratio = 2.5}>::parameters()),
              12);
    EXPECT_EQ(mid(ev::MBConv<ev::MBConvConfig{.in_channels = 3, .out_channels = 1, .expand_ratio = 2.5}>::parameters()),
              8);
    EXPECT_EQ(mid(ev::MBConv<ev::MBConvConfig{.in_channels = 3, .out_channels = 1, .expand_ratio = 1.4}>::parameters()),
              4);
    EXPECT_EQ(mid(ev::MBConv<ev::MBConvConfig{.in_channels = 4, .out_channels = 1}>::parameters()), 24);
}

// ---- LiteMLA, EfficientViTBlock ------------------------------------------------------------------------------------

TEST(LiteMLA, Dims) {
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 16, .out_channels = 16}>("dim 8");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 10, .out_channels = 12, .dim = 5}>("dim 5");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 48, .out_channels = 24, .dim = 24}>("dim 24");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 33, .out_channels = 33, .dim = 33}>("dim 33");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 4, .out_channels = 5, .dim = 1}>("dim 1");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 32, .out_channels = 32, .dim = 16}>("dim 16");
}

TEST(LiteMLA, Scales) {
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 16, .out_channels = 16, .scales = {}}>("no scales");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 7, .out_channels = 24, .dim = 5, .scales = {}}>("nor other heads");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 16, .out_channels = 16, .scales = {3, 5, 7}}>("3, 5, 7");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 16, .out_channels = 16, .dim = 16, .scales = {1}}>("1");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 20, .out_channels = 16, .dim = 10, .scales = {7, 3}}>("7, 3");
}

TEST(LiteMLA, Heads) {
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 7, .out_channels = 9, .heads = 3, .dim = 6}>("3 heads");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 32, .out_channels = 32, .heads_ratio = 0.5}>("half the heads");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 17, .out_channels = 17}>("17 / 8 is 2 heads");
}

TEST(LiteMLA, NormsBiasesActivations) {
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 16,
                                     .out_channels = 9,
                                     .use_bias = {true, true},
                                     .norm = {Norm::bn2d, Norm::none},
                                     .act_func = {Activation::hswish, Activation::gelu}}>("hswish, gelu");
    check_lite_mla<ev::LiteMLAConfig{
        .in_channels = 10, .out_channels = 12, .dim = 5, .use_bias = {true, false}, .scales = {3, 5}}>(
        "biases of two aggregations, where dim fills no block");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 16,
                                     .out_channels = 16,
                                     .norm = {Norm::none, Norm::none},
                                     .act_func = {Activation::silu, Activation::relu6}}>("silu, relu6");
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 16,
                                     .out_channels = 16,
                                     .act_func = {Activation::relu, Activation::hswish},
                                     .eps = 200,  // of the size of the sums it is added to
                                     .norm_eps = 1e-3}>("relu, hswish, eps");
}

/// dim pixels are the last to be quadratic, dim + 1 the first to be linear.
TEST(LiteMLA, BothFormsAtTheirBorder) {
    check_lite_mla<ev::LiteMLAConfig{.in_channels = 24, .out_channels = 24, .dim = 12}>(
        "border", {{1, 0, 3, 4}, {1, 0, 1, 13}, {1, 0, 13, 1}, {2, 0, 1, 12}, {1, 0, 1, 11}, {1, 0, 30, 31}});
}

TEST(EfficientViTBlock, Configurations) {
    check_block<ev::EfficientViTBlockConfig{.in_channels = 32}>("dim 32");
    check_block<ev::EfficientViTBlockConfig{
        .in_channels = 24, .dim = 8, .expand_ratio = 3, .scales = {3}, .act_func = Activation::gelu, .norm_eps = 1e-7}>(
        "gelu");
    check_block<ev::EfficientViTBlockConfig{.in_channels = 20, .dim = 5, .expand_ratio = 1}>("ratio 1 is an MBConv");
    check_block<ev::EfficientViTBlockConfig{.in_channels = 16, .dim = 16, .scales = {}, .norm = Norm::none}>("no norm");
}

// ---- ResidualBlock, OpSequential -----------------------------------------------------------------------------------

constexpr ev::ConvConfig conv_7_7{.in_channels = 7, .out_channels = 7};
constexpr ev::ConvConfig depthwise_7{.in_channels = 7, .out_channels = 7, .kernel_size = 5, .groups = 7};
constexpr ev::ConvConfig conv_7_12{.in_channels = 7, .out_channels = 12, .stride = 2};
constexpr ev::ConvConfig shortcut_7_12{.in_channels = 7, .out_channels = 12, .kernel_size = 5, .stride = 2};
constexpr ev::ConvConfig image_3_3{.in_channels = 3, .out_channels = 3};
constexpr ev::MBConvConfig mb_7{.in_channels = 7, .out_channels = 7};
constexpr ev::BatchNormConfig norm_7{.num_features = 7, .eps = 1e-3};
using Conv77 = ev::ConvLayer<conv_7_7>;
using Depthwise7 = ev::ConvLayer<depthwise_7>;
using Norm7 = ev::BatchNorm2d<norm_7>;

template <ev::ConvConfig C>
reference::Layer conv() {
    return [](const Map& x, const Weights& w) { return reference::conv_layer(x, w, C); };
}
reference::Layer norm7() {
    return [](const Map& x, const Weights& w) { return reference::batch_norm(x, w, norm_7.eps); };
}

TEST(ResidualBlock, EveryKind) {
    using ev::IdentityLayer;
    using ev::NoLayer;
    using ev::ResidualBlock;
    const auto expect = [](const reference::Layer& main, const reference::Layer& shortcut,
                           Activation act = Activation::none, const reference::Layer& norm = {}) {
        return
            [=](const Map& x, const Weights& w) { return reference::residual_block(x, w, main, shortcut, act, norm); };
    };
    const std::vector<ev::Shape> any{{1, 5, 1, 1}, {2, 11, 3, 4}};
    check_layer<ResidualBlock<NoLayer>>(expect({}, {}), any, "nothing");
    check_layer<ResidualBlock<NoLayer, IdentityLayer, Activation::relu>>(
        expect({}, reference::identity, Activation::relu), any, "no main");
    check_layer<ResidualBlock<Conv77>>(expect(conv<conv_7_7>(), {}), usual_sizes(), "no shortcut");
    check_layer<ResidualBlock<Conv77, NoLayer, Activation::relu6, Norm7>>(
        expect(conv<conv_7_7>(), {}, Activation::relu6, norm7()), usual_sizes(), "no shortcut, so no post_act");
    check_layer<ResidualBlock<Conv77, IdentityLayer, Activation::gelu, Norm7>>(
        expect(conv<conv_7_7>(), reference::identity, Activation::gelu, norm7()), usual_sizes(), "all");
    check_layer<ResidualBlock<Depthwise7, IdentityLayer>>(expect(conv<depthwise_7>(), reference::identity),
                                                          usual_sizes(), "depthwise");
    check_layer<ResidualBlock<IdentityLayer, IdentityLayer, Activation::hswish>>(
        expect(reference::identity, reference::identity, Activation::hswish), any, "x + x");
    check_layer<ResidualBlock<ev::ConvLayer<conv_7_12>, ev::ConvLayer<shortcut_7_12>, Activation::silu>>(
        expect(conv<conv_7_12>(), conv<shortcut_7_12>(), Activation::silu), usual_sizes(), "a layer as shortcut");
    check_layer<ResidualBlock<ev::ConvLayer<image_3_3>, IdentityLayer>>(expect(conv<image_3_3>(), reference::identity),
                                                                        usual_sizes(), "on an image");
    check_layer<ResidualBlock<ev::MBConv<mb_7>, Depthwise7, Activation::relu, Norm7>>(
        expect([](const Map& x, const Weights& w) { return reference::mb_conv(x, w, mb_7); }, conv<depthwise_7>(),
               Activation::relu, norm7()),
        usual_sizes(), "MBConv beside a depthwise convolution");
}

/// Whether an interpolation is as large as what it is added to may depend on the input.
TEST(ResidualBlock, MainAndShortcutOfDifferentSizes) {
    using Twice = ev::UpSampleLayer<ev::UpSampleConfig{.factor = 2}>;
    using To6 = ev::UpSampleLayer<ev::UpSampleConfig{.size = {6, 6}}>;
    const auto block = golden_layer<ev::ResidualBlock<Twice, To6>>();
    EXPECT_EQ(block.forward(golden_input({1, 8, 3, 3})).dimension(2), 6);
    expect_in("main gives 8 x 6 pixels, the shortcut 6 x 6", message_of<ev::ShapeError>([&] {
                  block.forward(golden_input({1, 8, 4, 3}));
              }));
    const auto pooled = golden_layer<ev::ResidualBlock<ev::GlobalAveragePool<8>, ev::GlobalAveragePool<8>>>();
    EXPECT_EQ(pooled.forward(golden_input({1, 8, 4, 3})).size(), 8);
}

TEST(ResidualBlock, InsideEachOther) {
    using Inner = ev::ResidualBlock<Depthwise7, ev::IdentityLayer>;
    using Outer = ev::ResidualBlock<ev::ResidualBlock<Inner, ev::IdentityLayer, Activation::relu>, ev::IdentityLayer>;
    check_layer<Outer>([](const Map& x, const Weights& weights) {
        const auto inner = [](const Map& map, const Weights& w) {
            return reference::residual_block(map, w, conv<depthwise_7>(), reference::identity);
        };
        const auto middle = [&](const Map& map, const Weights& w) {
            return reference::residual_block(map, w, inner, reference::identity, Activation::relu);
        };
        return reference::residual_block(x, weights, middle, reference::identity);
    });
}

TEST(OpSequential, DropsNoneAndCountsTheRest) {
    using Layer =
        ev::OpSequential<ev::NoLayer, Conv77, ev::NoLayer, ev::IdentityLayer, ev::ConvLayer<conv_7_12>, ev::NoLayer>;
    static_assert(Layer::in_channels == 7 && Layer::out_channels == 12 && Layer::stride == 2);
    check_layer<Layer>([](const Map& x, const Weights& weights) {
        const Weights list = weights.at("op_list");
        return conv<conv_7_12>()(conv<conv_7_7>()(x, list.at(0)), list.at(2));
    });
}

/// Layers that want different padding, the identity that wants none, maps that grow and shrink.
TEST(OpSequential, LayersOfEveryKindInARow) {
    static constexpr ev::ConvConfig wide{.in_channels = 12, .out_channels = 3, .kernel_size = 7};
    static constexpr ev::DSConvConfig ds{.in_channels = 3, .out_channels = 16, .kernel_size = 5, .stride = 2};
    static constexpr ev::LiteMLAConfig mla{.in_channels = 16, .out_channels = 7};
    using Layer = ev::OpSequential<ev::IdentityLayer, Norm7, ev::ConvLayer<conv_7_12>, ev::ConvLayer<wide>,
                                   ev::ConvLayer<image_3_3>, ev::DSConv<ds>, ev::LiteMLA<mla>,
                                   ev::ResidualBlock<Depthwise7, ev::IdentityLayer>, ev::GlobalAveragePool<7>>;
    check_layer<Layer>([](const Map& x, const Weights& weights) {
        const Weights list = weights.at("op_list");
        Map map = conv<conv_7_12>()(norm7()(x, list.at(1)), list.at(2));
        map = conv<image_3_3>()(conv<wide>()(map, list.at(3)), list.at(4));
        map = reference::lite_mla(reference::ds_conv(map, list.at(5), ds), list.at(6), mla);
        map = reference::residual_block(map, list.at(7), conv<depthwise_7>(), reference::identity);
        return reference::average_pool(map);
    });
}

TEST(OpSequential, InsideEachOther) {
    using Inner = ev::OpSequential<Conv77, Depthwise7>;
    check_layer<ev::OpSequential<Inner, ev::ResidualBlock<Inner, ev::IdentityLayer>>>(
        [](const Map& x, const Weights& weights) {
            const auto inner = [](const Map& map, const Weights& w) {
                const Weights list = w.at("op_list");
                return conv<depthwise_7>()(conv<conv_7_7>()(map, list.at(0)), list.at(1));
            };
            const Weights list = weights.at("op_list");
            return reference::residual_block(inner(x, list.at(0)), list.at(1), inner, reference::identity);
        });
}

// ---- LinearLayer, pooling, norm, identity --------------------------------------------------------------------------

template <ev::LinearConfig C>
void check_linear(const std::string& what, const std::vector<ev::Shape>& sizes) {
    check_layer<ev::LinearLayer<C>>([](const Map& x, const Weights& w) { return reference::linear_layer(x, w, C); },
                                    sizes, what);
}

TEST(LinearLayer, FlattensAnyShape) {
    const std::vector<ev::Shape> sizes{{1, 60, 1, 1}, {3, 60, 1, 1}, {1, 5, 3, 4},
                                       {2, 15, 2, 2}, {2, 1, 60, 1}, {17, 60, 1, 1}};
    check_linear<ev::LinearConfig{.in_features = 60, .out_features = 10}>("bias", sizes);
    check_linear<ev::LinearConfig{
        .in_features = 60, .out_features = 33, .use_bias = false, .act_func = Activation::gelu}>("no bias", sizes);
    check_linear<ev::LinearConfig{
        .in_features = 60, .out_features = 17, .norm = Norm::ln, .act_func = Activation::hswish, .norm_eps = 1e-7}>(
        "norm", sizes);
    check_linear<ev::LinearConfig{.in_features = 60, .out_features = 24, .use_bias = false, .norm = Norm::ln}>(
        "norm, no bias", sizes);
}

TEST(LinearLayer, BehindALayerOfBlocks) {
    using Layer = ev::OpSequential<Conv77, ev::LinearLayer<ev::LinearConfig{.in_features = 7 * 12, .out_features = 3}>>;
    check_layer<Layer>(
        [](const Map& x, const Weights& weights) {
            const Weights list = weights.at("op_list");
            return reference::linear_layer(conv<conv_7_7>()(x, list.at(0)), list.at(1),
                                           ev::LinearConfig{.in_features = 7 * 12, .out_features = 3});
        },
        {{1, 0, 3, 4}, {2, 0, 12, 1}, {1, 0, 2, 6}});
}

TEST(GlobalAveragePool, IsTheMean) {
    const auto mean = [](const Map& x, const Weights&) { return reference::average_pool(x); };
    check_layer<ev::GlobalAveragePool<1>>(mean);
    check_layer<ev::GlobalAveragePool<19>>(mean);
}

TEST(BatchNorm2d, Alone) {
    check_layer<Norm7>([](const Map& x, const Weights& w) { return reference::batch_norm(x, w, norm_7.eps); });
}

TEST(IdentityLayer, GivesBackWhatItGot) {
    ev::IdentityLayer identity;
    identity.load_state_dict({});
    for (const ev::Shape& shape : {ev::Shape{2, 21, 3, 5}, ev::Shape{1, 1, 1, 1}}) {
        const ev::Tensor x = golden_input(shape);
        EXPECT_TRUE(same_bits(identity.forward(x), x));
    }
}

}  // namespace

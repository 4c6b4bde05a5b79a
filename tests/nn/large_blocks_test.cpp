// SPDX-License-Identifier: Apache-2.0
//
// FusedMBConv, ResBlock, UpSampleLayer, LayerNorm2d against the reference, at every size from one pixel up.
#include "check_layer.hpp"

#include <efficientvit/nn/layer_norm_2d.hpp>
#include <efficientvit/nn/up_sample_layer.hpp>

#include <utility>

namespace {

using ev::Activation;
using ev::Norm;
using reference::Map;
using reference::Weights;

template <ev::FusedMBConvConfig C>
void check_fused(const std::string& what, const std::vector<ev::Shape>& sizes = usual_sizes()) {
    check_layer<ev::FusedMBConv<C>>(what, sizes);
}
template <ev::ResBlockConfig C>
void check_res(const std::string& what, const std::vector<ev::Shape>& sizes = usual_sizes()) {
    check_layer<ev::ResBlock<C>>(what, sizes);
}

constexpr ev::FusedMBConvConfig random_fused(int seed) {
    Dice dice(seed);
    return {.in_channels = dice.channels(),
            .out_channels = dice.channels(),
            .kernel_size = dice.pick({1, 3, 5}),
            .stride = 1 + dice.below(2),
            .mid_channels = dice.coin() ? dice.channels() : 0,
            .expand_ratio = dice.pick({1.0, 2.0, 2.5, 4.0}),
            .use_bias = {dice.coin(), dice.coin()},
            .norm = {dice.norm(), dice.norm()},
            .act_func = {dice.act(), dice.act()}};
}
constexpr ev::ResBlockConfig random_res(int seed) {
    Dice dice(seed);
    return {.in_channels = dice.channels(),
            .out_channels = dice.channels(),
            .kernel_size = dice.pick({1, 3, 5}),
            .stride = 1 + dice.below(2),
            .mid_channels = dice.coin() ? dice.channels() : 0,
            .expand_ratio = dice.pick({1.0, 2.0, 2.5}),
            .use_bias = {dice.coin(), dice.coin()},
            .norm = {dice.norm(), dice.norm()},
            .act_func = {dice.act(), dice.act()}};
}
template <std::size_t... Seed>
void check_random_dense_blocks(std::index_sequence<Seed...>) {
    (check_fused<random_fused(int(Seed))>("random FusedMBConv " + std::to_string(Seed)), ...);
    (check_res<random_res(int(Seed))>("random ResBlock " + std::to_string(Seed)), ...);
}
TEST(DenseBlocks, Random) { check_random_dense_blocks(std::make_index_sequence<10>()); }

/// Sizes at which rows go in one step, in several, and one by one.
TEST(FusedMBConv, ManySizes) {
    std::vector<ev::Shape> sizes;
    for (const std::ptrdiff_t h : {1, 3, 8, 19}) {
        for (const std::ptrdiff_t w : {1, 14, 33}) sizes.push_back({1 + h % 2, 0, h, w});
    }
    sizes.push_back({1, 0, 9, 300});
    constexpr std::array gelu{Activation::gelu, Activation::none};
    check_fused<ev::FusedMBConvConfig{.in_channels = 8, .out_channels = 8, .expand_ratio = 24, .act_func = gelu}>(
        "FusedMBConv", sizes);
    check_fused<ev::FusedMBConvConfig{
        .in_channels = 17, .out_channels = 9, .stride = 2, .expand_ratio = 16, .act_func = gelu}>(
        "FusedMBConv, stride 2", sizes);
}

TEST(FusedMBConv, Groups) {
    check_fused<ev::FusedMBConvConfig{.in_channels = 6, .out_channels = 5, .expand_ratio = 2, .groups = 3}>("3 groups");
    check_fused<ev::FusedMBConvConfig{.in_channels = 32, .out_channels = 8, .expand_ratio = 1, .groups = 2}>("blocks");
    check_fused<ev::FusedMBConvConfig{.in_channels = 9, .out_channels = 5, .expand_ratio = 1, .groups = 9}>(
        "depthwise");
}

TEST(DenseBlocks, WithAShortcut) {
    static constexpr ev::FusedMBConvConfig fused{.in_channels = 12, .out_channels = 12, .expand_ratio = 4};
    check_layer<ev::ResidualBlock<ev::FusedMBConv<fused>, ev::IdentityLayer>>([](const Map& x, const Weights& w) {
        return reference::add(x, reference::fused_mb_conv(x, w.at("main"), fused));
    });
    static constexpr ev::ResBlockConfig res{.in_channels = 20, .out_channels = 20};
    check_layer<ev::ResidualBlock<ev::ResBlock<res>, ev::IdentityLayer>>(
        [](const Map& x, const Weights& w) { return reference::add(x, reference::res_block(x, w.at("main"), res)); });
    // Between layers that want no padding of each other.
    static constexpr ev::ConvConfig point{.in_channels = 12, .out_channels = 12, .kernel_size = 1};
    check_layer<ev::OpSequential<ev::ConvLayer<point>, ev::ResidualBlock<ev::FusedMBConv<fused>, ev::IdentityLayer>,
                                 ev::ConvLayer<point>>>([](const Map& x, const Weights& w) {
        const Weights list = w.at("op_list");
        const Map in = reference::conv_layer(x, list.at(0), point);
        const Map middle = reference::add(in, reference::fused_mb_conv(in, list.at(1).at("main"), fused));
        return reference::conv_layer(middle, list.at(2), point);
    });
}

TEST(DenseBlocks, MiddleChannelsAreRoundedAsPythonDoes) {
    const auto mid = [](const std::vector<ev::Parameter>& p) { return p.at(0).shape.at(0); };
    using Fused = ev::FusedMBConv<ev::FusedMBConvConfig{.in_channels = 5, .out_channels = 1, .expand_ratio = 2.5}>;
    using Res = ev::ResBlock<ev::ResBlockConfig{.in_channels = 3, .out_channels = 1, .expand_ratio = 2.5}>;
    EXPECT_EQ(mid(Fused::parameters()), 12);
    EXPECT_EQ(mid(Res::parameters()), 8);
}

// ---- UpSampleLayer --------------------------------------------------------------------------------------------------

/// Any number of channels, so that blocks of 8 and of 16 and empty lanes are met.
const std::vector<ev::Shape>& many_channels() {
    static const std::vector<ev::Shape> sizes{{1, 1, 1, 1},   {1, 7, 1, 9},  {2, 8, 5, 1},  {1, 20, 3, 4},
                                              {1, 33, 13, 7}, {2, 16, 6, 8}, {1, 64, 2, 17}};
    return sizes;
}

template <int Factor>
void check_factor() {
    check_layer<ev::UpSampleLayer<ev::UpSampleConfig{.factor = Factor}>>(
        [](const Map& x, const Weights&) { return reference::bicubic(x, x.h * Factor, x.w * Factor); }, many_channels(),
        "factor " + std::to_string(Factor));
}
TEST(UpSampleLayer, ByFactor) {
    check_factor<1>();
    check_factor<2>();
    check_factor<3>();
    check_factor<4>();
}

/// Larger and smaller than what comes in, and just as large.
TEST(UpSampleLayer, ToASize) {
    check_layer<ev::UpSampleLayer<ev::UpSampleConfig{.size = {5, 9}}>>(
        [](const Map& x, const Weights&) { return reference::bicubic(x, 5, 9); }, many_channels(), "5x9");
    check_layer<ev::UpSampleLayer<ev::UpSampleConfig{.size = {13, 7}}>>(
        [](const Map& x, const Weights&) { return reference::bicubic(x, 13, 7); }, many_channels(), "13x7");
    check_layer<ev::UpSampleLayer<ev::UpSampleConfig{.size = {64, 64}}>>(
        [](const Map& x, const Weights&) { return reference::bicubic(x, 64, 64); }, many_channels(), "64x64");
}

TEST(UpSampleLayer, WhereNothingChangesNothingIsTouched) {
    ev::UpSampleLayer<ev::UpSampleConfig{.size = {2, 3}}> layer;
    layer.load_state_dict({});
    ev::Tensor x(1, 5, 2, 3);
    x.setConstant(INFINITY);  // times a weight of zero it would be NaN
    EXPECT_TRUE(same_bits(layer.forward(x), x));
}

TEST(UpSampleLayer, BehindALayerWithPadding) {
    static constexpr ev::ConvConfig conv{.in_channels = 5, .out_channels = 12};
    using UpSample = ev::UpSampleLayer<ev::UpSampleConfig{.factor = 2}>;
    check_layer<ev::OpSequential<ev::ConvLayer<conv>, UpSample>>([](const Map& x, const Weights& w) {
        return reference::bicubic(reference::conv_layer(x, w.at("op_list").at(0), conv), 2 * x.h, 2 * x.w);
    });
    static constexpr ev::ConvConfig after{.in_channels = 12, .out_channels = 5};
    check_layer<ev::OpSequential<ev::ConvLayer<conv>, UpSample, ev::ConvLayer<after>>>(
        [](const Map& x, const Weights& w) {
            const Map in = reference::conv_layer(x, w.at("op_list").at(0), conv);
            return reference::conv_layer(reference::bicubic(in, 2 * x.h, 2 * x.w), w.at("op_list").at(2), after);
        });
}

// ---- LayerNorm2d ----------------------------------------------------------------------------------------------------

template <int Channels>
void check_layer_norm() {
    static constexpr double eps = 1e-3;  // large enough to be seen
    check_layer<ev::LayerNorm2d<ev::LayerNorm2dConfig{.num_features = Channels, .eps = eps}>>(
        [](const Map& x, const Weights& w) { return reference::layer_norm_2d(x, w, eps); }, usual_sizes(),
        "LayerNorm2d of " + std::to_string(Channels));
}
TEST(LayerNorm2d, Alone) {
    check_layer_norm<1>();
    check_layer_norm<5>();
    check_layer_norm<16>();
    check_layer_norm<33>();
    check_layer_norm<256>();
}

TEST(LayerNorm2d, AsAPreNorm) {
    static constexpr ev::ConvConfig conv{.in_channels = 6, .out_channels = 6};
    using Norm2d = ev::LayerNorm2d<ev::LayerNorm2dConfig{.num_features = 6}>;
    check_layer<ev::ResidualBlock<ev::ConvLayer<conv>, ev::IdentityLayer, Activation::none, Norm2d>>(
        [](const Map& x, const Weights& w) {
            const Map normed = reference::layer_norm_2d(x, w.at("pre_norm"), 1e-5);
            return reference::add(x, reference::conv_layer(normed, w.at("main"), conv));
        });
}

}  // namespace

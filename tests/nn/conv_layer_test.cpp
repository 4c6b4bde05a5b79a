// SPDX-License-Identifier: Apache-2.0
//
// ConvLayer against the reference: each way in which it is computed, at every size from one pixel up.
#include "check_layer.hpp"

#include <utility>

namespace {

using ev::Activation;
using ev::ConvConfig;
using ev::Norm;

template <ConvConfig C>
void check(const std::string& what, const std::vector<ev::Shape>& sizes = usual_sizes()) {
    check_layer<ev::ConvLayer<C>>(what, sizes);
}

constexpr ConvConfig random_conv(int seed) {
    Dice dice(seed);
    ConvConfig c;
    c.kernel_size = dice.pick({1, 3, 3, 5, 7});
    c.stride = 1 + dice.below(2);
    c.dilation = dice.pick({1, 1, 2, 3});
    switch (dice.below(4)) {
        case 0:  // depthwise
            c.in_channels = c.out_channels = c.groups = dice.channels();
            break;
        case 1:  // groups of any size
            c.groups = 2 + dice.below(4);
            c.in_channels = c.groups * dice.pick({1, 2, 3, 5, 8, 9, 16});
            c.out_channels = c.groups * dice.pick({1, 2, 3, 5, 8, 9, 16});
            break;
        default:
            c.in_channels = dice.channels();
            c.out_channels = dice.channels();
    }
    c.use_bias = dice.coin();
    c.norm = dice.norm();
    c.act_func = dice.act();
    c.norm_eps = dice.pick({1e-5, 1e-7, 1e-3});
    return c;
}

template <std::size_t... Seed>
void check_random_convolutions(std::index_sequence<Seed...>) {
    (check<random_conv(int(Seed))>("random " + std::to_string(Seed)), ...);
}

TEST(ConvLayer, Random) { check_random_convolutions(std::make_index_sequence<48>()); }

TEST(ConvLayer, EveryActivationInEveryKernel) {
    // Wide enough that many values lie beyond where activations bend.
    constexpr auto each = []<Activation A>() {
        check<ConvConfig{.in_channels = 20, .out_channels = 24, .kernel_size = 1, .norm = Norm::none, .act_func = A}>(
            "pointwise");
        check<ConvConfig{.in_channels = 24, .out_channels = 24, .groups = 24, .use_bias = true, .act_func = A}>(
            "depthwise");
        check<ConvConfig{.in_channels = 3, .out_channels = 24, .stride = 2, .act_func = A}>("planar");
        check<ConvConfig{.in_channels = 9, .out_channels = 17, .act_func = A}>("dense");
        check<ConvConfig{.in_channels = 9, .out_channels = 15, .groups = 3, .act_func = A}>("grouped");
    };
    each.operator()<Activation::none>();
    each.operator()<Activation::relu>();
    each.operator()<Activation::relu6>();
    each.operator()<Activation::hswish>();
    each.operator()<Activation::silu>();
    each.operator()<Activation::gelu>();
}

/// As many rows and columns as no step of rows, tile or band divides, and fewer than a kernel has.
TEST(ConvLayer, ManySizes) {
    std::vector<ev::Shape> sizes;
    for (const std::ptrdiff_t h : {1, 2, 3, 4, 5, 8, 17}) {
        for (const std::ptrdiff_t w : {1, 2, 3, 6, 15, 29, 42}) sizes.push_back({1 + h % 2, 0, h, w});
    }
    check<ConvConfig{.in_channels = 3, .out_channels = 8, .stride = 2, .act_func = Activation::hswish}>("stem", sizes);
    check<ConvConfig{.in_channels = 1, .out_channels = 5, .kernel_size = 7}>("planar", sizes);
    check<ConvConfig{.in_channels = 4, .out_channels = 16, .dilation = 3}>("planar, dilated", sizes);
    check<ConvConfig{.in_channels = 17, .out_channels = 9, .kernel_size = 1}>("pointwise", sizes);
    check<ConvConfig{.in_channels = 17, .out_channels = 9, .kernel_size = 1, .stride = 2}>("strided 1x1", sizes);
    check<ConvConfig{.in_channels = 10, .out_channels = 10, .kernel_size = 5, .stride = 2, .groups = 10}>("depthwise",
                                                                                                          sizes);
    check<ConvConfig{.in_channels = 8, .out_channels = 16, .stride = 2}>("dense", sizes);
    check<ConvConfig{.in_channels = 6, .out_channels = 4, .groups = 2}>("grouped", sizes);
}

TEST(ConvLayer, DefaultsAreTheReferences) {
    constexpr ConvConfig c;
    EXPECT_EQ(c.kernel_size, 3);
    EXPECT_EQ(c.stride, 1);
    EXPECT_EQ(c.dilation, 1);
    EXPECT_EQ(c.groups, 1);
    EXPECT_FALSE(c.use_bias);
    EXPECT_EQ(c.norm, Norm::bn2d);
    EXPECT_EQ(c.act_func, Activation::relu);
    EXPECT_EQ(c.norm_eps, 1e-5);
}

}  // namespace

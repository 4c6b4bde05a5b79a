// SPDX-License-Identifier: Apache-2.0
//
// Every layer against what the reference computes in float64 from the same weights.
#include "../isas.hpp"
#include "golden_file.hpp"

namespace {

using ev::Activation;
using ev::Norm;

class GoldenLayers : public IsaTest {
protected:
    template <class Layer>
    static void check(const std::string& name) {
        const GoldenFile golden("layer_" + name);
        EXPECT_EQ(lines(Layer::parameters()), lines(golden.keys()));
        const Layer layer = golden_layer<Layer>(GetParam());
        const ev::Shape shape = golden.input_shape();
        EXPECT_EQ(layer.isa(), GetParam());
        golden.report("output", GetParam(), check_forward(layer, shape, golden.map("output"), name));
    }
};

TEST_P(GoldenLayers, ConvPointwiseWithBias) {
    check<ev::ConvLayer<ev::ConvConfig{.in_channels = 24,
                                       .out_channels = 40,
                                       .kernel_size = 1,
                                       .use_bias = true,
                                       .norm = Norm::none,
                                       .act_func = Activation::none}>>("conv_1x1_bias");
}

TEST_P(GoldenLayers, ConvDense) {
    check<ev::ConvLayer<ev::ConvConfig{.in_channels = 5, .out_channels = 7}>>("conv_3x3_relu");
}

TEST_P(GoldenLayers, ConvDilated) {
    check<ev::ConvLayer<ev::ConvConfig{
        .in_channels = 6, .out_channels = 10, .dilation = 2, .act_func = Activation::gelu}>>("conv_dilated");
}

TEST_P(GoldenLayers, ConvDepthwiseStrided) {
    check<ev::ConvLayer<ev::ConvConfig{
        .in_channels = 33, .out_channels = 33, .stride = 2, .groups = 33, .act_func = Activation::hswish}>>(
        "conv_dw3_s2");
}

TEST_P(GoldenLayers, ConvDepthwise5) {
    check<ev::ConvLayer<ev::ConvConfig{
        .in_channels = 20, .out_channels = 20, .kernel_size = 5, .groups = 20, .act_func = Activation::relu6}>>(
        "conv_dw5_s1");
}

TEST_P(GoldenLayers, ConvGrouped) {
    check<ev::ConvLayer<ev::ConvConfig{.in_channels = 24,
                                       .out_channels = 48,
                                       .kernel_size = 1,
                                       .groups = 3,
                                       .use_bias = true,
                                       .act_func = Activation::silu}>>("conv_grouped");
}

TEST_P(GoldenLayers, ConvStem) {
    check<ev::ConvLayer<ev::ConvConfig{
        .in_channels = 3, .out_channels = 8, .stride = 2, .act_func = Activation::hswish}>>("conv_stem");
}

TEST_P(GoldenLayers, DSConv) {
    check<ev::DSConv<ev::DSConvConfig{
        .in_channels = 8, .out_channels = 8, .act_func = {Activation::hswish, Activation::none}}>>("dsconv");
}

TEST_P(GoldenLayers, DSConvFewerNorm) {
    check<ev::DSConv<ev::DSConvConfig{.in_channels = 16,
                                      .out_channels = 24,
                                      .stride = 2,
                                      .use_bias = {true, false},
                                      .norm = {Norm::none, Norm::bn2d},
                                      .act_func = {Activation::hswish, Activation::none}}>>("dsconv_fewer_norm");
}

TEST_P(GoldenLayers, MBConv) {
    check<ev::MBConv<ev::MBConvConfig{.in_channels = 16,
                                      .out_channels = 32,
                                      .stride = 2,
                                      .expand_ratio = 4,
                                      .act_func = {Activation::hswish, Activation::hswish, Activation::none}}>>(
        "mbconv");
}

TEST_P(GoldenLayers, MBConvFewerNorm) {
    check<ev::MBConv<ev::MBConvConfig{.in_channels = 32,
                                      .out_channels = 32,
                                      .use_bias = {true, true, false},
                                      .norm = {Norm::none, Norm::none, Norm::bn2d},
                                      .act_func = {Activation::hswish, Activation::hswish, Activation::none}}>>(
        "mbconv_fewer_norm");
}

TEST_P(GoldenLayers, FusedMBConv) {
    check<ev::FusedMBConv<ev::FusedMBConvConfig{.in_channels = 16,
                                                .out_channels = 24,
                                                .stride = 2,
                                                .expand_ratio = 4,
                                                .act_func = {Activation::gelu, Activation::none}}>>("fusedmbconv");
}

TEST_P(GoldenLayers, ResBlock) {
    check<ev::ResBlock<ev::ResBlockConfig{
        .in_channels = 12, .out_channels = 12, .act_func = {Activation::gelu, Activation::none}}>>("resblock");
}

TEST_P(GoldenLayers, LiteMLALinear) {
    check<ev::LiteMLA<ev::LiteMLAConfig{.in_channels = 32, .out_channels = 32, .dim = 16}>>("litemla_linear");
}

TEST_P(GoldenLayers, LiteMLAQuadratic) {
    check<ev::LiteMLA<ev::LiteMLAConfig{.in_channels = 32, .out_channels = 32, .dim = 16}>>("litemla_quadratic");
}

TEST_P(GoldenLayers, LiteMLATwoScales) {
    check<ev::LiteMLA<ev::LiteMLAConfig{.in_channels = 64, .out_channels = 64, .dim = 16, .scales = {3, 5}}>>(
        "litemla_two_scales");
}

TEST_P(GoldenLayers, EfficientViTBlock) {
    check<ev::EfficientViTBlock<ev::EfficientViTBlockConfig{.in_channels = 64, .dim = 16}>>("efficientvitblock");
}

using Conv66 = ev::ConvLayer<ev::ConvConfig{.in_channels = 6, .out_channels = 6}>;

TEST_P(GoldenLayers, ResidualIdentity) { check<ev::ResidualBlock<Conv66, ev::IdentityLayer>>("residual_identity"); }

TEST_P(GoldenLayers, ResidualNoShortcut) {
    check<ev::ResidualBlock<ev::ConvLayer<ev::ConvConfig{.in_channels = 6, .out_channels = 8, .stride = 2}>>>(
        "residual_no_shortcut");
}

TEST_P(GoldenLayers, ResidualConvShortcut) {
    check<ev::ResidualBlock<
        ev::ConvLayer<ev::ConvConfig{.in_channels = 6, .out_channels = 10, .stride = 2}>,
        ev::ConvLayer<ev::ConvConfig{
            .in_channels = 6, .out_channels = 10, .kernel_size = 1, .stride = 2, .act_func = Activation::none}>>>(
        "residual_conv_shortcut");
}

TEST_P(GoldenLayers, ResidualPostAct) {
    check<ev::ResidualBlock<Conv66, ev::IdentityLayer, Activation::relu>>("residual_post_act");
}

TEST_P(GoldenLayers, ResidualPreNorm) {
    check<ev::ResidualBlock<Conv66, ev::IdentityLayer, Activation::none,
                            ev::BatchNorm2d<ev::BatchNormConfig{.num_features = 6}>>>("residual_pre_norm");
}

EFFICIENTVIT_ON_EVERY_ISA(GoldenLayers);

}  // namespace

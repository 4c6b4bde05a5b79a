// SPDX-License-Identifier: Apache-2.0
//
// Every layer alone, NCHW in and out, at a size that it has in b0 (or b1) at 224 pixels. Turning the layout is part of
// the time here; inside a network it is not.

#include <efficientvit/efficientvit.hpp>

#include "random_weights.hpp"

#include <benchmark/benchmark.h>

namespace ev = efficientvit;

namespace {

template <class Layer>
void layer(benchmark::State& state, int channels, int size) {
    const Layer module = bench::random_model<Layer>();
    ev::Context context({.threads = static_cast<int>(state.range(0))});
    ev::Tensor x(1, channels, size, size), y;
    x.setRandom();
    for (auto _ : state) module.forward(x, y, context);
}

using Act = ev::Activation;
using Stem = ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 8, .stride = 2, .act_func = Act::hswish}>;
using Dense = ev::ConvLayer<ev::ConvConfig{.in_channels = 32, .out_channels = 32, .act_func = Act::gelu}>;
using Depthwise = ev::ConvLayer<ev::ConvConfig{.in_channels = 64, .out_channels = 64, .groups = 64}>;
using Grouped = ev::ConvLayer<ev::ConvConfig{.in_channels = 24, .out_channels = 48, .kernel_size = 1, .groups = 3}>;
using DS = ev::DSConv<ev::DSConvConfig{.in_channels = 8, .out_channels = 8, .act_func = {Act::hswish, Act::none}}>;
using MB = ev::MBConv<ev::MBConvConfig{
    .in_channels = 16, .out_channels = 16, .expand_ratio = 4, .act_func = {Act::hswish, Act::hswish, Act::none}}>;
using MBDown = ev::MBConv<ev::MBConvConfig{.in_channels = 16,
                                           .out_channels = 32,
                                           .stride = 2,
                                           .expand_ratio = 4,
                                           .act_func = {Act::hswish, Act::hswish, Act::none}}>;
using Residual = ev::ResidualBlock<MB, ev::IdentityLayer>;
using Attention = ev::LiteMLA<ev::LiteMLAConfig{.in_channels = 64, .out_channels = 64, .dim = 16}>;
using Block = ev::EfficientViTBlock<ev::EfficientViTBlockConfig{.in_channels = 64, .dim = 16}>;
using Linear = ev::LinearLayer<ev::LinearConfig{.in_features = 1024, .out_features = 1280, .norm = ev::Norm::ln}>;

template <class Layer>
void add(const char* name, int channels, int size) {
    benchmark::RegisterBenchmark(name, layer<Layer>, channels, size)->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
    add<Stem>("stem", 3, 224);
    add<Dense>("dense3x3", 32, 56);
    add<Depthwise>("depthwise3x3", 64, 56);
    add<Grouped>("grouped1x1", 24, 28);
    add<DS>("ds_conv", 8, 112);
    add<MB>("mb_conv", 16, 56);
    add<MBDown>("mb_conv_stride2", 16, 56);
    add<Residual>("residual_block", 16, 56);
    add<Attention>("lite_mla", 64, 14);
    add<Block>("efficientvit_block", 64, 14);
    add<Linear>("linear_layer", 1024, 1);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}

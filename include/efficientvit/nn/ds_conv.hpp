// SPDX-License-Identifier: Apache-2.0
//
// DSConv of the reference: depthwise convolution, then 1x1, a few rows at a time.
#pragma once

#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/inverted_bottleneck.hpp>

#include <array>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of DSConv, named as in the reference. Arrays are (depth_conv, point_conv).
struct DSConvConfig {
    int in_channels = 0;                                                      ///< of the input
    int out_channels = 0;                                                     ///< of the output
    int kernel_size = 3;                                                      ///< rows and columns of the kernel; odd
    int stride = 1;                                                           ///< 1 or 2
    std::array<bool, 2> use_bias{false, false};                               ///< of each convolution
    std::array<Norm, 2> norm{Norm::bn2d, Norm::bn2d};                         ///< behind each convolution
    std::array<Activation, 2> act_func{Activation::relu6, Activation::none};  ///< behind each norm
    double norm_eps = 1e-5;                                                   ///< added to a norm's variance
};

/// point_conv(depth_conv(x)): (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).
/// State dict: depth_conv, point_conv, each a ConvLayer.
template <DSConvConfig C>
class DSConv : public Module<DSConv<C>> {
    static constexpr detail::LayerTraits traits{C.in_channels, C.out_channels};

public:
    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.out_channels;
    static constexpr int stride = C.stride;
    static constexpr int wanted_padding = C.kernel_size / 2;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = true;

    static detail::Extent output_extent(detail::Extent in) { return DepthConv::output_extent(in); }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        DepthConv::describe(d.at("depth_conv"));
        PointConv::describe(d.at("point_conv"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& packer) {
        const detail::Packer p = detail::layer_packer(packer, traits);
        depth_conv_.pack(p.at("depth_conv"));
        point_conv_.pack(p.at("point_conv"), detail::folded_scale(C.act_func[0]));
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        detail::InvertedBottleneck layer;
        layer.depth = &depth_conv_.packed();
        layer.project = &point_conv_.packed();
        layer.depth_act = detail::foldable_act(C.act_func[0]);
        layer.project_act = detail::kernel_act(C.act_func[1]);
        layer.mid_channels = C.in_channels;
        layer.kernel_size = C.kernel_size;
        layer.stride = C.stride;
        detail::Session part = detail::layer_session(session, traits);
        detail::run_inverted_bottleneck(part, layer, x, y, residual);
    }

private:
    using DepthConv = ConvLayer<ConvConfig{.in_channels = C.in_channels,
                                           .out_channels = C.in_channels,
                                           .kernel_size = C.kernel_size,
                                           .stride = C.stride,
                                           .groups = C.in_channels,
                                           .use_bias = C.use_bias[0],
                                           .norm = C.norm[0],
                                           .act_func = C.act_func[0],
                                           .norm_eps = C.norm_eps}>;
    using PointConv = ConvLayer<ConvConfig{.in_channels = C.in_channels,
                                           .out_channels = C.out_channels,
                                           .kernel_size = 1,
                                           .use_bias = C.use_bias[1],
                                           .norm = C.norm[1],
                                           .act_func = C.act_func[1],
                                           .norm_eps = C.norm_eps}>;
    DepthConv depth_conv_;
    PointConv point_conv_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

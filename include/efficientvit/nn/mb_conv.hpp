// SPDX-License-Identifier: Apache-2.0
//
// MBConv of the reference, the inverted bottleneck: 1x1 to more channels, depthwise convolution, 1x1 back. Run
// depth-first: the widened map never exists as a whole.
#pragma once

#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/inverted_bottleneck.hpp>

#include <algorithm>
#include <array>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of MBConv, named as in the reference. Arrays are (inverted_conv, depth_conv, point_conv).
struct MBConvConfig {
    int in_channels = 0;      ///< of the input
    int out_channels = 0;     ///< of the output
    int kernel_size = 3;      ///< rows and columns of the kernel; odd
    int stride = 1;           ///< 1 or 2
    int mid_channels = 0;     ///< 0: in_channels * expand_ratio, rounded half to even as Python's round() does
    double expand_ratio = 6;  ///< middle channels for each input channel
    std::array<bool, 3> use_bias{false, false, false};             ///< of each convolution
    std::array<Norm, 3> norm{Norm::bn2d, Norm::bn2d, Norm::bn2d};  ///< behind each convolution
    std::array<Activation, 3> act_func{Activation::relu6, Activation::relu6, Activation::none};  ///< behind each norm
    double norm_eps = 1e-5;  ///< added to a norm's variance
};

/// point_conv(depth_conv(inverted_conv(x))): (N, in_channels, H, W) to (N, out_channels, ceil(H / stride),
/// ceil(W / stride)). State dict: inverted_conv, depth_conv, point_conv, each a ConvLayer.
template <MBConvConfig C>
class MBConv : public Module<MBConv<C>> {
    static constexpr int mid_channels =
        C.mid_channels != 0 ? C.mid_channels : detail::round_half_even(C.in_channels * C.expand_ratio);
    static constexpr detail::LayerTraits traits{C.in_channels, std::max(mid_channels, C.out_channels), C.stride != 1};

public:
    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.out_channels;
    static constexpr int stride = C.stride;
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = true;

    static detail::Extent output_extent(detail::Extent in) { return DepthConv::output_extent(in); }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        InvertedConv::describe(d.at("inverted_conv"));
        DepthConv::describe(d.at("depth_conv"));
        PointConv::describe(d.at("point_conv"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& packer) {
        const detail::Packer p = detail::layer_packer(packer, traits);
        inverted_conv_.pack(p.at("inverted_conv"));
        depth_conv_.pack(p.at("depth_conv"), detail::folded_scale(C.act_func[0]));
        point_conv_.pack(p.at("point_conv"), detail::folded_scale(C.act_func[1]));
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        detail::InvertedBottleneck layer;
        layer.expand = &inverted_conv_.packed();
        layer.depth = &depth_conv_.packed();
        layer.project = &point_conv_.packed();
        layer.expand_act = detail::foldable_act(C.act_func[0]);
        layer.depth_act = detail::foldable_act(C.act_func[1]);
        layer.project_act = detail::kernel_act(C.act_func[2]);
        layer.mid_channels = mid_channels;
        layer.kernel_size = C.kernel_size;
        layer.stride = C.stride;
        detail::Session part = detail::layer_session(session, traits);
        detail::run_inverted_bottleneck(part, layer, x, y, residual);
    }

private:
    using InvertedConv = ConvLayer<ConvConfig{.in_channels = C.in_channels,
                                              .out_channels = mid_channels,
                                              .kernel_size = 1,
                                              .use_bias = C.use_bias[0],
                                              .norm = C.norm[0],
                                              .act_func = C.act_func[0],
                                              .norm_eps = C.norm_eps}>;
    using DepthConv = ConvLayer<ConvConfig{.in_channels = mid_channels,
                                           .out_channels = mid_channels,
                                           .kernel_size = C.kernel_size,
                                           .stride = C.stride,
                                           .groups = mid_channels,
                                           .use_bias = C.use_bias[1],
                                           .norm = C.norm[1],
                                           .act_func = C.act_func[1],
                                           .norm_eps = C.norm_eps}>;
    using PointConv = ConvLayer<ConvConfig{.in_channels = mid_channels,
                                           .out_channels = C.out_channels,
                                           .kernel_size = 1,
                                           .use_bias = C.use_bias[2],
                                           .norm = C.norm[2],
                                           .act_func = C.act_func[2],
                                           .norm_eps = C.norm_eps}>;
    InvertedConv inverted_conv_;
    DepthConv depth_conv_;
    PointConv point_conv_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

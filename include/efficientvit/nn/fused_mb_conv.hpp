// SPDX-License-Identifier: Apache-2.0
//
// FusedMBConv of the reference: a dense convolution to more channels, then 1x1 back. Run a few rows at a time.
#pragma once

#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/fused_bottleneck.hpp>

#include <algorithm>
#include <array>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of FusedMBConv, named as in the reference. Arrays are (spatial_conv, point_conv).
struct FusedMBConvConfig {
    int in_channels = 0;      ///< of the input
    int out_channels = 0;     ///< of the output
    int kernel_size = 3;      ///< rows and columns of the kernel; odd
    int stride = 1;           ///< 1 or 2
    int mid_channels = 0;     ///< 0: in_channels * expand_ratio, rounded half to even as Python's round() does
    double expand_ratio = 6;  ///< middle channels for each input channel
    int groups = 1;           ///< of spatial_conv
    std::array<bool, 2> use_bias{false, false};                               ///< of each convolution
    std::array<Norm, 2> norm{Norm::bn2d, Norm::bn2d};                         ///< behind each convolution
    std::array<Activation, 2> act_func{Activation::relu6, Activation::none};  ///< behind each norm
    double norm_eps = 1e-5;                                                   ///< added to a norm's variance
};

/// point_conv(spatial_conv(x)): (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).
/// State dict: spatial_conv, point_conv, each a ConvLayer.
template <FusedMBConvConfig C>
class FusedMBConv : public Module<FusedMBConv<C>> {
    static constexpr int mid_channels =
        C.mid_channels != 0 ? C.mid_channels : detail::round_half_even(C.in_channels * C.expand_ratio);
    static constexpr detail::LayerTraits traits{C.in_channels, std::max(mid_channels, C.out_channels)};
    static constexpr ConvConfig spatial{.in_channels = C.in_channels,
                                        .out_channels = mid_channels,
                                        .kernel_size = C.kernel_size,
                                        .stride = C.stride,
                                        .groups = C.groups,
                                        .use_bias = C.use_bias[0],
                                        .norm = C.norm[0],
                                        .act_func = C.act_func[0],
                                        .norm_eps = C.norm_eps};
    using SpatialConv = ConvLayer<spatial>;
    using PointConv = ConvLayer<ConvConfig{.in_channels = mid_channels,
                                           .out_channels = C.out_channels,
                                           .kernel_size = 1,
                                           .use_bias = C.use_bias[1],
                                           .norm = C.norm[1],
                                           .act_func = C.act_func[1],
                                           .norm_eps = C.norm_eps}>;

public:
    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.out_channels;
    static constexpr int stride = C.stride;
    static constexpr int wanted_padding = SpatialConv::wanted_padding;
    static constexpr bool reads_planar = SpatialConv::reads_planar;
    static constexpr bool fuses_residual = true;

    static detail::Extent output_extent(detail::Extent in) { return SpatialConv::output_extent(in); }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        SpatialConv::describe(d.at("spatial_conv"));
        PointConv::describe(d.at("point_conv"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& packer) {
        const detail::Packer p = detail::layer_packer(packer, traits);
        spatial_conv_.pack(p.at("spatial_conv"));
        point_conv_.pack(p.at("point_conv"));
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        const detail::FusedBottleneck layer{spatial, detail::kernel_act(C.act_func[0]), &spatial_conv_.packed(),
                                            &point_conv_.packed(), detail::kernel_act(C.act_func[1])};
        constexpr detail::ConvKind kind = detail::conv_kind(spatial);
        detail::Session part = detail::layer_session(session, traits);
        if constexpr (kind == detail::ConvKind::pointwise || (kind == detail::ConvKind::dense && C.groups == 1)) {
            detail::run_fused_bottleneck<kind>(part, layer, x, y, residual);
        } else {
            detail::run_unfused_bottleneck<kind>(part, layer, x, y, residual);
        }
    }

private:
    SpatialConv spatial_conv_;
    PointConv point_conv_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// ConvLayer of the reference: convolution, batch norm, activation. Any odd kernel, stride 1 or 2, dilation, groups; the
// configuration decides which kernel does it.
#pragma once

#include <efficientvit/nn/convolution.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// act_func(norm(conv(x))): (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).
/// State dict: conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var.
template <ConvConfig C>
class ConvLayer : public Module<ConvLayer<C>> {
    static_assert(C.in_channels > 0 && C.out_channels > 0, "ConvLayer: in_channels and out_channels must be positive");
    static_assert(C.kernel_size > 0 && C.kernel_size % 2 == 1, "ConvLayer: kernel_size must be odd");
    static_assert(C.stride == 1 || C.stride == 2, "ConvLayer: stride must be 1 or 2");
    static_assert(C.norm != Norm::ln, "ConvLayer: norm must be bn2d or none");
    static_assert(C.dilation > 0, "ConvLayer: dilation must be positive");
    static_assert(C.groups > 0 && C.in_channels % C.groups == 0 && C.out_channels % C.groups == 0,
                  "ConvLayer: groups must divide in_channels and out_channels");

public:
    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.out_channels;
    static constexpr int stride = C.stride;
    static constexpr int wanted_padding = detail::conv_padding(C);
    static constexpr bool reads_planar = detail::reads_planes(detail::conv_kind(C));
    static constexpr bool fuses_residual =
        detail::conv_kind(C) != detail::ConvKind::depthwise && detail::conv_kind(C) != detail::ConvKind::stem;

    static detail::Extent output_extent(detail::Extent in) {
        return {(in.height - 1) / C.stride + 1, (in.width - 1) / C.stride + 1};
    }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) { detail::describe_convolution(d, C); }

    /// input_scale: what the activation before this layer left to its weights, see kernels::Act::hswish_x6.
    EFFICIENTVIT_COLD void pack(const detail::Packer& p, double input_scale = 1.0) {
        ConvConfig config = C;
        if constexpr (detail::conv_kind(C) == detail::ConvKind::pointwise && C.use_bias && C.norm == Norm::none) {
            // As many as the weights have: AnyModel's classes.
            config.out_channels = p.at("conv").weights.rows("weight", C.out_channels);
        }
        detail::PackWinograd* winograd = nullptr;
        if constexpr (detail::may_be_winograd(C)) winograd = detail::pack_winograd;
        packed_ = detail::pack_convolution(p, config, input_scale, winograd);
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        detail::run_convolution<detail::conv_kind(C)>(session, C, packed_, x, y, residual);
    }

    /// What kernels of several layers read (MBConv, DSConv).
    const detail::PackedConvolution& packed() const { return packed_; }

private:
    detail::PackedConvolution packed_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

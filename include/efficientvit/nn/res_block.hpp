// SPDX-License-Identifier: Apache-2.0
//
// ResBlock of the reference: two dense convolutions. The shortcut around them is ResidualBlock's.
#pragma once

#include <efficientvit/nn/conv_layer.hpp>

#include <array>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of ResBlock, named as in the reference. Arrays are (conv1, conv2).
struct ResBlockConfig {
    int in_channels = 0;      ///< of the input
    int out_channels = 0;     ///< of the output
    int kernel_size = 3;      ///< rows and columns of the kernel; odd
    int stride = 1;           ///< of conv1
    int mid_channels = 0;     ///< 0: in_channels * expand_ratio, rounded half to even as Python's round() does
    double expand_ratio = 1;  ///< middle channels for each input channel
    std::array<bool, 2> use_bias{false, false};                               ///< of each convolution
    std::array<Norm, 2> norm{Norm::bn2d, Norm::bn2d};                         ///< behind each convolution
    std::array<Activation, 2> act_func{Activation::relu6, Activation::none};  ///< behind each norm
    double norm_eps = 1e-5;                                                   ///< added to a norm's variance
};

/// conv2(conv1(x)): (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).
/// State dict: conv1, conv2, each a ConvLayer.
template <ResBlockConfig C>
class ResBlock : public Module<ResBlock<C>> {
    static constexpr int mid_channels =
        C.mid_channels != 0 ? C.mid_channels : detail::round_half_even(C.in_channels * C.expand_ratio);
    using Conv1 = ConvLayer<ConvConfig{.in_channels = C.in_channels,
                                       .out_channels = mid_channels,
                                       .kernel_size = C.kernel_size,
                                       .stride = C.stride,
                                       .use_bias = C.use_bias[0],
                                       .norm = C.norm[0],
                                       .act_func = C.act_func[0],
                                       .norm_eps = C.norm_eps}>;
    using Conv2 = ConvLayer<ConvConfig{.in_channels = mid_channels,
                                       .out_channels = C.out_channels,
                                       .kernel_size = C.kernel_size,
                                       .use_bias = C.use_bias[1],
                                       .norm = C.norm[1],
                                       .act_func = C.act_func[1],
                                       .norm_eps = C.norm_eps}>;

public:
    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.out_channels;
    static constexpr int stride = C.stride;
    static constexpr int wanted_padding = Conv1::wanted_padding;
    static constexpr bool reads_planar = Conv1::reads_planar;
    static constexpr bool fuses_residual = Conv2::fuses_residual;

    static detail::Extent output_extent(detail::Extent in) { return Conv1::output_extent(in); }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        Conv1::describe(d.at("conv1"));
        Conv2::describe(d.at("conv2"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        conv1_.pack(p.at("conv1"));
        conv2_.pack(p.at("conv2"));
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        const detail::Workspace::Frame frame(session.workspace);
        const detail::FeatureMap middle =
            detail::new_map(session, y.batch, mid_channels, y.extent(), Conv2::wanted_padding);
        conv1_.run(session, x, middle, nullptr);
        conv2_.run(session, middle, y, residual);
    }

private:
    Conv1 conv1_;
    Conv2 conv2_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

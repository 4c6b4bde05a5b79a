// SPDX-License-Identifier: Apache-2.0
//
// The arguments of ConvLayer, the kernel that each of its configurations has, and its weights as that reads them. What
// it computes is convolution.hpp's.
#pragma once

#include <efficientvit/nn/winograd.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of ConvLayer, named as in the reference.
struct ConvConfig {
    int in_channels = 0;                     ///< of the input
    int out_channels = 0;                    ///< of the output
    int kernel_size = 3;                     ///< odd; the padding is (kernel_size / 2) * dilation on every side
    int stride = 1;                          ///< 1 or 2
    int dilation = 1;                        ///< pixels between taps, 1: none
    int groups = 1;                          ///< must divide both channels
    bool use_bias = false;                   ///< of the convolution
    Norm norm = Norm::bn2d;                  ///< behind the convolution
    Activation act_func = Activation::relu;  ///< behind the norm
    double norm_eps = 1e-5;                  ///< added to a norm's variance
};

namespace detail {

/// The kernel that does a convolution.
enum class ConvKind {
    pointwise,  // a matrix product
    depthwise,  // one channel in, the same one out
    stem,       // 3x3 with stride 2 of an image; reads NCHW
    planar,     // another convolution of few input channels; reads rows of NCHW
    dense,      // whole blocks of channels, perhaps in groups
    grouped     // groups that end within a block
};

constexpr ConvKind conv_kind(const ConvConfig& c) {
    if (c.kernel_size == 1 && c.stride == 1 && c.groups == 1) return ConvKind::pointwise;
    if (c.groups == c.in_channels && c.groups == c.out_channels) return ConvKind::depthwise;
    if (c.groups == 1 && c.in_channels <= kernels::Stem::most_channels) {
        return c.kernel_size == 3 && c.stride == 2 && c.dilation == 1 ? ConvKind::stem : ConvKind::planar;
    }
    if (c.groups == 1) return ConvKind::dense;
    const bool whole_blocks = c.in_channels / c.groups % block_width(c.in_channels) == 0 &&
                              c.out_channels / c.groups % block_width(c.out_channels) == 0;
    return whole_blocks ? ConvKind::dense : ConvKind::grouped;
}

/// Convolutions of other kinds are of floats whatever the precision.
constexpr bool has_operands(const ConvConfig& c) {
    const ConvKind kind = conv_kind(c);
    return kind == ConvKind::pointwise || (kind == ConvKind::dense && c.groups == 1);
}

/// Whether bytes have the columns of a kernel row in the same lines, of which there are less then where channels are
/// few: each line ends with its sums made floats, which takes a quarter of the time of 32 channels' products. Inputs
/// are quantized more than once for that, so outputs must be many.
constexpr bool joins_columns(const ConvConfig& c) {
    const auto lines = [](int channels) { return kernels::group_count(kernels::Operands::int8, channels); };
    return conv_kind(c) == ConvKind::dense && c.groups == 1 && c.stride > 1 && c.dilation == 1 &&
           c.in_channels % 16 == 0 && c.out_channels >= 4 * c.in_channels &&
           lines(c.in_channels * c.kernel_size) < c.kernel_size * lines(c.in_channels);
}

constexpr bool reads_planes(ConvKind kind) { return kind == ConvKind::stem || kind == ConvKind::planar; }

/// Whether a convolution has weights for Winograd's form too; the map decides whether it is used.
constexpr bool may_be_winograd(const ConvConfig& c) {
    return conv_kind(c) == ConvKind::dense && c.groups == 1 && c.kernel_size == 3 && c.stride == 1 && c.dilation == 1 &&
           block_width(c.in_channels) == kernels::Winograd::block &&
           block_width(c.out_channels) == kernels::Winograd::block;
}

constexpr int conv_padding(const ConvConfig& c) { return c.kernel_size / 2 * c.dilation; }

EFFICIENTVIT_COLD inline void describe_norm(const Describer& d, int channels) {
    for (const char* name : {"weight", "bias", "running_mean", "running_var"}) d.add(name, {channels});
}

EFFICIENTVIT_COLD inline void describe_convolution(const Describer& d, const ConvConfig& c) {
    const Describer conv = d.at("conv");
    conv.add("weight", {c.out_channels, c.in_channels / c.groups, c.kernel_size, c.kernel_size});
    if (c.use_bias) conv.add("bias", {c.out_channels});
    if (c.norm == Norm::bn2d) describe_norm(d.at("norm"), c.out_channels);
}

/// [out block][channel of the group][tap][lane], and which input channel each lane reads.
inline void pack_grouped(WeightMemory& memory, PackedConvolution& packed, const ConvConfig& c,
                         const std::vector<float>& weight) {
    const int block = block_width(c.out_channels), blocks = block_count(c.out_channels);
    const int group_in = c.in_channels / c.groups, group_out = c.out_channels / c.groups;
    const int taps = c.kernel_size * c.kernel_size;
    packed.weights = memory.take(static_cast<std::uint64_t>(Index{blocks} * group_in * taps * block), 0.0f);
    packed.lane_channels = AlignedBuffer<int>(static_cast<std::uint64_t>(Index{blocks} * group_in * block), 0);
    for (int oc = 0; oc < c.out_channels; ++oc) {
        for (int i = 0; i < group_in; ++i) {
            const Index at = Index{oc / block} * group_in + i;
            packed.lane_channels[static_cast<std::size_t>(at * block + oc % block)] = oc / group_out * group_in + i;
            for (int tap = 0; tap < taps; ++tap) {
                packed.weights[static_cast<std::size_t>((at * taps + tap) * block + oc % block)] =
                    weight[static_cast<std::size_t>((Index{oc} * group_in + i) * taps + tap)];
            }
        }
    }
}

/// Weights [out][in][k][k] as those of inputs [column][in] and k taps below each other.
inline std::vector<float> with_joined_columns(const std::vector<float>& weight, const ConvConfig& c) {
    std::vector<float> joined(weight.size());
    const int in = c.in_channels, k = c.kernel_size;
    for (std::size_t o = 0; o < weight.size(); o += static_cast<std::size_t>(in * k * k)) {
        for (int i = 0; i < in * k * k; ++i) {
            const int channel = i / (k * k), ky = i / k % k, kx = i % k;
            joined[o + static_cast<std::size_t>((kx * in + channel) * k + ky)] =
                weight[o + static_cast<std::size_t>(i)];
        }
    }
    return joined;
}

/// What pack_convolution() does: with EFFICIENTVIT_COMPILED, behind the door.
EFFICIENTVIT_COLD inline PackedConvolution pack_convolution_here(const Packer& p, const ConvConfig& c,
                                                                 double input_scale, PackWinograd* winograd) {
    const int group_in = c.in_channels / c.groups, taps = c.kernel_size * c.kernel_size;
    const ConvKind kind = conv_kind(c);
    const Folded f = read_folded(p, c.out_channels, static_cast<std::size_t>(Index{group_in} * taps), c.use_bias,
                                 c.norm, c.norm_eps, input_scale);
    const ChannelLayout out = ChannelLayout::plain(c.out_channels);
    PackedConvolution packed;
    if (kind == ConvKind::depthwise) {
        packed.weights = pack_depthwise(*p.memory, f.weight, out, taps);
    } else if (kind == ConvKind::grouped) {
        pack_grouped(*p.memory, packed, c, f.weight);
    } else {
        const int block = reads_planes(kind) ? 1 : block_width(c.in_channels);
        const kernels::Operands operands = has_operands(c) ? p.kernels->operands : kernels::Operands::f32;
        const bool joins = kernels::has_bytes(operands) && joins_columns(c);
        if (joins) packed.line_columns = c.kernel_size;
        const int line_in = group_in * packed.line_columns;
        packed.weights = pack_dense(*p.memory, f.name, joins ? with_joined_columns(f.weight, c) : f.weight,
                                    ChannelLayout{line_in, line_in, block}, out, taps / packed.line_columns, operands);
    }
    if (winograd != nullptr && p.winograd) {
        if (p.kernels->operands == kernels::Operands::f32) {
            packed.winograd = winograd(*p.memory, f.weight, c.in_channels, c.out_channels);
        } else if (p.kernels->winograd != nullptr && c.in_channels >= p.kernels->winograd_channels) {
            packed.winograd = packed.weights;
        }
    }
    packed.bias = pack_bias(*p.memory, f.bias, out);
    return packed;
}

/// input_scale: what a kernels::Act::hswish_x6 before this layer left to its weights. winograd: pack_winograd where the
/// convolution may be Winograd's, so that other programs do not have it.
EFFICIENTVIT_COLD inline PackedConvolution pack_convolution(const Packer& p, const ConvConfig& c, double input_scale,
                                                            PackWinograd* winograd = nullptr) {
#if defined(EFFICIENTVIT_COMPILED)
    return door().pack_convolution(p, c, input_scale, winograd);
#else
    return pack_convolution_here(p, c, input_scale, winograd);
#endif
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

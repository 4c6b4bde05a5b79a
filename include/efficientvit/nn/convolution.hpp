// SPDX-License-Identifier: Apache-2.0
//
// What ConvLayer does, for any of its configurations at run time: kernels take sizes as arguments, so that one copy of
// this code serves all layers of all networks. The type that checks a configuration is conv_layer.hpp's.
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
inline void pack_grouped(PackedConvolution& packed, const ConvConfig& c, const std::vector<float>& weight) {
    const int block = block_width(c.out_channels), blocks = block_count(c.out_channels);
    const int group_in = c.in_channels / c.groups, group_out = c.out_channels / c.groups;
    const int taps = c.kernel_size * c.kernel_size;
    packed.weights = AlignedBuffer<float>(static_cast<std::uint64_t>(Index{blocks} * group_in * taps * block), 0.0f);
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

/// input_scale: what a kernels::Act::hswish_x6 before this layer left to its weights. winograd: pack_winograd where the
/// convolution may be Winograd's, so that other programs do not have it.
EFFICIENTVIT_COLD inline PackedConvolution pack_convolution(const Packer& p, const ConvConfig& c, double input_scale,
                                                            PackWinograd* winograd = nullptr) {
    const int group_in = c.in_channels / c.groups, taps = c.kernel_size * c.kernel_size;
    const ConvKind kind = conv_kind(c);
    const Folded f = read_folded(p, c.out_channels, static_cast<std::size_t>(Index{group_in} * taps), c.use_bias,
                                 c.norm, c.norm_eps, input_scale);
    const ChannelLayout out = ChannelLayout::plain(c.out_channels);
    PackedConvolution packed;
    if (kind == ConvKind::depthwise) {
        packed.weights = pack_depthwise(f.weight, out, taps);
    } else if (kind == ConvKind::grouped) {
        pack_grouped(packed, c, f.weight);
    } else {
        const int block = reads_planes(kind) ? 1 : block_width(c.in_channels);
        packed.weights = pack_dense(f.weight, ChannelLayout{group_in, group_in, block}, out, taps,
                                    has_operands(c) ? p.kernels->operands : kernels::Operands::f32);
    }
    if (winograd != nullptr && p.winograd && p.kernels->operands == kernels::Operands::f32) {
        winograd(packed, f.weight, c.in_channels, c.out_channels);
    }
    packed.bias = pack_bias(f.bias, out);
    return packed;
}

/// Pointers to the input rows that output row `row` touches, kernel rows apart; `beyond` outside the map.
inline void kernel_rows(const ConvConfig& c, const FeatureMap& x, const float* first_row, int row, const float* beyond,
                        const float** rows, int step) {
    for (int ky = 0; ky < c.kernel_size; ++ky) {
        const int in = row * c.stride + ky * c.dilation - conv_padding(c);
        rows[ky * step] = in < 0 || in >= x.height ? beyond : first_row + in * x.row_stride();
    }
}

inline void run_depthwise(Session& session, const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x,
                          const FeatureMap& y) {
    const Workspace::Frame frame(session.workspace);
    const int padding = conv_padding(c), taps = c.kernel_size * c.kernel_size;
    const Index zeros = (Index{x.width} + 2 * padding) * x.block;
    const Index pointers_each = Index{c.kernel_size - 1} * c.dilation + 1 + 8;  // a cache line apart
    float* const zero_row = session.workspace.take(zeros);
    const float** const pointers = session.workspace.take_pointers(pointers_each * session.workers());
    if (session.measuring()) return;
    std::fill_n(zero_row, zeros, 0.0f);
    const int bands = chunks_of(session, y.height);
    session.parallel(y.batch * y.blocks() * bands, [&](int chunk, int worker) {
        const int band = chunk % bands, block = chunk / bands % y.blocks(), n = chunk / bands / y.blocks();
        const Session::Range range = Session::split(y.height, bands, band);
        const float** const rows = pointers + pointers_each * worker;
        kernels::Depthwise a;
        a.rows = rows;
        a.weights = packed.weights.data() + Index{block} * taps * y.block;
        a.bias = packed.bias.data() + block * y.block;
        a.y_rows = 1;
        a.y_width = y.width;
        a.block = y.block;
        a.kernel_size = c.kernel_size;
        a.stride = c.stride;
        a.dilation = c.dilation;
        a.act = kernel_act(c.act_func);
        const float* const first = x.image(n) + block * x.block_stride() - Index{padding} * x.block;
        for (int row = range.begin; row < range.end; ++row) {
            kernel_rows(c, x, first, row, zero_row, rows, c.dilation);
            a.y = y.image(n) + block * y.block_stride() + row * y.row_stride();
            session.kernels.depthwise(a);
        }
    });
}

/// Input rows [first, first + count) of all channels, NCHW or blocked, to planes of rows with zeros at both ends.
inline void stage_rows(const FeatureMap& x, int n, int first, int count, int padding, float* to) {
    for (int c = 0; c < x.channels; ++c) {
        const float* const plane = x.image(n) + c / x.block * x.block_stride() + c % x.block;
        for (int in = first; in < first + count; ++in, to += x.width + 2 * padding) {
            if (in < 0 || in >= x.height) continue;
            const float* const from = plane + in * x.row_stride();
            std::fill_n(to, padding, 0.0f);
            if (x.block == 1) {
                std::copy_n(from, x.width, to + padding);
            } else {
                for (int w = 0; w < x.width; ++w) to[padding + w] = from[Index{w} * x.block];
            }
            std::fill_n(to + padding + x.width, padding, 0.0f);
        }
    }
}

/// A stem reads the image where it lies.
inline void run_stem(Session& session, const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x,
                     const FeatureMap& y) {
    const Workspace::Frame frame(session.workspace);
    FeatureMap image = x;
    if (x.block != 1) {  // behind another layer
        image = {nullptr, x.batch, x.channels, x.height, x.width, 0, 1};
        session.workspace.place(image);
        if (!session.measuring()) convert_to_planar(session, x, image);
    }
    if (session.measuring()) return;
    const int bands = chunks_of(session, y.height);
    session.parallel(y.batch * bands, [&](int chunk, int) {
        const int n = chunk / bands;
        const Session::Range range = Session::split(y.height, bands, chunk % bands);
        kernels::Stem a;
        a.x_plane_stride = image.block_stride();
        a.x_width = image.width;
        a.channels = c.in_channels;
        a.weights = packed.weights.data();
        a.bias = packed.bias.data();
        a.y_block_stride = y.block_stride();
        a.y_block = y.block;
        a.y_blocks = y.blocks();
        a.y_width = y.width;
        a.act = kernel_act(c.act_func);
        for (int row = range.begin; row < range.end; ++row) {
            kernel_rows(c, image, image.image(n), row, nullptr, a.rows, 1);
            a.y = y.image(n) + row * y.row_stride();
            session.kernels.stem(a);
        }
    });
}

/// What Dense says of a convolution from x to y, whatever the rows.
inline kernels::Dense dense_arguments(const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x) {
    kernels::Dense a;
    a.x_block_stride = x.block_stride();
    a.x_block = x.block;
    a.channels = c.in_channels / c.groups;
    a.weights = packed.weights.data();
    a.bias = packed.bias.data();
    a.lane_channels = packed.lane_channels.data();
    a.y_block = block_width(c.out_channels);
    a.y_blocks = block_count(c.out_channels);
    a.y_blocks_per_group = conv_kind(c) == ConvKind::dense ? a.y_blocks / c.groups : a.y_blocks;
    a.kernel_size = c.kernel_size;
    a.stride = c.stride;
    a.dilation = c.dilation;
    a.act = kernel_act(c.act_func);
    return a;
}

inline WinogradSchedule schedule_winograd(const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& y,
                                          const Machine& machine) {
    if (packed.winograd == 0) return {};
    return schedule_winograd(c.in_channels, c.out_channels, y, machine);
}

/// Dense, grouped and planar convolutions, a few rows at a time.
template <ConvKind Kind>
void run_rows(Session& session, const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& input,
              const FeatureMap& y, const FeatureMap* residual) {
    if constexpr (Kind == ConvKind::dense) {
        const WinogradSchedule winograd = schedule_winograd(c, packed, y, session.machine());
        if (winograd.used) return run_winograd(session, winograd, packed, kernel_act(c.act_func), input, y, residual);
    }
    const Workspace::Frame frame(session.workspace);
    const FeatureMap x = has_operands(c) ? as_operand(session, input) : input;
    const int padding = conv_padding(c);
    const DenseSchedule s = schedule_dense(c.kernel_size, c.stride, c.dilation, y);
    // A planar input has no padding: rows are copied to where they have some.
    constexpr bool planar = Kind == ConvKind::planar;
    FeatureMap staged{nullptr, 1, c.in_channels, planar ? s.staged_rows : 0, x.width, padding, 1};
    const Index staged_floats = planar ? staged.floats() : 0;
    const Index pointers_each = Index{s.step_rows} * c.kernel_size + 8;  // a cache line apart
    float* const stages = session.workspace.take(staged_floats * session.workers());
    const float** const pointers = session.workspace.take_pointers(pointers_each * session.workers());
    if (session.measuring()) return;
    session.parallel(y.batch * s.steps, [&](int chunk, int worker) {
        const int n = chunk / s.steps, first = chunk % s.steps * s.step_rows;
        const float** const rows = pointers + pointers_each * worker;
        FeatureMap from = x;
        const float* first_row = x.image(n) - Index{padding} * x.block;
        if (planar) {
            float* const stage = stages + staged_floats * worker;
            const int first_in = first * c.stride - padding;
            stage_rows(x, n, first_in, s.staged_rows, padding, stage);
            from = staged;
            first_row = stage - first_in * staged.row_stride();
            from.height = x.height;
        }
        kernels::Dense a = dense_arguments(c, packed, planar ? staged : x);
        a.rows = rows;
        a.y_block_stride = y.block_stride();
        a.y_row_stride = y.row_stride();
        a.y_rows = std::min(s.step_rows, y.height - first);
        a.y_width = y.width;
        for (int r = 0; r < a.y_rows; ++r) {
            kernel_rows(c, from, first_row, first + r, nullptr, rows + r * c.kernel_size, 1);
        }
        a.y = y.image(n) + first * y.row_stride();
        if (residual != nullptr) {
            a.residual = residual->image(n) + first * residual->row_stride();
            a.residual_block_stride = residual->block_stride();
            a.residual_row_stride = residual->row_stride();
        }
        if constexpr (Kind == ConvKind::grouped) {
            kernels::grouped(session.kernels, a);
        } else {
            kernels::dense(has_operands(c) ? session.kernels : kernels::of_floats(session.kernels), a);
        }
    });
}

/// y = act(norm(conv(x))) + residual; depthwise convolutions and stems take no residual. The kind, conv_kind(c), is
/// known at compile time so that programs have only the code of the kinds they use.
template <ConvKind Kind>
void run_convolution(Session& session, const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x,
                     const FeatureMap& y, const FeatureMap* residual) {
    if constexpr (Kind == ConvKind::pointwise) {
        run_pointwise(session, packed, kernel_act(c.act_func), c.in_channels, x, y, residual);
    } else if constexpr (Kind == ConvKind::depthwise) {
        run_depthwise(session, c, packed, x, y);
    } else if constexpr (Kind == ConvKind::stem) {
        run_stem(session, c, packed, x, y);
    } else {
        run_rows<Kind>(session, c, packed, x, y, residual);
    }
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

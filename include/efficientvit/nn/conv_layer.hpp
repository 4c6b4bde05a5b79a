// SPDX-License-Identifier: Apache-2.0
//
// ConvLayer of the reference: convolution, batch norm, activation. Any odd kernel, stride 1 or 2, dilation, groups; the
// configuration decides at compile time which kernel does it.
#pragma once

#include <efficientvit/nn/pointwise.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of ConvLayer, named as in the reference.
struct ConvConfig {
    int in_channels = 0;
    int out_channels = 0;
    int kernel_size = 3;  ///< odd; the padding is (kernel_size / 2) * dilation on every side
    int stride = 1;       ///< 1 or 2
    int dilation = 1;
    int groups = 1;
    bool use_bias = false;
    Norm norm = Norm::bn2d;
    Activation act_func = Activation::relu;
    double norm_eps = 1e-5;
};

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

    using Index = detail::Index;
    using FeatureMap = detail::FeatureMap;
    using Session = detail::Session;

    static constexpr int group_in = C.in_channels / C.groups;
    static constexpr int group_out = C.out_channels / C.groups;
    static constexpr int taps = C.kernel_size * C.kernel_size;
    static constexpr int padding = C.kernel_size / 2 * C.dilation;
    static constexpr int in_block = detail::block_width(C.in_channels);
    static constexpr int out_block = detail::block_width(C.out_channels);

    enum class Kind {
        pointwise,  // a matrix product
        depthwise,  // one channel in, the same one out
        planar,     // few input channels: an image; reads rows of NCHW
        dense,      // whole blocks of channels, perhaps in groups
        grouped     // groups that end within a block
    };
    static constexpr Kind kind = [] {
        if (C.kernel_size == 1 && C.stride == 1 && C.groups == 1) return Kind::pointwise;
        if (C.groups == C.in_channels && C.groups == C.out_channels) return Kind::depthwise;
        if (C.groups == 1) return C.in_channels <= 4 ? Kind::planar : Kind::dense;
        return group_in % in_block == 0 && group_out % out_block == 0 ? Kind::dense : Kind::grouped;
    }();

public:
    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.out_channels;
    static constexpr int stride = C.stride;
    static constexpr int wanted_padding = padding;
    static constexpr bool reads_planar = kind == Kind::planar;
    static constexpr bool fuses_residual = kind != Kind::depthwise;

    static detail::Extent output_extent(detail::Extent in) {
        return {(in.height - 1) / C.stride + 1, (in.width - 1) / C.stride + 1};
    }

    static void describe(const detail::Describer& d) {
        const detail::Describer conv = d.at("conv"), norm = d.at("norm");
        conv.add("weight", {C.out_channels, group_in, C.kernel_size, C.kernel_size});
        if (C.use_bias) conv.add("bias", {C.out_channels});
        if (C.norm == Norm::bn2d) {
            for (const char* name : {"weight", "bias", "running_mean", "running_var"}) {
                norm.add(name, {C.out_channels});
            }
        }
    }

    /// input_scale: what a kernels::Act::hswish_x6 before this layer left to its weights.
    void pack(const detail::Packer& p, double input_scale = 1.0) {
        using detail::ChannelLayout;
        const detail::Folded f = detail::read_folded(p, C.out_channels, std::size_t{group_in} * taps, C.use_bias,
                                                     C.norm, C.norm_eps, input_scale);
        const ChannelLayout out = ChannelLayout::plain(C.out_channels);
        if constexpr (kind == Kind::depthwise) {
            packed_.weights = detail::pack_depthwise(f.weight, out, taps);
        } else if constexpr (kind == Kind::grouped) {
            pack_grouped(f.weight);
        } else {
            const int block = kind == Kind::planar ? 1 : in_block;
            packed_.weights = detail::pack_dense(f.weight, ChannelLayout{group_in, group_in, block}, out, taps);
        }
        packed_.bias = detail::pack_bias(f.bias, out);
    }

    /// What kernels of several layers read (MBConv, DSConv).
    const detail::PackedConvolution& packed() const { return packed_; }

    void run(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) const {
        if constexpr (kind == Kind::pointwise) {
            detail::run_pointwise(session, packed_, act, C.in_channels, x, y, residual);
        } else if constexpr (kind == Kind::depthwise) {
            run_depthwise(session, x, y);
        } else {
            run_rows(session, x, y, residual);
        }
    }

private:
    static constexpr kernels::Act act = detail::kernel_act(C.act_func);

    /// One row after the other: pointers to the rows that its kernel touches, null beyond the edge.
    static void row_pointers(const FeatureMap& x, const float* first_row, int row, const float** rows,
                             const float* beyond) {
        for (int ky = 0; ky < C.kernel_size; ++ky) {
            const int in = row * C.stride + ky * C.dilation - padding;
            rows[ky * C.dilation] = in < 0 || in >= x.height ? beyond : first_row + in * x.row_stride();
        }
    }

    void run_depthwise(Session& session, const FeatureMap& x, const FeatureMap& y) const {
        const detail::Workspace::Frame frame(session.workspace);
        const auto zeros = static_cast<std::size_t>((x.width + 2 * padding) * x.block);
        float* const zero_row = session.workspace.take(zeros);
        if (!session.measuring()) std::fill_n(zero_row, zeros, 0.0f);
        const int bands = detail::chunks_of(session, y.height);
        session.parallel(y.batch * y.blocks() * bands, [&](int chunk, int) {
            const int band = chunk % bands, block = chunk / bands % y.blocks(), n = chunk / bands / y.blocks();
            const typename Session::Range range = Session::split(y.height, bands, band);
            const float* rows[(C.kernel_size - 1) * C.dilation + 1] = {};
            kernels::Depthwise a;
            a.rows = rows;
            a.weights = packed_.weights.data() + Index{block} * taps * y.block;
            a.bias = packed_.bias.data() + block * y.block;
            a.y_rows = 1;
            a.y_width = y.width;
            a.block = y.block;
            a.kernel_size = C.kernel_size;
            a.stride = C.stride;
            a.dilation = C.dilation;
            a.act = act;
            const float* const first = x.image(n) + block * x.block_stride() - Index{padding} * x.block;
            for (int row = range.begin; row < range.end; ++row) {
                row_pointers(x, first, row, rows, zero_row);
                a.y = y.image(n) + block * y.block_stride() + row * y.row_stride();
                session.kernels.depthwise(a);
            }
        });
    }

    void run_rows(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) const {
        const detail::Workspace::Frame frame(session.workspace);
        // A planar input has no padding: rows are copied to where they have some, for a few output rows at a time.
        constexpr int step = kind == Kind::planar ? 4 : 1;
        constexpr int step_in = (step - 1) * C.stride + (C.kernel_size - 1) * C.dilation + 1;
        const Index staged_row = Index{x.width} + 2 * padding;
        const Index staged_plane = staged_row * step_in;
        float* const staged =
            kind == Kind::planar
                ? session.workspace.take(static_cast<std::size_t>(session.workers() * C.in_channels * staged_plane))
                : nullptr;
        const int bands = detail::chunks_of(session, (y.height + step - 1) / step);
        session.parallel(y.batch * bands, [&](int chunk, int worker) {
            const int n = chunk / bands;
            const typename Session::Range range = Session::split((y.height + step - 1) / step, bands, chunk % bands);
            const float* rows[(C.kernel_size - 1) * C.dilation + 1] = {};
            const float* taps_rows[C.kernel_size] = {};
            kernels::Dense a;
            a.rows = taps_rows;
            a.x_block_stride = kind == Kind::planar ? staged_plane : x.block_stride();
            a.x_block = kind == Kind::planar ? 1 : x.block;
            a.channels = group_in;
            a.weights = packed_.weights.data();
            a.bias = packed_.bias.data();
            a.lane_channels = lane_channels_.data();
            a.y_block_stride = y.block_stride();
            a.y_block = y.block;
            a.y_blocks = y.blocks();
            a.y_blocks_per_group = kind == Kind::dense ? y.blocks() / C.groups : y.blocks();
            a.y_width = y.width;
            a.kernel_size = C.kernel_size;
            a.stride = C.stride;
            a.dilation = C.dilation;
            a.act = act;
            float* const stage = kind == Kind::planar ? staged + worker * C.in_channels * staged_plane : nullptr;
            for (int row = range.begin * step; row < std::min(range.end * step, y.height); ++row) {
                if (kind == Kind::planar) {
                    const int first_row = row / step * step;
                    const int first_in = first_row * C.stride - padding;
                    if (row == first_row) stage_rows(x, n, first_in, step_in, stage);
                    for (int ky = 0; ky < C.kernel_size; ++ky) {
                        const int in = row * C.stride + ky * C.dilation - padding;
                        taps_rows[ky] = in < 0 || in >= x.height ? nullptr : stage + (in - first_in) * staged_row;
                    }
                } else {
                    row_pointers(x, x.image(n) - Index{padding} * x.block, row, rows, nullptr);
                    for (int ky = 0; ky < C.kernel_size; ++ky) taps_rows[ky] = rows[ky * C.dilation];
                }
                a.y = y.image(n) + row * y.row_stride();
                if (residual != nullptr) {
                    a.residual = residual->image(n) + row * residual->row_stride();
                    a.residual_block_stride = residual->block_stride();
                }
                (kind == Kind::grouped ? session.kernels.grouped : session.kernels.dense)(a);
            }
        });
    }

    /// Input rows [first, first + count) of all channels, NCHW or blocked, to planes of rows with zeros at both
    /// ends.
    static void stage_rows(const FeatureMap& x, int n, int first, int count, float* to) {
        for (int c = 0; c < C.in_channels; ++c) {
            const float* const plane = x.image(n) + c / x.block * x.block_stride() + c % x.block;
            for (int i = 0; i < count; ++i) {
                const int in = first + i;
                if (in >= 0 && in < x.height) {
                    const float* const from = plane + in * x.row_stride();
                    std::fill_n(to, padding, 0.0f);
                    if (x.block == 1) {
                        std::copy_n(from, x.width, to + padding);
                    } else {
                        for (int w = 0; w < x.width; ++w) to[padding + w] = from[Index{w} * x.block];
                    }
                    std::fill_n(to + padding + x.width, padding, 0.0f);
                }
                to += x.width + 2 * padding;
            }
        }
    }

    /// [out block][channel of the group][tap][lane], and which input channel each lane reads.
    void pack_grouped(const std::vector<float>& weight) {
        constexpr int blocks = detail::block_count(C.out_channels);
        packed_.weights = detail::AlignedBuffer<float>(std::size_t{blocks} * group_in * taps * out_block, 0.0f);
        lane_channels_ = detail::AlignedBuffer<int>(std::size_t{blocks} * group_in * out_block, 0);
        for (int oc = 0; oc < C.out_channels; ++oc) {
            for (int i = 0; i < group_in; ++i) {
                const int at = oc / out_block * group_in + i;
                lane_channels_[static_cast<std::size_t>(at * out_block + oc % out_block)] =
                    oc / group_out * group_in + i;
                for (int tap = 0; tap < taps; ++tap) {
                    packed_.weights[static_cast<std::size_t>((at * taps + tap) * out_block + oc % out_block)] =
                        weight[static_cast<std::size_t>((oc * group_in + i) * taps + tap)];
                }
            }
        }
    }

    detail::PackedConvolution packed_;
    detail::AlignedBuffer<int> lane_channels_;  // Kind::grouped only
};

EFFICIENTVIT_END_NAMESPACE

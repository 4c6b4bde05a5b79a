// SPDX-License-Identifier: Apache-2.0
//
// LinearLayer of the reference, and the global average pooling that comes before it in a classifier.
#pragma once

#include <efficientvit/nn/norm.hpp>
#include <efficientvit/nn/pointwise.hpp>

#include <cmath>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// torch.nn.AdaptiveAvgPool2d(1) for maps of `Channels` channels: the mean over all pixels.
/// (N, Channels, H, W) to (N, Channels, 1, 1). No parameters.
template <int Channels>
class GlobalAveragePool : public Module<GlobalAveragePool<Channels>> {
    static_assert(Channels > 0, "GlobalAveragePool: Channels must be positive");

public:
    static constexpr int in_channels = Channels;
    static constexpr int out_channels = Channels;
    static constexpr int stride = 0;  // one pixel, whatever the input
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = false;

    static detail::Extent output_extent(detail::Extent) { return {1, 1}; }
    EFFICIENTVIT_COLD static void describe(const detail::Describer&) {}
    void pack(const detail::Packer&) {}
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap*) const {
        session.parallel(x.batch * x.blocks(), [&](int chunk, int) {
            const int n = chunk / x.blocks(), b = chunk % x.blocks();
            double sums[16] = {};
            for (int row = 0; row < x.height; ++row) {
                const float* in = x.image(n) + b * x.block_stride() + row * x.row_stride();
                for (int column = 0; column < x.width; ++column, in += x.block) {
                    for (int lane = 0; lane < x.block; ++lane) sums[lane] += double{in[lane]};
                }
            }
            float* const out = y.image(n) + b * y.block_stride();
            for (int lane = 0; lane < x.block; ++lane) {
                out[lane] = static_cast<float>(sums[lane] / (double(x.height) * double(x.width)));
            }
        });
    }
};

/// Arguments of LinearLayer, named as in the reference.
struct LinearConfig {
    int in_features = 0;                     ///< columns of the weight
    int out_features = 0;                    ///< rows of the weight
    bool use_bias = true;                    ///< adds a bias
    Norm norm = Norm::none;                  ///< none or ln
    Activation act_func = Activation::none;  ///< behind the norm
    double norm_eps = 1e-5;                  ///< added to a norm's variance
};

/// act_func(norm(linear(x))), x flattened: (N, C, H, W) with C*H*W = in_features to (N, out_features, 1, 1).
/// State dict: linear.weight, linear.bias, norm.weight, norm.bias.
template <LinearConfig C>
class LinearLayer : public Module<LinearLayer<C>> {
    static_assert(C.in_features > 0 && C.out_features > 0, "LinearLayer: in_features, out_features must be positive");
    static_assert(C.norm != Norm::bn2d, "LinearLayer: norm must be ln or none");
    using Index = detail::Index;
    using FeatureMap = detail::FeatureMap;
    static constexpr int in_block = detail::block_width(C.in_features);

public:
    static constexpr int in_channels = 0;  // C*H*W counts, not C
    static constexpr int out_channels = C.out_features;
    static constexpr int stride = 0;  // one pixel, whatever the input
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = true;
    static constexpr bool fuses_residual = false;

    static detail::Extent output_extent(detail::Extent) { return {1, 1}; }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        d.add("linear.weight", {C.out_features, C.in_features});
        if (C.use_bias) d.add("linear.bias", {C.out_features});
        if (C.norm == Norm::ln) {
            d.add("norm.weight", {C.out_features});
            d.add("norm.bias", {C.out_features});
        }
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        using detail::ChannelLayout;
        // As many as the weights have: AnyModel's classes.
        const int out_features = p.weights.rows("linear.weight", C.out_features);
        if (out_features == 0) return;  // left out: a classifier with num_classes=0
        const WeightReader& weights = p.weights;
        const ChannelLayout out = ChannelLayout::plain(out_features);
        std::vector<float>& weight = p.memory->values;
        weights.read("linear.weight", Index{out_features} * C.in_features, 0, weight);
        linear_.weights = detail::pack_dense(*p.memory, weights.full_name("linear.weight"), weight,
                                             ChannelLayout::plain(C.in_features), out, 1, p.kernels->operands);
        linear_.bias = detail::pack_bias(*p.memory,
                                         C.use_bias ? weights.read("linear.bias", out_features, 0)
                                                    : detail::filled(static_cast<std::size_t>(out_features), 0.0f),
                                         out);
        if (C.norm == Norm::ln) {
            norm_ = {detail::pack_bias(*p.memory, weights.read("norm.weight", out_features, 1), out),
                     detail::pack_bias(*p.memory, weights.read("norm.bias", out_features, 0), out)};
        }
    }
    /// (N, out_features, 1, 1). Throws ShapeError where C*H*W is not in_features.
    static Shape output_shape(const Shape& input) {
        const Shape output = Module<LinearLayer>::output_shape(input);
        check_features(input);
        return output;
    }
    void run(detail::Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap*) const {
        check_features({x.batch, x.channels, x.height, x.width});
        // The images of a batch become the pixels of one map, so that weights are read once for all of them.
        const detail::Workspace::Frame frame(session.workspace);
        const FeatureMap in = detail::new_map(session, 1, C.in_features, {1, x.batch}, 0);
        const FeatureMap out = detail::new_map(session, 1, y.channels, {1, x.batch}, 0);
        if (!session.measuring()) flatten(x, in);
        const bool later = C.norm == Norm::ln;
        detail::run_pointwise(session, linear_, later ? kernels::Act::none : act, C.in_features, in, out, nullptr);
        if (session.measuring()) return;
        for (int n = 0; n < x.batch; ++n) {
            for (int b = 0; b < out.blocks(); ++b) {
                std::copy_n(out.data + b * out.block_stride() + Index{n} * out.block, out.block,
                            y.image(n) + b * y.block_stride());
            }
            if (later) normalize(y.image(n));
        }
        if (later && act != kernels::Act::none) detail::run_affine(session, nullptr, act, y, y, nullptr);
    }

private:
    static constexpr kernels::Act act = detail::kernel_act(C.act_func);

    EFFICIENTVIT_COLD static void check_features(const Shape& x) {
        const Index values = x.c * x.h * x.w;
        if (values == C.in_features) return;
        throw ShapeError(
            detail::concat({"LinearLayer: the input ", detail::to_string(x), " has ", std::to_string(values),
                            " values an image, expected ", std::to_string(C.in_features)}));
    }

    /// Lanes behind the last value become zero, as in every map.
    static void flatten(const FeatureMap& x, const FeatureMap& in) {
        std::fill_n(in.data + (in.blocks() - 1) * in.block_stride(), in.block_stride(), 0.0f);
        for (int n = 0; n < x.batch; ++n) {
            Index i = 0;
            for (int c = 0; c < x.channels; ++c) {
                for (int row = 0; row < x.height; ++row) {
                    const float* from =
                        x.image(n) + c / x.block * x.block_stride() + row * x.row_stride() + c % x.block;
                    for (int column = 0; column < x.width; ++column, ++i) {
                        in.data[i / in_block * in.block_stride() + Index{n} * in_block + i % in_block] =
                            from[Index{column} * x.block];
                    }
                }
            }
        }
    }

    /// LayerNorm over the features of one image, in double.
    void normalize(float* y) const {
        double mean = 0, variance = 0;
        for (std::size_t i = 0; i < std::size_t{C.out_features}; ++i) mean += double{y[i]};
        mean /= C.out_features;
        for (std::size_t i = 0; i < std::size_t{C.out_features}; ++i) variance += (y[i] - mean) * (y[i] - mean);
        const double scale = 1.0 / std::sqrt(variance / C.out_features + C.norm_eps);
        for (std::size_t i = 0; i < std::size_t{C.out_features}; ++i) {
            y[i] = static_cast<float>((y[i] - mean) * scale * double{norm_.scale[i]} + double{norm_.shift[i]});
        }
    }

    detail::PackedConvolution linear_;
    detail::PackedAffine norm_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

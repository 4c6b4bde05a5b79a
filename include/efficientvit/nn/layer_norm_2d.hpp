// SPDX-License-Identifier: Apache-2.0
//
// LayerNorm2d of the reference: every pixel's channels are normalised by their own mean and variance. LinearLayer has
// its norm itself.
#pragma once

#include <efficientvit/nn/norm.hpp>

#include <cmath>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

inline void run_layer_norm_2d(Session& session, const PackedAffine& packed, double eps, const FeatureMap& x,
                              const FeatureMap& y) {
    session.parallel(x.batch * x.height, [&](int chunk, int) {
        const int n = chunk / x.height, row = chunk % x.height;
        for (int column = 0; column < x.width; ++column) {
            const float* const in = x.image(n) + row * x.row_stride() + Index{column} * x.block;
            float* const out = y.image(n) + row * y.row_stride() + Index{column} * y.block;
            const auto for_each_channel = [&](const auto& f) {
                for (int b = 0, left = x.channels; left > 0; ++b, left -= x.block) {
                    for (int lane = 0; lane < std::min(left, x.block); ++lane) f(b, lane);
                }
            };
            const auto value = [&](int b, int lane) { return double{in[b * x.block_stride() + lane]}; };
            double mean = 0, variance = 0;
            for_each_channel([&](int b, int lane) { mean += value(b, lane); });
            mean /= x.channels;
            for_each_channel([&](int b, int lane) {
                const double difference = value(b, lane) - mean;
                variance += difference * difference;
            });
            const double scale = 1.0 / std::sqrt(variance / x.channels + eps);
            // Empty lanes get their zero shift.
            for (int b = 0; b < x.blocks(); ++b) {
                const float* const weight = packed.scale.data() + b * x.block;
                const float* const bias = packed.shift.data() + b * x.block;
                for (int lane = 0; lane < x.block; ++lane) {
                    out[b * y.block_stride() + lane] =
                        static_cast<float>((value(b, lane) - mean) * scale * double{weight[lane]} + double{bias[lane]});
                }
            }
        }
    });
}

}  // namespace detail

/// Arguments of LayerNorm2d.
struct LayerNorm2dConfig {
    int num_features = 0;  ///< channels
    double eps = 1e-5;     ///< added to the variance
};

/// (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance over the channels of a pixel:
/// (N, num_features, H, W) to the same. State dict: weight, bias.
template <LayerNorm2dConfig C>
class LayerNorm2d : public Module<LayerNorm2d<C>> {
    static_assert(C.num_features > 0, "LayerNorm2d: num_features must be positive");

public:
    static constexpr int in_channels = C.num_features;
    static constexpr int out_channels = C.num_features;
    static constexpr int stride = 1;
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = false;

    static detail::Extent output_extent(detail::Extent in) { return in; }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        for (const char* name : {"weight", "bias"}) d.add(name, {C.num_features});
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        const auto packed = [&](const char* name, float otherwise) {
            return detail::pack_bias(p.weights.read(name, C.num_features, otherwise),
                                     detail::ChannelLayout::plain(C.num_features));
        };
        packed_ = {packed("weight", 1), packed("bias", 0)};
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap*) const {
        detail::run_layer_norm_2d(session, packed_, C.eps, x, y);
    }

private:
    detail::PackedAffine packed_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

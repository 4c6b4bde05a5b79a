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

/// As many neighbouring pixels at a time: the sums of one are a chain in which each addition waits for the last.
template <int Pixels>
void layer_norm_2d_pixels(const PackedAffine& packed, double eps, const FeatureMap& x, const float* in,
                          const FeatureMap& y, float* out) {
    const auto for_each_value = [&](const auto& f) {
        for (int b = 0, left = x.channels; left > 0; ++b, left -= x.block) {
            const float* const values = in + b * x.block_stride();
            for (int lane = 0; lane < std::min(left, x.block); ++lane) {
                for (int p = 0; p < Pixels; ++p) f(p, double{values[p * x.block + lane]});
            }
        }
    };
    constexpr std::size_t count{Pixels};
    double mean[count] = {}, variance[count] = {}, scale[count];
    for_each_value([&](int p, double value) { mean[p] += value; });
    for (double& m : mean) m /= x.channels;
    for_each_value([&](int p, double value) {
        const double difference = value - mean[p];
        variance[p] += difference * difference;
    });
    for (int p = 0; p < Pixels; ++p) scale[p] = 1.0 / std::sqrt(variance[p] / x.channels + eps);
    // Empty lanes get their zero shift.
    for (int b = 0; b < x.blocks(); ++b) {
        const float* const values = in + b * x.block_stride();
        const float* const weight = packed.scale.data() + b * x.block;
        const float* const bias = packed.shift.data() + b * x.block;
        float* const results = out + b * y.block_stride();
        for (int p = 0; p < Pixels; ++p) {
            for (int lane = 0; lane < x.block; ++lane) {
                const double normal = (double{values[p * x.block + lane]} - mean[p]) * scale[p];
                results[p * x.block + lane] = static_cast<float>(normal * double{weight[lane]} + double{bias[lane]});
            }
        }
    }
}

inline void run_layer_norm_2d(Session& session, const PackedAffine& packed, double eps, const FeatureMap& x,
                              const FeatureMap& y) {
    constexpr int together = 8;
    session.parallel(x.batch * x.height, [&](int chunk, int) {
        const int n = chunk / x.height, row = chunk % x.height;
        const float* in = x.image(n) + row * x.row_stride();
        float* out = y.image(n) + row * y.row_stride();
        for (int left = x.width; left > 0;) {
            const bool whole = left >= together;
            (whole ? layer_norm_2d_pixels<together> : layer_norm_2d_pixels<1>)(packed, eps, x, in, y, out);
            const int done = whole ? together : 1;
            left -= done, in += done * x.block, out += done * x.block;
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
            return detail::pack_bias(*p.memory, p.weights.read(name, C.num_features, otherwise),
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

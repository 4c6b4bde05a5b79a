// SPDX-License-Identifier: Apache-2.0
//
// Normalisation as a layer of its own (ResidualBlock's pre_norm), and the pass over a map that adds, scales or
// activates where no convolution can do it on its way. Norms behind a convolution are folded into it: packing.hpp.
#pragma once

#include <efficientvit/nn/module.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// scale and shift for each lane of a map.
struct PackedAffine {
    PackedWeights scale, shift;
};

/// y = act(x * scale + shift) + residual. y may be x.
inline void run_affine(Session& session, const PackedAffine* packed, kernels::Act act, const FeatureMap& x,
                       const FeatureMap& y, const FeatureMap* residual) {
    if (session.measuring()) return;
    session.parallel(y.batch * y.blocks(), [&](int chunk, int) {
        const int n = chunk / y.blocks(), b = chunk % y.blocks();
        kernels::Affine a;
        if (packed != nullptr) {
            a.scale = packed->scale.data() + b * y.block;
            a.shift = packed->shift.data() + b * y.block;
        }
        a.pixels = y.width;
        a.block = y.block;
        a.act = act;
        for (int row = 0; row < y.height; ++row) {
            a.x = x.image(n) + b * x.block_stride() + row * x.row_stride();
            a.y = y.image(n) + b * y.block_stride() + row * y.row_stride();
            if (residual != nullptr) {
                a.residual = residual->image(n) + b * residual->block_stride() + row * residual->row_stride();
            }
            session.kernels.affine(a);
        }
    });
}

}  // namespace detail

/// Arguments of BatchNorm2d.
struct BatchNormConfig {
    int num_features = 0;  ///< channels
    double eps = 1e-5;     ///< added to the variance
};

/// torch.nn.BatchNorm2d in inference. State dict: weight, bias, running_mean, running_var.
template <BatchNormConfig C>
class BatchNorm2d : public Module<BatchNorm2d<C>> {
    static_assert(C.num_features > 0, "BatchNorm2d: num_features must be positive");

public:
    static constexpr int in_channels = C.num_features;
    static constexpr int out_channels = C.num_features;
    static constexpr int stride = 1;
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = true;

    static detail::Extent output_extent(detail::Extent in) { return in; }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        for (const char* name : {"weight", "bias", "running_mean", "running_var"}) d.add(name, {C.num_features});
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        const detail::ScaleShift n = detail::read_batch_norm(p, C.num_features, C.eps);
        const auto packed = [&](const std::vector<double>& values) {
            return detail::pack_bias(*p.memory, std::vector<float>(values.begin(), values.end()),
                                     detail::ChannelLayout::plain(C.num_features));
        };
        packed_ = {packed(n.scale), packed(n.shift)};
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        detail::run_affine(session, &packed_, kernels::Act::none, x, y, residual);
    }

private:
    detail::PackedAffine packed_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// LiteMLA of the reference: multi-scale ReLU linear attention, the paper's contribution. What it computes is in
// attention.hpp.
#pragma once

#include <efficientvit/nn/attention.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// (N, in_channels, H, W) to (N, out_channels, H, W). With more than `dim` pixels attention is linear in them, else
/// quadratic, as in the reference. State dict: qkv, aggreg.<s>.0, aggreg.<s>.1 (with biases where qkv has one), proj.
template <LiteMLAConfig C>
class LiteMLA : public Module<LiteMLA<C>> {
    static_assert(C.in_channels > 0 && C.out_channels > 0, "LiteMLA: in_channels and out_channels must be positive");
    static_assert(C.dim > 0 && detail::AttentionLayout(C).heads > 0,
                  "LiteMLA: dim must be positive, and in_channels at least dim");
    static_assert(
        [] {
            for (const int scale : C.scales) {
                if (scale < 1 || scale % 2 == 0) return false;
            }
            return true;
        }(),
        "LiteMLA: scales must be odd");

public:
    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.out_channels;
    static constexpr int stride = 1;
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = true;

    static detail::Extent output_extent(detail::Extent in) { return in; }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) { detail::describe_attention(d, C); }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) { packed_ = detail::pack_attention(p, C); }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        static constexpr LiteMLAConfig config = C;
        detail::run_attention(session, config, packed_, x, y, residual);
    }

private:
    detail::PackedAttention packed_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

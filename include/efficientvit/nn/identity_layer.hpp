// SPDX-License-Identifier: Apache-2.0
//
// IdentityLayer of the reference, and NoLayer for the places where Python has None.
#pragma once

#include <efficientvit/nn/norm.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Python's None as a layer argument: ResidualBlock<Main, NoLayer>. In OpSequential it is dropped before numbering.
/// (X11's headers define None as a macro.)
struct NoLayer {};

/// x. As a shortcut it costs nothing: the main layer adds it as it writes.
class IdentityLayer : public Module<IdentityLayer> {
public:
    static constexpr int in_channels = 0;  // any number
    static constexpr int out_channels = 0;
    static constexpr int stride = 1;
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = true;

    static detail::Extent output_extent(detail::Extent in) { return in; }
    static void describe(const detail::Describer&) {}
    void pack(const detail::Packer&) {}

    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        detail::run_affine(session, nullptr, kernels::Act::none, x, y, residual);
    }
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

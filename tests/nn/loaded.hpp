// SPDX-License-Identifier: Apache-2.0
//
// A small network and b0 with the goldens' weights.
#pragma once

#include "../support.hpp"

using Stem = ev::OpSequential<
    ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 8, .stride = 2}>,
    ev::ResidualBlock<ev::DSConv<ev::DSConvConfig{.in_channels = 8, .out_channels = 8}>, ev::IdentityLayer>>;

inline const Stem& stem() {
    static const auto layer = golden_layer<Stem>();
    return layer;
}
inline const ev::BackboneB0& b0() {
    static const auto backbone = golden_layer<ev::BackboneB0>();
    return backbone;
}

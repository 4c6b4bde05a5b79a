// SPDX-License-Identifier: Apache-2.0
//
// Groups that divide one of the two numbers of channels only.
//
// error: ConvLayer: groups must divide in_channels and out_channels
#include <efficientvit/nn/conv_layer.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int groups = 3;
#else
constexpr int groups = 2;
#endif

using Conv = ev::ConvLayer<ev::ConvConfig{.in_channels = 6, .out_channels = 8, .groups = groups}>;
static_assert(Conv::out_channels == 8);

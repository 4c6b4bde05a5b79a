// SPDX-License-Identifier: Apache-2.0
//
// A stride that the reference does not have.
//
// error: ConvLayer: stride must be 1 or 2
#include <efficientvit/nn/conv_layer.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int stride = 3;
#else
constexpr int stride = 2;
#endif

using Conv = ev::ConvLayer<ev::ConvConfig{.in_channels = 4, .out_channels = 8, .stride = stride}>;
static_assert(Conv::out_channels == 8);

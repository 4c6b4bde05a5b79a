// SPDX-License-Identifier: Apache-2.0
//
// A kernel without a middle.
//
// error: ConvLayer: kernel_size must be odd
#include <efficientvit/nn/conv_layer.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int kernel = 4;
#else
constexpr int kernel = 5;
#endif

using Conv = ev::ConvLayer<ev::ConvConfig{.in_channels = 4, .out_channels = 8, .kernel_size = kernel}>;
static_assert(Conv::out_channels == 8);

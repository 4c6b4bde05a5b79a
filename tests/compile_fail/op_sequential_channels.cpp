// SPDX-License-Identifier: Apache-2.0
//
// Neighbours in OpSequential whose channels differ.
//
// error: OpSequential: a layer's in_channels must be the out_channels of the layer before it
#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/op_sequential.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int channels = 9;
#else
constexpr int channels = 8;
#endif

using Stem = ev::OpSequential<ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 8}>,
                              ev::ConvLayer<ev::ConvConfig{.in_channels = channels, .out_channels = 4}>>;
static_assert(Stem::out_channels == 4);

// SPDX-License-Identifier: Apache-2.0
//
// A layer as shortcut whose stride is not the main layer's.
//
// error: ResidualBlock: main and shortcut must have the same stride
#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/residual_block.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int stride = 1;
#else
constexpr int stride = 2;
#endif

using Block = ev::ResidualBlock<
    ev::ConvLayer<ev::ConvConfig{.in_channels = 4, .out_channels = 8, .stride = 2}>,
    ev::ConvLayer<ev::ConvConfig{.in_channels = 4, .out_channels = 8, .kernel_size = 1, .stride = stride}>>;
static_assert(Block::out_channels == 8);

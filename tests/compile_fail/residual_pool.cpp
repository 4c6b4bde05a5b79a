// SPDX-License-Identifier: Apache-2.0
//
// A pooled shortcut, of one pixel, beside a convolution.
//
// error: ResidualBlock: main and shortcut must have the same stride
#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/linear_layer.hpp>
#include <efficientvit/nn/residual_block.hpp>

namespace ev = efficientvit;

using Conv = ev::ConvLayer<ev::ConvConfig{.in_channels = 8, .out_channels = 8}>;
using Pool = ev::GlobalAveragePool<8>;
#ifdef WRONG
using Block = ev::ResidualBlock<Conv, Pool>;
#else
using Block = ev::ResidualBlock<Pool, Pool>;
#endif
static_assert(sizeof(Block) > 0);

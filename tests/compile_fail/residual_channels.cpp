// SPDX-License-Identifier: Apache-2.0
//
// An identity shortcut around a layer that changes the number of channels.
//
// error: ResidualBlock: an identity shortcut needs a main layer with as many output as input channels
#include <efficientvit/nn/mb_conv.hpp>
#include <efficientvit/nn/residual_block.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int channels = 16;
#else
constexpr int channels = 8;
#endif

using Block =
    ev::ResidualBlock<ev::MBConv<ev::MBConvConfig{.in_channels = 8, .out_channels = channels}>, ev::IdentityLayer>;
static_assert(Block::in_channels == 8);

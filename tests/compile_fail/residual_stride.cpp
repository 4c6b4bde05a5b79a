// SPDX-License-Identifier: Apache-2.0
//
// An identity shortcut around a layer that halves the resolution.
//
// error: ResidualBlock: an identity shortcut needs a main layer of stride 1; use NoLayer for no shortcut
#include <efficientvit/nn/ds_conv.hpp>
#include <efficientvit/nn/residual_block.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int stride = 2;
#else
constexpr int stride = 1;
#endif

using Block = ev::ResidualBlock<ev::DSConv<ev::DSConvConfig{.in_channels = 8, .out_channels = 8, .stride = stride}>,
                                ev::IdentityLayer>;
static_assert(Block::out_channels == 8);

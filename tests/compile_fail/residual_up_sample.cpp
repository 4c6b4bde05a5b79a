// SPDX-License-Identifier: Apache-2.0
//
// An identity shortcut around an interpolation.
//
// error: ResidualBlock: an identity shortcut needs a main layer of stride 1; use NoLayer for no shortcut
#include <efficientvit/nn/residual_block.hpp>
#include <efficientvit/nn/up_sample_layer.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr int factor = 2;
#else
constexpr int factor = 1;
#endif
using Block = ev::ResidualBlock<ev::UpSampleLayer<ev::UpSampleConfig{.factor = factor}>, ev::IdentityLayer>;
static_assert(sizeof(Block) > 0);

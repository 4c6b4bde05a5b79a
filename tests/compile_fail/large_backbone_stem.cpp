// SPDX-License-Identifier: Apache-2.0
//
// Attention in stage 0, which the reference does not know.
//
// error: EfficientViTLargeBackbone: stage 0 has blocks res, fmb or mb, not attention
#include <efficientvit/models/large_backbone.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr ev::LargeBlock first = ev::LargeBlock::att;
#else
constexpr ev::LargeBlock first = ev::LargeBlock::mb;
#endif
using Backbone = ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{
    .width_list = {32}, .depth_list = {1}, .block_list = {first}, .expand_list = {4}, .fewer_norm_list = {true}}>;
static_assert(sizeof(Backbone) > 0);

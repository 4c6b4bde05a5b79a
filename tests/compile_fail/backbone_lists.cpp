// SPDX-License-Identifier: Apache-2.0
//
// A backbone with four widths and five depths.
//
// error: EfficientViTBackbone: width_list and depth_list need an entry for every stage
#include <efficientvit/models/backbone.hpp>

namespace ev = efficientvit;

#ifdef WRONG
constexpr ev::IntList widths = {8, 16, 24, 32};
#else
constexpr ev::IntList widths = {8, 16, 24, 32, 40};
#endif

using Mine = ev::EfficientViTBackbone<ev::BackboneConfig{
    .width_list = widths, .depth_list = {1, 1, 1, 1, 1}, .dim = 8, .expand_ratio = 2}>;
static_assert(sizeof(Mine) > 0);

// SPDX-License-Identifier: Apache-2.0
//
// Lists of a large backbone that do not have an entry for every stage: the defaults are for five.
//
// error: EfficientViTLargeBackbone: all lists need an entry for every stage
#include <efficientvit/models/large_backbone.hpp>

namespace ev = efficientvit;

#ifdef WRONG
using Backbone = ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{.width_list = {8, 16, 32, 64, 128, 256},
                                                                       .depth_list = {1, 1, 1, 1, 1, 1}}>;
#else
using Backbone = ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{.width_list = {8, 16, 32, 64, 128},
                                                                       .depth_list = {1, 1, 1, 1, 1}}>;
#endif
static_assert(sizeof(Backbone) > 0);

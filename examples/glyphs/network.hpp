// SPDX-License-Identifier: Apache-2.0
//
// The network that train_glyphs.py trains.
#pragma once

#include <efficientvit/models/classifier.hpp>

#include "../digits/network.hpp"

namespace glyphs {

namespace ev = efficientvit;

/// timm's efficientvit_b0 with 200 classes and a head of our own size.
using Network = ev::EfficientViTCls<ev::EfficientViTBackbone<digits::timm_b0>,
                                    ev::ClsHeadConfig{.width_list = {256, 256}, .n_classes = 200}>;

}  // namespace glyphs

// SPDX-License-Identifier: Apache-2.0
//
// The network that train_digits.py trains.
#pragma once

#include <efficientvit/models/classifier.hpp>

namespace digits {

namespace ev = efficientvit;

/// timm's efficientvit_b0: the original but for the epsilon in attention.
inline constexpr ev::BackboneConfig timm_b0 = [] {
    ev::BackboneConfig config = ev::b0;
    config.attention_eps = 1e-5;
    return config;
}();

/// With ten classes and a head of our own size.
using Network = ev::EfficientViTCls<ev::EfficientViTBackbone<timm_b0>,
                                    ev::ClsHeadConfig{.width_list = {128, 160}, .n_classes = 10}>;

}  // namespace digits

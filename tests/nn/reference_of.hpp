// SPDX-License-Identifier: Apache-2.0
//
// The naive reference of a type: reference_of(type*) is the function of reference.hpp that computes what the type
// computes, with the type's own configuration; of compositions, the composition of these. Backbones give every stage.
#pragma once

#include "../reference_large.hpp"

#include <efficientvit/efficientvit.hpp>

namespace reference {

namespace ev = efficientvit;

/// A network's outputs, in order.
using Network = std::function<std::vector<Map>(const Map&, const Weights&)>;

constexpr Head head_of(const ev::SegHeadConfig& c) {
    return {.width = c.head_width,
            .depth = c.head_depth,
            .expand_ratio = c.expand_ratio,
            .fused = c.middle_op == ev::SegMiddleOp::fmbconv,
            .inputs = c.inputs,
            .final_expand = c.final_expand,
            .out_channels = c.n_classes,
            .norm = c.norm,
            .act_func = c.act_func,
            .norm_eps = c.norm_eps};
}
constexpr Head head_of(const ev::SamNeckConfig& c) {
    return {.width = c.head_width,
            .depth = c.head_depth,
            .expand_ratio = c.expand_ratio,
            .fused = true,
            .out_channels = c.out_dim,
            .size = c.size,
            .norm = c.norm,
            .act_func = c.act_func,
            .norm_eps = c.norm_eps};
}

template <ev::ConvConfig C>
Layer reference_of(const ev::ConvLayer<C>*) {
    return [](const Map& x, const Weights& w) { return conv_layer(x, w, C); };
}
template <ev::DSConvConfig C>
Layer reference_of(const ev::DSConv<C>*) {
    return [](const Map& x, const Weights& w) { return ds_conv(x, w, C); };
}
template <ev::MBConvConfig C>
Layer reference_of(const ev::MBConv<C>*) {
    return [](const Map& x, const Weights& w) { return mb_conv(x, w, C); };
}
template <ev::FusedMBConvConfig C>
Layer reference_of(const ev::FusedMBConv<C>*) {
    return [](const Map& x, const Weights& w) { return fused_mb_conv(x, w, C); };
}
template <ev::ResBlockConfig C>
Layer reference_of(const ev::ResBlock<C>*) {
    return [](const Map& x, const Weights& w) { return res_block(x, w, C); };
}
template <ev::LiteMLAConfig C>
Layer reference_of(const ev::LiteMLA<C>*) {
    return [](const Map& x, const Weights& w) { return lite_mla(x, w, C); };
}
template <ev::EfficientViTBlockConfig C>
Layer reference_of(const ev::EfficientViTBlock<C>*) {
    return [](const Map& x, const Weights& w) { return efficientvit_block(x, w, C); };
}
template <ev::BatchNormConfig C>
Layer reference_of(const ev::BatchNorm2d<C>*) {
    return [](const Map& x, const Weights& w) { return batch_norm(x, w, C.eps); };
}
template <ev::LayerNorm2dConfig C>
Layer reference_of(const ev::LayerNorm2d<C>*) {
    return [](const Map& x, const Weights& w) { return layer_norm_2d(x, w, C.eps); };
}
template <ev::UpSampleConfig C>
Layer reference_of(const ev::UpSampleLayer<C>*) {
    return [](const Map& x, const Weights&) {
        return C.size[0] > 0 ? bicubic(x, C.size[0], C.size[1]) : bicubic(x, C.factor * x.h, C.factor * x.w);
    };
}
inline Layer reference_of(const ev::IdentityLayer*) { return identity; }
inline Layer reference_of(const ev::NoLayer*) { return {}; }

template <class Main, class Shortcut, ev::Activation PostAct, class PreNorm>
Layer reference_of(const ev::ResidualBlock<Main, Shortcut, PostAct, PreNorm>*) {
    return [main = reference_of(static_cast<const Main*>(nullptr)),
            shortcut = reference_of(static_cast<const Shortcut*>(nullptr)),
            norm = reference_of(static_cast<const PreNorm*>(nullptr))](const Map& x, const Weights& w) {
        return residual_block(x, w, main, shortcut, PostAct, norm);
    };
}
template <class... Layers>
Layer reference_of(const ev::OpSequential<Layers...>*) {
    return
        [layers = std::vector<Layer>{reference_of(static_cast<const Layers*>(nullptr))...}](Map x, const Weights& w) {
            int i = 0;
            for (const Layer& layer : layers) {
                if (layer) x = layer(x, w.at("op_list").at(i++));
            }
            return x;
        };
}

template <ev::BackboneConfig C>
Network reference_of(const ev::EfficientViTBackbone<C>*) {
    return [](const Map& x, const Weights& w) { return backbone(x, w, C); };
}
template <ev::LargeBackboneConfig C>
Network reference_of(const ev::EfficientViTLargeBackbone<C>*) {
    return [](const Map& x, const Weights& w) { return backbone(x, w, C); };
}
template <class Backbone, ev::ClsHeadConfig H>
Layer reference_of(const ev::EfficientViTCls<Backbone, H>*) {
    return [](const Map& x, const Weights& w) { return classifier(x, w, Backbone::config, H); };
}
template <class Backbone, ev::SegHeadConfig H>
Layer reference_of(const ev::EfficientViTSeg<Backbone, H>*) {
    return [](const Map& x, const Weights& w) { return segmenter(x, w, Backbone::config, head_of(H)); };
}
template <class Backbone, ev::SamNeckConfig K>
Layer reference_of(const ev::SamImageEncoder<Backbone, K>*) {
    return [](const Map& x, const Weights& w) { return sam_image_encoder(x, w, Backbone::config, head_of(K)); };
}

}  // namespace reference

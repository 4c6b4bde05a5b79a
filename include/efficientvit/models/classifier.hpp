// SPDX-License-Identifier: Apache-2.0
//
// EfficientViTCls of the reference: a backbone and a classification head.
#pragma once

#include <efficientvit/models/backbone.hpp>
#include <efficientvit/models/large_backbone.hpp>
#include <efficientvit/nn/linear_layer.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of ClsHead, named as in the reference. in_channels is the backbone's last width.
struct ClsHeadConfig {
    IntList width_list{};                      ///< channels of the convolution, features of the hidden layer
    int n_classes = 1000;                      ///< logits
    Activation act_func = Activation::hswish;  ///< between the layers
    double norm_eps = 1e-5;                    ///< added to norms' variances
};

namespace detail {
template <int InChannels, ClsHeadConfig H>
using ClsHead = OpSequential<ConvLayer<ConvConfig{.in_channels = InChannels,
                                                  .out_channels = H.width_list[0],
                                                  .kernel_size = 1,
                                                  .act_func = H.act_func,
                                                  .norm_eps = H.norm_eps}>,
                             GlobalAveragePool<H.width_list[0]>,
                             LinearLayer<LinearConfig{.in_features = H.width_list[0],
                                                      .out_features = H.width_list[1],
                                                      .use_bias = false,
                                                      .norm = Norm::ln,
                                                      .act_func = H.act_func,
                                                      .norm_eps = H.norm_eps}>,
                             LinearLayer<LinearConfig{.in_features = H.width_list[1], .out_features = H.n_classes}>>;
}  // namespace detail

/// head(backbone(x)): (N, in_channels, H, W) to logits (N, n_classes, 1, 1), which the reference gives as
/// [N, n_classes]. State dict: backbone.…, head.op_list.<i>….
template <class BackboneType, ClsHeadConfig H>
class EfficientViTCls : public Module<EfficientViTCls<BackboneType, H>> {
    static_assert(H.width_list.size() == 2, "EfficientViTCls: width_list holds two widths");
    using Network = detail::Sequence<BackboneType, detail::ClsHead<BackboneType::out_channels, H>>;

public:
    /// What its features come from.
    using Backbone = BackboneType;
    /// What makes logits of them, an OpSequential.
    using Head = typename Network::template At<1>;
    static constexpr int in_channels = Backbone::in_channels;
    static constexpr int out_channels = H.n_classes;
    /// Logits.
    static constexpr int n_classes = H.n_classes;
    static constexpr int stride = Network::stride;
    static constexpr int wanted_padding = Network::wanted_padding;
    static constexpr bool reads_planar = Network::reads_planar;
    static constexpr bool fuses_residual = Network::fuses_residual;

    static detail::Extent output_extent(detail::Extent in) { return Network::output_extent(in); }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) { Network::describe(d, part_name); }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) { network_.pack(p, part_name); }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        network_.run(session, x, y, residual);
    }

private:
    static const char* part_name(int i) { return i == 0 ? "backbone" : "head"; }

    Network network_;
};

/// The published classifiers, for any number of classes. Those of the L family have norm eps 1e-7 and gelu.
template <int Classes = 1000>
using ClsB0 = EfficientViTCls<BackboneB0, ClsHeadConfig{.width_list = {1024, 1280}, .n_classes = Classes}>;
/// EfficientViT-B1 for ImageNet, or as many classes as are said.
template <int Classes = 1000>
using ClsB1 = EfficientViTCls<BackboneB1, ClsHeadConfig{.width_list = {1536, 1600}, .n_classes = Classes}>;
/// EfficientViT-B2 for ImageNet, or as many classes as are said.
template <int Classes = 1000>
using ClsB2 = EfficientViTCls<BackboneB2, ClsHeadConfig{.width_list = {2304, 2560}, .n_classes = Classes}>;
/// EfficientViT-B3 for ImageNet, or as many classes as are said.
template <int Classes = 1000>
using ClsB3 = EfficientViTCls<BackboneB3, ClsHeadConfig{.width_list = {2304, 2560}, .n_classes = Classes}>;

namespace detail {
template <LargeBackboneConfig C, int W0, int W1, int Classes>
using LargeCls =
    EfficientViTCls<EfficientViTLargeBackbone<with_norm_eps(C, 1e-7)>,
                    ClsHeadConfig{
                        .width_list = {W0, W1}, .n_classes = Classes, .act_func = Activation::gelu, .norm_eps = 1e-7}>;
}  // namespace detail

/// EfficientViT-L1 for ImageNet, or as many classes as are said.
template <int Classes = 1000>
using ClsL1 = detail::LargeCls<l1, 3072, 3200, Classes>;
/// EfficientViT-L2 for ImageNet, or as many classes as are said.
template <int Classes = 1000>
using ClsL2 = detail::LargeCls<l2, 3072, 3200, Classes>;
/// EfficientViT-L3 for ImageNet, or as many classes as are said.
template <int Classes = 1000>
using ClsL3 = detail::LargeCls<l3, 6144, 6400, Classes>;

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

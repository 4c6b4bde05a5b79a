// SPDX-License-Identifier: Apache-2.0
//
// EfficientViTCls of the reference: a backbone and a classification head.
#pragma once

#include <efficientvit/models/backbone.hpp>
#include <efficientvit/models/large_backbone.hpp>
#include <efficientvit/nn/linear_layer.hpp>

#include <algorithm>
#include <cstdint>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of ClsHead, named as in the reference. in_channels is the backbone's last width.
struct ClsHeadConfig {
    IntList width_list{};                      ///< channels of the convolution, features of the hidden layer
    int n_classes = 1000;                      ///< logits; 0: no last layer, forward gives the pre-logits
    Activation act_func = Activation::hswish;  ///< between the layers
    double norm_eps = 1e-5;                    ///< added to norms' variances
};

namespace detail {
template <int InFeatures, int Classes>
struct LastLinear {
    using type = LinearLayer<LinearConfig{.in_features = InFeatures, .out_features = Classes}>;
};
template <int InFeatures>
struct LastLinear<InFeatures, 0> {
    using type = NoLayer;
};
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
                             typename LastLinear<H.width_list[1], H.n_classes>::type>;
}  // namespace detail

/// head(backbone(x)): (N, in_channels, H, W) to logits (N, n_classes, 1, 1), which the reference gives as
/// [N, n_classes]. With n_classes = 0, as timm's num_classes=0, to the pre-logits (N, width_list[1], 1, 1).
/// State dict: backbone.…, head.op_list.<i>….
template <class BackboneType, ClsHeadConfig H>
class EfficientViTCls : public Module<EfficientViTCls<BackboneType, H>> {
    using Base = Module<EfficientViTCls>;
    static_assert(H.width_list.size() == 2, "EfficientViTCls: width_list holds two widths");
    static_assert(H.n_classes >= 0, "EfficientViTCls: n_classes must not be negative");
    static constexpr int before_last = 3;  // layers of the head
    using Network = detail::Sequence<BackboneType, detail::ClsHead<BackboneType::out_channels, H>>;

public:
    /// What its features come from.
    using Backbone = BackboneType;
    /// What makes logits of them, an OpSequential.
    using Head = typename Network::template At<1>;
    static constexpr int in_channels = Backbone::in_channels;
    static constexpr int out_channels = H.n_classes == 0 ? H.width_list[1] : H.n_classes;
    /// Logits; 0 where there is no last layer.
    static constexpr int n_classes = H.n_classes;
    /// Features that the last layer reads, timm's head_hidden_size.
    static constexpr int pre_logits_channels = H.width_list[1];
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

    /// The shape of forward_pre_logits' result, (N, pre_logits_channels, 1, 1). Throws ShapeError where the input does
    /// not fit.
    static Shape pre_logits_shape(const Shape& input) {
        return {Base::output_shape(input).n, pre_logits_channels, 1, 1};
    }

    /// The input of the last layer, as timm's forward_head(…, pre_logits=True): a picture's embedding. Arguments and
    /// errors are forward's.
    template <class X>
    Tensor forward_pre_logits(const X& x) const {
        return forward_pre_logits(x, detail::CallContext().get());
    }
    /// The same in a Context of the caller's.
    template <class X>
    Tensor forward_pre_logits(const X& x, Context& context) const {
        Tensor y;
        forward_pre_logits(x, y, context);
        return y;
    }
    /// The same into a tensor, which is resized where its shape differs, or into a view, whose shape must fit.
    template <class X, class Y>
    void forward_pre_logits(const X& x, Y&& y, Context& context) const {
        const ConstTensorView in = Base::to_const(view(x));
        detail::check_input(in, in_channels, "forward_pre_logits");
        const TensorView out = detail::output_view(y, pre_logits_shape(in.shape), "forward_pre_logits");
        context.run(this->kernels(), [&](detail::Session& session) { run_pre_logits(session, in, out); });
    }

    using Base::workspace_bytes;
    /// Bytes of scratch memory that forward and forward_pre_logits take at most in this Context for an input of this
    /// shape.
    std::uint64_t workspace_bytes(const Shape& input, const Context& context) const {
        return std::max(Base::workspace_bytes(input, context), pre_logits_workspace_bytes(input, context));
    }
    /// Those that forward_pre_logits takes.
    std::uint64_t pre_logits_workspace_bytes(const Shape& input, const Context& context) const {
        const Shape output = pre_logits_shape(input);
        return context.measure(this->kernels(), [&](detail::Session& session) {
            run_pre_logits(session, {nullptr, input}, {nullptr, output});
        });
    }

private:
    void run_pre_logits(detail::Session& session, const ConstTensorView& x, const TensorView& y) const {
        Base::run_planar(session, x, y, [&](const detail::FeatureMap& from, const detail::FeatureMap& to) {
            const detail::Workspace::Frame frame(session.workspace);
            const detail::FeatureMap features =
                detail::new_map(session, from.batch, Backbone::out_channels, Backbone::output_extent(from.extent()), 0);
            network_.template layer<0>().run(session, from, features, nullptr);
            network_.template layer<1>().template run_first<before_last>(session, features, to);
        });
    }

    static const char* part_name(int i) { return i == 0 ? "backbone" : "head"; }

    Network network_;
};

/// The published classifiers, for any number of classes; ClsB0<0> gives pre-logits. Those of the L family have norm eps
/// 1e-7 and gelu.
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

// SPDX-License-Identifier: Apache-2.0
//
// EfficientViTSeg of the reference: a backbone and a head for semantic segmentation. Logits out; bringing them to the
// size of a picture is not done here.
#pragma once

#include <efficientvit/models/backbone.hpp>
#include <efficientvit/models/dag_head.hpp>
#include <efficientvit/models/large_backbone.hpp>

#include <span>
#include <string>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// The reference's middle_op of a segmentation head.
enum class SegMiddleOp {
    mbconv,  ///< MBConv
    fmbconv  ///< FusedMBConv
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of SegHead, named as in the reference. Channels and strides of its inputs are the backbone's.
struct SegHeadConfig {
    int inputs = 3;           ///< how many of the backbone's last stages are added up, at the stride of the earliest
    int head_width = 0;       ///< channels within the head
    int head_depth = 0;       ///< middle blocks
    double expand_ratio = 4;  ///< of the middle blocks
    SegMiddleOp middle_op = SegMiddleOp::mbconv;  ///< kind of the middle blocks
    int final_expand = 0;                         ///< the reference's None: 0
    int n_classes = 0;                            ///< channels of the logits
    Norm norm = Norm::bn2d;                       ///< behind convolutions
    Activation act_func = Activation::hswish;     ///< of the middle blocks
    double norm_eps = 1e-5;                       ///< added to a norm's variance
};

namespace detail {

template <SegHeadConfig H>
auto build_seg_middle() {
    if constexpr (H.middle_op == SegMiddleOp::mbconv) {
        return MBConv<MBConvConfig{.in_channels = H.head_width,
                                   .out_channels = H.head_width,
                                   .expand_ratio = H.expand_ratio,
                                   .norm = {H.norm, H.norm, H.norm},
                                   .act_func = {H.act_func, H.act_func, Activation::none},
                                   .norm_eps = H.norm_eps}>{};
    } else {
        return FusedMBConv<FusedMBConvConfig{.in_channels = H.head_width,
                                             .out_channels = H.head_width,
                                             .expand_ratio = H.expand_ratio,
                                             .norm = {H.norm, H.norm},
                                             .act_func = {H.act_func, Activation::none},
                                             .norm_eps = H.norm_eps}>{};
    }
}

/// OpSequential of two 1x1 convolutions, a few rows at a time: the map between them, of 1024 channels in l1 for
/// ADE20K, never exists as a whole.
template <ConvConfig Expand, ConvConfig Classes>
class ExpandedOutput {
public:
    static constexpr int in_channels = Expand.in_channels;
    static constexpr int out_channels = Classes.out_channels;
    static constexpr int wanted_padding = 0;

    EFFICIENTVIT_COLD static void describe(const Describer& d) {
        ConvLayer<Expand>::describe(d.at("op_list").at(0));
        ConvLayer<Classes>::describe(d.at("op_list").at(1));
    }
    EFFICIENTVIT_COLD void pack(const Packer& p) {
        expand_.pack(p.at("op_list").at(0));
        classes_.pack(p.at("op_list").at(1), folded_scale(Expand.act_func));
    }
    void run(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) const {
        const FusedBottleneck layer{Expand, foldable_act(Expand.act_func), &expand_.packed(), &classes_.packed(),
                                    kernel_act(Classes.act_func)};
        run_fused_bottleneck<ConvKind::pointwise>(session, layer, x, y, residual);
    }

private:
    ConvLayer<Expand> expand_;
    ConvLayer<Classes> classes_;
};

template <SegHeadConfig H>
auto build_seg_output() {
    constexpr ConvConfig classes{.in_channels = H.head_width * (H.final_expand == 0 ? 1 : H.final_expand),
                                 .out_channels = H.n_classes,
                                 .kernel_size = 1,
                                 .use_bias = true,
                                 .norm = Norm::none,
                                 .act_func = Activation::none};
    if constexpr (H.final_expand == 0) {
        return OpSequential<ConvLayer<classes>>{};
    } else {
        constexpr ConvConfig expand{.in_channels = H.head_width,
                                    .out_channels = H.head_width * H.final_expand,
                                    .kernel_size = 1,
                                    .norm = H.norm,
                                    .act_func = H.act_func,
                                    .norm_eps = H.norm_eps};
        return ExpandedOutput<expand, classes>{};
    }
}

/// Input i is the i-th stage from the end, and upsampled to the last input's stride.
template <class Backbone, SegHeadConfig H, std::size_t... Is>
auto build_seg_head(std::index_sequence<Is...>) {
    return DAGHead<
        ResidualsOf<decltype(build_seg_middle<H>()), H.head_depth>, decltype(build_seg_output<H>()),
        decltype(build_head_input<head_input_config(Backbone::template stage_channels<Backbone::stages - 1 - int(Is)>,
                                                    H.head_width, H.norm, H.norm_eps),
                                  UpSampleConfig{.factor = 1 << (H.inputs - 1 - int(Is))}>())...>{};
}

[[noreturn]] EFFICIENTVIT_COLD inline void throw_no_sum(std::span<const Extent> inputs, Extent image, int multiple) {
    const auto text = [](Extent e) { return concat({std::to_string(e.height), " x ", std::to_string(e.width)}); };
    std::string found;
    for (const Extent& input : inputs) found += concat({found.empty() ? "" : ", ", text(input)});
    throw ShapeError(concat({"EfficientViTSeg: the input has H x W of ", text(image),
                             ", for which the head would have to add maps of ", found,
                             "; H and W must be multiples of ", std::to_string(multiple)}));
}

}  // namespace detail

/// head(backbone(x)): (N, in_channels, H, W) to logits (N, n_classes, H / 8, W / 8), the reference's "segout". H and W
/// must be multiples of 32, or such that every stage halves as a multiple would; forward and output_shape throw
/// ShapeError otherwise. State dict: backbone.…, head.input_ops.<i>…, head.middle…, head.output_ops.0….
template <class BackboneType, SegHeadConfig H>
class EfficientViTSeg : public Module<EfficientViTSeg<BackboneType, H>> {
    static_assert(H.inputs > 0 && H.inputs <= BackboneType::stages,
                  "EfficientViTSeg: inputs must be at least one and at most the backbone's stages");
    static_assert(H.head_width > 0 && H.head_depth >= 0 && H.n_classes > 0,
                  "EfficientViTSeg: head_width and n_classes must be positive");
    using Head = decltype(detail::build_seg_head<BackboneType, H>(std::make_index_sequence<std::size_t(H.inputs)>{}));

public:
    /// What its features come from.
    using Backbone = BackboneType;

    static constexpr int in_channels = Backbone::in_channels;
    static constexpr int out_channels = H.n_classes;
    /// Channels of the logits.
    static constexpr int n_classes = H.n_classes;
    static constexpr int stride = Backbone::stride >> (H.inputs - 1);
    static constexpr int size_multiple = Backbone::stride;  ///< of H and W
    static constexpr int wanted_padding = Backbone::wanted_padding;
    static constexpr bool reads_planar = Backbone::reads_planar;
    static constexpr bool fuses_residual = false;

    static detail::Extent output_extent(detail::Extent in) {
        const auto inputs = Head::template input_extents<Backbone>(in);
        for (const detail::Extent& input : inputs) {
            if (input != inputs[0]) detail::throw_no_sum(inputs, in, size_multiple);
        }
        return inputs[0];
    }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        Backbone::describe(d.at("backbone"));
        Head::describe(d.at("head"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        backbone_.pack(p.at("backbone"));
        head_.pack(p.at("head"));
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap*) const {
        head_.run(session, backbone_, x, y);
    }

private:
    Backbone backbone_;
    Head head_;
};

namespace detail {

template <class Backbone, int Width, int Depth, int FinalExpand, int Classes>
using SegB =
    EfficientViTSeg<Backbone,
                    SegHeadConfig{
                        .head_width = Width, .head_depth = Depth, .final_expand = FinalExpand, .n_classes = Classes}>;

template <LargeBackboneConfig C, int Width, int Depth, int ExpandRatio, int FinalExpand, int Classes>
using SegL =
    EfficientViTSeg<EfficientViTLargeBackbone<with_norm_eps(C, 1e-7)>, SegHeadConfig{.head_width = Width,
                                                                                     .head_depth = Depth,
                                                                                     .expand_ratio = ExpandRatio,
                                                                                     .middle_op = SegMiddleOp::fmbconv,
                                                                                     .final_expand = FinalExpand,
                                                                                     .n_classes = Classes,
                                                                                     .act_func = Activation::gelu,
                                                                                     .norm_eps = 1e-7}>;
}  // namespace detail

/// The published segmenters, for any number of classes. Those of the L family have norm eps 1e-7 and gelu.
template <int Classes = 19>
using SegB0Cityscapes = detail::SegB<BackboneB0, 32, 1, 4, Classes>;
/// EfficientViT-B1 for Cityscapes.
template <int Classes = 19>
using SegB1Cityscapes = detail::SegB<BackboneB1, 64, 3, 4, Classes>;
/// EfficientViT-B2 for Cityscapes.
template <int Classes = 19>
using SegB2Cityscapes = detail::SegB<BackboneB2, 96, 3, 4, Classes>;
/// EfficientViT-B3 for Cityscapes.
template <int Classes = 19>
using SegB3Cityscapes = detail::SegB<BackboneB3, 128, 3, 4, Classes>;
/// EfficientViT-L1 for Cityscapes.
template <int Classes = 19>
using SegL1Cityscapes = detail::SegL<l1, 256, 3, 1, 0, Classes>;
/// EfficientViT-L2 for Cityscapes.
template <int Classes = 19>
using SegL2Cityscapes = detail::SegL<l2, 256, 5, 1, 0, Classes>;

/// EfficientViT-B1 for ADE20K.
template <int Classes = 150>
using SegB1ADE20K = detail::SegB<BackboneB1, 64, 3, 0, Classes>;
/// EfficientViT-B2 for ADE20K.
template <int Classes = 150>
using SegB2ADE20K = detail::SegB<BackboneB2, 96, 3, 0, Classes>;
/// EfficientViT-B3 for ADE20K.
template <int Classes = 150>
using SegB3ADE20K = detail::SegB<BackboneB3, 128, 3, 0, Classes>;
/// EfficientViT-L1 for ADE20K.
template <int Classes = 150>
using SegL1ADE20K = detail::SegL<l1, 128, 3, 4, 8, Classes>;
/// EfficientViT-L2 for ADE20K.
template <int Classes = 150>
using SegL2ADE20K = detail::SegL<l2, 128, 3, 4, 8, Classes>;

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// The image encoder of EfficientViT-SAM (arXiv 2402.05008): a backbone of the L family, a neck, a norm. SAM's prompt
// encoder and mask decoder, which are small, are not here.
#pragma once

#include <efficientvit/models/dag_head.hpp>
#include <efficientvit/models/large_backbone.hpp>
#include <efficientvit/nn/layer_norm_2d.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of SamNeck, named as in the reference. It reads the last three stages of the backbone.
struct SamNeckConfig {
    int head_width = 256;                    ///< channels within the head
    int head_depth = 0;                      ///< middle blocks
    double expand_ratio = 1;                 ///< of the middle blocks
    int out_dim = 256;                       ///< channels of the embeddings
    std::array<int, 2> size{64, 64};         ///< rows and columns of the embedding, whatever the input's
    Norm norm = Norm::bn2d;                  ///< behind convolutions
    Activation act_func = Activation::gelu;  ///< of the middle blocks
    double norm_eps = 1e-6;                  ///< added to a norm's variance
};

/// norm(neck(backbone(x))): (N, in_channels, H, W), in the reference 512x512 or 1024x1024, to image embeddings
/// (N, out_dim, 64, 64). State dict: backbone.…, neck.input_ops.<i>…, neck.middle…, neck.output_ops.0…, norm.…; a
/// published file has `image_encoder.` before these names and more beside them, which load_state_dict() passes over.
template <class BackboneType, SamNeckConfig K>
class SamImageEncoder : public Module<SamImageEncoder<BackboneType, K>> {
    static_assert(BackboneType::stages >= 3, "SamImageEncoder: the backbone must have three stages or more");
    template <int FromEnd>
    using Input =
        decltype(detail::build_head_input<detail::head_input_config(
                                              BackboneType::template stage_channels<BackboneType::stages - 1 - FromEnd>,
                                              K.head_width, K.norm, K.norm_eps),
                                          UpSampleConfig{.size = K.size}>());
    using Block = FusedMBConv<FusedMBConvConfig{.in_channels = K.head_width,
                                                .out_channels = K.head_width,
                                                .expand_ratio = K.expand_ratio,
                                                .norm = {K.norm, K.norm},
                                                .act_func = {K.act_func, Activation::none},
                                                .norm_eps = K.norm_eps}>;
    using Output = OpSequential<ConvLayer<ConvConfig{.in_channels = K.head_width,
                                                     .out_channels = K.out_dim,
                                                     .kernel_size = 1,
                                                     .use_bias = true,
                                                     .norm = Norm::none,
                                                     .act_func = Activation::none}>>;
    using Neck = detail::DAGHead<detail::ResidualsOf<Block, K.head_depth>, Output, Input<0>, Input<1>, Input<2>>;
    using OutputNorm = LayerNorm2d<LayerNorm2dConfig{.num_features = K.out_dim, .eps = K.norm_eps}>;

public:
    /// What its features come from.
    using Backbone = BackboneType;

    static constexpr int in_channels = Backbone::in_channels;
    static constexpr int out_channels = K.out_dim;
    static constexpr int stride = 0;  // to a size, not by a factor
    static constexpr int wanted_padding = Backbone::wanted_padding;
    static constexpr bool reads_planar = Backbone::reads_planar;
    static constexpr bool fuses_residual = false;

    static detail::Extent output_extent(detail::Extent) { return {K.size[0], K.size[1]}; }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        Backbone::describe(d.at("backbone"));
        Neck::describe(d.at("neck"));
        OutputNorm::describe(d.at("norm"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        backbone_.pack(p.at("backbone"));
        neck_.pack(p.at("neck"));
        norm_.pack(p.at("norm"));
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap*) const {
        const detail::Workspace::Frame frame(session.workspace);
        const detail::FeatureMap embedding = detail::new_map(session, y.batch, y.channels, y.extent(), 0);
        neck_.run(session, backbone_, x, embedding);
        norm_.run(session, embedding, y, nullptr);
    }

private:
    Backbone backbone_;
    Neck neck_;
    OutputNorm norm_;
};

namespace detail {
template <LargeBackboneConfig C, int Depth, int ExpandRatio>
using SamEncoder = SamImageEncoder<EfficientViTLargeBackbone<with_norm_eps(C, 1e-6)>,
                                   SamNeckConfig{.head_depth = Depth, .expand_ratio = ExpandRatio}>;
}  // namespace detail

/// The published encoders. The long side of an image is 512 pixels for L, 1024 for XL.
using SamImageEncoderL0 = detail::SamEncoder<l0, 4, 1>;
/// Of EfficientViT-SAM-L1.
using SamImageEncoderL1 = detail::SamEncoder<l1, 8, 1>;
/// Of EfficientViT-SAM-L2.
using SamImageEncoderL2 = detail::SamEncoder<l2, 12, 1>;
/// Of EfficientViT-SAM-XL0.
using SamImageEncoderXL0 = detail::SamEncoder<xl0, 6, 4>;
/// Of EfficientViT-SAM-XL1.
using SamImageEncoderXL1 = detail::SamEncoder<xl1, 12, 4>;

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

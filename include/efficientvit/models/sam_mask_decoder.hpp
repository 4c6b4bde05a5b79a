// SPDX-License-Identifier: Apache-2.0
//
// SAM's mask decoder (arXiv 2304.02643): an image's embedding and a prompt's tokens become masks and their predicted
// IoU.
#pragma once

#include <efficientvit/models/sam_mask_decoder_core.hpp>
#include <efficientvit/nn/module.hpp>

#include <algorithm>
#include <cstddef>
#include <span>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// How MaskDecoder::forward decodes.
struct MaskDecoderOptions {
    bool multimask_output = true;  ///< the masks of an ambiguous prompt, else the one for others
};

/// Masks and predicted IoUs of prompts. State dict: transformer.…, iou_token.weight, mask_tokens.weight,
/// output_upscaling.…, output_hypernetworks_mlps.<i>.layers.<j>…, iou_prediction_head.layers.<j>…; SAM's, MobileSAM's
/// and MedSAM's files have the same names below `mask_decoder.`, and want a norm_eps of 1e-5.
template <MaskDecoderConfig C>
class MaskDecoder : public Loadable<MaskDecoder<C>> {
    static_assert(C.embed_dim > 0 && C.embed_dim % 8 == 0, "MaskDecoder: embed_dim must be a multiple of 8");
    static_assert(C.num_heads > 0 && C.attention_downsample_rate > 0 &&
                      C.embed_dim % (C.num_heads * C.attention_downsample_rate) == 0,
                  "MaskDecoder: embed_dim must be a multiple of num_heads * attention_downsample_rate");
    static_assert(C.depth > 0 && C.mlp_dim > 0 && C.num_multimask_outputs > 0 && C.iou_head_depth > 0 &&
                      C.iou_head_hidden_dim > 0,
                  "MaskDecoder: depths and widths must be positive");

public:
    /// Its configuration.
    static constexpr MaskDecoderConfig config = C;

    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) { detail::MaskDecoderCore::describe(d, C); }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) { core_.pack(p, C); }

    /// As in the reference, for one image and B prompts of equally many tokens: image_embeddings and image_pe of
    /// (1, embed_dim, H, W), sparse of (B, 1, tokens, embed_dim), dense of (1 or B, embed_dim, H, W), what
    /// PromptEncoder gives, to masks (B, M, 4 H, 4 W), logits, and iou (B, M, 1, 1), M of num_multimask_outputs or 1.
    /// Throws ShapeError, WeightsError.
    void forward(const ConstTensorView& image_embeddings, const ConstTensorView& image_pe,
                 const ConstTensorView& sparse, const ConstTensorView& dense, const MaskDecoderOptions& options,
                 Tensor& masks, Tensor& iou, Context& context) const {
        using detail::FeatureMap;
        const kernels::Table& table = this->kernels();
        const Shape& s = image_embeddings.shape;
        const int prompts = static_cast<int>(sparse.shape.n);
        detail::check_input(image_embeddings, C.embed_dim, "MaskDecoder::forward");
        check("image_embeddings", s, {1, C.embed_dim, s.h, s.w});
        check("image_pe", image_pe.shape, s);
        check("sparse", sparse.shape, {sparse.shape.n, 1, sparse.shape.h, C.embed_dim});
        check("dense", dense.shape, {dense.shape.n == prompts ? prompts : 1, C.embed_dim, s.h, s.w});
        const detail::Extent extent{static_cast<int>(s.h), static_cast<int>(s.w)};
        const detail::MaskRange range = core_.range(options.multimask_output);
        detail::resize(masks, {prompts, range.count, 4 * s.h, 4 * s.w});
        detail::resize(iou, {prompts, range.count, 1, 1});
        Copy sink(masks, iou);
        context.run(table, [&](detail::Session& session) {
            const FeatureMap positions = places_of(session, image_pe, 0);
            detail::for_each_prompt(session, prompts, [&](detail::Session& own, int i) {
                const detail::Workspace::Frame frame(own.workspace);
                const FeatureMap embedding = places_of(own, image_embeddings, 0);
                const FeatureMap added = places_of(own, dense, dense.shape.n == prompts ? i : 0);
                detail::add_maps(own, embedding, added, embedding);
                const auto tokens = static_cast<int>(sparse.shape.h);
                core_.decode(own, {.places = embedding, .positions = positions}, extent,
                             sparse.data + std::ptrdiff_t{i} * tokens * C.embed_dim, tokens, range, i, sink);
            });
        });
    }

    /// What it does, for whoever has sizes at run time.
    const detail::MaskDecoderCore& core() const { return core_; }

private:
    /// Writes into forward's tensors.
    class Copy final : public MaskSink {
    public:
        Copy(Tensor& masks, Tensor& iou) : masks_(masks), iou_(iou) {}
        bool wants_masks(int, std::span<const float>) noexcept override { return true; }
        void take_masks(int i, std::span<const float> iou, const float* low_res) noexcept override {
            const auto count = static_cast<std::ptrdiff_t>(iou.size());
            std::copy(iou.begin(), iou.end(), iou_.data() + i * count);
            const std::ptrdiff_t floats = masks_.size() / masks_.dimension(0);
            std::copy_n(low_res, floats, masks_.data() + i * floats);
        }

    private:
        Tensor& masks_;
        Tensor& iou_;
    };

    EFFICIENTVIT_COLD static void check(const char* what, const Shape& found, const Shape& expected) {
        if (found == expected) return;
        throw ShapeError(detail::concat({"MaskDecoder::forward: ", what, " is ", detail::to_string(found),
                                         ", expected ", detail::to_string(expected)}));
    }

    /// Image n of x as a map of places.
    static detail::FeatureMap places_of(detail::Session& session, const ConstTensorView& x, int n) {
        detail::FeatureMap planar = detail::planar_map(x);
        const detail::FeatureMap map = detail::new_place_map(session, detail::token_channels(C.embed_dim),
                                                             static_cast<int>(x.shape.h * x.shape.w));
        if (session.measuring()) return map;
        planar.width *= planar.height;
        planar.height = 1;
        for (int b = 0; b < map.blocks(); ++b) {
            detail::FeatureMap to = map;
            to.channels = C.embed_dim;
            detail::FeatureMap from = planar;
            from.data = planar.image(n);
            detail::to_blocked(from, to, 0, b);
        }
        return map;
    }

    detail::MaskDecoderCore core_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

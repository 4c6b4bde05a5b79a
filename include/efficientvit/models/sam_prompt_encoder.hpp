// SPDX-License-Identifier: Apache-2.0
//
// SAM's prompt encoder (arXiv 2304.02643): points, boxes and masks become tokens and a map for the mask decoder.
#pragma once

#include <efficientvit/models/sam_prompt_encoder_core.hpp>
#include <efficientvit/nn/module.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Points, boxes and masks to what MaskDecoder reads. State dict: pe_layer.positional_encoding_gaussian_matrix,
/// point_embeddings.<i>.weight, not_a_point_embed.weight, mask_downscaling.<i>…, no_mask_embed.weight; SAM's,
/// MobileSAM's and MedSAM's files have the same names below `prompt_encoder.`.
template <PromptEncoderConfig C>
class PromptEncoder : public Loadable<PromptEncoder<C>> {
    static_assert(C.embed_dim > 0 && C.embed_dim % 8 == 0, "PromptEncoder: embed_dim must be a multiple of 8");
    static_assert(C.image_embedding_size[0] > 0 && C.image_embedding_size[1] > 0 && C.input_image_size > 0,
                  "PromptEncoder: sizes must be positive");
    static_assert(C.mask_in_chans > 0 && C.mask_in_chans % 4 == 0,
                  "PromptEncoder: mask_in_chans must be a multiple of 4");

public:
    /// Its configuration.
    static constexpr PromptEncoderConfig config = C;

    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) { detail::PromptEncoderCore::describe(d, C); }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) { core_.pack(p, C); }

    /// The code of each place of the image's embedding: (1, embed_dim, rows, columns).
    Tensor get_dense_pe() const {
        this->kernels();
        return to_tensor(core_.positions());
    }

    /// The tokens of points and a box, in coordinates of the frame: (1, 1, tokens, embed_dim). Without a box, points
    /// are followed by one that is none; without either there are no tokens.
    Tensor embed_sparse(std::span<const SamPoint> points, const std::optional<Box>& box = {}) const {
        this->kernels();
        const int tokens = core_.token_count(points.size(), box.has_value());
        Tensor out(1, 1, tokens, C.embed_dim);
        core_.embed_sparse(points, box, out.data());
        return out;
    }

    /// What is added to the image's embedding where there is no mask: (1, embed_dim, rows, columns).
    Tensor embed_dense() const {
        this->kernels();
        Tensor out(1, C.embed_dim, C.image_embedding_size[0], C.image_embedding_size[1]);
        for (int c = 0; c < C.embed_dim; ++c) {
            std::fill_n(out.data() + Index{c} * core_.places(), core_.places(),
                        core_.no_mask()[static_cast<std::size_t>(c)]);
        }
        return out;
    }
    /// The same of a mask, low-resolution logits of (1, 1, 4 rows, 4 columns). Throws ShapeError.
    Tensor embed_dense(const ConstTensorView& mask, Context& context) const {
        detail::check_input(mask, 1, "PromptEncoder::embed_dense");
        const Shape expected{1, 1, 4 * C.image_embedding_size[0], 4 * C.image_embedding_size[1]};
        if (mask.shape != expected) {
            throw ShapeError(detail::concat({"PromptEncoder::embed_dense: the mask is ", detail::to_string(mask.shape),
                                             ", expected ", detail::to_string(expected)}));
        }
        Tensor out;
        context.run(this->kernels(), [&](detail::Session& session) {
            const detail::FeatureMap map = detail::new_place_map(session, core_.channels(), core_.places());
            for (int b = 0; b < map.blocks() && !session.measuring(); ++b) {
                std::fill_n(map.data + b * map.block_stride(), Index{map.width} * map.block, 0.0f);
            }
            core_.add_mask(session, mask.data, map);
            if (!session.measuring()) out = to_tensor(map);
        });
        return out;
    }

    /// What it does, for whoever has sizes at run time.
    const detail::PromptEncoderCore& core() const { return core_; }

private:
    using Index = detail::Index;

    static Tensor to_tensor(detail::FeatureMap map) {
        Tensor out(1, C.embed_dim, C.image_embedding_size[0], C.image_embedding_size[1]);
        map.channels = C.embed_dim;
        const detail::FeatureMap to = detail::planar_map({out.data(), {1, C.embed_dim, 1, map.width}});
        for (int b = 0; b < map.blocks(); ++b) detail::to_planar(map, to, 0, b);
        return out;
    }

    detail::PromptEncoderCore core_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

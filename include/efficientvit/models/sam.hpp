// SPDX-License-Identifier: Apache-2.0
//
// EfficientViT-SAM (arXiv 2402.05008): image encoder, prompt encoder and mask decoder under the names of a published
// file. Pictures, clicks and masks at a picture's size are sam_predictor.hpp's.
#pragma once

#include <efficientvit/models/sam_image_encoder.hpp>
#include <efficientvit/models/sam_mask_decoder.hpp>
#include <efficientvit/models/sam_prompt_encoder.hpp>

#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of EfficientViTSam.
struct SamConfig {
    int image_size = 512;                  ///< rows and columns of the image encoder's input
    PromptEncoderConfig prompt_encoder{};  ///< of points, boxes and masks
    MaskDecoderConfig mask_decoder{};      ///< of masks
};

namespace detail {

/// Says so where the weights are an image encoder's alone.
[[noreturn]] EFFICIENTVIT_COLD inline void throw_sam_misfit(const StateDict& weights, const LoadOptions& options,
                                                            const WeightsError& error) {
    bool neck = false, decoder = false;
    for (const auto& [name, entry] : weights) {
        if (!name.starts_with(options.prefix)) continue;
        neck = neck || name.find("neck.") != std::string::npos;
        decoder = decoder || name.find("mask_decoder.") != std::string::npos ||
                  name.find("prompt_encoder.") != std::string::npos;
    }
    if (!neck || decoder) throw error;
    throw WeightsError(
        concat({"found the weights of an image encoder alone, expected those of a whole SAM, with "
                "prompt_encoder and mask_decoder: ",
                error.what()}));
}

}  // namespace detail

/// A whole SAM. State dict: image_encoder.…, prompt_encoder.…, mask_decoder.…
template <class Encoder, SamConfig C>
class EfficientViTSam : public Loadable<EfficientViTSam<Encoder, C>> {
    static_assert(C.prompt_encoder.embed_dim == Encoder::out_channels &&
                      C.mask_decoder.embed_dim == Encoder::out_channels,
                  "EfficientViTSam: embed_dim of prompt encoder and mask decoder must be the image encoder's out_dim");

public:
    /// Its parts.
    using ImageEncoder = Encoder;
    /// Likewise.
    using Prompts = PromptEncoder<C.prompt_encoder>;
    /// Likewise.
    using Masks = MaskDecoder<C.mask_decoder>;

    /// Its configuration.
    static constexpr SamConfig config = C;

    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        Encoder::describe(d.at("image_encoder"));
        Prompts::describe(d.at("prompt_encoder"));
        Masks::describe(d.at("mask_decoder"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        image_encoder_.load(p.at("image_encoder"));
        prompt_encoder_.load(p.at("prompt_encoder"));
        mask_decoder_.load(p.at("mask_decoder"));
    }
    /// As every module's; where the weights are those of an image encoder alone, the WeightsError says so.
    EFFICIENTVIT_COLD LoadReport load_state_dict(const StateDict& weights, const LoadOptions& options = {}) {
        try {
            return Loadable<EfficientViTSam>::load_state_dict(weights, options);
        } catch (const WeightsError& error) {
            detail::throw_sam_misfit(weights, options, error);
        }
    }

    /// (N, 3, image_size, image_size) to image embeddings (N, embed_dim, rows, columns).
    const Encoder& image_encoder() const { return image_encoder_; }
    /// Points, boxes and masks to tokens and a map.
    const Prompts& prompt_encoder() const { return prompt_encoder_; }
    /// Embeddings and tokens to masks.
    const Masks& mask_decoder() const { return mask_decoder_; }
    /// The kernels that the weights are packed for. Throws WeightsError before load_state_dict().
    const kernels::Table& table() const { return this->kernels(); }

private:
    Encoder image_encoder_;
    Prompts prompt_encoder_;
    Masks mask_decoder_;
};

/// The published EfficientViT-SAMs.
using SamL0 = EfficientViTSam<SamImageEncoderL0, SamConfig{.image_size = 512}>;
/// EfficientViT-SAM-L1.
using SamL1 = EfficientViTSam<SamImageEncoderL1, SamConfig{.image_size = 512}>;
/// EfficientViT-SAM-L2.
using SamL2 = EfficientViTSam<SamImageEncoderL2, SamConfig{.image_size = 512}>;
/// EfficientViT-SAM-XL0.
using SamXL0 = EfficientViTSam<SamImageEncoderXL0, SamConfig{.image_size = 1024}>;
/// EfficientViT-SAM-XL1.
using SamXL1 = EfficientViTSam<SamImageEncoderXL1, SamConfig{.image_size = 1024}>;

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

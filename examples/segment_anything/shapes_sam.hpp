// SPDX-License-Identifier: Apache-2.0
//
// The small SAM that train_shapes.py trains on drawings: one's own widths, at compile time.
#pragma once

#include <efficientvit/models/sam.hpp>

namespace examples {

namespace ev = efficientvit;

/// Pictures of 128 pixels, embeddings of 64 channels on a grid of 16 x 16.
using ShapesSam = ev::EfficientViTSam<
    ev::SamImageEncoder<ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{.width_list = {16, 24, 64, 64, 96},
                                                                              .depth_list = {0, 1, 1, 2, 2},
                                                                              .expand_list = {1, 1, 1, 3, 4},
                                                                              .qkv_dim = 16,
                                                                              .norm_eps = 1e-6}>,
                        ev::SamNeckConfig{.head_width = 64, .head_depth = 2, .out_dim = 64, .size = {16, 16}}>,
    ev::SamConfig{.image_size = 128,
                  .prompt_encoder = {.embed_dim = 64, .image_embedding_size = {16, 16}},
                  .mask_decoder = {.embed_dim = 64, .num_heads = 2, .mlp_dim = 256}}>;

/// Whether weights are of such a SAM rather than of a published one, whose embeddings have 256 channels.
inline bool is_shapes_sam(const ev::StateDict& weights) {
    for (const auto& [name, tensor] : weights) {
        if (name.ends_with("prompt_encoder.no_mask_embed.weight")) {
            return tensor.shape.size() == 2 && tensor.shape[1] == ShapesSam::config.prompt_encoder.embed_dim;
        }
    }
    return false;
}

}  // namespace examples

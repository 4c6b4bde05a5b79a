// SPDX-License-Identifier: Apache-2.0
//
// What SAM's prompt encoder does, with sizes known at run time.
#pragma once

#include <efficientvit/models/sam_prompt.hpp>
#include <efficientvit/nn/token_layers.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <optional>
#include <span>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of PromptEncoder, named as in the reference.
struct PromptEncoderConfig {
    int embed_dim = 256;  ///< channels of tokens and of the image's embedding
    std::array<int, 2> image_embedding_size{64,
                                            64};  ///< rows and columns of the embedding; a mask has four times as many
    int input_image_size = 1024;                  ///< the long side of the frame that points and boxes lie in
    int mask_in_chans = 16;                       ///< channels of a mask on its way
};

namespace detail {

/// What PromptEncoder does, with sizes known at run time: one compiled copy for every network.
class PromptEncoderCore {
public:
    EFFICIENTVIT_COLD static void describe(const Describer& d, const PromptEncoderConfig& c) {
        d.add("pe_layer.positional_encoding_gaussian_matrix", {2, c.embed_dim / 2});
        for (int i = 0; i < 4; ++i) d.at("point_embeddings").at(i).add("weight", {1, c.embed_dim});
        d.add("not_a_point_embed.weight", {1, c.embed_dim});
        const Describer mask = d.at("mask_downscaling");
        const int few = c.mask_in_chans / 4, many = c.mask_in_chans;
        const auto conv = [&](int i, int out, int in, int kernel) {
            mask.at(i).add("weight", {out, in, kernel, kernel});
            mask.at(i).add("bias", {out});
        };
        conv(0, few, 1, 2);
        TokenNorm::describe(mask.at(1), few);
        conv(3, many, few, 2);
        TokenNorm::describe(mask.at(4), many);
        conv(6, c.embed_dim, many, 1);
        d.add("no_mask_embed.weight", {1, c.embed_dim});
    }

    EFFICIENTVIT_COLD void pack(const Packer& p, const PromptEncoderConfig& c) {
        config_ = c;
        gaussian_ = p.at("pe_layer").weights.read("positional_encoding_gaussian_matrix", c.embed_dim, 0);
        for (int i = 0; i < 4; ++i) {
            points_[static_cast<std::size_t>(i)] =
                p.at("point_embeddings").at(i).weights.read("weight", c.embed_dim, 0);
        }
        not_a_point_ = p.at("not_a_point_embed").weights.read("weight", c.embed_dim, 0);
        no_mask_ = p.at("no_mask_embed").weights.read("weight", c.embed_dim, 0);
        const Packer mask = p.at("mask_downscaling");
        const int few = c.mask_in_chans / 4, many = c.mask_in_chans;
        const kernels::Operands floats = kernels::Operands::f32;  // a thousandth of the decoder's work
        const auto conv = [&](TokenLinear& layer, int i, int out, int in) {
            const WeightReader weights = mask.at(i).weights;
            layer.pack(*p.memory,
                       {weights.full_name("weight"), weights.read("weight", out * in, 0), weights.read("bias", out, 0)},
                       token_channels(in), token_channels(out), floats);
        };
        conv(mask_[0], 0, few, 4);
        mask_norms_[0].pack(mask.at(1), few, norm_eps);
        conv(mask_[1], 3, many, few * 4);
        mask_norms_[1].pack(mask.at(4), many, norm_eps);
        conv(mask_[2], 6, c.embed_dim, many);
        pack_positions();
    }

    const PromptEncoderConfig& config() const { return config_; }
    int places() const { return config_.image_embedding_size[0] * config_.image_embedding_size[1]; }
    ChannelLayout channels() const { return token_channels(config_.embed_dim); }

    /// get_dense_pe of the reference, in blocks.
    FeatureMap positions() const {
        FeatureMap map = place_map(channels(), places());
        map.data = const_cast<float*>(positions_.data()) + token_block;  // only ever read
        return map;
    }
    /// What is added to each place where there is no mask.
    std::span<const float> no_mask() const { return no_mask_; }

    /// Tokens of a prompt. Without a box, points are followed by one that is none.
    static int token_count(std::size_t points, bool box) {
        return static_cast<int>(points) + (box ? 2 : points > 0 ? 1 : 0);
    }

    /// Writes token_count() tokens of embed_dim floats. The box lies in the frame, and so do points whose coordinates
    /// are multiplied by `across` and `down`.
    void embed_sparse(std::span<const SamPoint> points, const std::optional<Box>& box, float* out, double across = 1,
                      double down = 1) const {
        const auto dim = static_cast<std::size_t>(config_.embed_dim);
        const auto add = [&](const std::vector<float>& embedding) {
            for (std::size_t i = 0; i < dim; ++i) out[i] += embedding[i];
            out += dim;
        };
        for (const SamPoint& point : points) {
            if (point.label == -1) {
                std::fill_n(out, dim, 0.0f);
                add(not_a_point_);
            } else {
                encode((point.x * across + 0.5) / config_.input_image_size,
                       (point.y * down + 0.5) / config_.input_image_size, out);
                add(points_[point.label == 0 ? 0 : 1]);
            }
        }
        if (box) {
            encode((box->x0 + 0.5) / config_.input_image_size, (box->y0 + 0.5) / config_.input_image_size, out);
            add(points_[2]);
            encode((box->x1 + 0.5) / config_.input_image_size, (box->y1 + 0.5) / config_.input_image_size, out);
            add(points_[3]);
        } else if (!points.empty()) {
            std::fill_n(out, dim, 0.0f);
            add(not_a_point_);
        }
    }

    /// y = y + the embedding of a mask of 4 rows by 4 columns logits, row-major. y is a map of places.
    void add_mask(Session& session, const float* mask, const FeatureMap& y) const {
        const int rows = config_.image_embedding_size[0], columns = config_.image_embedding_size[1];
        const int few = config_.mask_in_chans / 4;
        const Workspace::Frame frame(session.workspace);
        const FeatureMap patches = new_token_map(session, token_channels(4), columns * 4);
        const FeatureMap first = new_token_map(session, token_channels(few), columns * 4);
        const FeatureMap gathered = new_token_map(session, token_channels(4 * few), columns);
        const FeatureMap second = new_token_map(session, token_channels(config_.mask_in_chans), columns);
        if (session.measuring()) return;
        std::fill_n(patches.data, patches.floats(), 0.0f);
        std::fill_n(gathered.data, gathered.floats(), 0.0f);
        for (int row = 0; row < rows; ++row) {
            // Pixel 4 * column + 2 * dy + dx of `first` reads the 2x2 patch at (dy, dx) of the place's 4x4 logits.
            for (int i = 0; i < columns * 4; ++i) {
                const int top = 4 * row + i % 4 / 2 * 2, left = i / 4 * 4 + i % 2 * 2;
                for (int tap = 0; tap < 4; ++tap) {
                    patches.data[Index{i} * token_block + tap] =
                        mask[(Index{top} + tap / 2) * columns * 4 + left + tap % 2];
                }
            }
            multiply(session, mask_[0], patches, first);
            mask_norms_[0].run(session, first.data, first.block_stride(), first.width, true);
            for (int column = 0; column < columns; ++column) {
                for (int c = 0; c < few; ++c) {
                    for (int tap = 0; tap < 4; ++tap) {
                        const int to = c * 4 + tap;
                        gathered.data[to / token_block * gathered.block_stride() + column * token_block +
                                      to % token_block] =
                            first.data[c / token_block * first.block_stride() + (4 * column + tap) * token_block +
                                       c % token_block];
                    }
                }
            }
            multiply(session, mask_[1], gathered, second);
            mask_norms_[1].run(session, second.data, second.block_stride(), second.width, true);
            multiply_add(session, mask_[2], second, y, row * columns);
        }
    }

private:
    static constexpr double norm_eps = 1e-6;  // of LayerNorm2d, in every published SAM

    /// The code of a point, x and y from 0 to 1: sines, then cosines.
    void encode(double x, double y, float* out) const {
        const auto half = static_cast<std::size_t>(config_.embed_dim / 2);
        for (std::size_t i = 0; i < half; ++i) {
            const double angle =
                2 * std::numbers::pi * ((2 * x - 1) * double{gaussian_[i]} + (2 * y - 1) * double{gaussian_[half + i]});
            out[i] = static_cast<float>(std::sin(angle));
            out[half + i] = static_cast<float>(std::cos(angle));
        }
    }

    EFFICIENTVIT_COLD void pack_positions() {
        const int rows = config_.image_embedding_size[0], columns = config_.image_embedding_size[1];
        const FeatureMap map = place_map_in(positions_, channels(), places());
        std::vector<float> code(static_cast<std::size_t>(config_.embed_dim));
        for (int i = 0; i < places(); ++i) {
            encode((i % columns + 0.5) / columns, (i / columns + 0.5) / rows, code.data());
            for (int c = 0; c < config_.embed_dim; ++c) {
                map.data[c / token_block * map.block_stride() + Index{i} * token_block + c % token_block] =
                    code[static_cast<std::size_t>(c)];
            }
        }
    }

    static kernels::Pointwise product(const TokenLinear& layer, const FeatureMap& x) {
        kernels::Pointwise a;
        a.x = x.data;
        a.x_block_stride = x.block_stride();
        a.channels = layer.in_lanes();
        a.weights = layer.packed().weights.data();
        a.bias = layer.packed().bias.data();
        a.y_blocks = static_cast<int>(layer.packed().bias.size()) / token_block;
        a.y_width = a.pixels = x.width;
        a.y_row_stride = Index{x.width} * token_block;
        return a;
    }
    static void multiply(const Session& session, const TokenLinear& layer, const FeatureMap& x, const FeatureMap& y) {
        kernels::Pointwise a = product(layer, x);
        a.y = y.data;
        a.y_block_stride = y.block_stride();
        kernels::of_floats(session.kernels).pointwise(a);
    }
    static void multiply_add(const Session& session, const TokenLinear& layer, const FeatureMap& x, const FeatureMap& y,
                             int first) {
        kernels::Pointwise a = product(layer, x);
        a.y = y.data + Index{first} * token_block;
        a.y_block_stride = y.block_stride();
        a.residual = a.y;
        a.residual_block_stride = a.y_block_stride;
        a.residual_row_stride = a.y_row_stride;
        kernels::of_floats(session.kernels).pointwise(a);
    }

    PromptEncoderConfig config_;
    std::vector<float> gaussian_;  // [2][embed_dim / 2]
    std::array<std::vector<float>, 4> points_;
    std::vector<float> not_a_point_, no_mask_;
    std::array<TokenLinear, 3> mask_;
    std::array<TokenNorm, 2> mask_norms_;
    AlignedBuffer<float> positions_;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

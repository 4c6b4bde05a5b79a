// SPDX-License-Identifier: Apache-2.0
//
// TwoWayTransformer of SAM (arXiv 2304.02643): tokens and the places of an image attend to each other. A layer's step
// from places to tokens and the next one's from tokens to places share a walk through the places, since the tokens do
// not change between the two.
#pragma once

#include <efficientvit/nn/image_to_token_attention.hpp>
#include <efficientvit/nn/token_to_image_attention.hpp>

#include <string>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Sizes of the transformer, named as in the reference.
struct TwoWayConfig {
    int depth = 2;
    int embedding_dim = 256;
    int num_heads = 8;
    int mlp_dim = 2048;
    int attention_downsample_rate = 2;
    double norm_eps = 1e-6;

    CrossHeads cross() const { return {embedding_dim, embedding_dim / attention_downsample_rate, num_heads}; }
};

/// An image as the transformer sees it: maps of places, in blocks of 16 channels.
struct TwoWayImage {
    FeatureMap places;     // the embedding and what a dense prompt adds to it
    FeatureMap positions;  // their code
    // Projections by the first layer, for places that are the same for many prompts; without data else.
    FeatureMap keys{}, values{}, queries{};

    bool projected() const { return keys.data != nullptr; }
};

class TwoWayTransformer {
public:
    EFFICIENTVIT_COLD static void describe(const Describer& d, const TwoWayConfig& c) {
        const CrossHeads cross = c.cross();
        const auto norm = [&](const Describer& at, const char* name) { TokenNorm::describe(at.at(name), cross.dim); };
        for (int i = 0; i < c.depth; ++i) {
            const Describer layer = d.at("layers").at(i);
            TokenSelfAttention::describe(layer.at("self_attn"), cross.dim);
            norm(layer, "norm1");
            CrossHeads::describe(layer.at("cross_attn_token_to_image"), cross.dim, cross.internal);
            norm(layer, "norm2");
            TokenMlp::describe(layer.at("mlp"), mlp_names(), cross.dim, c.mlp_dim, cross.dim);
            norm(layer, "norm3");
            norm(layer, "norm4");
            CrossHeads::describe(layer.at("cross_attn_image_to_token"), cross.dim, cross.internal);
        }
        CrossHeads::describe(d.at("final_attn_token_to_image"), cross.dim, cross.internal);
        norm(d, "norm_final_attn");
    }

    EFFICIENTVIT_COLD void pack(const Packer& p, const TwoWayConfig& c) {
        heads_ = c.cross();
        layers_.resize(static_cast<std::size_t>(c.depth));
        for (int i = 0; i < c.depth; ++i) {
            const Packer at = p.at("layers").at(i);
            Layer& layer = layers_[static_cast<std::size_t>(i)];
            layer.self.pack(at.at("self_attn"), c.embedding_dim, c.num_heads);
            layer.to_image.pack(at.at("cross_attn_token_to_image"), heads_, i == 0);
            layer.mlp.pack(at.at("mlp"), mlp_names(), c.embedding_dim, c.mlp_dim, c.embedding_dim);
            layer.to_tokens.pack(at.at("cross_attn_image_to_token"), heads_, i == 0);
            for (int n = 0; n < 4; ++n) {
                layer.norms[n].pack(at.at(concat({"norm", std::to_string(n + 1)})), c.embedding_dim, c.norm_eps);
            }
        }
        final_.pack(p.at("final_attn_token_to_image"), heads_, false);
        final_norm_.pack(p.at("norm_final_attn"), c.embedding_dim, c.norm_eps);
    }

    ChannelLayout channels() const { return heads_.model(); }
    /// Those of what project() gives.
    ChannelLayout projected_channels() const { return heads_.split(); }

    /// Fills image.keys, values and queries.
    void project(Session& session, const TwoWayImage& image) const {
        const Workspace::Frame frame(session.workspace);
        const FeatureMap sum = new_place_map(session, channels(), image.places.width);
        add_maps(session, image.places, image.positions, sum);
        layers_.front().to_image.project(session, sum, image.places, image.keys, image.values);
        layers_.front().to_tokens.project(session, sum, image.queries);
    }

    /// tokens: in what they are and their code, out what they become. places: what the image becomes; a map of its
    /// own.
    void run(Session& session, const TwoWayImage& image, const FeatureMap& tokens, const FeatureMap& places) const {
        const Workspace::Frame frame(session.workspace);
        const FeatureMap code = new_token_map(session, channels(), tokens.width);
        if (!session.measuring()) std::copy_n(tokens.data, tokens.floats(), code.data);
        attend_to_tokens(session, 0, tokens, code);
        attend_to_places(session, image, 0, tokens, code, nullptr);
        for (std::size_t i = 0; i < layers_.size(); ++i) attend_to_places(session, image, i + 1, tokens, code, &places);
    }

private:
    struct Layer {
        TokenSelfAttention self;
        TokenToImageAttention to_image;
        TokenMlp mlp;
        ImageToTokenAttention to_tokens;
        TokenNorm norms[4];
    };

    static std::vector<std::string> mlp_names() { return {"lin1", "lin2"}; }

    /// A layer's self-attention. The first layer's is without code and without residual.
    void attend_to_tokens(Session& session, std::size_t i, const FeatureMap& tokens, const FeatureMap& code) const {
        const Workspace::Frame frame(session.workspace);
        const Layer& layer = layers_[i];
        if (i == 0) {
            layer.self.run(session, tokens, tokens, tokens, nullptr);
        } else {
            const FeatureMap sum = new_token_map(session, channels(), tokens.width);
            add_maps(session, tokens, code, sum);
            layer.self.run(session, sum, tokens, tokens, &tokens);
        }
        layer.norms[0].run(session, tokens);
    }

    /// One walk through the places: they become what layer i - 1 makes of them (with `places`; they are the image's
    /// before the first layer), and tokens attend to them as layer i wants it, or the end. Then the rest of that layer.
    void attend_to_places(Session& session, const TwoWayImage& image, std::size_t i, const FeatureMap& tokens,
                          const FeatureMap& code, const FeatureMap* places) const {
        const Workspace::Frame frame(session.workspace);
        const int count = image.places.width;
        const bool projected = image.projected() && i == 0;
        const FeatureMap sum = new_token_map(session, channels(), tokens.width);
        const ImageToTokenAttention* const to_tokens = places == nullptr ? nullptr : &layers_[i - 1].to_tokens;
        const TokenToImageAttention& to_image = i < layers_.size() ? layers_[i].to_image : final_;
        ImageToTokenAttention::Tokens answers{.rows = TokenRows(heads_, 0)};
        Index score_floats = 0, words = to_image.words(session);
        if (to_tokens != nullptr) {
            add_maps(session, tokens, code, sum);
            answers = to_tokens->prepare(session, sum, tokens, image.projected() && i == 1);
            score_floats = to_tokens->score_floats(answers);
            words = std::max(words, to_tokens->words(session, answers));
            if (i < layers_.size()) attend_to_tokens(session, i, tokens, code);
        }
        add_maps(session, tokens, code, sum);
        const TokenToImageAttention::Query query = to_image.prepare(session, sum, count, projected);
        score_floats = std::max(score_floats, to_image.score_floats(query));
        const Index sum_floats = Index{channels().blocks()} * token_block * run_places;
        const Index each = score_floats + sum_floats + words;
        float* const scratch = session.workspace.take(each * session.workers());

        session.parallel(run_count(count), [&](int run, int worker) {
            const int first = run * run_places, pixels = std::min(run_places, count - first);
            float* const scores = scratch + each * worker;
            const Run with_positions{scores + score_floats, Index{pixels} * token_block};
            float* const rounded = words == 0 ? nullptr : with_positions.data + sum_floats;
            Run now = Run::of(image.places, first);
            if (to_tokens != nullptr) {
                const Run before = i == 1 ? now : Run::of(*places, first);
                now = Run::of(*places, first);
                if (answers.projected) {
                    to_tokens->attend(session, answers, Run::of(image.queries, first), before, now, pixels, scores,
                                      rounded);
                } else {
                    add_positions(session, before, Run::of(image.positions, first), with_positions, pixels);
                    to_tokens->attend(session, answers, with_positions, before, now, pixels, scores, rounded);
                }
                layers_[i - 1].norms[3].run(session, now.data, now.block_stride, pixels);
            }
            if (projected) {
                to_image.attend(session, query, run, Run::of(image.keys, first), Run::of(image.values, first), pixels,
                                scores, rounded);
            } else {
                add_positions(session, now, Run::of(image.positions, first), with_positions, pixels);
                to_image.attend(session, query, run, with_positions, now, pixels, scores, rounded);
            }
        });
        to_image.finish(session, query, count, tokens, tokens);
        if (i == layers_.size()) return final_norm_.run(session, tokens);
        const Layer& layer = layers_[i];
        layer.norms[1].run(session, tokens);
        layer.mlp.run(session, tokens, tokens, &tokens);
        layer.norms[2].run(session, tokens);
    }

    void add_positions(const Session& session, const Run& x, const Run& positions, const Run& y, int pixels) const {
        kernels::Affine a;
        a.pixels = pixels;
        for (int b = 0; b < channels().blocks(); ++b) {
            a.x = x.data + b * x.block_stride;
            a.residual = positions.data + b * positions.block_stride;
            a.y = y.data + b * y.block_stride;
            session.kernels.affine(a);
        }
    }

    CrossHeads heads_;
    std::vector<Layer> layers_;
    TokenToImageAttention final_;
    TokenNorm final_norm_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

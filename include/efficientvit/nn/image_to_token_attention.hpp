// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention of the places of an image to a few tokens; see token_rows.hpp.
#pragma once

#include <efficientvit/nn/token_rows.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Places attend to tokens. State dict: q_proj, k_proj, v_proj, out_proj.
class ImageToTokenAttention {
public:
    /// `projected`: also what project() needs.
    EFFICIENTVIT_COLD void pack(const Packer& p, const CrossHeads& k, bool projected) {
        heads_ = k;
        k_.pack(p.at("k_proj"), k.model(), k.split());
        v_.pack(p.at("v_proj"), k.model(), k.split());
        query_for_tokens_ = pack_for_tokens(*p.memory, p.at("q_proj").weights.read("weight", k.internal * k.dim, 0), k);
        query_bias_ = p.at("q_proj").weights.read("bias", k.internal, 0);
        zeros_ = p.memory->take(static_cast<std::uint64_t>(k.model().blocks() * token_block), 0.0f);
        if (projected) project_.pack(p.at("q_proj"), k.model(), k.split());
        const std::vector<float> out = p.at("out_proj").weights.read("weight", k.internal * k.dim, 0);
        output_ =
            pack_by_head(*p.memory, k, [&](int d, int i) { return out[static_cast<std::size_t>(d * k.internal + i)]; });
        output_bias_ = pack_bias(*p.memory, p.at("out_proj").weights.read("bias", k.dim, 0), k.model());
    }

    /// The projection of places, which run() takes where it is the same for many prompts.
    void project(Session& session, const FeatureMap& places_and_positions, const FeatureMap& queries) const {
        project_.run(session, places_and_positions, queries);
    }

    /// The tokens' side.
    struct Tokens {
        bool projected = false;
        TokenRows rows;
        float* bias = nullptr;    // of the rows
        float* values = nullptr;  // [model block][row][16]
    };

    /// keys of x, values of y, brought to where what places do with them are products.
    Tokens prepare(Session& session, const FeatureMap& x, const FeatureMap& y, bool projected) const {
        Tokens tokens = prepare_floats(session, x, y, projected);
        TokenRows& rows = tokens.rows;
        rows.weights = weights_as_operand(session, rows.weights, rows.blocks, query_channels(projected));
        tokens.values = weights_as_operand(session, tokens.values, heads_.model().blocks(), rows.rows);
        return tokens;
    }

    Index score_floats(const Tokens& tokens) const { return Index{tokens.rows.blocks} * token_block * run_places; }
    /// What attend() wants for `words`.
    Index words(const Session& session, const Tokens& tokens) const {
        return run_words(session, std::max(query_channels(tokens.projected), tokens.rows.rows));
    }

    /// y = residual + out_proj(attention) for `count` places. Queries are places with their positions; or, where these
    /// have been projected, what project() gave. y may be residual.
    void attend(const Session& session, const Tokens& tokens, const Run& queries, const Run& residual, const Run& y,
                int count, float* scores, float* words) const {
        const CrossHeads& k = heads_;
        const Run rows{scores, Index{count} * token_block};
        multiply_run(session, queries, query_channels(tokens.projected), tokens.rows.weights, tokens.bias, rows,
                     tokens.rows.blocks, count, nullptr, words);
        kernels::SoftmaxTokens softmax;
        softmax.scores = scores;
        softmax.block_stride = rows.block_stride;
        softmax.pixels = count;
        softmax.tokens = tokens.rows.tokens;
        softmax.heads = k.padded_heads();
        kernels::softmax_tokens(session.kernels, softmax);
        multiply_run(session, rows, tokens.rows.rows, tokens.values, output_bias_.data(), y, k.model().blocks(), count,
                     &residual, words);
    }

private:
    /// Channels of what places ask with.
    int query_channels(bool projected) const { return projected ? heads_.split().blocks() * token_block : heads_.dim; }

    Tokens prepare_floats(Session& session, const FeatureMap& x, const FeatureMap& y, bool projected) const {
        const CrossHeads& k = heads_;
        const int count = x.width, blocks = k.model().blocks();
        const int channels = query_channels(projected);
        const auto take = [&](Index floats) { return session.workspace.take(floats); };
        Tokens tokens{.projected = projected, .rows = TokenRows(k, count)};
        const Index lanes = Index{tokens.rows.blocks} * token_block;
        tokens.rows.weights = take(lanes * channels);
        tokens.bias = take(lanes);
        tokens.values = take(Index{blocks} * tokens.rows.rows * token_block);
        const Workspace::Frame frame(session.workspace);
        const FeatureMap keys = new_token_map(session, k.split(), count);
        const FeatureMap values = new_token_map(session, k.split(), count);
        float* const scratch = take(Index{blocks} * count * token_block);
        k_.run(session, x, keys);
        v_.run(session, y, values);
        if (session.measuring()) return tokens;
        std::fill_n(tokens.bias, lanes, 0.0f);
        if (projected) {
            std::fill_n(tokens.rows.weights, lanes * channels, 0.0f);
            spread_keys(keys, tokens, channels);
        } else {
            fold_into_rows(session, k, keys, query_for_tokens_.data(), zeros_.data(), scratch, tokens.rows);
            add_biases(keys, tokens);
        }
        std::fill_n(tokens.values, Index{blocks} * tokens.rows.rows * token_block, 0.0f);
        for (int h = 0; h < k.heads; ++h) {
            fold_values(session, h, values, tokens);
        }
        return tokens;
    }

    /// Each head's keys against its own channels of projected queries; the other heads' channels have zeros.
    void spread_keys(const FeatureMap& keys, const Tokens& tokens, int channels) const {
        const CrossHeads& k = heads_;
        for (int h = 0; h < k.heads; ++h) {
            for (int t = 0; t < keys.width; ++t) {
                for (int j = 0; j < k.each(); ++j) {
                    tokens.rows.at(t * k.padded_heads() + h, h * k.section() * token_block + j, channels) =
                        k.scale() * head_value(keys, k, h, t, j);
                }
            }
        }
    }

    /// What the bias of the places' projection contributes to the scores.
    void add_biases(const FeatureMap& keys, const Tokens& tokens) const {
        const CrossHeads& k = heads_;
        for (int h = 0; h < k.heads; ++h) {
            for (int t = 0; t < keys.width; ++t) {
                float sum = 0;
                for (int j = 0; j < k.each(); ++j) {
                    sum += head_value(keys, k, h, t, j) * query_bias_[static_cast<std::size_t>(h * k.each() + j)];
                }
                tokens.bias[t * k.padded_heads() + h] = k.scale() * sum;
            }
        }
    }

    /// out_proj of one head's values, into its rows.
    void fold_values(const Session& session, int head, const FeatureMap& values, const Tokens& tokens) const {
        const CrossHeads& k = heads_;
        const int blocks = k.model().blocks();
        kernels::Pointwise a;
        a.x = values.data + Index{head} * k.section() * values.block_stride();
        a.x_block_stride = values.block_stride();
        a.channels = k.each();
        a.weights = output_.data() + Index{head} * blocks * k.each() * token_block;
        a.bias = zeros_.data();
        a.y = tokens.values + Index{head} * token_block;
        a.y_block_stride = Index{tokens.rows.rows} * token_block;
        a.y_row_stride = Index{k.padded_heads()} * token_block;  // a token a row
        a.y_blocks = blocks;
        a.y_width = 1;
        a.pixels = values.width;
        kernels::of_floats(session.kernels).pointwise(a);
    }

    CrossHeads heads_;
    TokenLinear k_, v_, project_;
    PackedWeights query_for_tokens_, output_, output_bias_, zeros_;
    std::vector<float> query_bias_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention of a few tokens to the places of an image; see token_rows.hpp.
#pragma once

#include <efficientvit/nn/token_rows.hpp>

#include <algorithm>
#include <cmath>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Tokens attend to places. State dict: q_proj, k_proj, v_proj, out_proj.
class TokenToImageAttention {
public:
    /// `projected`: also what project() needs.
    EFFICIENTVIT_COLD void pack(const Packer& p, const CrossHeads& k, bool projected) {
        heads_ = k;
        q_.pack(p.at("q_proj"), k.model(), k.split());
        const std::vector<float> key = p.at("k_proj").weights.read("weight", k.internal * k.dim, 0);
        const std::vector<float> value = p.at("v_proj").weights.read("weight", k.internal * k.dim, 0);
        const std::vector<float> value_bias = p.at("v_proj").weights.read("bias", k.internal, 0);
        key_for_tokens_ = pack_for_tokens(*p.memory, key, k);
        value_ = pack_dense(*p.memory, "", value, k.model(), k.split(), 1, kernels::Operands::f32);
        value_bias_ = pack_bias(*p.memory, value_bias, k.split());
        zeros_ = p.memory->take(static_cast<std::uint64_t>(k.model().blocks() * token_block), 0.0f);
        out_.pack(p.at("out_proj"), k.split(), k.model());
        if (projected) {
            project_keys_.pack(p.at("k_proj"), k.model(), k.split());
            project_values_.pack(p.at("v_proj"), k.model(), k.split());
        }
    }

    /// The projections of places, which run() takes where they are the same for many prompts.
    void project(Session& session, const FeatureMap& places_and_positions, const FeatureMap& places,
                 const FeatureMap& keys, const FeatureMap& values) const {
        project_keys_.run(session, places_and_positions, keys);
        project_values_.run(session, places, values);
    }

    /// What a run needs: rows of weights, and room for what each run of places comes to.
    struct Query {
        bool projected = false;
        TokenRows rows;
        int score_blocks = 0, sum_blocks = 0, sum_rows = 0;
        float* partial = nullptr;  // [run][sum block][sum row][16]
        float* largest = nullptr;  // [run][score block][16]
        float* sums = nullptr;
        float* zeros = nullptr;  // [score block][16]

        Index partial_floats() const { return Index{sum_blocks} * sum_rows * token_block; }
        Index score_lanes() const { return Index{score_blocks} * token_block; }
    };

    /// q = q_proj(x), brought to where the scores of places are products.
    Query prepare(Session& session, const FeatureMap& x, int places, bool projected) const {
        Query query = prepare_floats(session, x, places, projected);
        if (!projected) {
            query.rows.weights = weights_as_operand(session, query.rows.weights, query.rows.blocks, heads_.dim);
        }
        return query;
    }

    Index score_floats(const Query& query) const { return query.score_lanes() * run_places; }
    /// What attend() wants for `words`.
    Index words(const Session& session) const { return run_words(session, heads_.dim); }

    /// Run `run` of `count` places. Keys are places with their positions and values places; or, where they have been
    /// projected, what project() gave.
    void attend(const Session& session, const Query& query, int run, const Run& keys, const Run& values, int count,
                float* scores, float* words) const {
        const CrossHeads& k = heads_;
        const Index stride = Index{count} * token_block;
        const int parts = query.projected ? k.heads : 1;  // that keys are multiplied in
        const int blocks = query.score_blocks / parts, sums = query.sum_blocks / parts;
        for (int part = 0; part < parts; ++part) {
            const Run x{keys.data + part * k.section() * keys.block_stride, keys.block_stride};
            const int channels = query.projected ? k.each() : k.dim;
            multiply_run(session, x, channels, query.rows.weights + Index{part} * blocks * channels * token_block,
                         query.zeros, {scores + part * blocks * stride, stride}, blocks, count, nullptr,
                         query.projected ? nullptr : words);
        }
        kernels::SoftmaxPixels softmax;
        softmax.scores = scores;
        softmax.block_stride = stride;
        softmax.blocks = query.score_blocks;
        softmax.pixels = count;
        softmax.largest = query.largest + query.score_lanes() * run;
        softmax.sums = query.sums + query.score_lanes() * run;
        kernels::softmax_pixels(session.kernels, softmax);
        for (int part = 0; part < parts; ++part) {
            kernels::WeightedSums a;
            a.weights = scores + part * blocks * stride;
            a.weights_block_stride = stride;
            a.rows = query.sum_rows;
            a.x = values.data + part * sums * values.block_stride;
            a.x_block_stride = values.block_stride;
            a.x_blocks = sums;
            a.pixels = count;
            a.y = query.partial + query.partial_floats() * run + Index{part} * sums * a.rows * token_block;
            a.y_block_stride = Index{a.rows} * token_block;
            kernels::weighted_sums(session.kernels, a);
        }
    }

    /// y = out_proj(attention) + residual. y may be residual.
    void finish(Session& session, const Query& query, int places, const FeatureMap& y,
                const FeatureMap& residual) const {
        const CrossHeads& k = heads_;
        const Workspace::Frame frame(session.workspace);
        const int tokens = query.rows.tokens;
        const FeatureMap attended = new_token_map(session, k.split(), tokens);
        // Rows of one head stand together here: [block][head][token][16].
        const Index mean_stride = Index{k.heads} * tokens * token_block;
        float* const means = session.workspace.take(mean_stride * k.model().blocks());
        float* const factors = session.workspace.take(query.score_lanes() * run_count(places));
        if (!session.measuring()) {
            find_factors(query, run_count(places), factors);
            for (int h = 0; h < k.heads; ++h) {
                if (query.projected) {
                    put_together(query, run_count(places), h, factors,
                                 {attended.data + h * k.section() * attended.block_stride(), attended.block_stride()});
                    continue;
                }
                const Run head{means + Index{h} * tokens * token_block, mean_stride};
                put_together(query, run_count(places), h, factors, head);
            }
            if (!query.projected) project_means(session, means, mean_stride, attended);
        }
        out_.run(session, attended, y, kernels::Act::none, &residual);
    }

private:
    Query prepare_floats(Session& session, const FeatureMap& x, int places, bool projected) const {
        const CrossHeads& k = heads_;
        const int tokens = x.width, runs = run_count(places);
        Query query{.projected = projected, .rows = TokenRows(k, tokens)};
        const int token_blocks = (tokens + token_block - 1) / token_block;
        query.score_blocks = projected ? k.heads * token_blocks : query.rows.blocks;
        query.sum_blocks = projected ? k.split().blocks() : k.model().blocks();
        query.sum_rows = projected ? tokens : query.rows.rows;
        const auto take = [&](Index floats) { return session.workspace.take(floats); };
        query.partial = take(query.partial_floats() * runs);
        query.largest = take(query.score_lanes() * runs);
        query.sums = take(query.score_lanes() * runs);
        query.zeros = take(query.score_lanes());
        query.rows.weights = take(projected ? Index{query.score_blocks} * k.each() * token_block
                                            : Index{query.rows.blocks} * k.dim * token_block);
        const Workspace::Frame frame(session.workspace);
        const FeatureMap q = new_token_map(session, k.split(), tokens);
        float* const scratch = take(Index{k.model().blocks()} * tokens * token_block);
        q_.run(session, x, q);
        if (session.measuring()) return query;
        std::fill_n(query.zeros, query.score_lanes(), 0.0f);
        if (!projected) {
            fold_into_rows(session, k, q, key_for_tokens_.data(), zeros_.data(), scratch, query.rows);
            return query;
        }
        std::fill_n(query.rows.weights, query.score_lanes() * k.each(), 0.0f);
        for (int h = 0; h < k.heads; ++h) {
            for (int t = 0; t < tokens; ++t) {
                for (int j = 0; j < k.each(); ++j) {
                    const Index row_block = Index{h} * token_blocks + t / token_block;
                    query.rows.weights[(row_block * k.each() + j) * token_block + t % token_block] =
                        k.scale() * head_value(q, k, h, t, j);
                }
            }
        }
        return query;
    }

    /// What a run's sums are multiplied by: e^(its largest score - the largest of all) / the sum of all.
    static void find_factors(const Query& query, int runs, float* factors) {
        const Index lanes = query.score_lanes();
        for (Index lane = 0; lane < lanes; ++lane) {
            float largest = -INFINITY, sum = 0;
            for (int run = 0; run < runs; ++run) largest = std::max(largest, query.largest[run * lanes + lane]);
            for (int run = 0; run < runs; ++run) {
                const float factor = std::exp(query.largest[run * lanes + lane] - largest);
                factors[run * lanes + lane] = factor;
                sum += factor * query.sums[run * lanes + lane];
            }
            for (int run = 0; run < runs; ++run) factors[run * lanes + lane] /= sum;
        }
    }

    /// One head's runs into means of its tokens.
    void put_together(const Query& query, int runs, int head, const float* factors, const Run& y) const {
        const CrossHeads& k = heads_;
        const int blocks = query.projected ? k.section() : query.sum_blocks;
        const int first_block = query.projected ? head * k.section() : 0;
        const int token_blocks = (query.rows.tokens + token_block - 1) / token_block;
        for (int t = 0; t < query.rows.tokens; ++t) {
            const int row = query.projected ? t : t * k.padded_heads() + head;
            const Index lane = query.projected ? Index{head} * token_blocks * token_block + t : row;
            for (int b = 0; b < blocks; ++b) {
                float mean[token_block] = {};
                for (int run = 0; run < runs; ++run) {
                    const float factor = factors[run * query.score_lanes() + lane];
                    const float* const part = query.partial + query.partial_floats() * run +
                                              (Index{first_block + b} * query.sum_rows + row) * token_block;
                    for (int i = 0; i < token_block; ++i) mean[i] += factor * part[i];
                }
                std::copy_n(mean, token_block, y.data + b * y.block_stride + Index{t} * token_block);
            }
        }
    }

    /// v_proj of each head's means.
    void project_means(const Session& session, float* means, Index mean_stride, const FeatureMap& y) const {
        const CrossHeads& k = heads_;
        for (int h = 0; h < k.heads; ++h) {
            const Run x{means + Index{h} * y.width * token_block, mean_stride};
            const Index block = Index{h} * k.section();
            multiply_run(session, x, k.dim, value_.data() + block * k.dim * token_block,
                         value_bias_.data() + block * token_block,
                         {y.data + block * y.block_stride(), y.block_stride()}, k.section(), y.width);
        }
    }

    CrossHeads heads_;
    TokenLinear q_, out_;
    PackedWeights key_for_tokens_, value_, value_bias_, zeros_;
    TokenLinear project_keys_, project_values_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention between a few tokens and the places of an image, in both directions, as the two-way transformer of
// SAM has it. The places are thousands, the tokens a dozen, so what is linear in the places is moved to the tokens:
//   q_h (W_h x + b_h) = (q_h W_h) x + q_h b_h,   sum over p of a_p (W_h x_p + b_h) = W_h (sum of a_p x_p) + b_h
// which is exact but for rounding. Places are taken in runs of a fixed length, whose results are put together in order,
// so that the outcome does not depend on the number of threads.
#pragma once

#include <efficientvit/nn/token_layers.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Sizes of an attention between tokens and places.
struct CrossHeads {
    int dim = 0;       // channels of tokens and places
    int internal = 0;  // channels of all heads
    int heads = 0;

    int each() const { return internal / heads; }
    ChannelLayout model() const { return token_channels(dim); }
    ChannelLayout split() const { return head_channels(heads, each()); }
    int section() const { return split().blocks_a_section(); }  // blocks a head
    int padded_heads() const { return (heads + 7) / 8 * 8; }
    float scale() const { return 1.0f / std::sqrt(static_cast<float>(each())); }

    static void describe(const Describer& d, int dim, int internal) {
        for (const char* name : {"q_proj", "k_proj", "v_proj"}) TokenLinear::describe(d.at(name), dim, internal);
        TokenLinear::describe(d.at("out_proj"), internal, dim);
    }
};

/// Places a run: their channels and scores stay in the second-level cache. Tiles of 14 and 6 pixels divide it, no power
/// of two does, and 64 x 64 places are 14 runs.
inline constexpr int run_places = 294;
constexpr int run_count(int places) { return (places + run_places - 1) / run_places; }

/// Consecutive pixels of a map, as kernels read or write them.
struct Run {
    float* data = nullptr;
    Index block_stride = 0;

    static Run of(const FeatureMap& map, int first) {
        return {map.data + Index{first} * token_block, map.block_stride()};
    }
};

/// y = weights * x + bias + residual of `pixels` pixels, all in float; weights are [y_blocks][channels][16].
inline void multiply_run(const Session& session, const Run& x, int channels, const float* weights, const float* bias,
                         const Run& y, int y_blocks, int pixels, const Run* residual = nullptr) {
    kernels::Pointwise a;
    a.x = x.data;
    a.x_block_stride = x.block_stride;
    a.channels = channels;
    a.weights = weights;
    a.bias = bias;
    a.y = y.data;
    a.y_block_stride = y.block_stride;
    a.y_row_stride = Index{pixels} * token_block;
    a.y_blocks = y_blocks;
    a.y_width = a.pixels = pixels;
    if (residual != nullptr) {
        a.residual = residual->data;
        a.residual_block_stride = residual->block_stride;
        a.residual_row_stride = a.y_row_stride;
    }
    kernels::of_floats(session.kernels).pointwise(a);
}

/// Rows of weights for places that come from tokens: row token * padded_heads + head lies in lane row % 16 of block
/// row / 16, [blocks][channels][16].
struct TokenRows {
    float* weights = nullptr;
    int tokens = 0, rows = 0, blocks = 0;

    TokenRows(const CrossHeads& k, int count)
        : tokens(count), rows(count * k.padded_heads()), blocks((rows + token_block - 1) / token_block) {}
    float& at(int row, int channel, int channels) const {
        return weights[(Index{row / token_block} * channels + channel) * token_block + row % token_block];
    }
};

/// A projection [internal][dim] of places that tokens take instead: for each head [dim blocks][each][16], its
/// transpose.
inline AlignedBuffer<float> pack_for_tokens(const std::vector<float>& weight, const CrossHeads& k) {
    const ChannelLayout model = k.model();
    const int each = k.each();
    AlignedBuffer<float> packed(static_cast<std::size_t>(k.internal * model.blocks() * token_block), 0.0f);
    for (int h = 0; h < k.heads; ++h) {
        for (int j = 0; j < each; ++j) {
            for (int d = 0; d < k.dim; ++d) {
                const int at = ((h * model.blocks() + d / token_block) * each + j) * token_block + d % token_block;
                packed[static_cast<std::size_t>(at)] = weight[static_cast<std::size_t>((h * each + j) * k.dim + d)];
            }
        }
    }
    return packed;
}

/// rows[token, head] = scale * tokens[token]'s head * `packed`, from pack_for_tokens. `scratch` has a float for each
/// lane and token of the model, `zeros` one for each lane.
inline void fold_into_rows(const Session& session, const CrossHeads& k, const FeatureMap& tokens, const float* packed,
                           const float* zeros, float* scratch, const TokenRows& rows) {
    const ChannelLayout model = k.model();
    const int count = tokens.width, blocks = model.blocks(), each = k.each();
    const float scale = k.scale();
    std::fill_n(rows.weights, Index{rows.blocks} * k.dim * token_block, 0.0f);
    for (int h = 0; h < k.heads; ++h) {
        const Run x{tokens.data + h * k.section() * tokens.block_stride(), tokens.block_stride()};
        multiply_run(session, x, each, packed + Index{h} * blocks * each * token_block, zeros,
                     {scratch, Index{count} * token_block}, blocks, count);
        for (int t = 0; t < count; ++t) {
            for (int d = 0; d < k.dim; ++d) {
                rows.at(t * k.padded_heads() + h, d, k.dim) =
                    scale * scratch[(Index{d / token_block} * count + t) * token_block + d % token_block];
            }
        }
    }
}

/// Tokens attend to places. State dict: q_proj, k_proj, v_proj, out_proj.
class TokenToImageAttention {
public:
    /// `projected`: also what project() needs.
    EFFICIENTVIT_COLD void pack(const Packer& p, const CrossHeads& k, bool projected) {
        heads_ = k;
        q_.pack(p.at("q_proj"), k.model(), k.split());
        const std::vector<float> key = read_or(p.at("k_proj"), "weight", k.internal * k.dim, 0);
        const std::vector<float> value = read_or(p.at("v_proj"), "weight", k.internal * k.dim, 0);
        const std::vector<float> value_bias = read_or(p.at("v_proj"), "bias", k.internal, 0);
        key_for_tokens_ = pack_for_tokens(key, k);
        value_ = pack_dense(value, k.model(), k.split(), 1, kernels::Operands::f32);
        value_bias_ = pack_bias(value_bias, k.split());
        zeros_ = AlignedBuffer<float>(static_cast<std::size_t>(k.model().blocks() * token_block), 0.0f);
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
                    const Index block = h * k.section() + j / token_block;
                    const float value = q.data[block * q.block_stride() + Index{t} * token_block + j % token_block];
                    const Index row_block = Index{h} * token_blocks + t / token_block;
                    query.rows.weights[(row_block * k.each() + j) * token_block + t % token_block] = k.scale() * value;
                }
            }
        }
        return query;
    }

    Index score_floats(const Query& query) const { return query.score_lanes() * run_places; }

    /// Run `run` of `count` places. Keys are places with their positions and values places; or, where they have been
    /// projected, what project() gave.
    void attend(const Session& session, const Query& query, int run, const Run& keys, const Run& values, int count,
                float* scores) const {
        const CrossHeads& k = heads_;
        const Index stride = Index{count} * token_block;
        const int parts = query.projected ? k.heads : 1;  // that keys are multiplied in
        const int blocks = query.score_blocks / parts, sums = query.sum_blocks / parts;
        for (int part = 0; part < parts; ++part) {
            const Run x{keys.data + part * k.section() * keys.block_stride, keys.block_stride};
            const int channels = query.projected ? k.each() : k.dim;
            multiply_run(session, x, channels, query.rows.weights + Index{part} * blocks * channels * token_block,
                         query.zeros, {scores + part * blocks * stride, stride}, blocks, count);
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
    AlignedBuffer<float> key_for_tokens_, value_, value_bias_, zeros_;
    TokenLinear project_keys_, project_values_;
};

/// Places attend to tokens. State dict: q_proj, k_proj, v_proj, out_proj.
class ImageToTokenAttention {
public:
    /// `projected`: also what project() needs.
    EFFICIENTVIT_COLD void pack(const Packer& p, const CrossHeads& k, bool projected) {
        heads_ = k;
        k_.pack(p.at("k_proj"), k.model(), k.split());
        v_.pack(p.at("v_proj"), k.model(), k.split());
        query_for_tokens_ = pack_for_tokens(read_or(p.at("q_proj"), "weight", k.internal * k.dim, 0), k);
        query_bias_ = read_or(p.at("q_proj"), "bias", k.internal, 0);
        zeros_ = AlignedBuffer<float>(static_cast<std::size_t>(k.model().blocks() * token_block), 0.0f);
        if (projected) project_.pack(p.at("q_proj"), k.model(), k.split());
        pack_output(read_or(p.at("out_proj"), "weight", k.internal * k.dim, 0));
        output_bias_ = pack_bias(read_or(p.at("out_proj"), "bias", k.dim, 0), k.model());
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
        const CrossHeads& k = heads_;
        const int count = x.width, blocks = k.model().blocks();
        const int channels = projected ? k.split().blocks() * token_block : k.dim;
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

    Index score_floats(const Tokens& tokens) const { return Index{tokens.rows.blocks} * token_block * run_places; }

    /// y = residual + out_proj(attention) for `count` places. Queries are places with their positions; or, where these
    /// have been projected, what project() gave. y may be residual.
    void attend(const Session& session, const Tokens& tokens, const Run& queries, const Run& residual, const Run& y,
                int count, float* scores) const {
        const CrossHeads& k = heads_;
        const Run rows{scores, Index{count} * token_block};
        const int channels = tokens.projected ? k.split().blocks() * token_block : k.dim;
        multiply_run(session, queries, channels, tokens.rows.weights, tokens.bias, rows, tokens.rows.blocks, count);
        kernels::SoftmaxTokens softmax;
        softmax.scores = scores;
        softmax.block_stride = rows.block_stride;
        softmax.pixels = count;
        softmax.tokens = tokens.rows.tokens;
        softmax.heads = k.padded_heads();
        kernels::softmax_tokens(session.kernels, softmax);
        multiply_run(session, rows, tokens.rows.rows, tokens.values, output_bias_.data(), y, k.model().blocks(), count,
                     &residual);
    }

private:
    static float value_of(const FeatureMap& map, const CrossHeads& k, int head, int token, int j) {
        return map.data[(Index{head} * k.section() + j / token_block) * map.block_stride() +
                        Index{token} * token_block + j % token_block];
    }

    /// out_proj of each head: [head][model block][each][16].
    EFFICIENTVIT_COLD void pack_output(const std::vector<float>& weight) {
        const CrossHeads& k = heads_;
        const int each = k.each(), blocks = k.model().blocks();
        output_ = AlignedBuffer<float>(static_cast<std::size_t>(k.internal * blocks * token_block), 0.0f);
        for (int h = 0; h < k.heads; ++h) {
            for (int d = 0; d < k.dim; ++d) {
                for (int j = 0; j < each; ++j) {
                    const int at = ((h * blocks + d / token_block) * each + j) * token_block + d % token_block;
                    output_[static_cast<std::size_t>(at)] =
                        weight[static_cast<std::size_t>(d * k.internal + h * each + j)];
                }
            }
        }
    }

    /// Each head's keys against its own channels of projected queries; the other heads' channels have zeros.
    void spread_keys(const FeatureMap& keys, const Tokens& tokens, int channels) const {
        const CrossHeads& k = heads_;
        for (int h = 0; h < k.heads; ++h) {
            for (int t = 0; t < keys.width; ++t) {
                for (int j = 0; j < k.each(); ++j) {
                    tokens.rows.at(t * k.padded_heads() + h, h * k.section() * token_block + j, channels) =
                        k.scale() * value_of(keys, k, h, t, j);
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
                    sum += value_of(keys, k, h, t, j) * query_bias_[static_cast<std::size_t>(h * k.each() + j)];
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
    AlignedBuffer<float> query_for_tokens_, output_, output_bias_, zeros_;
    std::vector<float> query_bias_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

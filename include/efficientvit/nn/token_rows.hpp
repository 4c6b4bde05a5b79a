// SPDX-License-Identifier: Apache-2.0
//
// What softmax attention between a few tokens and the places of an image has in common in both directions, as the
// two-way transformer of SAM has it. The places are thousands, the tokens a dozen, so what is linear in the places is
// moved to the tokens:
//   q_h (W_h x + b_h) = (q_h W_h) x + q_h b_h,   sum over p of a_p (W_h x_p + b_h) = W_h (sum of a_p x_p) + b_h
// which is exact but for rounding. Places are taken in runs of a fixed length, whose results are put together in order,
// so that the outcome does not depend on the number of threads.
#pragma once

#include <efficientvit/nn/token_layers.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

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

/// y = weights * x + bias + residual of `pixels` pixels; weights are [y_blocks][channels][16]. All in float; or, with
/// `words`, room for x in bf16, by what the session's products multiply: weights are then weights_as_operand()'s.
inline void multiply_run(const Session& session, const Run& x, int channels, const float* weights, const float* bias,
                         const Run& y, int y_blocks, int pixels, const Run* residual = nullptr,
                         float* words = nullptr) {
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
    if (words == nullptr) return kernels::of_floats(session.kernels).pointwise(a);
    set_operand(session, a, (channels + token_block - 1) / token_block, words);
    session.kernels.pointwise(a);
}

/// Whether attention multiplies in bf16 as the other products do. In int8 it stays float.
inline bool attends_in_bf16(const Session& session) { return session.kernels.operands == kernels::Operands::bf16; }

/// Words of a run of so many channels for multiply_run().
inline Index run_words(const Session& session, int channels) {
    return attends_in_bf16(session) ? kernels::rounded_words(kernels::Operands::bf16, channels, run_places) : 0;
}

/// Weights [blocks][channels][16] that a prompt has made, as the session's products read them: themselves, or in bf16
/// in memory of the session's.
inline float* weights_as_operand(Session& session, float* weights, int blocks, int channels) {
    if (!attends_in_bf16(session)) return weights;
    const Index rows = kernels::weight_words(kernels::Operands::bf16, channels);
    float* to = session.workspace.take(Index{blocks} * rows * token_block);
    float* const packed = to;
    if (session.measuring()) return packed;
    for (int b = 0; b < blocks; ++b) {
        const float* const block = weights + Index{b} * channels * token_block;
        for (Index row = 0; row < rows; ++row) {
            for (int lane = 0; lane < token_block; ++lane, ++to) {
                const auto half = [&](Index channel) {
                    return std::uint32_t{channel < channels ? float_to_bf16(block[channel * token_block + lane])
                                                            : std::uint16_t{0}};
                };
                *to = std::bit_cast<float>(half(2 * row + 1) << 16 | half(2 * row));
            }
        }
    }
    return packed;
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

/// Channel j of a head of a token, in a map of heads.
inline float head_value(const FeatureMap& map, const CrossHeads& k, int head, int token, int j) {
    return map.data[(Index{head} * k.section() + j / token_block) * map.block_stride() + Index{token} * token_block +
                    j % token_block];
}

/// Weights between a head's channels and the model's, for each head [model block][each][16]: value(d, i) is that of
/// channel d of the model and channel i of all heads.
template <class Value>
PackedWeights pack_by_head(WeightMemory& memory, const CrossHeads& k, const Value& value) {
    const int each = k.each(), blocks = k.model().blocks();
    PackedWeights packed = memory.take(static_cast<std::uint64_t>(k.internal * blocks * token_block), 0.0f);
    for (int h = 0; h < k.heads; ++h) {
        for (int d = 0; d < k.dim; ++d) {
            for (int j = 0; j < each; ++j) {
                const int at = ((h * blocks + d / token_block) * each + j) * token_block + d % token_block;
                packed[static_cast<std::size_t>(at)] = value(d, h * each + j);
            }
        }
    }
    return packed;
}

/// A projection [internal][dim] of places that tokens take instead: its transpose.
inline PackedWeights pack_for_tokens(WeightMemory& memory, const std::vector<float>& weight, const CrossHeads& k) {
    return pack_by_head(memory, k, [&](int d, int i) { return weight[static_cast<std::size_t>(i * k.dim + d)]; });
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

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

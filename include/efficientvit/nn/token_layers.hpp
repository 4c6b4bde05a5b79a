// SPDX-License-Identifier: Apache-2.0
//
// What transformers do to a few tokens: linear layers, layer norms, self-attention, MLPs. Tokens are the pixels of a
// map of one row, in blocks of 16 channels, so that the products of 1x1 convolutions serve them. Sizes are known at run
// time only, so one compiled copy serves every network. Not layers themselves.
#pragma once

#include <efficientvit/nn/pointwise.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

inline constexpr int token_block = 16;

/// Channels of tokens and places, all in one section.
constexpr ChannelLayout token_channels(int channels) { return {channels, channels, token_block}; }
/// Channels of attention heads, each of which begins a block.
constexpr ChannelLayout head_channels(int heads, int each) { return {heads * each, each, token_block}; }

/// A map of `pixels` tokens, all lanes of its blocks counted as channels.
inline FeatureMap token_map(const ChannelLayout& layout, int pixels) {
    return {nullptr, 1, layout.blocks() * token_block, 1, pixels, 0, token_block};
}
/// The same of places, which are often a power of two: with a column beside them the blocks of a place do not all fall
/// into the same lines of a cache. The data begin behind the first of these columns.
inline FeatureMap place_map(const ChannelLayout& layout, int places) {
    FeatureMap map = token_map(layout, places);
    map.padding = 1;
    return map;
}
/// A map of places in a buffer, which is made where its size differs.
inline FeatureMap place_map_in(AlignedBuffer<float>& buffer, const ChannelLayout& layout, int places) {
    FeatureMap map = place_map(layout, places);
    const auto floats = static_cast<std::uint64_t>(map.floats());
    if (buffer.size() != floats) buffer = AlignedBuffer<float>(floats, 0.0f);
    map.data = buffer.data() + token_block;
    return map;
}
inline FeatureMap new_token_map(Session& session, const ChannelLayout& layout, int pixels) {
    FeatureMap map = token_map(layout, pixels);
    session.workspace.place(map);
    return map;
}

inline FeatureMap new_place_map(Session& session, const ChannelLayout& layout, int places) {
    FeatureMap map = place_map(layout, places);
    session.workspace.place(map);
    if (!session.measuring()) clear_padding(map);
    return map;
}

/// torch.nn.Linear on tokens. State dict: weight, bias.
class TokenLinear {
public:
    static void describe(const Describer& d, int in, int out) {
        d.add("weight", {out, in});
        d.add("bias", {out});
    }
    EFFICIENTVIT_COLD void pack(const Packer& p, const ChannelLayout& in, const ChannelLayout& out) {
        std::vector<float>& weight = p.memory->values;
        p.weights.read("weight", in.channels * out.channels, 0, weight);
        pack(*p.memory, {p.weights.full_name("weight"), weight, p.weights.read("bias", out.channels, 0)}, in, out,
             p.kernels->operands);
    }
    EFFICIENTVIT_COLD void pack(WeightMemory& memory, const Folded& f, const ChannelLayout& in,
                                const ChannelLayout& out, kernels::Operands operands) {
        packed_.weights = pack_dense(memory, f.name, f.weight, in, out, 1, operands);
        packed_.bias = pack_bias(memory, f.bias, out);
        in_lanes_ = in.lanes();
    }
    void run(Session& session, const FeatureMap& x, const FeatureMap& y, kernels::Act act = kernels::Act::none,
             const FeatureMap* residual = nullptr) const {
        run_pointwise(session, packed_, act, in_lanes_, x, y, residual);
    }
    const PackedConvolution& packed() const { return packed_; }
    int in_lanes() const { return in_lanes_; }

private:
    PackedConvolution packed_;
    int in_lanes_ = 0;
};

/// Layer norm over the channels of tokens or places. State dict: weight, bias.
class TokenNorm {
public:
    static void describe(const Describer& d, int channels) {
        for (const char* name : {"weight", "bias"}) d.add(name, {channels});
    }
    EFFICIENTVIT_COLD void pack(const Packer& p, int channels, double eps) {
        const ChannelLayout layout = token_channels(channels);
        weight_ = pack_bias(*p.memory, p.weights.read("weight", channels, 1), layout);
        bias_ = pack_bias(*p.memory, p.weights.read("bias", channels, 0), layout);
        channels_ = channels;
        eps_ = static_cast<float>(eps);
    }
    /// In place, `pixels` pixels of blocks that are block_stride apart.
    void run(const Session& session, float* x, Index block_stride, int pixels, bool gelu = false) const {
        kernels::LayerNorm a;
        a.x = a.y = x;
        a.x_block_stride = a.y_block_stride = block_stride;
        a.channels = channels_;
        a.pixels = pixels;
        a.weight = weight_.data();
        a.bias = bias_.data();
        a.eps = eps_;
        a.gelu = gelu;
        if (!session.measuring()) kernels::layer_norm(session.kernels, a);
    }
    void run(const Session& session, const FeatureMap& x) const { run(session, x.data, x.block_stride(), x.width); }

private:
    PackedWeights weight_, bias_;
    int channels_ = 0;
    float eps_ = 0;
};

/// x + y into z, maps of equal shape. z may be x.
inline void add_maps(const Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap& z) {
    if (session.measuring()) return;
    kernels::Affine a;
    a.pixels = x.width;
    for (int b = 0; b < x.blocks(); ++b) {
        a.x = x.data + b * x.block_stride();
        a.residual = y.data + b * y.block_stride();
        a.y = z.data + b * z.block_stride();
        session.kernels.affine(a);
    }
}

/// softmax(q k^T / sqrt(each)) v among all tokens, head by head; maps of head_channels. `scores` has a float a token.
inline void attend_among_tokens(const ChannelLayout& heads, const FeatureMap& q, const FeatureMap& k,
                                const FeatureMap& v, const FeatureMap& y, float* scores) {
    const int tokens = q.width, blocks = heads.blocks_a_section(), lanes = blocks * token_block;
    const float scale = 1.0f / std::sqrt(static_cast<float>(heads.section));
    const auto at = [&](const FeatureMap& map, int head, int token, int lane) -> float& {
        return map.data[(head * blocks + lane / token_block) * map.block_stride() + Index{token} * token_block +
                        lane % token_block];
    };
    for (int head = 0; head < heads.channels / heads.section; ++head) {
        for (int i = 0; i < tokens; ++i) {
            float largest = -INFINITY, sum = 0;
            for (int j = 0; j < tokens; ++j) {
                float dot = 0;
                for (int lane = 0; lane < heads.section; ++lane) dot += at(q, head, i, lane) * at(k, head, j, lane);
                scores[j] = dot * scale;
                largest = std::max(largest, scores[j]);
            }
            for (int j = 0; j < tokens; ++j) sum += scores[j] = std::exp(scores[j] - largest);
            for (int lane = 0; lane < lanes; ++lane) {
                float mean = 0;
                for (int j = 0; j < tokens; ++j) mean += scores[j] * at(v, head, j, lane);
                at(y, head, i, lane) = mean / sum;
            }
        }
    }
}

/// Attention of the reference among tokens: q_proj, k_proj, v_proj, heads, out_proj.
class TokenSelfAttention {
public:
    static void describe(const Describer& d, int dim) {
        for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) TokenLinear::describe(d.at(name), dim, dim);
    }
    EFFICIENTVIT_COLD void pack(const Packer& p, int dim, int heads) {
        model_ = token_channels(dim);
        heads_ = head_channels(heads, dim / heads);
        q_.pack(p.at("q_proj"), model_, heads_);
        k_.pack(p.at("k_proj"), model_, heads_);
        v_.pack(p.at("v_proj"), model_, heads_);
        out_.pack(p.at("out_proj"), heads_, model_);
    }
    /// y = attention(x, x, values) + residual. y may be x, values or residual.
    void run(Session& session, const FeatureMap& x, const FeatureMap& values, const FeatureMap& y,
             const FeatureMap* residual) const {
        const Workspace::Frame frame(session.workspace);
        const auto new_map = [&] { return new_token_map(session, heads_, x.width); };
        const FeatureMap q = new_map(), k = new_map(), v = new_map(), attended = new_map();
        float* const scores = session.workspace.take(x.width);
        q_.run(session, x, q);
        k_.run(session, x, k);
        v_.run(session, values, v);
        if (!session.measuring()) attend_among_tokens(heads_, q, k, v, attended, scores);
        out_.run(session, attended, y, kernels::Act::none, residual);
    }

private:
    ChannelLayout model_, heads_;
    TokenLinear q_, k_, v_, out_;
};

/// Linear layers with ReLU between them. State dict: <name of a layer>.weight, .bias, in the order of `names`.
class TokenMlp {
public:
    static void describe(const Describer& d, const std::vector<std::string>& names, int in, int hidden, int out) {
        for (std::size_t i = 0; i < names.size(); ++i) {
            TokenLinear::describe(d.at(names[i]), i == 0 ? in : hidden, i + 1 == names.size() ? out : hidden);
        }
    }
    EFFICIENTVIT_COLD void pack(const Packer& p, const std::vector<std::string>& names, int in, int hidden, int out) {
        hidden_ = token_channels(hidden);
        layers_.resize(names.size());
        for (std::size_t i = 0; i < names.size(); ++i) {
            layers_[i].pack(p.at(names[i]), i == 0 ? token_channels(in) : hidden_,
                            i + 1 == names.size() ? token_channels(out) : hidden_);
        }
    }
    /// y = mlp(x) + residual. y may be x or residual.
    void run(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual = nullptr) const {
        const Workspace::Frame frame(session.workspace);
        FeatureMap from = x;
        for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
            const FeatureMap to = new_token_map(session, hidden_, x.width);
            layers_[i].run(session, from, to, kernels::Act::relu);
            from = to;
        }
        layers_.back().run(session, from, y, kernels::Act::none, residual);
    }

private:
    ChannelLayout hidden_;
    std::vector<TokenLinear> layers_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

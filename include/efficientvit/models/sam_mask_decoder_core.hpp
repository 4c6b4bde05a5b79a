// SPDX-License-Identifier: Apache-2.0
//
// What SAM's mask decoder does, with sizes known at run time. Masks cost as much again as all before them, so who
// decides by the predicted IoU is asked before they are made.
#pragma once

#include <efficientvit/nn/two_way_transformer.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of MaskDecoder and its TwoWayTransformer, named as in the reference.
struct MaskDecoderConfig {
    int embed_dim = 256;                ///< channels of tokens and of the image's embedding (transformer_dim)
    int depth = 2;                      ///< layers of the transformer
    int num_heads = 8;                  ///< heads of every attention
    int mlp_dim = 2048;                 ///< channels within the transformer's MLPs
    int attention_downsample_rate = 2;  ///< embed_dim / channels within attention between tokens and image
    int num_multimask_outputs = 3;      ///< masks of an ambiguous prompt; there is one more for the others
    int iou_head_depth = 3;             ///< linear layers that predict the IoU
    int iou_head_hidden_dim = 256;      ///< channels between them
    double norm_eps = 1e-6;  ///< of the transformer's norms: 1e-6 in EfficientViT-SAM, 1e-5 in SAM, MobileSAM, MedSAM
};

/// Told of each prompt as its masks are made, perhaps by several threads at once, each for prompts of its own. Must not
/// throw.
class MaskSink {
public:
    virtual ~MaskSink() = default;
    /// The predicted IoU of each mask of prompt `i` is there; whether the masks are wanted.
    virtual bool wants_masks(int i, std::span<const float> iou) noexcept = 0;
    /// The masks of prompt `i`: iou.size() planes of logits, of four times the embedding's rows and columns, row-major.
    virtual void take_masks(int i, std::span<const float> iou, const float* low_res) noexcept = 0;
};

namespace detail {

/// The masks of a prompt among all that the decoder has tokens for.
struct MaskRange {
    int first = 0, count = 1;
};

/// What MaskDecoder does, with sizes known at run time: one compiled copy for every network.
class MaskDecoderCore {
public:
    EFFICIENTVIT_COLD static void describe(const Describer& d, const MaskDecoderConfig& c) {
        const int masks = c.num_multimask_outputs + 1, dim = c.embed_dim;
        TwoWayTransformer::describe(d.at("transformer"), transformer_config(c));
        d.add("iou_token.weight", {1, dim});
        d.add("mask_tokens.weight", {masks, dim});
        const Describer up = d.at("output_upscaling");
        up.at(0).add("weight", {dim, dim / 4, 2, 2});
        up.at(0).add("bias", {dim / 4});
        TokenNorm::describe(up.at(1), dim / 4);
        up.at(3).add("weight", {dim / 4, dim / 8, 2, 2});
        up.at(3).add("bias", {dim / 8});
        for (int i = 0; i < masks; ++i) {
            TokenMlp::describe(d.at("output_hypernetworks_mlps").at(i).at("layers"), numbers(3), dim, dim, dim / 8);
        }
        TokenMlp::describe(d.at("iou_prediction_head").at("layers"), numbers(c.iou_head_depth), dim,
                           c.iou_head_hidden_dim, masks);
    }

    EFFICIENTVIT_COLD void pack(const Packer& p, const MaskDecoderConfig& c) {
        config_ = c;
        const int dim = c.embed_dim;
        transformer_.pack(p.at("transformer"), transformer_config(c));
        iou_token_ = p.weights.read("iou_token.weight", dim, 0);
        mask_tokens_ = p.weights.read("mask_tokens.weight", masks() * dim, 0);
        const Packer up = p.at("output_upscaling");
        pack_upscaling(up.at(0), dim, dim / 4, p.kernels->operands, upscale_[0]);
        upscale_norm_.pack(up.at(1), dim / 4, 1e-6);  // LayerNorm2d, in every published SAM
        pack_upscaling(up.at(3), dim / 4, dim / 8, p.kernels->operands, upscale_[1]);
        hypernetworks_.resize(static_cast<std::size_t>(masks()));
        for (int i = 0; i < masks(); ++i) {
            hypernetworks_[static_cast<std::size_t>(i)].pack(p.at("output_hypernetworks_mlps").at(i).at("layers"),
                                                             numbers(3), dim, dim, dim / 8);
        }
        iou_head_.pack(p.at("iou_prediction_head").at("layers"), numbers(c.iou_head_depth), dim, c.iou_head_hidden_dim,
                       masks());
    }

    const MaskDecoderConfig& config() const { return config_; }
    const TwoWayTransformer& transformer() const { return transformer_; }
    int masks() const { return config_.num_multimask_outputs + 1; }
    /// Those of an ambiguous prompt, or the one for others.
    MaskRange range(bool multimask) const {
        return multimask ? MaskRange{1, config_.num_multimask_outputs} : MaskRange{0, 1};
    }

    /// One prompt: `count` tokens of embed_dim floats. The image has `extent` places.
    void decode(Session& session, const TwoWayImage& image, Extent extent, const float* sparse, int count,
                MaskRange range, int index, MaskSink& sink) const {
        const Workspace::Frame frame(session.workspace);
        const ChannelLayout channels = token_channels(config_.embed_dim);
        const FeatureMap tokens = new_token_map(session, channels, 1 + masks() + count);
        const FeatureMap places = new_place_map(session, channels, image.places.width);
        if (!session.measuring()) fill_tokens(sparse, tokens);
        transformer_.run(session, image, tokens, places);

        float* const iou = session.workspace.take(masks());
        predict_iou(session, tokens, iou);
        const std::span<const float> predicted(iou + range.first, static_cast<std::size_t>(range.count));
        if (!session.measuring() && !sink.wants_masks(index, predicted)) return;

        const int hyper_floats = upper_channels().blocks() * token_block;
        float* const hyper = session.workspace.take(Index{range.count} * hyper_floats);
        for (int i = 0; i < range.count; ++i) {
            run_hypernetwork(session, tokens, range.first + i, hyper + Index{i} * hyper_floats);
        }
        const Index planes = Index{range.count} * 16 * image.places.width;
        float* const low_res = session.workspace.take(planes);
        upscale(session, places, extent, hyper, range.count, low_res);
        if (!session.measuring()) sink.take_masks(index, predicted, low_res);
    }

private:
    static TwoWayConfig transformer_config(const MaskDecoderConfig& c) {
        return {c.depth, c.embed_dim, c.num_heads, c.mlp_dim, c.attention_downsample_rate, c.norm_eps};
    }
    static std::vector<std::string> numbers(int count) {
        std::vector<std::string> out;
        for (int i = 0; i < count; ++i) out.push_back(std::to_string(i));
        return out;
    }
    ChannelLayout middle_channels() const { return token_channels(config_.embed_dim / 4); }
    ChannelLayout upper_channels() const { return token_channels(config_.embed_dim / 8); }

    /// ConvTranspose2d of 2x2 with stride 2: a product that gives each place its four, in the order of dy, dx, each in
    /// blocks of its own.
    EFFICIENTVIT_COLD static void pack_upscaling(const Packer& p, int in, int out, kernels::Operands operands,
                                                 TokenLinear& layer) {
        const std::vector<float> weight = p.weights.read("weight", in * out * 4, 0),
                                 bias = p.weights.read("bias", out, 0);
        std::vector<float> rows(weight.size());
        Folded turned{p.weights.full_name("weight"), rows, {}};
        for (int part = 0; part < 4; ++part) {
            for (int o = 0; o < out; ++o) {
                for (int i = 0; i < in; ++i) {
                    rows[static_cast<std::size_t>((part * out + o) * in + i)] =
                        weight[static_cast<std::size_t>((i * out + o) * 4 + part)];
                }
            }
            turned.bias.insert(turned.bias.end(), bias.begin(), bias.end());
        }
        layer.pack(*p.memory, turned, token_channels(in), head_channels(4, out), operands);
    }

    void fill_tokens(const float* sparse, const FeatureMap& tokens) const {
        const int dim = config_.embed_dim;
        std::fill_n(tokens.data, tokens.floats(), 0.0f);
        for (int t = 0; t < tokens.width; ++t) {
            const float* const from = t == 0         ? iou_token_.data()
                                      : t <= masks() ? mask_tokens_.data() + Index{t - 1} * dim
                                                     : sparse + Index{t - 1 - masks()} * dim;
            for (int c = 0; c < dim; ++c) {
                tokens.data[c / token_block * tokens.block_stride() + Index{t} * token_block + c % token_block] =
                    from[c];
            }
        }
    }

    /// One token in a map of its own.
    static FeatureMap copy_token(Session& session, const FeatureMap& tokens, int token) {
        FeatureMap one = tokens;
        one.width = 1;
        session.workspace.place(one);
        if (session.measuring()) return one;
        for (int b = 0; b < tokens.blocks(); ++b) {
            std::copy_n(tokens.data + b * tokens.block_stride() + Index{token} * token_block, token_block,
                        one.data + Index{b} * token_block);
        }
        return one;
    }

    void predict_iou(Session& session, const FeatureMap& tokens, float* iou) const {
        const Workspace::Frame frame(session.workspace);
        const FeatureMap token = copy_token(session, tokens, 0);
        const FeatureMap out = new_token_map(session, token_channels(masks()), 1);
        iou_head_.run(session, token, out);
        if (!session.measuring()) std::copy_n(out.data, masks(), iou);
    }

    void run_hypernetwork(Session& session, const FeatureMap& tokens, int mask, float* hyper) const {
        const Workspace::Frame frame(session.workspace);
        const FeatureMap token = copy_token(session, tokens, 1 + mask);
        const FeatureMap out = new_token_map(session, upper_channels(), 1);
        hypernetworks_[static_cast<std::size_t>(mask)].run(session, token, out);
        if (!session.measuring()) std::copy_n(out.data, out.floats(), hyper);
    }

    /// A product of upscaling, `pixels` pixels of blocks without gaps into such.
    static void multiply(const Session& session, const TokenLinear& layer, const Run& x, int x_blocks, float* y,
                         int pixels, float* rounded) {
        kernels::Pointwise a;
        a.x = x.data;
        a.x_block_stride = x.block_stride;
        a.channels = layer.in_lanes();
        a.weights = layer.packed().weights.data();
        a.bias = layer.packed().bias.data();
        a.y = y;
        a.y_block_stride = a.y_row_stride = Index{pixels} * token_block;
        a.y_blocks = static_cast<int>(layer.packed().bias.size()) / token_block;
        a.y_width = a.pixels = pixels;
        set_operand(session, a, x_blocks, rounded);
        session.kernels.pointwise(a);
    }

    /// A row of places at a time, to the masks' four rows.
    void upscale(Session& session, const FeatureMap& places, Extent extent, const float* hyper, int masks,
                 float* low_res) const {
        const Workspace::Frame frame(session.workspace);
        const int width = extent.width;
        const Index line = Index{width} * token_block, plane = 16 * Index{extent.height} * width;
        const int middle = middle_channels().blocks(), upper = upper_channels().blocks();
        const kernels::Operands operands = session.kernels.operands;
        const Index rounded =
            rounds(session) ? kernels::rounded_words(operands, places.blocks() * token_block, width) : 0;
        const Index each = 4 * line * (middle + upper) + rounded;
        float* const scratch = session.workspace.take(each * session.workers());
        session.parallel(extent.height, [&](int row, int worker) {
            float* const twice = scratch + each * worker;
            float* const four_times = twice + 4 * line * middle;
            float* const words = four_times + 4 * line * upper;
            multiply(session, upscale_[0], Run::of(places, row * width), places.blocks(), twice, width, words);
            for (int part = 0; part < 4; ++part) {
                float* const x = twice + Index{part} * middle * line;
                upscale_norm_.run(session, x, line, width, true);
                multiply(session, upscale_[1], {x, line}, middle, four_times, width, words);
                for (int quarter = 0; quarter < 4; ++quarter) {
                    kernels::MaskProduct a;
                    a.x = four_times + Index{quarter} * upper * line;
                    a.x_block_stride = line;
                    a.x_blocks = upper;
                    a.pixels = width;
                    a.hyper = hyper;
                    a.masks = masks;
                    const Index y = 4 * Index{row} + part / 2 * 2 + quarter / 2;
                    a.y = low_res + y * 4 * width + part % 2 * 2 + quarter % 2;
                    a.y_mask_stride = plane;
                    a.y_stride = 4;
                    kernels::mask_product(session.kernels, a);
                }
            }
        });
    }

    MaskDecoderConfig config_;
    TwoWayTransformer transformer_;
    std::vector<float> iou_token_, mask_tokens_;
    std::array<TokenLinear, 2> upscale_;
    TokenNorm upscale_norm_;
    std::vector<TokenMlp> hypernetworks_;
    TokenMlp iou_head_;
};

/// Calls one(session, i) for each of `count` prompts: a prompt a worker where there are enough of them, each then with
/// a session of its own, so that nobody waits for anybody; else all workers at one prompt.
template <class F>
void for_each_prompt(Session& session, int count, const F& one) {
    if (session.workers() == 1 || count < session.workers()) {
        for (int i = 0; i < count; ++i) one(session, i);
        return;
    }
    Workspace nothing;
    Session measuring(nothing, session.kernels, nullptr, 1, nullptr);
    for (int i = 0; i < count; ++i) one(measuring, i);
    const Index each = (nothing.peak() + 15) / 16 * 16;
    float* const memory = session.workspace.take(each * session.workers());
    session.parallel(count, [&](int i, int worker) {
        Workspace part(memory + each * worker);
        Session alone(part, session.kernels, nullptr, 1, nullptr);
        one(alone, i);
    });
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

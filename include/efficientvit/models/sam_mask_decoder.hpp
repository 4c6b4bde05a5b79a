// SPDX-License-Identifier: Apache-2.0
//
// SAM's mask decoder (arXiv 2304.02643): an image's embedding and a prompt's tokens become masks and their predicted
// IoU. Masks cost as much again as all before them, so who decides by the IoU is asked before they are made.
#pragma once

#include <efficientvit/nn/two_way_transformer.hpp>

#include <array>
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
        iou_token_ = read_or(p, "iou_token.weight", dim, 0);
        mask_tokens_ = read_or(p, "mask_tokens.weight", masks() * dim, 0);
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
        const std::vector<float> weight = read_or(p, "weight", in * out * 4, 0), bias = read_or(p, "bias", out, 0);
        std::vector<float> turned(weight.size()), biases;
        for (int part = 0; part < 4; ++part) {
            for (int o = 0; o < out; ++o) {
                for (int i = 0; i < in; ++i) {
                    turned[static_cast<std::size_t>((part * out + o) * in + i)] =
                        weight[static_cast<std::size_t>((i * out + o) * 4 + part)];
                }
            }
            biases.insert(biases.end(), bias.begin(), bias.end());
        }
        layer.pack(turned, biases, token_channels(in), head_channels(4, out), operands);
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
        const Index rounded = rounds(session) ? kernels::rounded_words(places.blocks() * token_block, width) : 0;
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

/// How MaskDecoder::forward decodes.
struct MaskDecoderOptions {
    bool multimask_output = true;  ///< the masks of an ambiguous prompt, else the one for others
};

/// Masks and predicted IoUs of prompts. State dict: transformer.…, iou_token.weight, mask_tokens.weight,
/// output_upscaling.…, output_hypernetworks_mlps.<i>.layers.<j>…, iou_prediction_head.layers.<j>…; SAM's, MobileSAM's
/// and MedSAM's files have the same names below `mask_decoder.`, and want a norm_eps of 1e-5.
template <MaskDecoderConfig C>
class MaskDecoder : public Loadable<MaskDecoder<C>> {
    static_assert(C.embed_dim > 0 && C.embed_dim % 8 == 0, "MaskDecoder: embed_dim must be a multiple of 8");
    static_assert(C.num_heads > 0 && C.attention_downsample_rate > 0 &&
                      C.embed_dim % (C.num_heads * C.attention_downsample_rate) == 0,
                  "MaskDecoder: embed_dim must be a multiple of num_heads * attention_downsample_rate");
    static_assert(C.depth > 0 && C.mlp_dim > 0 && C.num_multimask_outputs > 0 && C.iou_head_depth > 0 &&
                      C.iou_head_hidden_dim > 0,
                  "MaskDecoder: depths and widths must be positive");

public:
    /// Its configuration.
    static constexpr MaskDecoderConfig config = C;

    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) { detail::MaskDecoderCore::describe(d, C); }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) { core_.pack(p, C); }

    /// As in the reference, for one image and B prompts of equally many tokens: image_embeddings and image_pe of
    /// (1, embed_dim, H, W), sparse of (B, 1, tokens, embed_dim), dense of (1 or B, embed_dim, H, W), what
    /// PromptEncoder gives, to masks (B, M, 4 H, 4 W), logits, and iou (B, M, 1, 1), M of num_multimask_outputs or 1.
    /// Throws ShapeError, WeightsError.
    void forward(const ConstTensorView& image_embeddings, const ConstTensorView& image_pe,
                 const ConstTensorView& sparse, const ConstTensorView& dense, const MaskDecoderOptions& options,
                 Tensor& masks, Tensor& iou, Context& context) const {
        using detail::FeatureMap;
        const kernels::Table& table = this->kernels();
        const Shape& s = image_embeddings.shape;
        const int prompts = static_cast<int>(sparse.shape.n);
        detail::check_input(image_embeddings, C.embed_dim, "MaskDecoder::forward");
        check("image_embeddings", s, {1, C.embed_dim, s.h, s.w});
        check("image_pe", image_pe.shape, s);
        check("sparse", sparse.shape, {sparse.shape.n, 1, sparse.shape.h, C.embed_dim});
        check("dense", dense.shape, {dense.shape.n == prompts ? prompts : 1, C.embed_dim, s.h, s.w});
        const detail::Extent extent{static_cast<int>(s.h), static_cast<int>(s.w)};
        const detail::MaskRange range = core_.range(options.multimask_output);
        detail::resize(masks, {prompts, range.count, 4 * s.h, 4 * s.w});
        detail::resize(iou, {prompts, range.count, 1, 1});
        Copy sink(masks, iou);
        context.run(table, [&](detail::Session& session) {
            const FeatureMap positions = places_of(session, image_pe, 0);
            detail::for_each_prompt(session, prompts, [&](detail::Session& own, int i) {
                const detail::Workspace::Frame frame(own.workspace);
                const FeatureMap embedding = places_of(own, image_embeddings, 0);
                const FeatureMap added = places_of(own, dense, dense.shape.n == prompts ? i : 0);
                detail::add_maps(own, embedding, added, embedding);
                const auto tokens = static_cast<int>(sparse.shape.h);
                core_.decode(own, {.places = embedding, .positions = positions}, extent,
                             sparse.data + std::ptrdiff_t{i} * tokens * C.embed_dim, tokens, range, i, sink);
            });
        });
    }

    /// What it does, for whoever has sizes at run time.
    const detail::MaskDecoderCore& core() const { return core_; }

private:
    /// Writes into forward's tensors.
    class Copy final : public MaskSink {
    public:
        Copy(Tensor& masks, Tensor& iou) : masks_(masks), iou_(iou) {}
        bool wants_masks(int, std::span<const float>) noexcept override { return true; }
        void take_masks(int i, std::span<const float> iou, const float* low_res) noexcept override {
            const auto count = static_cast<std::ptrdiff_t>(iou.size());
            std::copy(iou.begin(), iou.end(), iou_.data() + i * count);
            const std::ptrdiff_t floats = masks_.size() / masks_.dimension(0);
            std::copy_n(low_res, floats, masks_.data() + i * floats);
        }

    private:
        Tensor& masks_;
        Tensor& iou_;
    };

    EFFICIENTVIT_COLD static void check(const char* what, const Shape& found, const Shape& expected) {
        if (found == expected) return;
        throw ShapeError(detail::concat({"MaskDecoder::forward: ", what, " is ", detail::to_string(found),
                                         ", expected ", detail::to_string(expected)}));
    }

    /// Image n of x as a map of places.
    static detail::FeatureMap places_of(detail::Session& session, const ConstTensorView& x, int n) {
        detail::FeatureMap planar = detail::planar_map(x);
        const detail::FeatureMap map = detail::new_place_map(session, detail::token_channels(C.embed_dim),
                                                             static_cast<int>(x.shape.h * x.shape.w));
        if (session.measuring()) return map;
        planar.width *= planar.height;
        planar.height = 1;
        for (int b = 0; b < map.blocks(); ++b) {
            detail::FeatureMap to = map;
            to.channels = C.embed_dim;
            detail::FeatureMap from = planar;
            from.data = planar.image(n);
            detail::to_blocked(from, to, 0, b);
        }
        return map;
    }

    detail::MaskDecoderCore core_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

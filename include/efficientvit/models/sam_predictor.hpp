// SPDX-License-Identifier: Apache-2.0
//
// SamPredictor of the reference: click on a picture, get the mask. Optional, not part of efficientvit.hpp. A picture is
// encoded once; what its prompts share is computed with it.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/images/masks.hpp>
#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/models/any_sam.hpp>
#include <efficientvit/models/sam.hpp>
#include <efficientvit/models/sam_output_check.hpp>
#include <efficientvit/models/sam_picture.hpp>
#include <efficientvit/models/sam_prompt.hpp>
#include <efficientvit/models/sam_prompt_check.hpp>
#include <efficientvit/models/sam_saved_embedding.hpp>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// How predict() answers.
struct SamPredictOptions {
    bool return_logits = false;  ///< fill logits too
};

/// The answer to one prompt: C masks, 3 or with multimask_output = false 1.
struct SamPrediction {
    std::vector<Mask> masks;  ///< of the picture's size, 1 where the logit is above 0
    std::vector<float> iou;   ///< how good each mask is thought to be
    Tensor low_res;           ///< logits, (1, C, 256, 256)
    Tensor logits;            ///< (1, C, H, W), of the picture's size, where asked for; else as it was
};

/// Answers prompts about one picture at a time. Any number of predictors, one for each thread, share a SAM, which must
/// outlive them and keep its weights.
class SamPredictor {
public:
    /// Of a SamL0 … SamXL1, an EfficientViTSam of one's own, or what make_sam() gives. Throws WeightsError where it has
    /// no weights.
    template <class Sam>
    requires requires(const Sam& sam) { detail::sam_parts(sam); }
    explicit SamPredictor(const Sam& sam) : parts_(detail::sam_parts(sam)) {}

    // ---- The picture ------------------------------------------------------------------------------------------------

    /// Encodes a picture. Throws ImageError.
    void set_image(const Image& image, Context& context) {
        reset();
        SamPreprocessing how;
        how.size = parts_.image_size;
        preprocess_sam(image, how, input_);
        set_torch_image({input_.data(), detail::shape_of(input_)}, image.size(), context);
    }
    /// The same with a Context of the calling thread's.
    void set_image(const Image& image) { set_image(image, detail::CallContext().get()); }

    /// As set_torch_image of the reference: an input (1, 3, S, S) that is preprocessed already, of a picture of this
    /// size. Throws ShapeError, ImageError.
    void set_torch_image(const ConstTensorView& input, ImageSize original, Context& context) {
        reset();
        check_original(original, "set_torch_image");
        detail::resize(picture_.embedding, embedding_shape());
        parts_.encode(parts_.sam, input, view(picture_.embedding), context);
        picture_is(original, context);
    }

    /// An embedding of before instead of a picture: (1, embed_dim, rows, columns), as get_embedding() gave it, and the
    /// size of the picture. Throws ShapeError, ImageError.
    void set_embedding(const ConstTensorView& embedding, ImageSize original, Context& context) {
        reset();
        check_original(original, "set_embedding");
        if (embedding.shape != embedding_shape() || embedding.data == nullptr) {
            throw ShapeError(
                detail::concat({"SamPredictor::set_embedding: the embedding is ", detail::to_string(embedding.shape),
                                ", expected ", detail::to_string(embedding_shape())}));
        }
        detail::resize(picture_.embedding, embedding.shape);
        std::copy_n(embedding.data, picture_.embedding.size(), picture_.embedding.data());
        picture_is(original, context);
    }
    /// The same with a Context of the calling thread's.
    void set_embedding(const ConstTensorView& embedding, ImageSize original) {
        set_embedding(embedding, original, detail::CallContext().get());
    }
    /// The same of a tensor.
    void set_embedding(const Tensor& embedding, ImageSize original) {
        set_embedding({embedding.data(), detail::shape_of(embedding)}, original);
    }

    /// The same of what embedding_state() gave: the tensor "embedding", and the picture's size in the metadata. Throws
    /// WeightsError where these are not there, ShapeError, ImageError.
    void set_embedding(const StateDict& state, Context& context) {
        const detail::SavedEmbedding saved(state, embedding_shape());
        set_embedding({saved.values.data(), saved.shape}, saved.original, context);
    }
    /// The same with a Context of the calling thread's.
    void set_embedding(const StateDict& state) { set_embedding(state, detail::CallContext().get()); }

    /// The picture's embedding and size, to save with save_safetensors(). Throws PromptError without a picture.
    StateDict embedding_state() const {
        check_is_set("embedding_state");
        return detail::SavedEmbedding::state(picture_.embedding, original_);
    }

    /// The picture's embedding, (1, embed_dim, rows, columns). Throws PromptError without a picture.
    const Tensor& get_embedding() const {
        check_is_set("get_embedding");
        return picture_.embedding;
    }

    /// Whether there is a picture.
    bool is_image_set() const { return original_.height != 0; }
    /// Forgets it.
    void reset() { original_ = {}; }
    /// The picture's size. Throws PromptError without one.
    ImageSize original_size() const {
        check_is_set("original_size");
        return original_;
    }
    /// Its size in the frame of prompts, whose long side is 1024.
    ImageSize input_size() const {
        check_is_set("input_size");
        return input_size_;
    }
    /// The shape that set_embedding() wants: (1, embed_dim, rows, columns).
    Shape embedding_shape() const {
        const PromptEncoderConfig& c = parts_.prompts->config();
        return {1, c.embed_dim, c.image_embedding_size[0], c.image_embedding_size[1]};
    }
    /// Rows and columns of low_res and of a mask_input.
    ImageSize low_res_size() const {
        const PromptEncoderConfig& c = parts_.prompts->config();
        return {4 * c.image_embedding_size[0], 4 * c.image_embedding_size[1]};
    }
    /// The long side of the frame of prompts.
    int frame_size() const { return parts_.prompts->config().input_image_size; }

    // ---- Prompts ----------------------------------------------------------------------------------------------------

    /// Masks for one prompt. Throws PromptError without a picture, and for a prompt that says nothing or points out of
    /// the picture; ShapeError for a mask_input of another shape; WeightsError for an answer that is not finite.
    SamPrediction predict(const SamPrompt& prompt, const SamPredictOptions& options, Context& context) const {
        SamPrediction out;
        predict(std::span(&prompt, 1), std::span(&out, 1), options, context);
        return out;
    }
    /// The same with a Context of the calling thread's.
    SamPrediction predict(const SamPrompt& prompt, const SamPredictOptions& options = {}) const {
        return predict(prompt, options, detail::CallContext().get());
    }
    /// The same into an answer of before, which allocates nothing where that has the size.
    void predict(const SamPrompt& prompt, SamPrediction& out, const SamPredictOptions& options,
                 Context& context) const {
        predict(std::span(&prompt, 1), std::span(&out, 1), options, context);
    }

    /// Many prompts, shared out among the Context's threads.
    std::vector<SamPrediction> predict(std::span<const SamPrompt> prompts, const SamPredictOptions& options,
                                       Context& context) const {
        std::vector<SamPrediction> out(prompts.size());
        predict(prompts, out, options, context);
        return out;
    }
    /// The same with a Context of the calling thread's.
    std::vector<SamPrediction> predict(std::span<const SamPrompt> prompts,
                                       const SamPredictOptions& options = {}) const {
        return predict(prompts, options, detail::CallContext().get());
    }
    /// The same into answers of before, one for each prompt.
    void predict(std::span<const SamPrompt> prompts, std::span<SamPrediction> out, const SamPredictOptions& options,
                 Context& context) const {
        make_room(prompts, out, options);
        Answers answers(out);
        decode(prompts, answers, context);
        enlarge(out, options, context);
    }

    /// Many prompts whose low-resolution masks go to a sink as they come, and only where it wants them: most of the
    /// cost of a prompt that is dropped for its predicted IoU is saved. Throws WeightsError where a predicted IoU or a
    /// logit is not finite, which the sink is not told of.
    void decode(std::span<const SamPrompt> prompts, MaskSink& sink, Context& context) const {
        check_is_set("predict");
        const detail::PromptCheck check(original_, low_res_size());
        for (std::size_t i = 0; i < prompts.size(); ++i) check(prompts[i], i, prompts.size());
        const detail::MaskDecoderCore& decoder = *parts_.masks;
        const ImageSize low_res = low_res_size();
        detail::FiniteSink finite(sink,
                                  static_cast<std::size_t>(low_res.height) * static_cast<std::size_t>(low_res.width));
        context.run(*parts_.table, [&](detail::Session& session) {
            detail::for_each_prompt(session, static_cast<int>(prompts.size()), [&](detail::Session& own, int i) {
                const SamPrompt& prompt = prompts[static_cast<std::size_t>(i)];
                const detail::Workspace::Frame frame(own.workspace);
                const int count = detail::PromptEncoderCore::token_count(prompt.points.size(), prompt.box.has_value());
                float* const sparse = own.workspace.take(detail::Index{count} * embedding_shape().c);
                if (!own.measuring()) embed(prompt, sparse);
                const detail::TwoWayImage image =
                    prompt.mask_input ? picture_.with_mask(parts_, own, *prompt.mask_input) : picture_.shared(parts_);
                decoder.decode(own, image, extent(), sparse, count, decoder.range(prompt.multimask_output), i, finite);
            });
        });
        finite.check(prompts.size());
    }

private:
    /// Keeps low-resolution masks as they come.
    class Answers final : public MaskSink {
    public:
        explicit Answers(std::span<SamPrediction> out) : out_(out) {}
        bool wants_masks(int, std::span<const float>) noexcept override { return true; }
        void take_masks(int i, std::span<const float> iou, const float* low_res) noexcept override {
            SamPrediction& out = out_[static_cast<std::size_t>(i)];
            std::copy(iou.begin(), iou.end(), out.iou.begin());
            std::copy_n(low_res, out.low_res.size(), out.low_res.data());
        }

    private:
        std::span<SamPrediction> out_;
    };

    void make_room(std::span<const SamPrompt> prompts, std::span<SamPrediction> out,
                   const SamPredictOptions& options) const {
        check_is_set("predict");
        if (out.size() != prompts.size()) {
            throw ShapeError(detail::concat({"SamPredictor::predict: room for ", std::to_string(out.size()),
                                             " answers, expected ", std::to_string(prompts.size())}));
        }
        for (std::size_t i = 0; i < out.size(); ++i) {
            const int count = parts_.masks->range(prompts[i].multimask_output).count;
            out[i].masks.resize(static_cast<std::size_t>(count));
            for (Mask& mask : out[i].masks) mask.resize(original_);
            out[i].iou.resize(static_cast<std::size_t>(count));
            detail::resize(out[i].low_res, {1, count, low_res_size().height, low_res_size().width});
            if (options.return_logits) {
                detail::resize(out[i].logits, {1, count, original_.height, original_.width});
            }
        }
    }

    /// Masks of the picture's size, and perhaps logits, from low_res.
    void enlarge(std::span<SamPrediction> out, const SamPredictOptions& options, Context& context) const {
        const MaskGeometry geometry{low_res_size(), frame_size(), input_size_, original_};
        for (SamPrediction& answer : out) {
            for (std::size_t i = 0; i < answer.masks.size(); ++i) {
                const auto plane = static_cast<std::ptrdiff_t>(i);
                const std::ptrdiff_t low = answer.low_res.size() / answer.low_res.dimension(1);
                float* const logits =
                    options.return_logits
                        ? answer.logits.data() + plane * std::ptrdiff_t{original_.height} * original_.width
                        : nullptr;
                enlarge_mask(answer.low_res.data() + plane * low, geometry, answer.masks[i], logits, context);
            }
        }
    }

    EFFICIENTVIT_COLD void check_is_set(const char* what) const {
        if (is_image_set()) return;
        throw PromptError(detail::concat(
            {"SamPredictor::", what, ": found no picture, expected set_image() or set_embedding() before"}));
    }
    EFFICIENTVIT_COLD static void check_original(ImageSize size, const char* what) { detail::check_size(size, what); }

    detail::Extent extent() const {
        const PromptEncoderConfig& c = parts_.prompts->config();
        return {c.image_embedding_size[0], c.image_embedding_size[1]};
    }

    /// The tokens of a prompt, whose coordinates are brought to the frame.
    void embed(const SamPrompt& prompt, float* tokens) const {
        const double across = double{1} * input_size_.width / original_.width;
        const double down = double{1} * input_size_.height / original_.height;
        std::optional<Box> box = prompt.box;
        if (box) box = {box->x0 * across, box->y0 * down, box->x1 * across, box->y1 * down};
        parts_.prompts->embed_sparse(prompt.points, box, tokens, across, down);
    }

    /// After the embedding.
    void picture_is(ImageSize original, Context& context) {
        picture_.prepare(parts_, context);
        original_ = original;
        input_size_ = sam_resized(original, frame_size());
    }

    detail::SamParts parts_;
    ImageSize original_{}, input_size_{};
    Tensor input_;
    detail::SamPicture picture_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

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

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// What is asked of a picture, in its own pixels: points, a box, a mask of before, or some of these together.
struct SamPrompt {
    std::vector<SamPoint> points{};               ///< x, y, label 1 (object), 0 (background) or -1 (no point)
    std::optional<Box> box{};                     ///< around the object
    std::optional<ConstTensorView> mask_input{};  ///< a mask of an earlier prediction's low_res, (1, 1, 256, 256)
    bool multimask_output = true;                 ///< several masks, for an ambiguous prompt such as a point; else one
};

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
        detail::resize(embedding_, embedding_shape());
        parts_.encode(parts_.sam, input, view(embedding_), context);
        prepare(original, context);
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
        detail::resize(embedding_, embedding.shape);
        std::copy_n(embedding.data, embedding_.size(), embedding_.data());
        prepare(original, context);
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
        const std::vector<float> values = to_float(state.at("embedding"));
        const std::vector<std::int64_t>& s = state.at("embedding").shape;
        const auto side = [&](const char* name) {
            const auto found = state.metadata().find(name);
            int value = 0;
            if (found != state.metadata().end()) {
                const std::string& text = found->second;
                std::from_chars(text.data(), text.data() + text.size(), value);
            }
            if (value >= 1) return value;
            throw WeightsError(detail::concat({"SamPredictor::set_embedding: found no metadata '", name,
                                               "', expected the picture's, as embedding_state() gives it"}));
        };
        if (s.size() != 4) {
            throw ShapeError(
                detail::concat({"SamPredictor::set_embedding: the embedding has ", std::to_string(s.size()),
                                " dimensions, expected ", detail::to_string(embedding_shape())}));
        }
        set_embedding({values.data(),
                       {static_cast<std::ptrdiff_t>(s[0]), static_cast<std::ptrdiff_t>(s[1]),
                        static_cast<std::ptrdiff_t>(s[2]), static_cast<std::ptrdiff_t>(s[3])}},
                      {side("height"), side("width")}, context);
    }
    /// The same with a Context of the calling thread's.
    void set_embedding(const StateDict& state) { set_embedding(state, detail::CallContext().get()); }

    /// The picture's embedding and size, to save with save_safetensors(). Throws PromptError without a picture.
    StateDict embedding_state() const {
        check_is_set("embedding_state");
        StateDict out;
        const Shape s = embedding_shape();
        out.insert("embedding", {s.n, s.c, s.h, s.w},
                   std::vector<float>(embedding_.data(), embedding_.data() + embedding_.size()));
        out.metadata()["height"] = std::to_string(original_.height);
        out.metadata()["width"] = std::to_string(original_.width);
        return out;
    }

    /// The picture's embedding, (1, embed_dim, rows, columns). Throws PromptError without a picture.
    const Tensor& get_embedding() const {
        check_is_set("get_embedding");
        return embedding_;
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
    /// the picture; ShapeError for a mask_input of another shape.
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
    /// cost of a prompt that is dropped for its predicted IoU is saved.
    void decode(std::span<const SamPrompt> prompts, MaskSink& sink, Context& context) const {
        check_is_set("predict");
        for (std::size_t i = 0; i < prompts.size(); ++i) check(prompts[i], i, prompts.size());
        const detail::MaskDecoderCore& decoder = *parts_.masks;
        context.run(*parts_.table, [&](detail::Session& session) {
            detail::for_each_prompt(session, static_cast<int>(prompts.size()), [&](detail::Session& own, int i) {
                const SamPrompt& prompt = prompts[static_cast<std::size_t>(i)];
                const detail::Workspace::Frame frame(own.workspace);
                const int count = detail::PromptEncoderCore::token_count(prompt.points.size(), prompt.box.has_value());
                float* const sparse = own.workspace.take(detail::Index{count} * embedding_shape().c);
                if (!own.measuring()) embed(prompt, sparse);
                detail::TwoWayImage image = shared_image();
                if (prompt.mask_input) image = image_with_mask(own, *prompt.mask_input);
                decoder.decode(own, image, extent(), sparse, count, decoder.range(prompt.multimask_output), i, sink);
            });
        });
    }

private:
    using FeatureMap = detail::FeatureMap;

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

    /// Throws for a prompt that cannot be answered: prompt i of `count`.
    void check(const SamPrompt& prompt, std::size_t i, std::size_t count) const {
        if (prompt.points.empty() && !prompt.box && !prompt.mask_input) {
            refuse(i, count, {" has neither points nor box nor mask_input, expected one of them"});
        }
        const auto inside = [&](const double& x, const double& y) {
            return !detail::is_nan(x) && !detail::is_nan(y) && x >= 0 && x <= original_.width && y >= 0 &&
                   y <= original_.height;
        };
        for (std::size_t j = 0; j < prompt.points.size(); ++j) {
            const SamPoint& p = prompt.points[j];
            if (p.label < -1 || p.label > 1) {
                refuse(
                    i, count,
                    {": point ", std::to_string(j), " has label ", std::to_string(p.label), ", expected 1, 0 or -1"});
            }
            if (p.label != -1 && !inside(p.x, p.y)) {
                refuse(i, count, {": point ", std::to_string(j), " is ", numbers({p.x, p.y}), expected_range()});
            }
        }
        if (prompt.box) {
            const Box& b = *prompt.box;
            if (!inside(b.x0, b.y0) || !inside(b.x1, b.y1)) {
                refuse(i, count, {": the box is ", numbers({b.x0, b.y0, b.x1, b.y1}), expected_range()});
            }
            if (!(b.x0 < b.x1 && b.y0 < b.y1)) {
                refuse(i, count,
                       {": the box is ", numbers({b.x0, b.y0, b.x1, b.y1}),
                        ", which is empty; expected x0 < x1 and y0 < y1"});
            }
        }
        if (prompt.mask_input) {
            const Shape expected{1, 1, low_res_size().height, low_res_size().width};
            if (prompt.mask_input->shape != expected || prompt.mask_input->data == nullptr) {
                throw ShapeError(detail::concat({"SamPredictor::predict: mask_input is ",
                                                 detail::to_string(prompt.mask_input->shape), ", expected ",
                                                 detail::to_string(expected)}));
            }
        }
    }

    [[noreturn]] EFFICIENTVIT_COLD static void refuse(std::size_t i, std::size_t count,
                                                      std::initializer_list<std::string_view> what) {
        const std::string which = count == 1 ? "the prompt" : detail::concat({"prompt ", std::to_string(i)});
        throw PromptError(detail::concat({"SamPredictor::predict: ", which, detail::concat(what)}));
    }
    EFFICIENTVIT_COLD std::string expected_range() const {
        return detail::concat({", expected x in [0, ", std::to_string(original_.width), "] and y in [0, ",
                               std::to_string(original_.height), "]"});
    }
    /// "(30.5, 4)"
    EFFICIENTVIT_COLD static std::string numbers(std::initializer_list<double> values) {
        std::string out;
        for (const double value : values) {
            std::string text = std::to_string(value);
            while (text.find('.') != std::string::npos && (text.back() == '0' || text.back() == '.')) {
                const bool dot = text.back() == '.';
                text.pop_back();
                if (dot) break;
            }
            out += detail::concat({out.empty() ? "(" : ", ", text});
        }
        return out + ")";
    }

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

    /// After embedding_: what all prompts of the picture share.
    void prepare(ImageSize original, Context& context) {
        const detail::TwoWayTransformer& transformer = parts_.masks->transformer();
        const auto make = [&](detail::AlignedBuffer<float>& buffer, const detail::ChannelLayout& layout) {
            detail::place_map_in(buffer, layout, parts_.prompts->places());
        };
        make(places_, transformer.channels());
        for (detail::AlignedBuffer<float>* buffer : {&keys_, &values_, &queries_}) {
            make(*buffer, transformer.projected_channels());
        }
        context.run(*parts_.table, [&](detail::Session& session) {
            const detail::TwoWayImage image = shared_image();
            if (!session.measuring()) {
                const std::span<const float> no_mask = parts_.prompts->no_mask();
                place_embedding(image.places);
                for (int b = 0; b < image.places.blocks(); ++b) {
                    float added[detail::token_block] = {};
                    const std::size_t first = static_cast<std::size_t>(b) * detail::token_block;
                    for (std::size_t i = 0; i < detail::token_block && first + i < no_mask.size(); ++i) {
                        added[i] = no_mask[first + i];
                    }
                    float* const y = image.places.data + b * image.places.block_stride();
                    for (std::ptrdiff_t i = 0; i < std::ptrdiff_t{image.places.width} * detail::token_block; ++i) {
                        y[i] += added[i % detail::token_block];
                    }
                }
            }
            transformer.project(session, image);
        });
        original_ = original;
        input_size_ = sam_resized(original, frame_size());
    }

    /// The embedding as a map of places.
    void place_embedding(const FeatureMap& places) const {
        FeatureMap from = detail::planar_map({embedding_.data(), {1, embedding_shape().c, 1, places.width}});
        FeatureMap to = places;
        to.channels = from.channels;
        for (int b = 0; b < places.blocks(); ++b) detail::to_blocked(from, to, 0, b);
    }

    detail::TwoWayImage shared_image() const {
        const detail::TwoWayTransformer& transformer = parts_.masks->transformer();
        const auto map = [&](const detail::AlignedBuffer<float>& buffer, const detail::ChannelLayout& layout) {
            FeatureMap out = detail::place_map(layout, parts_.prompts->places());
            out.data = const_cast<float*>(buffer.data()) + detail::token_block;  // prepare() writes, prompts read
            return out;
        };
        return {map(places_, transformer.channels()), parts_.prompts->positions(),
                map(keys_, transformer.projected_channels()), map(values_, transformer.projected_channels()),
                map(queries_, transformer.projected_channels())};
    }

    /// The places of a prompt that has a mask.
    detail::TwoWayImage image_with_mask(detail::Session& session, const ConstTensorView& mask) const {
        const FeatureMap places =
            detail::new_place_map(session, parts_.masks->transformer().channels(), parts_.prompts->places());
        if (!session.measuring()) place_embedding(places);
        parts_.prompts->add_mask(session, mask.data, places);
        return {.places = places, .positions = parts_.prompts->positions()};
    }

    detail::SamParts parts_;
    ImageSize original_{}, input_size_{};
    Tensor input_, embedding_;
    detail::AlignedBuffer<float> places_, keys_, values_, queries_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

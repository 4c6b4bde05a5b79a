// SPDX-License-Identifier: Apache-2.0
//
// A whole SAM whose type is forgotten, and what a predictor needs of any. Which SAMs there are is make_sam.hpp's.
#pragma once

#include <efficientvit/models/sam.hpp>

#include <string>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// A SAM as SamPredictor sees it: pointers into one that outlives it.
struct SamParts {
    const void* sam = nullptr;
    void (*encode)(const void* sam, const ConstTensorView& input, const TensorView& embedding,
                   Context& context) = nullptr;
    const PromptEncoderCore* prompts = nullptr;
    const MaskDecoderCore* masks = nullptr;
    const kernels::Table* table = nullptr;
    int image_size = 0;
};

/// Throws WeightsError before load_state_dict().
template <class Encoder, SamConfig C>
SamParts sam_parts(const EfficientViTSam<Encoder, C>& sam) {
    using Sam = EfficientViTSam<Encoder, C>;
    return {&sam,
            [](const void* that, const ConstTensorView& input, const TensorView& embedding, Context& context) {
                static_cast<const Sam*>(that)->image_encoder().forward(input, embedding, context);
            },
            &sam.prompt_encoder().core(),
            &sam.mask_decoder().core(),
            &sam.table(),
            C.image_size};
}

}  // namespace detail

/// Any SAM. Made by make_sam(), or from a type of one's own: `AnySamOf<Mine> sam("mine");`.
class AnySam {
public:
    /// What name() will say; for derived classes.
    explicit AnySam(std::string name) : name_(std::move(name)) {}
    AnySam(const AnySam&) = delete;
    AnySam& operator=(const AnySam&) = delete;
    virtual ~AnySam() = default;

    /// As make_sam() was asked.
    const std::string& name() const { return name_; }
    /// Rows and columns of the image encoder's input.
    virtual int image_size() const = 0;
    /// Names and shapes of the state dict. This and what follows is as in Loadable (nn/module.hpp), errors too.
    virtual std::vector<Parameter> parameters() const = 0;
    /// Takes the weights; on WeightsError the SAM is as before.
    virtual LoadReport load_state_dict(const StateDict& weights, const LoadOptions& options = {}) = 0;
    /// Whether it has weights.
    virtual bool loaded() const = 0;
    /// The instruction set that they are packed for.
    virtual Isa isa() const = 0;
    /// What multiplies.
    virtual std::string_view precision() const = 0;
    /// For SamPredictor.
    virtual detail::SamParts parts() const = 0;

private:
    std::string name_;
};

/// A SAM of this type as an AnySam.
template <class Sam>
class AnySamOf final : public AnySam {
public:
    using AnySam::AnySam;

    /// The SAM itself.
    const Sam& sam() const { return sam_; }

    int image_size() const override { return Sam::config.image_size; }
    std::vector<Parameter> parameters() const override { return Sam::parameters(); }
    LoadReport load_state_dict(const StateDict& weights, const LoadOptions& options = {}) override {
        return sam_.load_state_dict(weights, options);
    }
    bool loaded() const override { return sam_.loaded(); }
    Isa isa() const override { return sam_.isa(); }
    std::string_view precision() const override { return sam_.precision(); }
    detail::SamParts parts() const override { return detail::sam_parts(sam_); }

private:
    Sam sam_;
};

namespace detail {
inline SamParts sam_parts(const AnySam& sam) { return sam.parts(); }
}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// A network whose type is forgotten, for programs that choose at run time. What it costs is one virtual call a forward:
// inside, everything is as it was compiled. From a type it is made by any_model_of.hpp; which networks there are is
// make_model.hpp's.
#pragma once

#include <efficientvit/models/features.hpp>
#include <efficientvit/models/model_info.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// What output i of such a network is called.
inline const char* output_name(const ModelInfo& info, std::size_t i) {
    constexpr const char* stages[] = {"stage0", "stage1", "stage2", "stage3", "stage4",  "stage5",
                                      "stage6", "stage7", "stage8", "stage9", "stage10", "stage11"};
    static_assert(std::size(stages) == std::size_t{IntList::capacity});
    switch (info.task) {
        case Task::classification:
            return info.n_classes == 0 ? "pre_logits" : "logits";
        case Task::segmentation:
            return "segout";
        case Task::image_encoder:
            return "image_embeddings";
        case Task::backbone:
            break;
    }
    return stages[i];
}

}  // namespace detail

/// Any network of this library. Made by make_model(), or from a type of one's own: `AnyModelOf<Mine> model({.name =
/// "mine"});`.
class AnyModel {
public:
    /// What an output will be.
    struct Output {
        std::string name;  ///< as in forward's result
        Shape shape;       ///< N, C, H, W
    };

    /// What info() will say; for derived classes.
    explicit AnyModel(ModelInfo info) : info_(std::move(info)) {}
    AnyModel(const AnyModel&) = delete;
    AnyModel& operator=(const AnyModel&) = delete;
    virtual ~AnyModel() = default;

    /// What it is, and what pictures it expects.
    const ModelInfo& info() const { return info_; }

    /// Names and shapes of the state dict. This and what follows is as in Module (nn/module.hpp), errors too.
    virtual std::vector<Parameter> parameters() const = 0;
    /// Takes the weights, of any number of classes, which info() says afterwards; on WeightsError the model is as
    /// before.
    virtual LoadReport load_state_dict(const StateDict& weights, const LoadOptions& options = {}) = 0;
    /// Whether it has weights.
    virtual bool loaded() const = 0;
    /// The instruction set that they are packed for.
    virtual Isa isa() const = 0;
    /// What multiplies.
    virtual std::string_view precision() const = 0;
    /// Bytes of scratch memory that forward and what is like it take at most in this Context for an input of this
    /// shape.
    virtual std::uint64_t workspace_bytes(const Shape& input, const Context& context) const = 0;

    /// Names and shapes of what forward gives for an input of this shape. Throws ShapeError where that does not fit.
    virtual std::vector<Output> outputs(const Shape& input) const = 0;

    /// Every output of an NCHW tensor, map or view. Const: any number of threads may share a model, each with a Context
    /// of its own. Throws ShapeError, WeightsError.
    template <class X>
    NamedTensors forward(const X& x, Context& context) const {
        NamedTensors y;
        forward(x, y, context);
        return y;
    }
    /// The same with a Context of the calling thread's.
    template <class X>
    NamedTensors forward(const X& x) const {
        return forward(x, detail::CallContext().get());
    }
    /// The same into tensors that are resized only where their shape differs.
    template <class X>
    void forward(const X& x, NamedTensors& y, Context& context) const {
        const auto in = view(x);
        forward_all({in.data, in.shape}, y, context);
    }

    /// The last output alone, written where `y` lies: a backbone's stage_final, all that other networks have. Throws
    /// ShapeError unless y has the shape of outputs(x.shape).back().
    virtual void forward_final(const ConstTensorView& x, const TensorView& y, Context& context) const = 0;

    /// The stage of a backbone that is called so in forward's result ("stage2", "stage_final"), alone: no later stage
    /// is computed. Into a Tensor, which is resized where its shape differs, or a view, whose shape must fit. Throws
    /// Error where there is no such stage, and says which there are; ShapeError, WeightsError.
    template <class X, class Y>
    void forward_stage(std::string_view stage, const X& x, Y&& y, Context& context) const {
        const auto in = view(x);
        const int number = stage_number(stage);
        const TensorView out = detail::output_view(y, stage_shape(number, in.shape), "forward_stage");
        compute_stage(number, {in.data, in.shape}, out, context);
    }
    /// The same with a result of its own.
    template <class X>
    Tensor forward_stage(std::string_view stage, const X& x, Context& context) const {
        Tensor y;
        forward_stage(stage, x, y, context);
        return y;
    }

    /// The shape of forward_pre_logits' result, (N, features, 1, 1). Throws Error for a model that is no classifier,
    /// ShapeError.
    virtual Shape pre_logits_shape(const Shape& /*input*/) const { refuse_pre_logits(); }
    /// The input of a classifier's last layer, a picture's embedding; all that forward gives where info().n_classes is
    /// 0. Arguments and errors are forward_stage's.
    template <class X, class Y>
    void forward_pre_logits(const X& x, Y&& y, Context& context) const {
        const auto in = view(x);
        const TensorView out = detail::output_view(y, pre_logits_shape(in.shape), "forward_pre_logits");
        compute_pre_logits({in.data, in.shape}, out, context);
    }
    /// The same with a result of its own.
    template <class X>
    Tensor forward_pre_logits(const X& x, Context& context) const {
        Tensor y;
        forward_pre_logits(x, y, context);
        return y;
    }

protected:
    /// Says how many classes the weights have.
    void set_classes(int n_classes) { info_.n_classes = n_classes; }

    /// What forward does, without its templates.
    virtual void forward_all(const ConstTensorView& x, NamedTensors& y, Context& context) const = 0;
    /// How many stages a backbone has; 0 for other networks.
    virtual int stages() const { return 0; }
    /// The shape of a backbone's stage for an input of this shape. Throws ShapeError.
    virtual Shape stage_shape(int /*stage*/, const Shape& input) const { return input; }
    /// What forward_stage does, likewise; the stage is there, and y has its shape.
    virtual void compute_stage(int /*stage*/, const ConstTensorView& /*x*/, const TensorView& /*y*/,
                               Context& /*context*/) const {}
    /// What forward_pre_logits does, likewise.
    virtual void compute_pre_logits(const ConstTensorView& /*x*/, const TensorView& /*y*/, Context& /*context*/) const {
        refuse_pre_logits();
    }

private:
    int stage_number(std::string_view stage) const {
        for (int i = 0; i < stages(); ++i) {
            if (detail::output_name(info_, static_cast<std::size_t>(i)) == stage) return i;
        }
        if (stage != "stage_final" || stages() == 0) refuse_stage(stage);
        return stages() - 1;
    }
    [[noreturn]] EFFICIENTVIT_COLD void refuse_stage(std::string_view stage) const {
        const std::string where = detail::concat({"forward_stage: ", info_.name, " has no ", detail::in_quotes(stage)});
        if (stages() == 0) {
            throw Error(detail::concat({where, ": it gives ", detail::output_name(info_, 0),
                                        "; its backbone has stages, and loads the same weights"}));
        }
        std::string names;
        for (int i = 0; i < stages(); ++i)
            names += detail::concat({i == 0 ? "" : ", ", detail::output_name(info_, static_cast<std::size_t>(i))});
        throw Error(detail::concat({where, "; there are ", names, " and stage_final"}));
    }
    [[noreturn]] EFFICIENTVIT_COLD void refuse_pre_logits() const {
        throw Error(detail::concat({"forward_pre_logits: ", info_.name, " is no classifier"}));
    }

    ModelInfo info_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

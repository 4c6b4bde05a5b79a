// SPDX-License-Identifier: Apache-2.0
//
// What backbones share whatever they are made of: stages in turn, and a tensor of each. Not an architecture.
#pragma once

#include <efficientvit/nn/op_sequential.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// The maps of a backbone's stages, NCHW: stage0 (the stem) to the last, which is stage_final too.
template <int Count>
class StageFeatures {
public:
    /// Stage Nth, checked at compile time.
    template <int Nth>
    const Tensor& stage() const {
        static_assert(Nth >= 0 && Nth < Count, "Features: this backbone has no such stage");
        return tensors_[Nth];
    }
    /// The last stage.
    const Tensor& stage_final() const { return tensors_[Count - 1]; }

    /// By the reference's name: "stage0" … "stage_final". Throws Error for any other.
    const Tensor& operator[](std::string_view name) const {
        if (name == "stage_final") return stage_final();
        for (int i = 0; i < Count; ++i) {
            if (name == detail::concat({"stage", std::to_string(i)})) return tensors_[static_cast<std::size_t>(i)];
        }
        throw Error(detail::concat(
            {"Features: no '", name, "'; there are stage0 to stage", std::to_string(Count - 1), " and stage_final"}));
    }

    /// Number of stages.
    static constexpr int size() { return Count; }
    /// By number. Throws Error where there is no such stage.
    const Tensor& operator[](int i) const { return tensors_[checked(i)]; }
    /// By number, to write into. Throws Error where there is no such stage.
    Tensor& tensor(int i) { return tensors_[checked(i)]; }

private:
    static std::size_t checked(int i) {
        if (i >= 0 && i < Count) return static_cast<std::size_t>(i);
        throw Error(
            detail::concat({"Features: no stage ", std::to_string(i), "; there are 0 to ", std::to_string(Count - 1)}));
    }

    std::array<Tensor, static_cast<std::size_t>(Count)> tensors_;
};

/// Base of backbones (CRTP): Stages run one after the other. Derived names them: `static std::string
/// stage_name(int)`.
template <class Derived, class... Stages>
class Backbone : public Module<Derived> {
    using Sequence = detail::Sequence<Stages...>;
    using FeatureMap = detail::FeatureMap;
    using Session = detail::Session;

public:
    /// Number of stages.
    static constexpr int stages = Sequence::count;
    static constexpr int in_channels = Sequence::in_channels;
    static constexpr int out_channels = Sequence::out_channels;  ///< of stage_final
    static constexpr int stride = Sequence::stride;              ///< of stage_final
    static constexpr int wanted_padding = Sequence::wanted_padding;
    static constexpr bool reads_planar = Sequence::reads_planar;
    static constexpr bool fuses_residual = Sequence::fuses_residual;

    /// Channels of stage Nth's map.
    template <int Nth>
    static constexpr int stage_channels = [] {
        constexpr int own[] = {Stages::out_channels...};
        int stage = Nth;
        while (own[stage] == 0) --stage;  // an empty stage has what came in
        return own[stage];
    }();

    /// Input rows (and columns) for each of stage Nth's map, rounded up.
    template <int Nth>
    static constexpr int stage_stride = [] {
        constexpr int own[] = {Stages::stride...};
        int product = 1;
        for (int stage = 0; stage <= Nth; ++stage) product *= own[stage];
        return product;
    }();

    /// What forward gives.
    using Features = StageFeatures<stages>;

    /// The shape of every stage's map. Throws ShapeError where the input does not fit.
    static std::array<Shape, static_cast<std::size_t>(stages)> stage_shapes(const Shape& input) {
        std::array<Shape, static_cast<std::size_t>(stages)> out;
        auto next = out.begin();
        Module<Derived>::output_shape(input);  // which checks it
        Sequence::for_each_output(detail::planar_map({nullptr, input}), [&](const FeatureMap& map) {
            *next++ = {map.batch, map.channels, map.height, map.width};
        });
        return out;
    }

    /// Every stage of an NCHW tensor, map or view. Throws ShapeError, WeightsError.
    template <class X>
    Features forward(const X& x) const {
        return forward(x, detail::CallContext().get());
    }
    /// The same in a Context of the caller's, one for each thread.
    template <class X>
    Features forward(const X& x, Context& context) const {
        Features features;
        forward(x, features, context);
        return features;
    }
    /// The same into tensors that are resized only where their shape differs.
    template <class X>
    void forward(const X& x, Features& features, Context& context) const {
        const ConstTensorView in = Module<Derived>::to_const(view(x));
        detail::check_input(in, in_channels, "forward");
        TensorView out[static_cast<std::size_t>(stages)];
        int index = 0;
        for (const Shape& shape : stage_shapes(in.shape)) {
            detail::resize(features.tensor(index), shape);
            out[index] = view(features.tensor(index));
            ++index;
        }
        run_to_views(in, stages - 1, out, context);
    }

    /// The map of stage Nth alone, checked at compile time: no later stage is computed. Throws ShapeError,
    /// WeightsError.
    template <int Nth, class X>
    Tensor forward_stage(const X& x) const {
        return forward_stage<Nth>(x, detail::CallContext().get());
    }
    /// The same in a Context of the caller's.
    template <int Nth, class X>
    Tensor forward_stage(const X& x, Context& context) const {
        Tensor y;
        forward_stage<Nth>(x, y, context);
        return y;
    }
    /// The same into a tensor, which is resized where its shape differs, or into a view, whose shape must fit.
    template <int Nth, class X, class Y>
    void forward_stage(const X& x, Y&& y, Context& context) const {
        static_assert(Nth >= 0 && Nth < stages, "forward_stage: this backbone has no such stage");
        forward_stage(Nth, x, std::forward<Y>(y), context);
    }
    /// The same by number. Throws Error where there is no such stage.
    template <class X, class Y>
    void forward_stage(int stage, const X& x, Y&& y, Context& context) const {
        const ConstTensorView in = Module<Derived>::to_const(view(x));
        detail::check_input(in, in_channels, "forward_stage");
        if (stage < 0 || stage >= stages) {
            throw Error(detail::concat(
                {"forward_stage: no stage ", std::to_string(stage), "; there are 0 to ", std::to_string(stages - 1)}));
        }
        const Shape shape = stage_shapes(in.shape)[static_cast<std::size_t>(stage)];
        TensorView out[static_cast<std::size_t>(stages)];
        out[stage] = detail::output_view(y, shape, "forward_stage");
        run_to_views(in, stage, out, context);
    }

    /// stage_final alone; the other stages are never turned to NCHW.
    template <class X>
    Tensor forward_final(const X& x) const {
        return Module<Derived>::forward(x, detail::CallContext().get());
    }
    /// The same in a Context of the caller's.
    template <class X>
    Tensor forward_final(const X& x, Context& context) const {
        return Module<Derived>::forward(x, context);
    }
    /// The same into a tensor, which is resized where its shape differs, or into a view, whose shape must fit.
    template <class X, class Y>
    void forward_final(const X& x, Y&& y, Context& context) const {
        Module<Derived>::forward(x, std::forward<Y>(y), context);
    }

    /// Bytes of scratch memory that forward, forward_stage and forward_final take at most in this Context for an input
    /// of this shape.
    std::uint64_t workspace_bytes(const Shape& input, const Context& context) const {
        const std::uint64_t final_only = Module<Derived>::workspace_bytes(input, context);  // which checks the shape
        return std::max(final_only, context.measure(this->kernels(), [&](Session& session) {
            stages_.run_visiting(session, detail::readable_by<Derived>(session, detail::planar_map({nullptr, input})),
                                 stages - 1, [](int, const FeatureMap&) {});
        }));
    }

    /// For models with a backbone in them: visit(i, map) sees the map of stage i before the next stage is run.
    template <class Visit>
    void run_stages(Session& session, const FeatureMap& x, const Visit& visit) const {
        stages_.run_visiting(session, x, stages - 1, visit);
    }

    static detail::Extent output_extent(detail::Extent in) { return Sequence::output_extent(in); }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) { Sequence::describe(d, Derived::stage_name); }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) { stages_.pack(p, Derived::stage_name); }
    void run(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) const {
        stages_.run(session, x, y, residual);
    }

private:
    /// The stages up to number `last`, each to out[i] unless that points nowhere.
    void run_to_views(const ConstTensorView& in, int last, const TensorView* out, Context& context) const {
        context.run(this->kernels(), [&](Session& session) {
            stages_.run_visiting(
                session, detail::readable_by<Derived>(session, detail::planar_map(in)), last,
                [&](int i, const FeatureMap& map) {
                    if (out[i].data == nullptr) return;
                    detail::convert_to_planar(session, map, detail::planar_map({out[i].data, out[i].shape}));
                });
        });
    }

    Sequence stages_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// A network whose type is forgotten, for programs that choose at run time. What it costs is one virtual call a forward:
// inside, everything is as it was compiled. Which networks there are is make_model.hpp's.
#pragma once

#include <efficientvit/models/features.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// What a network is for.
enum class Task {
    backbone,        ///< outputs "stage0", "stage1", …
    classification,  ///< output "logits", (N, n_classes, 1, 1)
    segmentation,    ///< output "segout", (N, n_classes, H / 8, W / 8)
    image_encoder    ///< output "image_embeddings", (N, 256, 64, 64): SAM's
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// What a model is, and the pictures that it was trained on.
struct ModelInfo {
    std::string name{};          ///< as in model_names()
    Task task = Task::backbone;  ///< what it gives
    int in_channels = 3;         ///< of its input
    int n_classes = 0;           ///< 0 where there are none; after load_state_dict() as many as the weights have
    int height = 224;            ///< of the usual input
    int width = 224;             ///< of the usual input
    int size_multiple = 1;       ///< what H and W must be multiples of
    double crop_ratio = 1.0;     ///< of classification: the short side is resized to ceil(height / crop_ratio)
    std::array<float, 3> mean{0.485f, 0.456f, 0.406f};  ///< R, G, B in [0, 1] are normalised by these
    std::array<float, 3> std{0.229f, 0.224f, 0.225f};   ///< likewise
};

/// Tensors by name, in the model's order.
class NamedTensors {
public:
    /// An output and its name.
    struct Item {
        std::string name;  ///< the output's
        Tensor tensor;     ///< its values, NCHW
    };

    /// None.
    NamedTensors() = default;
    /// These, in this order.
    explicit NamedTensors(std::vector<Item> items) : items_(std::move(items)) {}

    /// Throws Error where there is no such tensor. A backbone's last stage is "stage_final" too.
    const Tensor& operator[](std::string_view name) const {
        std::string names;
        for (const Item& item : items_) {
            if (item.name == name) return item.tensor;
            names += detail::concat({names.empty() ? "" : ", ", item.name});
        }
        if (name == "stage_final" && !items_.empty() && items_.back().name.starts_with("stage")) {
            return items_.back().tensor;
        }
        throw Error(detail::concat({"outputs: no '", name, "'; there are ", names.empty() ? "none" : names}));
    }

    /// How many there are.
    std::size_t size() const { return items_.size(); }
    /// The first Item.
    auto begin() const { return items_.begin(); }
    /// Behind the last Item.
    auto end() const { return items_.end(); }
    /// All, to change.
    std::vector<Item>& items() { return items_; }

private:
    std::vector<Item> items_;
};

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
    /// Bytes of scratch memory that forward takes in this Context for an input of this shape.
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

protected:
    /// Says how many classes the weights have.
    void set_classes(int n_classes) { info_.n_classes = n_classes; }

    /// What forward does, without its templates.
    virtual void forward_all(const ConstTensorView& x, NamedTensors& y, Context& context) const = 0;

private:
    ModelInfo info_;
};

namespace detail {

/// What output i of a network for this task is called.
constexpr const char* output_name(Task task, std::size_t i) {
    constexpr const char* stages[] = {"stage0", "stage1", "stage2", "stage3", "stage4",  "stage5",
                                      "stage6", "stage7", "stage8", "stage9", "stage10", "stage11"};
    static_assert(std::size(stages) == std::size_t{IntList::capacity});
    switch (task) {
        case Task::classification:
            return "logits";
        case Task::segmentation:
            return "segout";
        case Task::image_encoder:
            return "image_embeddings";
        case Task::backbone:
            break;
    }
    return stages[i];
}

/// Lends tensors to a backbone's forward for as long as this lives.
template <class Features>
class LentTensors {
public:
    LentTensors(Features& features, std::vector<NamedTensors::Item>& items) : features_(features), items_(items) {
        exchange();
    }
    LentTensors(const LentTensors&) = delete;
    LentTensors& operator=(const LentTensors&) = delete;
    ~LentTensors() { exchange(); }

private:
    void exchange() {
        for (std::size_t i = 0; i < items_.size(); ++i) {
            std::swap(features_.tensor(static_cast<int>(i)), items_[i].tensor);
        }
    }

    Features& features_;
    std::vector<NamedTensors::Item>& items_;
};

}  // namespace detail

/// A network of this type as an AnyModel. The info's in_channels, and n_classes and size_multiple where the network
/// has such, are the type's.
template <class Network>
class AnyModelOf : public AnyModel {
    static constexpr bool is_backbone = requires { typename Network::Features; };

public:
    /// Channels, and what else the type knows, go into `info`.
    explicit AnyModelOf(ModelInfo info) : AnyModel(with_constants(std::move(info))) {}

    /// The network itself.
    const Network& network() const { return network_; }

    std::vector<Parameter> parameters() const override { return with_classes(info().n_classes); }
    LoadReport load_state_dict(const StateDict& weights, const LoadOptions& options = {}) override {
        if constexpr (has_classes) {
            std::int64_t classes = 0;
            Network loaded;
            const LoadReport report = loaded.load_state_dict(weights, with_classes(Parameter::any), options, &classes);
            if (classes == 0) {
                throw WeightsError(detail::concat({weights.source().empty() ? "the state dict" : weights.source(),
                                                   " has no last layer (num_classes=0), which ", info().name,
                                                   " needs; its backbone_ does not"}));
            }
            network_ = std::move(loaded);
            this->set_classes(static_cast<int>(classes));
            return report;
        } else {
            return network_.load_state_dict(weights, options);
        }
    }
    bool loaded() const override { return network_.loaded(); }
    Isa isa() const override { return network_.isa(); }
    std::uint64_t workspace_bytes(const Shape& input, const Context& context) const override {
        if constexpr (has_classes) {
            return network_.workspace_bytes(input, output_shape(input), context);
        } else {
            return network_.workspace_bytes(input, context);
        }
    }

    std::vector<Output> outputs(const Shape& input) const override {
        std::vector<Output> out;
        const auto add = [&](const Shape& shape) {
            out.push_back({detail::output_name(info().task, out.size()), shape});
        };
        if constexpr (is_backbone) {
            for (const Shape& shape : Network::stage_shapes(input)) add(shape);
        } else {
            add(output_shape(input));
        }
        return out;
    }

    void forward_final(const ConstTensorView& x, const TensorView& y, Context& context) const override {
        if constexpr (is_backbone) {
            network_.forward_final(x, y, context);
        } else {
            detail::check_input(x, Network::in_channels, "forward");
            detail::check_output(y, output_shape(x.shape), "forward");
            network_.compute(x, y, context);
        }
    }

protected:
    void forward_all(const ConstTensorView& x, NamedTensors& y, Context& context) const override {
        std::vector<NamedTensors::Item>& items = y.items();
        items.resize(output_count);
        for (std::size_t i = 0; i < output_count; ++i) {
            const char* const name = detail::output_name(info().task, i);
            if (items[i].name != name) items[i].name = name;
        }
        if constexpr (is_backbone) {
            typename Network::Features features;
            const detail::LentTensors lent(features, items);
            network_.forward(x, features, context);
        } else {
            detail::check_input(x, Network::in_channels, "forward");
            detail::resize(items[0].tensor, output_shape(x.shape));
            network_.compute(x, view(items[0].tensor), context);
        }
    }

private:
    static constexpr std::size_t output_count = [] {
        if constexpr (is_backbone) return static_cast<std::size_t>(Network::stages);
        return std::size_t{1};
    }();

    static constexpr bool has_classes = requires { Network::n_classes; };

    Shape output_shape(const Shape& input) const {
        Shape shape = Network::output_shape(input);
        if constexpr (has_classes) shape.c = info().n_classes;
        if (detail::is_too_large(shape)) {
            throw ShapeError(detail::concat({"the output ", detail::to_string(shape), " is too large"}));
        }
        return shape;
    }

    /// The weight and the bias that make the classes are the last parameters.
    static std::vector<Parameter> with_classes(std::int64_t classes) {
        std::vector<Parameter> all = Network::parameters();
        if constexpr (has_classes) {
            for (std::size_t i = all.size() - 2; i < all.size(); ++i) all[i].shape.front() = classes;
        }
        return all;
    }

    static ModelInfo with_constants(ModelInfo info) {
        info.in_channels = Network::in_channels;
        if constexpr (requires { Network::n_classes; }) info.n_classes = Network::n_classes;
        if constexpr (requires { Network::size_multiple; }) info.size_multiple = Network::size_multiple;
        return info;
    }

    Network network_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

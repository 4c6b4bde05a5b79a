// SPDX-License-Identifier: Apache-2.0
//
// A network of a known type as an AnyModel (any_model.hpp).
#pragma once

#include <efficientvit/models/any_model.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

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
    static constexpr bool is_classifier = requires { Network::pre_logits_channels; };

public:
    /// Channels, and what else the type knows, go into `info`.
    explicit AnyModelOf(ModelInfo info) : AnyModel(with_constants(std::move(info))) {}

    /// The network itself.
    const Network& network() const { return network_; }

    std::vector<Parameter> parameters() const override { return with_classes(info().n_classes); }
    LoadReport load_state_dict(const StateDict& weights, const LoadOptions& options = {}) override {
        if constexpr (has_classes) {
            std::int64_t classes = 0;
            const std::int64_t any = is_classifier ? Parameter::any_or_none : Parameter::any;
            const LoadReport report = network_.load_state_dict(weights, with_classes(any), options, &classes);
            this->set_classes(static_cast<int>(classes));
            return report;
        } else {
            return network_.load_state_dict(weights, options);
        }
    }
    bool loaded() const override { return network_.loaded(); }
    Isa isa() const override { return network_.isa(); }
    std::string_view precision() const override { return network_.precision(); }
    std::uint64_t workspace_bytes(const Shape& input, const Context& context) const override {
        std::uint64_t bytes = 0;
        if constexpr (is_classifier) bytes = network_.pre_logits_workspace_bytes(input, context);
        if (is_classifier && info().n_classes == 0) return bytes;
        if constexpr (has_classes) {
            return std::max(bytes, network_.workspace_bytes(input, output_shape(input), context));
        } else {
            return std::max(bytes, network_.workspace_bytes(input, context));
        }
    }

    std::vector<Output> outputs(const Shape& input) const override {
        std::vector<Output> out;
        const auto add = [&](const Shape& shape) { out.push_back({detail::output_name(info(), out.size()), shape}); };
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
            compute(x, y, context);
        }
    }

    Shape pre_logits_shape(const Shape& input) const override {
        if constexpr (is_classifier) return Network::pre_logits_shape(input);
        return AnyModel::pre_logits_shape(input);
    }

protected:
    void forward_all(const ConstTensorView& x, NamedTensors& y, Context& context) const override {
        std::vector<NamedTensors::Item>& items = y.items();
        items.resize(output_count);
        for (std::size_t i = 0; i < output_count; ++i) {
            const char* const name = detail::output_name(info(), i);
            if (items[i].name != name) items[i].name = name;
        }
        if constexpr (is_backbone) {
            typename Network::Features features;
            const detail::LentTensors lent(features, items);
            network_.forward(x, features, context);
        } else {
            detail::check_input(x, Network::in_channels, "forward");
            detail::resize(items[0].tensor, output_shape(x.shape));
            compute(x, view(items[0].tensor), context);
        }
    }
    int stages() const override { return is_backbone ? static_cast<int>(output_count) : 0; }
    Shape stage_shape(int stage, const Shape& input) const override {
        if constexpr (is_backbone) return Network::stage_shapes(input)[static_cast<std::size_t>(stage)];
        return AnyModel::stage_shape(stage, input);
    }
    void compute_stage(int stage, const ConstTensorView& x, const TensorView& y, Context& context) const override {
        if constexpr (is_backbone) network_.forward_stage(stage, x, y, context);
    }
    void compute_pre_logits(const ConstTensorView& x, const TensorView& y, Context& context) const override {
        if constexpr (is_classifier) {
            network_.forward_pre_logits(x, y, context);
        } else {
            AnyModel::compute_pre_logits(x, y, context);
        }
    }

private:
    static constexpr std::size_t output_count = [] {
        if constexpr (is_backbone) return static_cast<std::size_t>(Network::stages);
        return std::size_t{1};
    }();

    static constexpr bool has_classes = [] {
        if constexpr (requires { Network::n_classes; }) return Network::n_classes > 0;
        return false;
    }();

    void compute(const ConstTensorView& x, const TensorView& y, Context& context) const {
        if constexpr (is_classifier) {
            if (info().n_classes == 0) return network_.forward_pre_logits(x, y, context);
        }
        network_.compute(x, y, context);
    }

    Shape output_shape(const Shape& input) const {
        Shape shape = Network::output_shape(input);
        if constexpr (has_classes) shape.c = info().n_classes;
        if constexpr (is_classifier) {
            if (shape.c == 0) shape.c = Network::pre_logits_channels;
        }
        if (detail::is_too_large(shape)) {
            throw ShapeError(detail::concat({"the output ", detail::to_string(shape), " is too large"}));
        }
        return shape;
    }

    /// The weight and the bias that make the classes are the last parameters; without classes there are none.
    static std::vector<Parameter> with_classes(std::int64_t classes) {
        std::vector<Parameter> all = Network::parameters();
        if constexpr (has_classes) {
            if (classes == 0) {
                all.resize(all.size() - 2);
                return all;
            }
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

// SPDX-License-Identifier: Apache-2.0
//
// What is behind model_handle.hpp: all published networks. Included once in a program, by compiled/models.cpp or a unit
// of the user's own.
#include <efficientvit/models/make_model.hpp>
#include <efficientvit/models/model_handle.hpp>
#include <efficientvit/weights/load_weights.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

struct ModelHandle::State {
    std::shared_ptr<const AnyModel> model;
    Context context;
    NamedTensors tensors{};
};

namespace {

Precision precision_of(ModelHandleOptions::Precision precision) {
    switch (precision) {
        case ModelHandleOptions::Precision::bf16:
            return Precision::bf16;
        case ModelHandleOptions::Precision::bf16_weights:
            return Precision::bf16_weights;
        case ModelHandleOptions::Precision::int8:
            return Precision::int8;
        case ModelHandleOptions::Precision::f16:
            return Precision::f16;
        case ModelHandleOptions::Precision::f32:
            break;
    }
    return Precision::f32;
}

std::shared_ptr<const AnyModel> read_handle_model(std::string_view name, const std::string& path,
                                                  const std::string& entry, ModelHandleOptions::Precision precision) {
    const StateDict weights = load_weights(path, {.entry = entry, .skip_extra_entries = true});
    std::unique_ptr<AnyModel> model = make_model(name.empty() ? detail::identified(weights) : std::string(name));
    model->load_state_dict(weights, {.precision = precision_of(precision)});
    return model;
}

}  // namespace

ModelHandle::ModelHandle(State* state) : state_(state) {}
ModelHandle::ModelHandle(std::string_view name, const std::string& path, const ModelHandleOptions& options)
    : state_(new State{read_handle_model(name, path, options.entry, options.precision),
                       Context({.threads = options.threads})}) {}
ModelHandle::ModelHandle(ModelHandle&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
ModelHandle& ModelHandle::operator=(ModelHandle&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
}
ModelHandle::~ModelHandle() { delete state_; }

ModelHandle ModelHandle::share(int threads) const {
    return ModelHandle(new State{state_->model, Context({.threads = threads})});
}

const std::string& ModelHandle::name() const { return state_->model->info().name; }

Shape ModelHandle::usual_input() const {
    const ModelInfo& info = state_->model->info();
    return {1, info.in_channels, info.height, info.width};
}

int ModelHandle::n_classes() const { return state_->model->info().n_classes; }

double ModelHandle::crop_ratio() const { return state_->model->info().crop_ratio; }

int ModelHandle::outputs() const { return static_cast<int>(state_->model->outputs(usual_input()).size()); }

const char* ModelHandle::output_name(int output) const {
    if (output < 0 || output >= outputs())
        throw Error(detail::concat({name(), ": no output ", std::to_string(output)}));
    const ModelInfo& info = state_->model->info();
    return detail::output_name(info, static_cast<std::size_t>(output));
}

Shape ModelHandle::output_shape(int output, const Shape& input) const {
    output_name(output);  // which throws where there is none
    return state_->model->outputs(input)[static_cast<std::size_t>(output)].shape;
}

void ModelHandle::forward(const ConstTensorView& x, const TensorView& y) {
    state_->model->forward_final(x, y, state_->context);
}

void ModelHandle::forward_all(const ConstTensorView& x, const TensorView* y) {
    const std::vector<AnyModel::Output> expected = state_->model->outputs(x.shape);
    for (std::size_t i = 0; i < expected.size(); ++i) {
        if (y[i].data != nullptr) detail::check_output(y[i], expected[i].shape, "forward_all");
    }
    state_->model->forward(x, state_->tensors, state_->context);
    for (const auto& [name, tensor] : state_->tensors) {
        if (y->data != nullptr) std::copy_n(tensor.data(), tensor.size(), y->data);
        ++y;
    }
}

void ModelHandle::forward_stage(std::string_view stage, const ConstTensorView& x, const TensorView& y) {
    state_->model->forward_stage(stage, x, y, state_->context);
}

Shape ModelHandle::pre_logits_shape(const Shape& input) const { return state_->model->pre_logits_shape(input); }

void ModelHandle::forward_pre_logits(const ConstTensorView& x, const TensorView& y) {
    state_->model->forward_pre_logits(x, y, state_->context);
}

EFFICIENTVIT_END_PLAIN_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// What a model says of itself, and its outputs by name. Knows no network; those are any_model.hpp's.
#pragma once

#include <efficientvit/tensor.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// What a network is for.
enum class Task {
    backbone,        ///< outputs "stage0", "stage1", …
    classification,  ///< output "logits", (N, n_classes, 1, 1); without classes "pre_logits"
    segmentation,    ///< output "segout", (N, n_classes, H / 8, W / 8)
    image_encoder    ///< output "image_embeddings", (N, 256, 64, 64): SAM's
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// "backbone", "classification", "segmentation" or "image_encoder".
constexpr std::string_view task_name(Task task) {
    switch (task) {
        case Task::classification:
            return "classification";
        case Task::segmentation:
            return "segmentation";
        case Task::image_encoder:
            return "image_encoder";
        case Task::backbone:
            break;
    }
    return "backbone";
}

/// What a model is, and the pictures that it was trained on.
struct ModelInfo {
    std::string name{};          ///< as in model_names()
    Task task = Task::backbone;  ///< what it gives
    int in_channels = 3;         ///< of its input
    int n_classes = 0;           ///< 0 where there are none; after load_state_dict() as many as the weights have,
                                 ///< of a classifier without its last layer (timm's num_classes=0) 0
    int height = 224;            ///< of the usual input
    int width = 224;             ///< of the usual input
    int size_multiple = 1;       ///< what H and W must be multiples of
    double crop_ratio = 1.0;     ///< of classification: the short side is resized to height / crop_ratio,
    bool round_up = true;        ///< rounded up as the reference does, or down as timm does
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

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Networks taken apart: the layers that forward runs one after the other, each of which can be loaded and run alone.
// What they give is compared in first_difference.cpp.
#pragma once

#include <efficientvit/models/classifier.hpp>
#include <efficientvit/models/sam_image_encoder.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace difference {

namespace ev = efficientvit;

/// A layer of a network.
struct Part {
    std::string name;  ///< what stands before its tensors in the reference's state dict, without the last dot
    int stage;         ///< of the backbone; -1: of the head
    /// Loads the layer and runs it on two inputs.
    std::array<ev::Tensor, 2> (*run)(const ev::StateDict& weights, const ev::LoadOptions& options,
                                     const std::array<ev::Tensor, 2>& inputs, ev::Context& context);
};

template <class Layer>
std::array<ev::Tensor, 2> run_alone(const ev::StateDict& weights, const ev::LoadOptions& options,
                                    const std::array<ev::Tensor, 2>& inputs, ev::Context& context) {
    Layer layer;
    layer.load_state_dict(weights, options);
    return {layer.forward(inputs[0], context), layer.forward(inputs[1], context)};
}

/// Finds the parts of a Layer with `name` before its own: those of what is composed, else the layer itself.
template <class Layer>
struct Parts {
    static void add(std::vector<Part>& parts, const std::string& name) {
        if constexpr (requires { typename Layer::Features; }) {
            add_stages(parts, name, static_cast<const Layer*>(nullptr));
        } else {
            parts.push_back({name.substr(0, name.size() - 1), -1, run_alone<Layer>});
        }
    }

private:
    template <class Backbone, class... Stages>
    static void add_stages(std::vector<Part>& parts, const std::string& name,
                           const ev::Backbone<Backbone, Stages...>*) {
        int stage = 0;
        const auto add_stage = [&](auto add) {
            const std::size_t before = parts.size();
            add(parts, name + Backbone::stage_name(stage) + ".");
            for (std::size_t i = before; i < parts.size(); ++i) parts[i].stage = stage;
            ++stage;
        };
        (add_stage(Parts<Stages>::add), ...);
    }
};

template <class... Layers>
struct Parts<ev::OpSequential<Layers...>> {
    static void add(std::vector<Part>& parts, const std::string& name) {
        int i = 0;
        (Parts<Layers>::add(parts, name + "op_list." + std::to_string(i++) + "."), ...);
    }
};

template <ev::EfficientViTBlockConfig C>
struct Parts<ev::EfficientViTBlock<C>> {
    using Block = ev::EfficientViTBlock<C>;
    static void add(std::vector<Part>& parts, const std::string& name) {
        Parts<typename Block::ContextModule>::add(parts, name + "context_module.");
        Parts<typename Block::LocalModule>::add(parts, name + "local_module.");
    }
};

template <class Backbone, ev::ClsHeadConfig H>
struct Parts<ev::EfficientViTCls<Backbone, H>> {
    static void add(std::vector<Part>& parts, const std::string& name) {
        Parts<Backbone>::add(parts, name + "backbone.");
        Parts<typename ev::EfficientViTCls<Backbone, H>::Head>::add(parts, name + "head.");
    }
};

/// The parts of a network named as in ev::model_names(): all of a backbone or classifier, the backbone of a segmenter
/// or image encoder, whose head is no row of layers.
inline std::vector<Part> parts_of(const std::string& model) {
    struct Known {
        std::string_view begin;  ///< of the model's name
        void (*add)(std::vector<Part>& parts, const std::string& name);
    };
    static constexpr Known networks[] = {
        {"cls_b0", Parts<ev::ClsB0<>>::add},
        {"cls_b1", Parts<ev::ClsB1<>>::add},
        {"cls_b2", Parts<ev::ClsB2<>>::add},
        {"cls_b3", Parts<ev::ClsB3<>>::add},
        {"cls_l1", Parts<ev::ClsL1<>>::add},
        {"cls_l2", Parts<ev::ClsL2<>>::add},
        {"cls_l3", Parts<ev::ClsL3<>>::add},
        {"backbone_b0", Parts<ev::BackboneB0>::add},
        {"backbone_b1", Parts<ev::BackboneB1>::add},
        {"backbone_b2", Parts<ev::BackboneB2>::add},
        {"backbone_b3", Parts<ev::BackboneB3>::add},
        {"backbone_l0", Parts<ev::SamImageEncoderL0::Backbone>::add},
        {"backbone_l1", Parts<ev::ClsL1<>::Backbone>::add},
        {"backbone_l2", Parts<ev::ClsL2<>::Backbone>::add},
        {"backbone_l3", Parts<ev::ClsL3<>::Backbone>::add},
        {"backbone_xl0", Parts<ev::SamImageEncoderXL0::Backbone>::add},
        {"backbone_xl1", Parts<ev::SamImageEncoderXL1::Backbone>::add},
        {"seg_b0", Parts<ev::BackboneB0>::add},
        {"seg_b1", Parts<ev::BackboneB1>::add},
        {"seg_b2", Parts<ev::BackboneB2>::add},
        {"seg_b3", Parts<ev::BackboneB3>::add},
        {"seg_l1", Parts<ev::ClsL1<>::Backbone>::add},
        {"seg_l2", Parts<ev::ClsL2<>::Backbone>::add},
        {"sam_l0", Parts<ev::SamImageEncoderL0::Backbone>::add},
        {"sam_l1", Parts<ev::SamImageEncoderL1::Backbone>::add},
        {"sam_l2", Parts<ev::SamImageEncoderL2::Backbone>::add},
        {"sam_xl0", Parts<ev::SamImageEncoderXL0::Backbone>::add},
        {"sam_xl1", Parts<ev::SamImageEncoderXL1::Backbone>::add},
    };
    std::vector<Part> parts;
    for (const Known& network : networks) {
        const bool within = model.starts_with("seg_") || model.starts_with("sam_");
        if (model.starts_with(network.begin)) network.add(parts, within ? "backbone." : "");
    }
    if (parts.empty()) throw ev::ConfigError(model + " cannot be taken apart");
    return parts;
}

}  // namespace difference

// SPDX-License-Identifier: Apache-2.0
//
// The networks of a WebAssembly module: EFFICIENTVIT_WEB_NETWORKS is 0 for b0 alone, 1 for b0 and SAM l0, 2 for all
// that are published. Those that this repository trains are in each: digits_b0, glyphs_b0 and, with SAM, sam_shapes.
#pragma once

#include <efficientvit/efficientvit.hpp>
#include <efficientvit/models/any_model_of.hpp>
#include <efficientvit/models/any_sam.hpp>

#include "../digits/network.hpp"
#include "../glyphs/network.hpp"
#if EFFICIENTVIT_WEB_NETWORKS >= 1
#include <efficientvit/models/sam_predictor.hpp>

#include "../segment_anything/shapes_sam.hpp"
#endif
#if EFFICIENTVIT_WEB_NETWORKS >= 2
#include <efficientvit/models/make_model.hpp>
#include <efficientvit/models/make_sam.hpp>
#endif

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace web {

namespace ev = efficientvit;

/// A network with its weights: one of the two.
struct Network {
    std::unique_ptr<ev::AnyModel> model;
    std::unique_ptr<ev::AnySam> sam;

    void load_state_dict(const ev::StateDict& weights, const ev::LoadOptions& options) {
        sam != nullptr ? sam->load_state_dict(weights, options) : model->load_state_dict(weights, options);
    }
};

/// One line of the module's own table.
struct Known {
    const char* name;
    Network (*make)();
};

template <class T>
Network of(ev::ModelInfo info) {
    return {std::make_unique<ev::AnyModelOf<T>>(std::move(info)), nullptr};
}

/// A network of 64 x 64 gray values from 0 to 1, in three equal channels.
template <class T>
Network of_gray(const char* name) {
    return of<T>({.name = name,
                  .task = ev::Task::classification,
                  .height = 64,
                  .width = 64,
                  .mean = {0, 0, 0},
                  .std = {1, 1, 1}});
}

/// In the order in which weights are tried: a backbone takes a whole classifier's too, so it comes last.
inline const std::vector<Known>& known_networks() {
    using enum ev::Task;
    static const std::vector<Known> networks =
    { {"digits_b0", [] { return of_gray<digits::Network>("digits_b0"); }},
      {"glyphs_b0", [] { return of_gray<glyphs::Network>("glyphs_b0"); }},
#if EFFICIENTVIT_WEB_NETWORKS >= 1
      {"sam_shapes",
       [] {
           return Network{nullptr, std::make_unique<ev::AnySamOf<examples::ShapesSam>>("sam_shapes")};
       }},
#endif
#if EFFICIENTVIT_WEB_NETWORKS == 1
      {"sam_l0",
       [] {
           return Network{nullptr, std::make_unique<ev::AnySamOf<ev::SamL0>>("sam_l0")};
       }},
#endif
#if EFFICIENTVIT_WEB_NETWORKS < 2
      {"cls_b0", [] { return of<ev::ClsB0<>>({.name = "cls_b0", .task = classification, .crop_ratio = 0.95}); }},
      {"seg_b0_cityscapes",
       [] {
           return of<ev::SegB0Cityscapes<>>(
               {.name = "seg_b0_cityscapes", .task = segmentation, .height = 1024, .width = 2048, .size_multiple = 32});
       }},
      {"backbone_b0", [] { return of<ev::BackboneB0>({.name = "backbone_b0", .task = backbone}); }},
#endif
    };
    return networks;
}

inline bool holds_prompt_encoder(const ev::StateDict& weights) {
    for (const auto& [name, entry] : weights) {
        if (name.find("prompt_encoder.") != std::string::npos) return true;
    }
    return false;
}

/// A network by name; without one, the first that the weights fit. Throws ConfigError, WeightsError.
inline Network load(std::string_view name, const ev::StateDict& weights, const ev::LoadOptions& options) {
    std::string all;
    for (const Known& known : known_networks()) {
        all += (all.empty() ? "" : ", ") + std::string(known.name);
        if (!name.empty() && name != known.name) continue;
        Network network = known.make();
        try {
            network.load_state_dict(weights, options);
            return network;
        } catch (const ev::WeightsError&) {
            if (!name.empty()) throw;
        }
    }
#if EFFICIENTVIT_WEB_NETWORKS >= 2
    const std::string which = name.empty() ? ev::detail::identified(weights) : std::string(name);
    Network network;
    if (which.find("sam_") == 0 && holds_prompt_encoder(weights)) {
        network.sam = ev::make_sam(which);
    } else {
        network.model = ev::make_model(which);
    }
    network.load_state_dict(weights, options);
    return network;
#else
    if (name.empty()) throw ev::WeightsError("these weights fit none of the networks of this module: " + all);
    throw ev::ConfigError("no network '" + std::string(name) + "' in this module; there are " + all);
#endif
}

}  // namespace web

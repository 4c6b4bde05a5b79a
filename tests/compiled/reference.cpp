// SPDX-License-Identifier: Apache-2.0
//
// The network by its type.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include "../golden_values.hpp"
#include "handle.hpp"

namespace ev = efficientvit;

namespace {

using Classifier = ev::ClsB0<7>;

template <class Network>
ev::StateDict golden_weights() {
    ev::StateDict weights;
    for (const ev::Parameter& p : Network::parameters()) {
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    }
    return weights;
}

}  // namespace

void write_weights(const std::string& path) { ev::save_safetensors(path, golden_weights<ev::BackboneB0>()); }

void write_classifier(const std::string& path) { ev::save_safetensors(path, golden_weights<Classifier>()); }

std::vector<float> reference_pre_logits(ev::ConstTensorView image) {
    Classifier classifier;
    classifier.load_state_dict(golden_weights<Classifier>());
    const ev::Tensor y = classifier.forward_pre_logits(image);
    return {y.data(), y.data() + y.size()};
}

std::vector<std::vector<float>> reference_stages(ev::ConstTensorView image, bool bf16) {
    ev::BackboneB0 backbone;
    backbone.load_state_dict(golden_weights<ev::BackboneB0>(),
                             {.precision = bf16 ? ev::Precision::bf16 : ev::Precision::f32});
    const auto features = backbone.forward(image);
    std::vector<std::vector<float>> out;
    for (int i = 0; i < features.size(); ++i) {
        out.emplace_back(features[i].data(), features[i].data() + features[i].size());
    }
    return out;
}

// SPDX-License-Identifier: Apache-2.0
//
// The network by its type.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include "../golden_values.hpp"
#include "handle.hpp"

namespace ev = efficientvit;

namespace {

ev::StateDict golden_weights() {
    ev::StateDict weights;
    for (const ev::Parameter& p : ev::BackboneB0::parameters()) {
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    }
    return weights;
}

}  // namespace

void write_weights(const std::string& path) { ev::save_safetensors(path, golden_weights()); }

std::vector<std::vector<float>> reference_stages(ev::ConstTensorView image, bool bf16) {
    ev::BackboneB0 backbone;
    backbone.load_state_dict(golden_weights(), {.precision = bf16 ? ev::Precision::bf16 : ev::Precision::f32});
    const auto features = backbone.forward(image);
    std::vector<std::vector<float>> out;
    for (int i = 0; i < features.size(); ++i) {
        out.emplace_back(features[i].data(), features[i].data() + features[i].size());
    }
    return out;
}

// SPDX-License-Identifier: Apache-2.0
//
// Weights for benchmarks: any values that keep activations of a sane size will do.
#pragma once

#include <efficientvit/nn/module.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace bench {

namespace ev = efficientvit;

inline ev::StateDict random_weights(const std::vector<ev::Parameter>& parameters) {
    ev::StateDict weights;
    std::uint32_t state = 1;
    for (const ev::Parameter& p : parameters) {
        std::size_t count = 1;
        for (const std::int64_t extent : p.shape) count *= static_cast<std::size_t>(extent);
        const double inputs = static_cast<double>(count) / static_cast<double>(p.shape[0]);
        const bool positive = p.name.ends_with("running_var") || p.name.ends_with("norm.weight");
        std::vector<float> values(count);
        for (float& value : values) {
            state = state * 1664525u + 1013904223u;
            const double uniform = state / 4294967296.0 * 2 - 1;
            value = static_cast<float>(positive ? 1 + 0.3 * uniform : uniform * std::sqrt(3 / inputs));
        }
        weights.insert(p.name, p.shape, std::move(values));
    }
    return weights;
}

template <class Model>
ev::StateDict random_weights() {
    return random_weights(Model::parameters());
}

template <class Model>
Model random_model() {
    Model model;
    model.load_state_dict(random_weights<Model>());
    return model;
}

}  // namespace bench

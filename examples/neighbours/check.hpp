// SPDX-License-Identifier: Apache-2.0
//
// What these programs need beside their subject: some weights, and a way to say that something is not as told.
#pragma once

#include <efficientvit/weights/state_dict.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace neighbours {

/// Ends the program with status 1 unless `condition` holds: these programs are tests of what their comments claim.
inline void check(bool condition, const char* claim) {
    if (condition) return;
    std::fprintf(stderr, "not so: %s\n", claim);
    std::exit(EXIT_FAILURE);
}

/// Weights of the right names and shapes that mean nothing, so that the programs need no file.
template <class Network>
efficientvit::StateDict some_weights() {
    efficientvit::StateDict weights;
    std::uint32_t state = 1;
    for (const efficientvit::Parameter& parameter : Network::parameters()) {
        std::size_t count = 1;
        for (const std::int64_t extent : parameter.shape) count *= static_cast<std::size_t>(extent);
        const float fan_in = static_cast<float>(count) / static_cast<float>(parameter.shape.at(0));
        std::vector<float> values(count);
        for (float& value : values) {
            state = state * 1664525u + 1013904223u;
            value = static_cast<float>(state >> 8) / 16777216.0f;  // 0 to 1; norms stay positive
            if (parameter.shape.size() > 1) value = (value - 0.5f) * 3 / fan_in;
        }
        weights.insert(parameter.name, parameter.shape, values);
    }
    return weights;
}

}  // namespace neighbours

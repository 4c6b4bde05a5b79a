// SPDX-License-Identifier: Apache-2.0
//
// The weights and inputs that the golden outputs were computed from: values made from a tensor's name, so that no
// weight file is needed and a tensor loaded into the wrong place changes the answer. Not part of the library.
//
// v is a number in [-1, 1), exact in float: the upper 24 bits of SplitMix64 seeded with FNV-1a 64 of the name. Then
//   …running_mean 0.1 v | …running_var 1 + 0.5 v | …bias 0.1 v | input, embedding v | mask_input 4 v |
//   …gaussian_matrix 2 v
//   any other 1-d tensor 0.85 + 0.2 v, or 0.15 + 0.1 v with `_module.` in its name (a residual branch's norm)
//   any other v * sqrt(6 / (shape[1] * shape[2] * …)), which keeps activations at their size
// computed in double and rounded to float.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// FNV-1a, 64 bits.
inline std::uint64_t golden_hash(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return hash;
}

/// The values of the tensor `name`, row-major. The rule follows the name itself; `seed` is put before it for the hash.
inline std::vector<float> golden_tensor(std::string_view name, const std::vector<std::int64_t>& shape,
                                        std::string_view seed = "") {
    double scale = 1.0;
    double offset = 0.0;
    if (name.ends_with("running_mean") || name.ends_with("bias")) {
        scale = 0.1;
    } else if (name.ends_with("running_var")) {
        scale = 0.5;
        offset = 1.0;
    } else if (name == "mask_input") {
        scale = 4.0;
    } else if (name.ends_with("gaussian_matrix")) {
        scale = 2.0;
    } else if (name != "input" && name != "embedding" && shape.size() == 1) {
        const bool branch = name.find("_module.") != std::string_view::npos;
        scale = branch ? 0.1 : 0.2;
        offset = branch ? 0.15 : 0.85;
    } else if (name != "input" && name != "embedding") {
        double fan_in = 1.0;
        for (std::size_t i = 1; i < shape.size(); ++i) fan_in *= static_cast<double>(shape[i]);
        scale = std::sqrt(6.0 / fan_in);
    }

    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    std::vector<float> values(count);
    std::uint64_t state = golden_hash(std::string(seed) + std::string(name));
    for (float& value : values) {
        state += 0x9e3779b97f4a7c15u;
        std::uint64_t z = state;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z = z ^ z >> 31;
        const double v = std::ldexp(static_cast<double>(z >> 40), -23) - 1.0;
        value = static_cast<float>(offset + scale * v);
    }
    return values;
}

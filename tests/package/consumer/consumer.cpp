// SPDX-License-Identifier: Apache-2.0
//
// A user's program: writes weights to a file, loads them, runs a backbone on an image. Fails where the result is not
// the reference's.
#include <efficientvit/efficientvit.hpp>
#if __has_include(<nlohmann/json.hpp>)
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>
#endif

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "golden_values.hpp"

namespace ev = efficientvit;

int main() {
    ev::StateDict weights;
    for (const ev::Parameter& p : ev::BackboneB0::parameters()) {
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    }
#if __has_include(<nlohmann/json.hpp>)
    const std::filesystem::path file = "consumer.safetensors";
    ev::save_safetensors(file, weights);
    weights = ev::load_safetensors(file);
#endif
    ev::BackboneB0 backbone;
    backbone.load_state_dict(weights);

    ev::Tensor image(1, 3, 64, 96);
    const auto values = golden_tensor("input", {1, 3, 64, 96});
    std::copy(values.begin(), values.end(), image.data());
    const ev::Tensor map = backbone.forward(image).stage_final();

    double checksum = 0;
    for (Eigen::Index i = 0; i < map.size(); ++i) checksum += double{map.data()[i]} * static_cast<double>(i % 7 - 3);
    const double expected = 3.7404830;  // of the reference's stage4 for these weights and this image, in float64
    std::printf("efficientvit %s, %ld values, checksum %.6f, expected %.6f\n", EFFICIENTVIT_VERSION,
                static_cast<long>(map.size()), checksum, expected);
    return map.size() == 128 * 2 * 3 && std::abs(checksum - expected) < 1e-3 ? 0 : 1;
}

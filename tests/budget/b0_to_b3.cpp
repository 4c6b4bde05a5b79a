// SPDX-License-Identifier: Apache-2.0
//
// A program that uses four backbones, to be compiled by compile_cost.py.
#include <efficientvit/efficientvit.hpp>

namespace ev = efficientvit;

template <class Backbone>
float largest(const ev::StateDict& weights, const ev::Tensor& image) {
    Backbone backbone;
    backbone.load_state_dict(weights);
    const Eigen::Tensor<float, 0, Eigen::RowMajor> maximum = backbone.forward(image).stage_final().maximum();
    return maximum();
}

int main() {
    const ev::StateDict weights;
    const ev::Tensor image(1, 3, 224, 224);
    const float sum = largest<ev::BackboneB0>(weights, image) + largest<ev::BackboneB1>(weights, image) +
                      largest<ev::BackboneB2>(weights, image) + largest<ev::BackboneB3>(weights, image);
    return sum > 0 ? 0 : 1;
}

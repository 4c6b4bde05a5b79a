// SPDX-License-Identifier: Apache-2.0
//
// A unit that uses b0, to be compiled by compile_cost.py with EFFICIENTVIT_COMPILED.
#include <efficientvit/efficientvit.hpp>

namespace ev = efficientvit;

float first_feature(const ev::StateDict& weights, const ev::Tensor& image) {
    ev::BackboneB0 backbone;
    backbone.load_state_dict(weights);
    return backbone.forward(image).stage_final()(0, 0, 0, 0);
}

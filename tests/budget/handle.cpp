// SPDX-License-Identifier: Apache-2.0
//
// A unit that uses any network, to be compiled by compile_cost.py.
#include <efficientvit/models/model_handle.hpp>

namespace ev = efficientvit;

void classify(const float* image, float* logits) {
    ev::ModelHandle model("cls_b1", "b1.safetensors");
    model.forward({image, {1, 3, 224, 224}}, {logits, {1, 1000, 1, 1}});
}

// SPDX-License-Identifier: Apache-2.0
//
// What the snippets that are no whole programs may take for granted: the names that the text around them has
// introduced. extract.py puts them behind this.
#pragma once

#include <efficientvit/efficientvit.hpp>
#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/images/segmentation.hpp>
#include <efficientvit/models/any_model_of.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#undef NDEBUG  // what the snippets assert is tested
#include <cassert>

namespace ev = efficientvit;

template <class Network>
Network loaded(const char* path) {
    Network network;
    network.load_state_dict(ev::load_safetensors(path));
    return network;
}

inline ev::Tensor input_of(int height, int width) {
    ev::Tensor image(1, 3, height, width);
    image.setConstant(0.5f);
    return image;
}

inline ev::BackboneB0 backbone = loaded<ev::BackboneB0>("b0.safetensors");
inline ev::SegB0Cityscapes<> model = loaded<ev::SegB0Cityscapes<>>("seg_b0.safetensors");
inline ev::Tensor image = input_of(224, 224), final_stage;
inline ev::Context context;
inline const std::string name = "efficientvit_b0.r224_in1k";
inline const ev::StateDict weights = ev::load_safetensors("b0.safetensors");

// SPDX-License-Identifier: Apache-2.0
//
// The files that the snippets read, in the folder where they are run: weights of random values under the names that the
// text uses, and what a Python session would have left to compare with.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/weights/convert.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "../golden_values.hpp"

namespace ev = efficientvit;
namespace fs = std::filesystem;

template <class Network>
ev::StateDict weights_of() {
    ev::StateDict weights;
    for (const ev::Parameter& p : Network::parameters())
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    return weights;
}

int main(int, char** argv) {
    const fs::path data = argv[1], folder = argv[2];
    fs::create_directories(folder);
    const auto copy = [&](const char* from, const char* to) {
        fs::create_directories((folder / to).parent_path());
        fs::copy_file(data / from, folder / to, fs::copy_options::overwrite_existing);
    };
    ev::save_safetensors(folder / "b0.safetensors", weights_of<ev::ClsB0<>>());  // a whole classifier, as published
    ev::save_safetensors(folder / "seg_b0.safetensors", weights_of<ev::SegB0Cityscapes<>>());
    ev::save_safetensors(folder / "sam_l0.safetensors", ev::converted(weights_of<ev::SamL0>(), ev::DType::f16));
    copy("checkpoints/backbone_b0_official.pt", "efficientvit_b0_r224.pt");
    copy("images/flower_444.jpg", "street.jpg");
    copy("images/flower_444.jpg", "photo.jpg");
    copy("images/flower_444.jpg", "train/flowers/1.jpg");
    copy("images/china.png", "train/houses/1.png");

    // own-weights.md: a classifier of two classes, an input and its logits.
    using Mine = ev::ClsB0<2>;
    const ev::StateDict weights = weights_of<Mine>();
    Mine network;
    network.load_state_dict(weights);
    const std::vector<float> input = golden_tensor("input", {1, 3, 224, 224});
    const ev::Tensor logits = network.forward(ev::ConstTensorView{input.data(), {1, 3, 224, 224}});
    ev::StateDict check;
    check.insert("input", {1, 3, 224, 224}, input);
    check.insert("logits", {1, 2}, std::vector<float>(logits.data(), logits.data() + logits.size()));
    ev::save_safetensors(folder / "mine.safetensors", weights);
    ev::save_safetensors(folder / "check.safetensors", check);
}

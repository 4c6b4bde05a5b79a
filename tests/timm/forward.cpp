// SPDX-License-Identifier: Apache-2.0
//
// forward <model> <weights> <input> <outputs>: a network of make_model() on a tensor called "input", from one
// safetensors file to another. What compare.py runs.
#include <efficientvit/models/make_model.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <cstdint>
#include <exception>
#include <iostream>
#include <vector>

namespace ev = efficientvit;

int main(int argc, char** argv) {
    if (argc != 5) {
        std::cerr << "usage: forward <model> <weights> <input> <outputs>\n";
        return 2;
    }
    try {
        const auto model = ev::make_model(argv[1]);
        model->load_state_dict(ev::load_safetensors(argv[2]));
        const ev::StateDict file = ev::load_safetensors(argv[3]);
        const ev::Entry& input = file.at("input");
        std::vector<float> values = ev::to_float(input);
        const ev::Shape shape{input.shape.at(0), input.shape.at(1), input.shape.at(2), input.shape.at(3)};
        ev::StateDict outputs;
        for (const auto& [name, y] : model->forward(ev::ConstTensorView{values.data(), shape})) {
            const std::vector<std::int64_t> extents(y.dimensions().begin(), y.dimensions().end());
            outputs.insert(name, extents, std::vector<float>(y.data(), y.data() + y.size()));
        }
        ev::save_safetensors(argv[4], outputs);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}

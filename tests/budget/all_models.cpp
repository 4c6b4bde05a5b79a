// SPDX-License-Identifier: Apache-2.0
//
// A program that can run every published network, to be compiled by compile_cost.py.
#include <efficientvit/models/make_model.hpp>

#include <iostream>

namespace ev = efficientvit;

int main(int, char** argv) {
    const auto model = ev::make_model(argv[1]);
    model->load_state_dict({});
    const ev::Tensor image(1, 3, model->info().height, model->info().width);
    for (const auto& [name, tensor] : model->forward(image)) std::cout << name << " " << tensor.dimensions() << "\n";
}

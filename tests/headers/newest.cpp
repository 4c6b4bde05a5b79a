// SPDX-License-Identifier: Apache-2.0
//
// A small forward, for a compiler and a standard library that the other tests are not built with.
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/models/model_handle.hpp>

#include <cstdio>
#include <vector>

namespace ev = efficientvit;

int main() {
    using Layer = ev::ConvLayer<ev::ConvConfig{.in_channels = 3,
                                               .out_channels = 8,
                                               .kernel_size = 1,
                                               .norm = ev::Norm::none,
                                               .act_func = ev::Activation::none}>;
    ev::StateDict weights;
    for (const ev::Parameter& p : Layer::parameters()) {
        weights.insert(p.name, p.shape, std::vector<float>(24, 0.5f));
    }
    Layer layer;
    layer.load_state_dict(weights);
    ev::Tensor image(1, 3, 4, 5);
    image.setConstant(2.0f);
    const ev::Tensor y = layer.forward(image);
    std::printf("%ld values of %f\n", static_cast<long>(y.size()), static_cast<double>(y(0, 7, 3, 4)));
    return y.size() == 8 * 4 * 5 && y(0, 0, 0, 0) == 3.0f && y(0, 7, 3, 4) == 3.0f ? 0 : 1;
}

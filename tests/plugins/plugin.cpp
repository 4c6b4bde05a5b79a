// SPDX-License-Identifier: Apache-2.0
//
// A plugin as others write them: a network and a Context in statics, a forward with it and one with the thread's own.
// Weights are all plugin_scale(), so that two plugins answer differently.
#include <efficientvit/efficientvit.hpp>

extern "C" __attribute__((visibility("hidden"))) float plugin_scale();

namespace ev = efficientvit;
using Network = ev::OpSequential<ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 8, .stride = 2}>>;

namespace {
Network make() {
    ev::StateDict weights;
    for (const ev::Parameter& p : Network::parameters()) {
        std::size_t count = 1;
        for (const auto extent : p.shape) count *= static_cast<std::size_t>(extent);
        weights.insert(p.name, p.shape, std::vector<float>(count, plugin_scale()));
    }
    Network network;
    network.load_state_dict(weights);
    return network;
}
}  // namespace

extern "C" __attribute__((visibility("default"))) float PLUGIN_NAME() {
    static ev::Context context({.threads = 2});
    static const Network network = make();
    ev::Tensor image(1, 3, 32, 32);
    image.setConstant(1);
    const ev::Tensor with = network.forward(image, context), without = network.forward(image);
    return with(0, 0, 5, 5) == without(0, 0, 5, 5) ? with(0, 0, 5, 5) : -1;
}

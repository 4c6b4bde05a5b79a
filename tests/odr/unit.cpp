// SPDX-License-Identifier: Apache-2.0
//
// Compiled several times, with other -m flags and another ODR_UNIT.
#include "unit.hpp"

#include <efficientvit/efficientvit.hpp>

#include <cstdio>
#include <exception>

#include "../golden_values.hpp"

namespace {

namespace ev = efficientvit;

// One layer of each kind that has kernels of its own.
using Network = ev::OpSequential<
    ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 16, .stride = 2}>,
    ev::ResidualBlock<ev::DSConv<ev::DSConvConfig{.in_channels = 16, .out_channels = 16}>, ev::IdentityLayer>,
    ev::EfficientViTBlock<ev::EfficientViTBlockConfig{.in_channels = 16, .dim = 8}>>;

}  // namespace

#define ODR_JOIN_(a, b) a##b
#define ODR_JOIN(a, b) ODR_JOIN_(a, b)

bool ODR_JOIN(forward_, ODR_UNIT)(ev::ConstTensorView x, ev::TensorView y) try {
    ev::StateDict weights;
    for (const ev::Parameter& p : Network::parameters()) {
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    }
    Network network;
    network.load_state_dict(weights);
    ev::Context context;
    network.forward(x, y, context);
    return true;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return false;
}

// SPDX-License-Identifier: Apache-2.0
//
// A unit of flag_matrix.py, compiled once for each set of flags: FLAG_UNIT names its function. Loads a small network,
// computes with and without helpers, and does with the plain namespace's types what programs do.
#include <efficientvit/images/image.hpp>
#include <efficientvit/models/model_handle.hpp>
#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/ds_conv.hpp>
#include <efficientvit/nn/identity_layer.hpp>
#include <efficientvit/nn/op_sequential.hpp>
#include <efficientvit/nn/residual_block.hpp>

#include <cstdio>
#include <exception>
#include <utility>
#include <vector>

namespace {

namespace ev = efficientvit;

using Network = ev::OpSequential<
    ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 16, .stride = 2}>,
    ev::ResidualBlock<ev::DSConv<ev::DSConvConfig{.in_channels = 16, .out_channels = 16}>, ev::IdentityLayer>>;

struct Nobody : ev::Executor {
    int concurrency() const override { return 0; }
    void schedule(void (*)(void*), void*) override {}
};

bool same(const ev::ImageSize& a, const ev::ImageSize& b) { return a == b; }
bool same(const ev::Rgb& a, const ev::Rgb& b) { return a == b; }
bool same(const ev::Shape& a, const ev::Shape& b) { return a == b; }

ev::ModelHandleOptions passed_on(ev::ModelHandleOptions options) {
    ev::ModelHandleOptions copy = options;
    copy = std::move(options);
    return copy;
}

template <class Error>
bool caught() {
    try {
        throw Error("thrown on purpose");
    } catch (const ev::Error& error) {
        return error.what() != nullptr;
    }
}

bool plain_types() {
    const ev::TensorView view{nullptr, {1, 2, 3, 4}};
    const ev::ConstTensorView seen = view;
    return same(seen.shape, view.shape) && same(ev::Rgb{1, 2, 3}, ev::Rgb{1, 2, 3}) &&
           same(ev::ImageSize{1, 2}, ev::ImageSize{1, 2}) && passed_on({.threads = 3}).threads == 3 &&
           caught<ev::WeightsError>() && caught<ev::ShapeError>() && caught<ev::ConfigError>() &&
           caught<ev::PromptError>() && caught<ev::ImageError>();
}

}  // namespace

/// From 3 x 18 x 22 floats to 16 x 9 x 11.
extern "C" bool FLAG_UNIT(const float* x, float* y) try {
    if (!plain_types()) return false;
    ev::StateDict weights;
    for (const ev::Parameter& p : Network::parameters()) {
        std::size_t count = 1;
        for (const auto extent : p.shape) count *= static_cast<std::size_t>(extent);
        weights.insert(p.name, p.shape, std::vector<float>(count, 0.25f));
    }
    Network network;
    network.load_state_dict(weights);
    Nobody nobody;
    ev::Context alone, helped({.threads = 2}), borrowed({.executor = &nobody});
    for (ev::Context* const context : {&alone, &helped, &borrowed}) {
        network.forward(ev::ConstTensorView{x, {1, 3, 18, 22}}, ev::TensorView{y, {1, 16, 9, 11}}, *context);
    }
    // Now that there have been threads, owners of weights are counted by atomic operations.
    Network second;
    second.load_state_dict(weights);
    const Network copy = second;
    second = Network();
    copy.forward(ev::ConstTensorView{x, {1, 3, 18, 22}}, ev::TensorView{y, {1, 16, 9, 11}}, alone);
    return true;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return false;
}

// SPDX-License-Identifier: Apache-2.0
//
// A change of numbers that nobody announced: for each instruction set a hash over the bits of what small networks give,
// stored in hashes.hpp. Not a test of correctness, which the goldens are.
#include "hashes.hpp"

#include <efficientvit/efficientvit.hpp>

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "../isas.hpp"
#include "../support.hpp"

namespace {

/// FNV-1a over the bits of floats, lowest byte first.
std::uint64_t hash_of(const std::vector<float>& values) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const float value : values) {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        for (int byte = 0; byte < 4; ++byte) hash = (hash ^ (bits >> 8 * byte & 0xff)) * 0x100000001b3u;
    }
    return hash;
}

template <class Network>
std::uint64_t hash_of_network(ev::Isa isa, const ev::Shape& shape, ev::Precision precision = {}, bool winograd = true) {
    Network network;
    network.load_state_dict(golden_weights(Network::parameters()),
                            {.isa = isa, .precision = precision, .winograd = winograd});
    const ev::Tensor image = golden_input(shape);
    const ev::Shape y_shape = Network::output_shape(shape);
    std::vector<float> y(static_cast<std::size_t>(y_shape.n * y_shape.c * y_shape.h * y_shape.w));
    const ev::ConstTensorView in{image.data(), shape};
    const ev::TensorView out{y.data(), y_shape};
    ev::Context context;
    if constexpr (requires { network.forward_final(in, out, context); }) {
        network.forward_final(in, out, context);
    } else {
        network.forward(in, out, context);
    }
    return hash_of(y);
}

// All kinds of kernels, in few channels: a network with attention in it (linear on the larger image, quadratic on the
// smaller), and what else there is of convolutions, activations and interpolation.
using Backbone =
    ev::EfficientViTBackbone<ev::BackboneConfig{.width_list = {8, 16, 24, 32}, .depth_list = {1, 1, 1, 1}, .dim = 8}>;
template <ev::Activation First, ev::Activation Last>
using Others = ev::OpSequential<
    ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 12, .stride = 2, .act_func = First}>,
    ev::FusedMBConv<ev::FusedMBConvConfig{.in_channels = 12, .out_channels = 20, .stride = 2}>,
    ev::ConvLayer<ev::ConvConfig{.in_channels = 20, .out_channels = 20, .groups = 4, .act_func = Last}>,
    ev::UpSampleLayer<ev::UpSampleConfig{.factor = 2}>>;

/// 3x3 convolutions that are Winograd's unless they may not.
using Dense = ev::OpSequential<
    ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 32, .stride = 2, .act_func = ev::Activation::relu}>,
    ev::ResidualBlock<
        ev::ResBlock<ev::ResBlockConfig{
            .in_channels = 32, .out_channels = 32, .act_func = {ev::Activation::hswish, ev::Activation::none}}>,
        ev::IdentityLayer>,
    ev::FusedMBConv<ev::FusedMBConvConfig{.in_channels = 32, .out_channels = 20, .expand_ratio = 1.5}>>;

class Numerics : public IsaTest {};
EFFICIENTVIT_ON_EVERY_ISA(Numerics);

TEST_P(Numerics, AreThoseThatWereAnnounced) {
    const ev::Isa isa = GetParam();
    const NumericHashes* const stored = stored_hashes(isa);
    NumericHashes found{
        .isa = isa,
        .linear = hash_of_network<Backbone>(isa, {1, 3, 64, 96}),
        .quadratic = hash_of_network<Backbone>(isa, {2, 3, 32, 32}),
        .others = hash_of_network<Others<ev::Activation::hswish, ev::Activation::relu>>(isa, {1, 3, 19, 30}),
        .exponentials = hash_of_network<Others<ev::Activation::gelu, ev::Activation::silu>>(isa, {1, 3, 19, 30}),
        .bf16_weights = hash_of_network<Backbone>(isa, {1, 3, 64, 96}, ev::Precision::bf16_weights),
        .winograd = hash_of_network<Dense>(isa, {2, 3, 37, 58}),
        .direct = hash_of_network<Dense>(isa, {2, 3, 37, 58}, {}, false)};
    // There the quotient of gelu and silu begins with vrcp14ps, whose last bits may be the CPU's maker's choice.
    if (isa == ev::Isa::avx512) found.exponentials = 0;
    const std::string line = to_text(found);
    if (stored == nullptr) GTEST_SKIP() << "none stored for this ISA and compiler; found " << line;
    EXPECT_EQ(line, to_text(*stored))
        << "If this is meant: put the line that was found into tests/numerics/hashes.hpp, "
           "and into CHANGELOG.md by how much numbers change.";
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Layers whose 3x3 convolutions are Winograd's: against the reference, against themselves without it, and when it is
// used.
#include "../small_networks.hpp"
#include "../variable.hpp"
#include "check_layer.hpp"

namespace {

using ev::Activation;

using LargeConv = ev::ConvLayer<ev::ConvConfig{.in_channels = 31, .out_channels = 48, .act_func = Activation::hswish}>;
using Fused = ev::FusedMBConv<ev::FusedMBConvConfig{
    .in_channels = 32, .out_channels = 24, .expand_ratio = 1.5, .act_func = {Activation::gelu, Activation::none}}>;
constexpr ev::ResBlockConfig res{
    .in_channels = 32, .out_channels = 32, .act_func = {Activation::silu, Activation::none}};
using Res = ev::ResidualBlock<ev::ResBlock<res>, ev::IdentityLayer>;
using WideFused = ev::FusedMBConv<ev::FusedMBConvConfig{
    .in_channels = 64, .out_channels = 40, .expand_ratio = 1.5, .act_func = {Activation::gelu, Activation::none}}>;

/// Several groups of bytes.
using Wider = ev::ConvLayer<ev::ConvConfig{.in_channels = 144, .out_channels = 48}>;

/// One tile less than all, steps of rows, and a row that is cut.
const std::vector<ev::Shape>& large_sizes() {
    static const std::vector<ev::Shape> sizes{{1, 0, 20, 20}, {2, 0, 19, 30}, {1, 0, 41, 23}, {1, 0, 14, 401}};
    return sizes;
}

TEST(Winograd, LayersAgreeWithTheReference) {
    check_layer<LargeConv>("ConvLayer", large_sizes());
    check_layer<Fused>("FusedMBConv", large_sizes());
    check_layer<Res>(
        [](const reference::Map& x, const reference::Weights& w) {
            return reference::add(x, reference::res_block(x, w.at("main"), res));
        },
        large_sizes(), "ResBlock");
}

/// Counts the schedules that are carried out.
class Schedules : public ev::ChunkTrace {
public:
    void section(int) override {}
    void chunk(int, double) override {}
    void schedule(const ev::detail::WinogradSchedule& s) override { used_ += s.used ? 1 : 0; }
    int used() const { return used_; }

private:
    int used_ = 0;
};

template <class Layer>
int winograds(const Layer& layer, const ev::Shape& shape) {
    Schedules schedules;
    ev::Context context({.trace = &schedules});
    layer.forward(golden_input(shape), context);
    return schedules.used();
}

class WinogradLayers : public IsaTest {
protected:
    template <class Layer>
    Layer load(const ev::LoadOptions& options) const {
        ev::LoadOptions with_isa = options;
        with_isa.isa = GetParam();
        Layer layer;
        layer.load_state_dict(golden_weights(Layer::parameters()), with_isa);
        return layer;
    }
};

constexpr const char* winograd_variable = "EFFICIENTVIT_WINOGRAD";

TEST_P(WinogradLayers, AreUsedForMapsThatAreLargeEnough) {
    const Variable unset(winograd_variable, nullptr);
    const auto conv = load<LargeConv>({});
    const auto block = load<Res>({});
    EXPECT_EQ(winograds(conv, {1, 31, 20, 20}), 1);
    EXPECT_EQ(winograds(conv, {1, 31, 8, 8}), 0);
    EXPECT_EQ(winograds(conv, {1, 31, 1, 200}), 0) << "of four rows three would be in vain";
    EXPECT_EQ(winograds(block, {1, 32, 20, 20}), 2);
    EXPECT_EQ(winograds(load<Fused>({}), {1, 32, 20, 20}), 1);
    using Narrow = ev::ConvLayer<ev::ConvConfig{.in_channels = 8, .out_channels = 32}>;
    EXPECT_EQ(winograds(load<Narrow>({}), {1, 8, 32, 32}), 0) << "blocks of eight channels";
    using Strided = ev::ConvLayer<ev::ConvConfig{.in_channels = 32, .out_channels = 32, .stride = 2}>;
    EXPECT_EQ(winograds(load<Strided>({}), {1, 32, 64, 64}), 0);
    using Dilated = ev::ConvLayer<ev::ConvConfig{.in_channels = 32, .out_channels = 32, .dilation = 2}>;
    EXPECT_EQ(winograds(load<Dilated>({}), {1, 32, 64, 64}), 0);
    using Wide = ev::ConvLayer<ev::ConvConfig{.in_channels = 32, .out_channels = 32, .kernel_size = 5}>;
    EXPECT_EQ(winograds(load<Wide>({}), {1, 32, 64, 64}), 0);
    using Groups = ev::ConvLayer<ev::ConvConfig{.in_channels = 32, .out_channels = 32, .groups = 2}>;
    EXPECT_EQ(winograds(load<Groups>({}), {1, 32, 64, 64}), 0);
}

TEST_P(WinogradLayers, AreNotUsedWhereNobodyWantsThem) {
    const ev::Shape shape{1, 31, 24, 24}, small{1, 31, 8, 8};
    const ev::Tensor x = golden_input(shape), small_x = golden_input(small);
    const auto without = load<LargeConv>({.winograd = false});
    EXPECT_EQ(winograds(without, shape), 0);
    const Variable unset(winograd_variable, nullptr);
    const auto with = load<LargeConv>({});
    EXPECT_FALSE(same_bits(with.forward(x), without.forward(x))) << "or it was not used";
    EXPECT_TRUE(same_bits(with.forward(small_x), without.forward(small_x)));
    {
        const Variable off(winograd_variable, "0");
        EXPECT_TRUE(same_bits(load<LargeConv>({}).forward(x), without.forward(x)));
    }
    for (const char* value : {"1", ""}) {
        const Variable on(winograd_variable, value);
        EXPECT_TRUE(same_bits(load<LargeConv>({}).forward(x), with.forward(x)));
        EXPECT_EQ(winograds(load<LargeConv>({.winograd = false}), shape), 0);
    }
    const Variable wrong(winograd_variable, "no");
    expect_in("EFFICIENTVIT_WINOGRAD is 'no', known are 0, 1",
              message_of<ev::ConfigError>([&] { load<LargeConv>({}); }));
}

TEST_P(WinogradLayers, AreOfFloatsOrOfBytesWhereThatIsFaster) {
    const Variable unset(winograd_variable, nullptr);
    const ev::Shape shape{1, 32, 24, 24}, wide{1, 64, 24, 24};
    EXPECT_EQ(winograds(load<Res>({.precision = ev::Precision::bf16_weights}), shape), 0);
    EXPECT_EQ(winograds(load<Res>({.precision = ev::Precision::bf16}), shape), 0);
    const ev::kernels::Table& table = ev::Precision::int8.kernels()(GetParam());
    const auto used = [&](int channels) { return table.winograd != nullptr && channels >= table.winograd_channels; };
    EXPECT_EQ(winograds(load<Res>({.precision = ev::Precision::int8}), shape), used(32) ? 2 : 0);
    EXPECT_EQ(winograds(load<WideFused>({.precision = ev::Precision::int8}), wide), used(64) ? 1 : 0);
    EXPECT_EQ(winograds(load<WideFused>({.precision = ev::Precision::int8, .winograd = false}), wide), 0);
}

/// Nearer than without it where floats are multiplied. bf16 in transforms is rougher than evenly spread bytes.
TEST_P(WinogradLayers, OfBytesAreNearThoseOfFloats) {
    const Variable unset(winograd_variable, nullptr);
    const auto error = [&]<class Layer>(const Layer&, int channels, bool winograd) {
        const ev::Tensor x = golden_input({1, channels, 27, 35});
        const auto bytes = load<Layer>({.precision = ev::Precision::int8, .winograd = winograd});
        return root_mean_square_error(to_map(bytes.forward(x)), to_map(load<Layer>({}).forward(x)));
    };
    const ev::kernels::Table& table = ev::Precision::int8.kernels()(GetParam());
    const auto check = [&](const auto& layer, int channels) {
        const double with = error(layer, channels, true), without = error(layer, channels, false);
        EXPECT_LT(with, 0.015);
        if (table.winograd == nullptr || channels < table.winograd_channels) {
            EXPECT_EQ(with, without);
        } else if (table.winograd_channels == 0) {
            EXPECT_LT(with, without);
        }
    };
    check(LargeConv{}, 31);
    check(Res{}, 32);
    check(WideFused{}, 64);
    check(Wider{}, 144);
}

/// Any number of threads and images, whatever memory held.
TEST_P(WinogradLayers, GiveTheSameBits) {
    const auto check = [&](const auto& layer, int channels) {
        const ev::Tensor x = golden_input({3, channels, 50, 37});
        const auto image = [&](int n) {
            return ev::ConstTensorView{x.data() + Eigen::Index{n} * channels * 50 * 37, {1, channels, 50, 37}};
        };
        for (const int threads : {1, 2, 3, 5}) {
            ev::Context context({.threads = threads});
            layer.forward(x, context);
            poison(context, GetParam());
            const ev::Tensor together = layer.forward(x, context);
            for (int n = 0; n < 3; ++n) {
                poison(context, GetParam());
                const ev::Tensor alone = layer.forward(image(n), context);
                EXPECT_TRUE(same_bits(image_of(together, n), alone)) << "image " << n << ", " << threads << " threads";
                EXPECT_TRUE(same_bits(alone, layer.forward(image(n)))) << threads << " threads";
            }
        }
    };
    check(load<LargeConv>({}), 31);
    check(load<Fused>({}), 32);
    check(load<Res>({}), 32);
    check(load<Res>({.precision = ev::Precision::int8}), 32);
    check(load<WideFused>({.precision = ev::Precision::int8}), 64);
}

EFFICIENTVIT_ON_EVERY_ISA(WinogradLayers);

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Weights into models and out of them again: failures that must leave no trace, copies, moves, and the instruction set
// that weights are packed for. Names and files are tested in weights/.
#include "../isas.hpp"
#include "../support.hpp"
#include "../variable.hpp"
#include "loaded.hpp"

#include <efficientvit/nn/layer_norm_2d.hpp>

#include <memory>
#include <utility>

namespace {

using ev::ConvConfig;
using Conv = ev::ConvLayer<ConvConfig{.in_channels = 5, .out_channels = 7}>;

// ---- Loading -------------------------------------------------------------------------------------------------------

/// Bytes that cannot be read any more, as those of a file that was cut short.
class Unreadable : public ev::Storage {
public:
    explicit Unreadable(std::vector<float> values) : values_(std::move(values)) {}
    std::span<const std::byte> bytes() const { return std::as_bytes(std::span(values_)); }
    void read(const std::byte*, std::span<std::byte>) const override { throw ev::WeightsError("cut short"); }

private:
    std::vector<float> values_;
};

TEST(Loading, AFailureLeavesTheModelAsItWas) {
    const ev::Tensor x = golden_input({1, 3, 20, 20});
    Stem layer = stem();
    const ev::Tensor expected = layer.forward(x);
    Stem unloaded;

    std::vector<ev::StateDict> bad;
    const std::string last = Stem::parameters().back().name, first = Stem::parameters().front().name;
    // Other values than those loaded, so that a part of them taken over would show.
    const ev::StateDict other = golden_weights(Stem::parameters(), "other");
    bad.assign(6, other);
    bad[0].erase(last);
    bad[1].insert("surplus", {1}, {1});
    bad[2].erase(last);
    bad[2].insert(last, {9}, std::vector<float>(9));
    bad[3].erase(first);
    const std::vector<std::byte> bytes(8 * 3 * 3 * 3 * 8);
    bad[3].insert(first, ev::DType::i64, {8, 3, 3, 3}, bytes, nullptr);
    bad[4] = {};
    bad[5].erase(last);
    const auto unreadable = std::make_shared<const Unreadable>(std::vector<float>(8));
    bad[5].insert(last, ev::DType::f32, {8}, unreadable->bytes(), unreadable);
    for (const ev::StateDict& weights : bad) {
        EXPECT_THROW(layer.load_state_dict(weights), ev::WeightsError);
        EXPECT_TRUE(layer.loaded());
        EXPECT_EQ(layer.isa(), stem().isa());
        EXPECT_TRUE(same_bits(layer.forward(x), expected));
        EXPECT_THROW(unloaded.load_state_dict(weights), ev::WeightsError);
        EXPECT_FALSE(unloaded.loaded());
    }
    const std::string message = message_of<ev::WeightsError>([&] { layer.load_state_dict(bad[0]); });
    expect_in(last, message);
    layer.load_state_dict(other);
    EXPECT_FALSE(same_bits(layer.forward(x), expected));
}

/// PyTorch leaves what is missing at its initial value. Here that is zero for weights and an identity for norms.
TEST(Loading, NotStrict) {
    ev::StateDict weights = golden_weights(Conv::parameters());
    weights.insert("surplus", {2}, {1, 2});
    weights.erase("norm.weight");
    weights.erase("norm.running_var");
    Conv layer;
    EXPECT_THROW(layer.load_state_dict(weights), ev::WeightsError);
    const ev::LoadReport report = layer.load_state_dict(weights, {.strict = false});
    EXPECT_EQ(report.missing, (std::vector<std::string>{"norm.weight", "norm.running_var"}));
    EXPECT_EQ(report.unexpected, (std::vector<std::string>{"surplus"}));
    const ev::Tensor x = golden_input({1, 5, 6, 6});
    const reference::Weights ones([](const std::string& name, const reference::Weights::Shape& shape) {
        const bool missing = name == "norm.weight" || name == "norm.running_var";
        return missing ? std::vector<float>(7, 1.0f) : golden_tensor(name, shape);
    });
    const ConvConfig config{.in_channels = 5, .out_channels = 7};
    EXPECT_LE(relative_error(layer.forward(x), reference::conv_layer(to_map(x), ones, config)), bound);

    EXPECT_TRUE(layer.load_state_dict(golden_weights(Conv::parameters())).missing.empty());
    const ev::LoadReport nothing = layer.load_state_dict({}, {.strict = false});
    EXPECT_EQ(nothing.missing.size(), Conv::parameters().size());
    const ev::Tensor zeros = ev::Tensor(1, 7, 6, 6).setZero();
    EXPECT_TRUE(same_bits(layer.forward(x), zeros));

    weights.erase("conv.weight");
    weights.insert("conv.weight", {7, 5, 3, 1}, std::vector<float>(105));
    EXPECT_THROW(layer.load_state_dict(weights, {.strict = false}), ev::WeightsError) << "a wrong shape is never taken";
}

/// Norms begin as PyTorch's do: weight and variance of 1, bias and mean of 0.
TEST(Loading, NormsWithoutTensors) {
    const auto check = [](auto bare, const ev::Shape& shape) {
        auto told = bare;
        ev::StateDict weights;
        for (const ev::Parameter& p : bare.parameters()) {
            const bool one = p.name.ends_with("weight") || p.name.ends_with("running_var");
            const std::vector<float> of_norm(static_cast<std::size_t>(p.shape[0]), one ? 1.0f : 0.0f);
            const bool linear = p.name.starts_with("linear.");
            weights.insert(p.name, p.shape, linear ? golden_tensor(p.name, p.shape) : of_norm);
        }
        told.load_state_dict(weights);
        for (const ev::Parameter& p : bare.parameters()) {
            if (!p.name.starts_with("linear.")) weights.erase(p.name);
        }
        EXPECT_FALSE(bare.load_state_dict(weights, {.strict = false}).missing.empty());
        const ev::Tensor x = golden_input(shape);
        EXPECT_TRUE(same_bits(bare.forward(x), told.forward(x)));
    };
    check(ev::LayerNorm2d<ev::LayerNorm2dConfig{.num_features = 9}>(), {1, 9, 3, 2});
    check(ev::BatchNorm2d<ev::BatchNormConfig{.num_features = 9}>(), {1, 9, 3, 2});
    check(ev::LinearLayer<ev::LinearConfig{.in_features = 6, .out_features = 9, .norm = ev::Norm::ln}>(), {2, 6, 1, 1});
}

TEST(Loading, ALayerOutOfAModel) {
    ev::DSConv<ev::DSConvConfig{
        .in_channels = 8, .out_channels = 8, .act_func = {ev::Activation::hswish, ev::Activation::none}}>
        layer;
    const std::string prefix = "input_stem.op_list.1.main.";
    layer.load_state_dict(golden_weights(ev::BackboneB0::parameters()), {.prefix = prefix});
    const ev::Tensor x = golden_input({1, 8, 9, 9});
    const reference::Map expected = reference::ds_conv(
        to_map(x), reference::Weights::golden().at("input_stem").at("op_list").at(1).at("main"),
        ev::DSConvConfig{
            .in_channels = 8, .out_channels = 8, .act_func = {ev::Activation::hswish, ev::Activation::none}});
    EXPECT_LE(relative_error(layer.forward(x), expected), bound);
}

/// The state dict may go, and change, once it has been loaded.
TEST(Loading, NothingOfTheStateDictIsKept) {
    const ev::Tensor x = golden_input({1, 3, 20, 20});
    Stem layer;
    {
        std::vector<std::vector<float>> memory;
        ev::StateDict weights;
        for (const ev::Parameter& p : Stem::parameters()) {
            memory.push_back(golden_tensor(p.name, p.shape));
            weights.insert(p.name, ev::DType::f32, p.shape, std::as_bytes(std::span(memory.back())), nullptr);
        }
        layer.load_state_dict(weights);
        for (auto& values : memory) std::fill(values.begin(), values.end(), NAN);
    }
    EXPECT_TRUE(same_bits(layer.forward(x), stem().forward(x)));
}

TEST(Copies, AreIndependent) {
    const ev::Tensor x = golden_input({1, 3, 40, 40});
    auto original = std::make_unique<ev::BackboneB0>(b0());
    const ev::Tensor expected = original->forward_final(x);
    ev::BackboneB0 copy(*original);
    ev::BackboneB0 assigned;
    assigned = *original;
    const ev::StateDict other = golden_weights(ev::BackboneB0::parameters(), "other");
    original->load_state_dict(other);
    EXPECT_FALSE(same_bits(original->forward_final(x), expected));
    original.reset();
    EXPECT_TRUE(same_bits(copy.forward_final(x), expected));
    EXPECT_TRUE(same_bits(assigned.forward_final(x), expected));
}

TEST(Copies, OfAnUnloadedModelAreUnloaded) {
    const Stem unloaded;
    Stem copy(unloaded);
    EXPECT_FALSE(copy.loaded());
    copy = stem();
    EXPECT_TRUE(copy.loaded());
    copy = unloaded;
    EXPECT_FALSE(copy.loaded());
}

TEST(Moves, TakeTheWeightsAlong) {
    const ev::Tensor x = golden_input({1, 3, 20, 20});
    const ev::Tensor expected = stem().forward(x);
    Stem first = stem();
    Stem second(std::move(first));
    EXPECT_TRUE(same_bits(second.forward(x), expected));
    Stem third;
    third = std::move(second);
    EXPECT_TRUE(same_bits(third.forward(x), expected));
    // What has been moved from has no weights, and says so.
    for (const Stem* empty : {&first, &second}) {  // NOLINT(bugprone-use-after-move)
        EXPECT_FALSE(empty->loaded());
        EXPECT_THROW(empty->forward(x), ev::WeightsError);
    }
    first.load_state_dict(golden_weights(Stem::parameters()));
    EXPECT_TRUE(same_bits(first.forward(x), expected));
    std::vector<Stem> many(3, third);
    many.resize(40, third);
    EXPECT_TRUE(same_bits(many.front().forward(x), expected));
    EXPECT_TRUE(same_bits(many.back().forward(x), expected));
}

// ---- The instruction set -------------------------------------------------------------------------------------------

constexpr const char* isa_variable = "EFFICIENTVIT_ISA";

/// Another architecture's, and on a small CPU those of larger ones.
std::vector<ev::Isa> foreign_isas() {
    std::vector<ev::Isa> out;
    for (const ev::Isa isa : {ev::Isa::avx2, ev::Isa::avx512, ev::Isa::neon, ev::Isa::wasm}) {
        if (!ev::isa_supported(isa)) out.push_back(isa);
    }
    return out;
}

TEST(ForcedIsa, ByTheEnvironment) {
    const ev::StateDict weights = golden_weights(Stem::parameters());
    Stem layer;
    for (const ev::Isa isa : isas()) {
        const Variable environment(isa_variable, std::string(ev::isa_name(isa)).c_str());
        layer.load_state_dict(weights);
        EXPECT_EQ(layer.isa(), isa);
    }
    for (const char* unset : {static_cast<const char*>(nullptr), ""}) {
        const Variable environment(isa_variable, unset);
        layer.load_state_dict(weights);
        EXPECT_EQ(layer.isa(), ev::best_isa());
    }
}

TEST(ForcedIsa, AModelRemembersIt) {
    Stem layer;
    {
        const Variable environment(isa_variable, "scalar");
        layer.load_state_dict(golden_weights(Stem::parameters()));
    }
    const Stem copy = layer;
    EXPECT_EQ(copy.isa(), ev::Isa::scalar);
    EXPECT_TRUE(same_bits(copy.forward(golden_input({1, 3, 20, 20})),
                          golden_layer<Stem>(ev::Isa::scalar).forward(golden_input({1, 3, 20, 20}))));
}

TEST(ForcedIsa, ByLoadOptionsWhateverTheEnvironmentSays) {
    const Variable environment(isa_variable, "nonsense");
    Stem layer;
    for (const ev::Isa isa : isas()) {
        layer.load_state_dict(golden_weights(Stem::parameters()), {.isa = isa});
        EXPECT_EQ(layer.isa(), isa);
    }
}

TEST(ForcedIsa, ThatIsUnknownOrNotThere) {
    const ev::StateDict weights = golden_weights(Stem::parameters());
    Stem layer;
    {
        const Variable environment(isa_variable, "sse9");
        const std::string message = message_of<ev::ConfigError>([&] { layer.load_state_dict(weights); });
        expect_in("EFFICIENTVIT_ISA is 'sse9', known are scalar, avx2, avx512, neon, wasm", message);
    }
    EXPECT_FALSE(foreign_isas().empty());
    for (const ev::Isa isa : foreign_isas()) {
        const std::string foreign(ev::isa_name(isa));
        {
            const Variable environment(isa_variable, foreign.c_str());
            const std::string message = message_of<ev::ConfigError>([&] { layer.load_state_dict(weights); });
            expect_in("EFFICIENTVIT_ISA asks for " + foreign, message);
            expect_in(std::string(ev::isa_name(ev::best_isa())), message);
        }
        const std::string message = message_of<ev::ConfigError>([&] { layer.load_state_dict(weights, {.isa = isa}); });
        expect_in("no " + foreign, message);
    }
    EXPECT_FALSE(layer.loaded());
}

}  // namespace

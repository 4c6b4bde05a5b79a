// SPDX-License-Identifier: Apache-2.0
//
// What users do with any layer or model: inputs and outputs of every kind, mistakes, loading, copying, the choice of an
// ISA. And what must make no difference: the caller's rounding mode, what scratch memory held, the rest of a batch. What
// layers compute is in the other files here.
#include "../guarded_buffer.hpp"
#include "../isas.hpp"
#include "../support.hpp"

#include <cfenv>
#include <climits>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#if defined(EFFICIENTVIT_X86)
#include <xmmintrin.h>
#endif

namespace {

using ev::ConvConfig;
using Stem = ev::OpSequential<
    ev::ConvLayer<ConvConfig{.in_channels = 3, .out_channels = 8, .stride = 2}>,
    ev::ResidualBlock<ev::DSConv<ev::DSConvConfig{.in_channels = 8, .out_channels = 8}>, ev::IdentityLayer>>;
using Conv = ev::ConvLayer<ConvConfig{.in_channels = 5, .out_channels = 7}>;
using Map = Eigen::TensorMap<ev::Tensor>;
using ConstMap = Eigen::TensorMap<const ev::Tensor>;

const ev::BackboneB0& b0() {
    static const auto backbone = golden_layer<ev::BackboneB0>();
    return backbone;
}
const Stem& stem() {
    static const auto layer = golden_layer<Stem>();
    return layer;
}

// ---- Inputs and outputs --------------------------------------------------------------------------------------------

TEST(Inputs, OfEveryKindGiveTheSame) {
    ev::Tensor x = golden_input({2, 3, 21, 18});
    const ev::Tensor& constant = x;
    const ev::Tensor expected = stem().forward(x);
    const ConstMap const_map(x.data(), 2, 3, 21, 18);
    const Map map(x.data(), 2, 3, 21, 18);
    const ev::ConstTensorView const_view{x.data(), {2, 3, 21, 18}};
    const ev::TensorView view{x.data(), {2, 3, 21, 18}};
    ev::Context context;
    const auto check = [&](const auto& input) {
        EXPECT_TRUE(same_bits(stem().forward(input), expected));
        EXPECT_TRUE(same_bits(stem().forward(input, context), expected));
        ev::Tensor y(1, 1, 1, 1);
        stem().forward(input, y, context);
        EXPECT_TRUE(same_bits(y, expected));
        y.setZero();
        stem().forward(input, ev::view(y), context);
        EXPECT_TRUE(same_bits(y, expected));
        y.setZero();
        stem().forward(input, Map(y.data(), 2, 8, 11, 9), context);
        EXPECT_TRUE(same_bits(y, expected));
    };
    check(constant);
    check(const_map);
    check(map);
    check(const_view);
    check(view);
}

TEST(Inputs, OfEveryKindIntoABackbone) {
    ev::Tensor x = golden_input({1, 3, 40, 33});
    const auto expected = b0().forward(x);
    ev::Context context;
    const auto check = [&](const auto& input) {
        EXPECT_TRUE(same_bits(b0().forward(input).stage_final(), expected.stage_final()));
        EXPECT_TRUE(same_bits(b0().forward(input, context)["stage1"], expected["stage1"]));
        EXPECT_TRUE(same_bits(b0().forward_final(input), expected.stage_final()));
        EXPECT_TRUE(same_bits(b0().forward_final(input, context), expected.stage_final()));
        ev::Tensor y;
        b0().forward_final(input, y, context);
        EXPECT_TRUE(same_bits(y, expected.stage_final()));
        y.setZero();
        b0().forward_final(input, ev::view(y), context);
        EXPECT_TRUE(same_bits(y, expected.stage_final()));
        y.setZero();
        b0().forward_final(input, Map(y.data(), 1, 128, 2, 2), context);
        EXPECT_TRUE(same_bits(y, expected.stage_final()));
    };
    check(x);
    check(Map(x.data(), 1, 3, 40, 33));
    check(ConstMap(x.data(), 1, 3, 40, 33));
    check(ev::TensorView{x.data(), {1, 3, 40, 33}});
    check(ev::ConstTensorView{x.data(), {1, 3, 40, 33}});
}

TEST(Inputs, OfOtherIndexTypesAndUnalignedMemory) {
    const ev::Tensor x = golden_input({1, 3, 9, 9});
    const ev::Tensor expected = stem().forward(x);
    Eigen::Tensor<float, 4, Eigen::RowMajor, int> with_int(1, 3, 9, 9);
    std::copy_n(x.data(), x.size(), with_int.data());
    EXPECT_TRUE(same_bits(stem().forward(with_int), expected));
    std::vector<float> shifted(static_cast<std::size_t>(x.size()) + 1);
    std::copy_n(x.data(), x.size(), shifted.data() + 1);
    EXPECT_TRUE(same_bits(stem().forward(ConstMap(shifted.data() + 1, 1, 3, 9, 9)), expected));
}

/// No element beside the input is read and none beside the output is written, at any size and by any kind of layer.
TEST(Inputs, NothingOutsideIsTouched) {
    const auto check = [](const auto& layer, const ev::Shape& shape) {
        const ev::Tensor x = golden_input(shape);
        ev::Context context;
        const ev::Tensor expected = layer.forward(x, context);
        for (const Guard guard : {Guard::before, Guard::behind}) {
            GuardedBuffer<float> in(static_cast<std::size_t>(x.size()), guard);
            GuardedBuffer<float> out(static_cast<std::size_t>(expected.size()), guard);
            std::copy_n(x.data(), x.size(), in.data());
            layer.forward(ev::ConstTensorView{in.data(), shape}, ev::TensorView{out.data(), shape_of(expected)},
                          context);
            EXPECT_TRUE(std::equal(out.begin(), out.end(), expected.data())) << to_text(shape);
        }
    };
    const auto conv = golden_layer<Conv>();
    const auto pointwise = golden_layer<ev::ConvLayer<ConvConfig{.in_channels = 5, .out_channels = 3, .kernel_size = 1}>>();
    const auto linear = golden_layer<ev::LinearLayer<ev::LinearConfig{.in_features = 60, .out_features = 5}>>();
    for (const ev::Shape& size : {ev::Shape{1, 5, 1, 1}, ev::Shape{1, 5, 3, 4}, ev::Shape{2, 5, 6, 2}}) {
        check(conv, size);
        check(pointwise, size);
        if (size.n == 1 && size.h == 3) check(linear, size);
    }
    for (const ev::Shape& size : {ev::Shape{1, 3, 1, 1}, ev::Shape{1, 3, 16, 15}, ev::Shape{2, 3, 7, 33}}) {
        check(stem(), size);
    }
}

// ---- Features ------------------------------------------------------------------------------------------------------

TEST(Features, ByNumberAndName) {
    const ev::Tensor x = golden_input({1, 3, 33, 32});
    const ev::BackboneB0::Features features = b0().forward(x);
    const std::vector<ev::Shape> shapes{{1, 8, 17, 16}, {1, 16, 9, 8}, {1, 32, 5, 4}, {1, 64, 3, 2}, {1, 128, 2, 1}};
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(shape_of(features[i]), shapes[std::size_t(i)]);
        EXPECT_EQ(&features["stage" + std::to_string(i)], &features[i]);
    }
    EXPECT_EQ(&features.stage<0>(), &features[0]);
    EXPECT_EQ(&features.stage<4>(), &features[4]);
    EXPECT_EQ(&features.stage_final(), &features[4]);
    EXPECT_EQ(&features["stage_final"], &features[4]);
    for (const char* name : {"stage5", "stage", "stage_fina", "", "stage00", "0"}) {
        const std::string message = message_of<ev::Error>([&] { features[std::string_view(name)]; });
        expect_in("no '" + std::string(name) + "'", message);
        expect_in("stage0 to stage4", message);
    }
    expect_in("no stage 5", message_of<ev::Error>([&] { features[5]; }));
    expect_in("no stage -1", message_of<ev::Error>([&] { features[-1]; }));
}

TEST(Features, AreReusedForAnySize) {
    ev::Context context;
    ev::BackboneB0::Features features;
    for (const ev::Shape& shape : {ev::Shape{1, 3, 33, 32}, ev::Shape{2, 3, 8, 50}, ev::Shape{1, 3, 33, 32}}) {
        const ev::Tensor x = golden_input(shape);
        b0().forward(x, features, context);
        const ev::BackboneB0::Features fresh = b0().forward(x);
        for (int i = 0; i < 5; ++i) EXPECT_TRUE(same_bits(features[i], fresh[i])) << to_text(shape) << " stage " << i;
    }
}

// ---- Mistakes ------------------------------------------------------------------------------------------------------

TEST(Mistakes, ForwardWithoutWeights) {
    const Stem unloaded;
    const ev::BackboneB0 backbone;
    const ev::Tensor x = golden_input({1, 3, 8, 8});
    ev::Context context;
    ev::Tensor y(1, 8, 4, 4);
    ev::BackboneB0::Features features;
    EXPECT_FALSE(unloaded.loaded());
    for (const std::string& message : {message_of<ev::WeightsError>([&] { unloaded.forward(x); }),
                                       message_of<ev::WeightsError>([&] { unloaded.forward(x, y, context); }),
                                       message_of<ev::WeightsError>([&] { unloaded.forward(x, ev::view(y), context); }),
                                       message_of<ev::WeightsError>([&] { backbone.forward(x); }),
                                       message_of<ev::WeightsError>([&] { backbone.forward(x, features, context); }),
                                       message_of<ev::WeightsError>([&] { backbone.forward_final(x); }),
                                       message_of<ev::WeightsError>([&] { unloaded.isa(); }),
                                       message_of<ev::WeightsError>([&] {
                                           static_cast<void>(backbone.workspace_bytes({1, 3, 8, 8}, context));
                                       })}) {
        expect_in("no weights yet, call load_state_dict first", message);
    }
    EXPECT_EQ(context.allocated_bytes(), 0u);
}

TEST(Mistakes, WrongChannels) {
    const ev::Tensor x = golden_input({2, 4, 8, 9});
    ev::Context context;
    ev::Tensor y;
    ev::BackboneB0::Features features;
    for (const std::string& message : {message_of<ev::ShapeError>([&] { stem().forward(x); }),
                                       message_of<ev::ShapeError>([&] { stem().forward(x, y, context); }),
                                       message_of<ev::ShapeError>([&] { b0().forward(x); }),
                                       message_of<ev::ShapeError>([&] { b0().forward(x, features, context); }),
                                       message_of<ev::ShapeError>([&] { b0().forward_final(x); }),
                                       message_of<ev::ShapeError>([&] { Stem::output_shape({2, 4, 8, 9}); })}) {
        expect_in("(2, 4, 8, 9) has 4 channels, expected 3", message);
        expect_in("N, C, H, W", message);
    }
    const std::string nhwc = message_of<ev::ShapeError>([&] { stem().forward(golden_input({1, 224, 224, 3})); });
    expect_in("(1, 224, 224, 3) has 224 channels, expected 3", nhwc);
}

TEST(Mistakes, EmptyNegativeAndHugeExtents) {
    ev::Context context;
    const float somewhere = 0;
    for (const ev::Shape& shape : {ev::Shape{0, 3, 8, 8}, ev::Shape{1, 3, 0, 8}, ev::Shape{1, 3, 8, 0},
                                   ev::Shape{-1, 3, 8, 8}, ev::Shape{1, 3, -8, 8}, ev::Shape{1, 3, 8, -1}}) {
        const ev::ConstTensorView x{&somewhere, shape};
        for (const std::string& message : {message_of<ev::ShapeError>([&] { stem().forward(x); }),
                                           message_of<ev::ShapeError>([&] { b0().forward(x); }),
                                           message_of<ev::ShapeError>([&] { Stem::output_shape(shape); }),
                                           message_of<ev::ShapeError>([&] {
                                               static_cast<void>(b0().workspace_bytes(shape, context));
                                           })}) {
            expect_in("is empty", message);
            expect_in(", " + std::to_string(shape.w) + ")", message);
        }
    }
    expect_in("is empty", message_of<ev::ShapeError>([&] { stem().forward(ev::Tensor(0, 3, 0, 0)); }));
    expect_in("0 channels, expected 3", message_of<ev::ShapeError>([&] { stem().forward(ev::Tensor()); }));
    for (const ev::Shape& shape : {ev::Shape{1, 3, INT_MAX, 1}, ev::Shape{1, 3, 1, PTRDIFF_MAX},
                                   ev::Shape{std::ptrdiff_t{INT_MAX} + 1, 3, 1, 1}}) {
        const ev::ConstTensorView x{&somewhere, shape};
        expect_in("is too large", message_of<ev::ShapeError>([&] { stem().forward(x); }));
        expect_in("is too large", message_of<ev::ShapeError>([&] { b0().forward(x); }));
    }
    EXPECT_EQ(context.allocated_bytes(), 0u);
}

TEST(Mistakes, ViewsThatPointNowhere) {
    const ev::Tensor x = golden_input({1, 3, 8, 8});
    ev::Context context;
    const ev::Shape shape{1, 3, 8, 8};
    expect_in("the input (1, 3, 8, 8) points nowhere",
              message_of<ev::ShapeError>([&] { stem().forward(ev::ConstTensorView{nullptr, shape}); }));
    expect_in("the input (1, 3, 8, 8) points nowhere",
              message_of<ev::ShapeError>([&] { b0().forward(ev::TensorView{nullptr, shape}); }));
    expect_in("(1, 8, 4, 4) and points nowhere, expected (1, 8, 4, 4)", message_of<ev::ShapeError>([&] {
                  stem().forward(x, ev::TensorView{nullptr, {1, 8, 4, 4}}, context);
              }));
}

TEST(Mistakes, OutputViewsOfAnotherShape) {
    const ev::Tensor x = golden_input({1, 3, 8, 8});
    ev::Context context;
    ev::Tensor y(1, 8, 4, 4);
    y.setConstant(7);
    const ev::Tensor before = y;
    for (const ev::Shape& shape :
         {ev::Shape{1, 8, 4, 3}, ev::Shape{1, 8, 16, 1}, ev::Shape{1, 4, 8, 4}, ev::Shape{2, 8, 2, 4}, ev::Shape{}}) {
        const std::string message =
            message_of<ev::ShapeError>([&] { stem().forward(x, ev::TensorView{y.data(), shape}, context); });
        expect_in("the output view is (" + std::to_string(shape.n) + ", " + std::to_string(shape.c), message);
        expect_in("expected (1, 8, 4, 4)", message);
    }
    expect_in("expected (1, 128, 1, 1)",
              message_of<ev::ShapeError>([&] { b0().forward_final(x, ev::view(y), context); }));
    EXPECT_TRUE(same_bits(y, before));
}

TEST(Mistakes, AnotherNumberOfFeatures) {
    const auto linear = golden_layer<ev::LinearLayer<ev::LinearConfig{.in_features = 60, .out_features = 5}>>();
    expect_in("(2, 3, 4, 4) has 48 values an image, expected 60",
              message_of<ev::ShapeError>([&] { linear.forward(golden_input({2, 3, 4, 4})); }));
}

/// All of them can be caught as ev::Error, and as std::runtime_error.
TEST(Mistakes, HaveOneBase) {
    EXPECT_THROW(Stem().forward(golden_input({1, 3, 8, 8})), ev::Error);
    EXPECT_THROW(stem().forward(golden_input({1, 4, 8, 8})), ev::Error);
    EXPECT_THROW(ev::kernels::table(static_cast<ev::Isa>(ev::best_isa() == ev::Isa::neon ? 1 : 3)), ev::Error);
    EXPECT_THROW(Stem().load_state_dict({}), std::runtime_error);
}

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
    ev::StateDict other;
    for (const ev::Parameter& p : Stem::parameters()) other.insert(p.name, p.shape, golden_tensor(p.name, p.shape, "other"));
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
    ev::StateDict other;
    for (const ev::Parameter& p : ev::BackboneB0::parameters()) {
        other.insert(p.name, p.shape, golden_tensor(p.name, p.shape, "other"));
    }
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

/// Sets an environment variable for one test.
class Environment {
public:
    explicit Environment(const char* value) {
        if (const char* old = std::getenv(name)) old_ = old;
        set(value);
    }
    ~Environment() { set(old_ ? old_->c_str() : nullptr); }

private:
    static constexpr const char* name = "EFFICIENTVIT_ISA";
    static void set(const char* value) {
#if defined(_WIN32)
        _putenv_s(name, value == nullptr ? "" : value);
#else
        value == nullptr ? unsetenv(name) : setenv(name, value, 1);
#endif
    }
    std::optional<std::string> old_;
};

constexpr ev::Isa foreign_isa() {
#if defined(EFFICIENTVIT_ARM64)
    return ev::Isa::avx2;
#else
    return ev::Isa::neon;
#endif
}

TEST(ForcedIsa, ByTheEnvironment) {
    const ev::StateDict weights = golden_weights(Stem::parameters());
    Stem layer;
    for (const ev::Isa isa : isas()) {
        const Environment environment(std::string(ev::isa_name(isa)).c_str());
        layer.load_state_dict(weights);
        EXPECT_EQ(layer.isa(), isa);
    }
    for (const char* unset : {static_cast<const char*>(nullptr), ""}) {
        const Environment environment(unset);
        layer.load_state_dict(weights);
        EXPECT_EQ(layer.isa(), ev::best_isa());
    }
}

TEST(ForcedIsa, AModelRemembersIt) {
    Stem layer;
    {
        const Environment environment("scalar");
        layer.load_state_dict(golden_weights(Stem::parameters()));
    }
    const Stem copy = layer;
    EXPECT_EQ(copy.isa(), ev::Isa::scalar);
    EXPECT_TRUE(same_bits(copy.forward(golden_input({1, 3, 20, 20})),
                          golden_layer<Stem>(ev::Isa::scalar).forward(golden_input({1, 3, 20, 20}))));
}

TEST(ForcedIsa, ByLoadOptionsWhateverTheEnvironmentSays) {
    const Environment environment("nonsense");
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
        const Environment environment("sse9");
        const std::string message = message_of<ev::ConfigError>([&] { layer.load_state_dict(weights); });
        expect_in("EFFICIENTVIT_ISA is 'sse9', known are scalar, avx2, avx512, neon", message);
    }
    const std::string foreign(ev::isa_name(foreign_isa()));
    {
        const Environment environment(foreign.c_str());
        const std::string message = message_of<ev::ConfigError>([&] { layer.load_state_dict(weights); });
        expect_in("EFFICIENTVIT_ISA asks for " + foreign, message);
        expect_in(std::string(ev::isa_name(ev::best_isa())), message);
    }
    const std::string message =
        message_of<ev::ConfigError>([&] { layer.load_state_dict(weights, {.isa = foreign_isa()}); });
    expect_in("no " + foreign, message);
    EXPECT_FALSE(layer.loaded());
}

// ---- What must make no difference ----------------------------------------------------------------------------------

class Unchanged : public IsaTest {
protected:
    const ev::BackboneB0 backbone = golden_layer<ev::BackboneB0>(GetParam());
};

TEST_P(Unchanged, ByTheRestOfTheBatch) {
    constexpr int batch = 5;
    for (const auto& [h, w] : {std::pair{33, 40}, std::pair{64, 96}, std::pair{7, 5}}) {
        const ev::Tensor x = golden_input({batch, 3, h, w});
        for (const int threads : {1, 2, 3}) {
            ev::Context context({.threads = threads});
            const auto together = backbone.forward(x, context);
            for (int n = 0; n < batch; ++n) {
                const ev::ConstTensorView image{x.data() + n * 3 * h * w, {1, 3, h, w}};
                const auto alone = backbone.forward(image, context);
                for (int s = 0; s < 5; ++s) {
                    const ev::Tensor part = together[s].slice(
                        Eigen::array<Eigen::Index, 4>{n, 0, 0, 0},
                        Eigen::array<Eigen::Index, 4>{1, alone[s].dimension(1), alone[s].dimension(2),
                                                      alone[s].dimension(3)});
                    EXPECT_TRUE(same_bits(part, alone[s])) << "image " << n << ", stage " << s << ", " << threads
                                                           << " threads, " << h << " x " << w;
                }
            }
        }
    }
}

/// Fills a Context's memory with NaN.
void poison(ev::Context& context, ev::Isa isa) {
    const std::size_t floats = context.allocated_bytes() / sizeof(float);
    context.run(ev::kernels::table(isa), [&](ev::detail::Session& session) {
        float* const memory = session.workspace.take(floats);
        if (!session.measuring()) std::fill_n(memory, floats, std::numeric_limits<float>::quiet_NaN());
    });
    EXPECT_EQ(context.allocated_bytes(), floats * sizeof(float));
}

TEST_P(Unchanged, ByWhatScratchMemoryHeld) {
    for (const ev::Shape& shape : {ev::Shape{1, 3, 64, 96}, ev::Shape{3, 3, 37, 29}, ev::Shape{1, 3, 1, 1}}) {
        const ev::Tensor x = golden_input(shape);
        const auto expected = backbone.forward(x);
        for (const int threads : {1, 2, 3}) {
            ev::Context context({.threads = threads});
            context.reserve(backbone.workspace_bytes(shape, context) + 64 * 191);
            for (int run = 0; run < 3; ++run) {
                poison(context, GetParam());
                const auto features = backbone.forward(x, context);
                for (int s = 0; s < 5; ++s) EXPECT_TRUE(same_bits(features[s], expected[s])) << to_text(shape);
                poison(context, GetParam());
                EXPECT_TRUE(same_bits(backbone.forward_final(x, context), expected.stage_final())) << to_text(shape);
            }
        }
    }
}

/// Layers whose schedules b0 does not have.
TEST_P(Unchanged, ByWhatScratchMemoryHeldInOtherLayers) {
    const auto check = [&](const auto& layer, const ev::Shape& shape) {
        const ev::Tensor x = golden_input(shape);
        const ev::Tensor expected = layer.forward(x);
        for (const int threads : {1, 3}) {
            ev::Context context({.threads = threads});
            context.reserve(layer.workspace_bytes(shape, context));
            poison(context, GetParam());
            EXPECT_TRUE(same_bits(layer.forward(x, context), expected)) << to_text(shape);
        }
    };
    check(golden_layer<ev::ConvLayer<ConvConfig{.in_channels = 9, .out_channels = 17, .dilation = 2}>>(GetParam()),
          {2, 9, 8, 11});
    check(golden_layer<ev::ConvLayer<ConvConfig{.in_channels = 9, .out_channels = 6, .groups = 3}>>(GetParam()),
          {2, 9, 8, 11});
    check(golden_layer<ev::ConvLayer<ConvConfig{.in_channels = 9, .out_channels = 9, .kernel_size = 7, .groups = 9}>>(
              GetParam()),
          {2, 9, 8, 11});
    check(golden_layer<ev::LiteMLA<ev::LiteMLAConfig{.in_channels = 17, .out_channels = 9, .dim = 5, .scales = {3, 7}}>>(
              GetParam()),
          {2, 17, 8, 11});
    check(golden_layer<ev::EfficientViTCls<
              ev::EfficientViTBackbone<ev::BackboneConfig{.width_list = {3, 5}, .depth_list = {1, 1}}>,
              ev::ClsHeadConfig{.width_list = {9, 17}, .n_classes = 3}>>(GetParam()),
          {2, 3, 30, 11});
}

TEST_P(Unchanged, FromRunToRun) {
    const ev::Tensor x = golden_input({2, 3, 50, 61});
    ev::Context context({.threads = 3});
    const ev::Tensor expected = backbone.forward_final(x, context);
    for (int run = 0; run < 20; ++run) EXPECT_TRUE(same_bits(backbone.forward_final(x, context), expected));
}

#if defined(EFFICIENTVIT_X86)
constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040;

/// Sets the processor's floating-point modes for one test.
class Modes {
public:
    explicit Modes(unsigned word) : saved_(_mm_getcsr()) { _mm_setcsr(word); }
    ~Modes() { _mm_setcsr(saved_); }

private:
    unsigned saved_;
};

TEST_P(Unchanged, ByTheCallersFloatingPointModes) {
    const ev::Tensor x = golden_input({1, 3, 33, 40});
    const auto linear = golden_layer<ev::ConvLayer<ConvConfig{.in_channels = 3,
                                                              .out_channels = 4,
                                                              .kernel_size = 1,
                                                              .norm = ev::Norm::none,
                                                              .act_func = ev::Activation::none}>>(GetParam());
    ev::Tensor tiny = x;
    for (Eigen::Index i = 0; i < tiny.size(); ++i) tiny.data()[i] *= 1e-39f;
    const ev::Tensor expected = backbone.forward_final(x), expected_tiny = linear.forward(tiny);
    bool denormal = false;
    for (Eigen::Index i = 0; i < expected_tiny.size(); ++i) {
        denormal = denormal || std::fpclassify(expected_tiny.data()[i]) == FP_SUBNORMAL;
    }
    EXPECT_TRUE(denormal) << "denormals are kept";

    const unsigned plain = 0x1f80;  // all exceptions masked, no flags
    for (const unsigned word : {plain | flush_to_zero, plain | denormals_are_zero, plain | _MM_ROUND_UP,
                                plain | _MM_ROUND_TOWARD_ZERO | flush_to_zero | denormals_are_zero, plain | 0x3f}) {
        for (const int threads : {1, 3}) {
            ev::Context context({.threads = threads});
            ev::Tensor y, y_tiny;
            unsigned after = 0, after_throw = 0;
            bool thrown = false;
            {
                const Modes modes(word);
                backbone.forward_final(x, y, context);
                linear.forward(tiny, y_tiny, context);
                after = _mm_getcsr();
                try {
                    linear.forward(x, ev::TensorView{y.data(), {1, 1, 1, 1}}, context);
                } catch (const ev::ShapeError&) {
                    thrown = true;
                }
                after_throw = _mm_getcsr();
            }
            EXPECT_EQ(after, word) << "the caller's modes and flags are as they were";
            EXPECT_TRUE(thrown);
            EXPECT_EQ(after_throw, word);
            EXPECT_TRUE(same_bits(y, expected)) << std::hex << word << ", " << threads << " threads";
            EXPECT_TRUE(same_bits(y_tiny, expected_tiny)) << std::hex << word << ", " << threads << " threads";
        }
    }
}

/// With exceptions unmasked the caller would be stopped by the first inexact result.
TEST_P(Unchanged, ByUnmaskedExceptions) {
    const ev::Tensor x = golden_input({1, 3, 33, 40});
    const ev::Tensor expected = backbone.forward_final(x);
    ev::Context context({.threads = 2});
    ev::Tensor y = expected;
    {
        const Modes modes(0x0000);
        backbone.forward_final(x, y, context);
    }
    EXPECT_TRUE(same_bits(y, expected));
}
#endif

TEST_P(Unchanged, ByTheCallersRounding) {
    const ev::Tensor x = golden_input({1, 3, 33, 40});
    const ev::Tensor expected = backbone.forward_final(x);
    ev::Context context({.threads = 2});
    for (const int rounding : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
        ev::Tensor y;
        std::fesetround(rounding);
        backbone.forward_final(x, y, context);
        const int after = std::fegetround();
        std::fesetround(FE_TONEAREST);
        EXPECT_EQ(after, rounding);
        EXPECT_TRUE(same_bits(y, expected));
    }
}

class Numbers : public Unchanged {};

/// NaN and infinities in the input come out where the reference has them: in the linear and the quadratic form.
TEST_P(Numbers, NaNAndInfinitiesArePassedOn) {
    for (const auto& [h, w] : {std::pair{64, 96}, std::pair{33, 32}, std::pair{1, 1}}) {
        for (const float poison : {NAN, INFINITY, -INFINITY}) {
            ev::Tensor x = golden_input({1, 3, h, w});
            x(0, 1, h / 2, w / 2) = poison;
            const auto features = backbone.forward(x);
            const auto expected = reference::backbone(to_map(x), reference::Weights::golden(), ev::b0);
            for (int s = 0; s < 5; ++s) {
                for (Eigen::Index i = 0; i < features[s].size(); ++i) {
                    const double right = expected[std::size_t(s)].values[std::size_t(i)];
                    const double found = double{features[s].data()[i]};
                    const bool same = std::isnan(right)   ? std::isnan(found)
                                      : std::isinf(right) ? found == right
                                                          : std::isfinite(found);
                    ASSERT_TRUE(same) << poison << " gives " << found << ", expected " << right << ", stage " << s
                                      << ", element " << i << ", " << h << " x " << w;
                }
            }
        }
    }
}

/// Attention multiplies three of its values: 1e8 is far beyond what images give, and its cube a float.
TEST_P(Numbers, Large) {
    for (const auto& [h, w] : {std::pair{64, 96}, std::pair{33, 32}}) {
        ev::Tensor x = golden_input({1, 3, h, w});
        for (Eigen::Index i = 0; i < x.size(); ++i) x.data()[i] *= 1e8f;
        const auto features = backbone.forward(x);
        const auto expected = reference::backbone(to_map(x), reference::Weights::golden(), ev::b0);
        for (int s = 0; s < 5; ++s) EXPECT_LE(relative_error(features[s], expected[std::size_t(s)]), bound);
    }
}

EFFICIENTVIT_ON_EVERY_ISA(Unchanged);
EFFICIENTVIT_ON_EVERY_ISA(Numbers);

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Inputs and outputs of every kind, a backbone's features, and what is said to those who give the wrong ones. Weights
// are loading_test.cpp's.
#include "../guarded_buffer.hpp"
#include "../support.hpp"
#include "loaded.hpp"

#include <climits>

namespace {

using ev::ConvConfig;
using Conv = ev::ConvLayer<ConvConfig{.in_channels = 5, .out_channels = 7}>;
using TensorMap = Eigen::TensorMap<ev::Tensor>;
using ConstTensorMap = Eigen::TensorMap<const ev::Tensor>;

// ---- Inputs and outputs --------------------------------------------------------------------------------------------

TEST(Inputs, OfEveryKindGiveTheSame) {
    ev::Tensor x = golden_input({2, 3, 21, 18});
    const ev::Tensor& constant = x;
    const ev::Tensor expected = stem().forward(x);
    const ConstTensorMap const_map(x.data(), 2, 3, 21, 18);
    const TensorMap map(x.data(), 2, 3, 21, 18);
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
        stem().forward(input, TensorMap(y.data(), 2, 8, 11, 9), context);
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
        b0().forward_final(input, TensorMap(y.data(), 1, 128, 2, 2), context);
        EXPECT_TRUE(same_bits(y, expected.stage_final()));
    };
    check(x);
    check(TensorMap(x.data(), 1, 3, 40, 33));
    check(ConstTensorMap(x.data(), 1, 3, 40, 33));
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
    EXPECT_TRUE(same_bits(stem().forward(ConstTensorMap(shifted.data() + 1, 1, 3, 9, 9)), expected));
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
    const auto pointwise =
        golden_layer<ev::ConvLayer<ConvConfig{.in_channels = 5, .out_channels = 3, .kernel_size = 1}>>();
    const auto planar =
        golden_layer<ev::ConvLayer<ConvConfig{.in_channels = 3, .out_channels = 4, .kernel_size = 5}>>();
    const auto linear = golden_layer<ev::LinearLayer<ev::LinearConfig{.in_features = 60, .out_features = 5}>>();
    for (const ev::Shape& size : {ev::Shape{1, 5, 1, 1}, ev::Shape{1, 5, 3, 4}, ev::Shape{2, 5, 6, 2}}) {
        check(conv, size);
        check(pointwise, size);
        if (size.n == 1 && size.h == 3) check(linear, size);
    }
    for (const ev::Shape& size : {ev::Shape{1, 3, 1, 1}, ev::Shape{1, 3, 16, 15}, ev::Shape{2, 3, 7, 33}}) {
        check(stem(), size);
        check(planar, size);
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
    for (const std::string& message :
         {message_of<ev::WeightsError>([&] { unloaded.forward(x); }),
          message_of<ev::WeightsError>([&] { unloaded.forward(x, y, context); }),
          message_of<ev::WeightsError>([&] { unloaded.forward(x, ev::view(y), context); }),
          message_of<ev::WeightsError>([&] { backbone.forward(x); }),
          message_of<ev::WeightsError>([&] { backbone.forward(x, features, context); }),
          message_of<ev::WeightsError>([&] { backbone.forward_final(x); }),
          message_of<ev::WeightsError>([&] { unloaded.isa(); }), message_of<ev::WeightsError>([&] {
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
    for (const std::string& message :
         {message_of<ev::ShapeError>([&] { stem().forward(x); }),
          message_of<ev::ShapeError>([&] { stem().forward(x, y, context); }),
          message_of<ev::ShapeError>([&] { b0().forward(x); }),
          message_of<ev::ShapeError>([&] { b0().forward(x, features, context); }),
          message_of<ev::ShapeError>([&] { b0().forward_final(x); }), message_of<ev::ShapeError>([&] {
              Stem::output_shape({2, 4, 8, 9});
          })}) {
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
        for (const std::string& message :
             {message_of<ev::ShapeError>([&] { stem().forward(x); }),
              message_of<ev::ShapeError>([&] { b0().forward(x); }),
              message_of<ev::ShapeError>([&] { Stem::output_shape(shape); }),
              message_of<ev::ShapeError>([&] { static_cast<void>(b0().workspace_bytes(shape, context)); })}) {
            expect_in("is empty", message);
            expect_in(", " + std::to_string(shape.w) + ")", message);
        }
    }
    expect_in("is empty", message_of<ev::ShapeError>([&] { stem().forward(ev::Tensor(0, 3, 0, 0)); }));
    expect_in("0 channels, expected 3", message_of<ev::ShapeError>([&] { stem().forward(ev::Tensor()); }));
    for (const ev::Shape& shape :
         {ev::Shape{1, 3, INT_MAX, 1}, ev::Shape{1, 3, 1, PTRDIFF_MAX}, ev::Shape{std::ptrdiff_t{INT_MAX} + 1, 3, 1, 1},
          ev::Shape{1, 3, 46342, 46342}, ev::Shape{65537, 3, 1, 1}, ev::Shape{65536, 3, 4097, 1},
          ev::Shape{33554431, 3, 33554431, 33554431}}) {
        const ev::ConstTensorView x{&somewhere, shape};
        expect_in("is too large", message_of<ev::ShapeError>([&] { stem().forward(x); }));
        expect_in("is too large", message_of<ev::ShapeError>([&] { b0().forward(x); }));
        expect_in("is too large",
                  message_of<ev::ShapeError>([&] { static_cast<void>(b0().workspace_bytes(shape, context)); }));
    }
    // The largest there may be: what it takes is told, and told right.
    const std::size_t row = b0().workspace_bytes({1, 3, 32, 16384}, context);
    const std::size_t whole = b0().workspace_bytes({1, 3, 16384, 16384}, context);
    EXPECT_LT(row * 100, whole);
    EXPECT_LT(whole, row * 512);
    using Enlarged = ev::UpSampleLayer<ev::UpSampleConfig{.factor = 100}>;
    for (const ev::Shape& shape : {ev::Shape{1, 1, 30000000, 1}, ev::Shape{1, 1, 400, 400}}) {
        expect_in("is too large", message_of<ev::ShapeError>([&] { Enlarged::output_shape(shape); }));
    }
    using Linear = ev::LinearLayer<ev::LinearConfig{.in_features = 8, .out_features = 4}>;
    EXPECT_EQ(Linear::output_shape({3, 2, 2, 2}), (ev::Shape{3, 4, 1, 1}));
    expect_in("125 values an image, expected 8", message_of<ev::ShapeError>([] {
                  Linear::output_shape({1, 5, 5, 5});
              }));
    EXPECT_EQ(context.allocated_bytes(), 0u);
}

TEST(Mistakes, ViewsThatPointNowhere) {
    const ev::Tensor x = golden_input({1, 3, 8, 8});
    ev::Context context;
    const ev::Shape shape{1, 3, 8, 8};
    expect_in("the input (1, 3, 8, 8) points nowhere", message_of<ev::ShapeError>([&] {
                  stem().forward(ev::ConstTensorView{nullptr, shape});
              }));
    expect_in("the input (1, 3, 8, 8) points nowhere", message_of<ev::ShapeError>([&] {
                  b0().forward(ev::TensorView{nullptr, shape});
              }));
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
        const std::string message = message_of<ev::ShapeError>([&] {
            stem().forward(x, ev::TensorView{y.data(), shape}, context);
        });
        expect_in("the output view is (" + std::to_string(shape.n) + ", " + std::to_string(shape.c), message);
        expect_in("expected (1, 8, 4, 4)", message);
    }
    expect_in("expected (1, 128, 1, 1)",
              message_of<ev::ShapeError>([&] { b0().forward_final(x, ev::view(y), context); }));
    EXPECT_TRUE(same_bits(y, before));
}

TEST(Mistakes, AnotherNumberOfFeatures) {
    const auto linear = golden_layer<ev::LinearLayer<ev::LinearConfig{.in_features = 60, .out_features = 5}>>();
    expect_in("(2, 3, 4, 4) has 48 values an image, expected 60", message_of<ev::ShapeError>([&] {
                  linear.forward(golden_input({2, 3, 4, 4}));
              }));
}

/// All of them can be caught as ev::Error, and as std::runtime_error.
TEST(Mistakes, HaveOneBase) {
    EXPECT_THROW(Stem().forward(golden_input({1, 3, 8, 8})), ev::Error);
    EXPECT_THROW(stem().forward(golden_input({1, 4, 8, 8})), ev::Error);
    EXPECT_THROW(ev::kernels::table(static_cast<ev::Isa>(ev::best_isa() == ev::Isa::neon ? 1 : 3)), ev::Error);
    EXPECT_THROW(Stem().load_state_dict({}), std::runtime_error);
}

}  // namespace

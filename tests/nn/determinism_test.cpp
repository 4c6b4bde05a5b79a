// SPDX-License-Identifier: Apache-2.0
//
// What must make no difference to a result: the rest of the batch, what scratch memory held, the caller's
// floating-point modes. And what NaN, infinities and large values give.
#include "../float_modes.hpp"
#include "../isas.hpp"
#include "../small_networks.hpp"

#include <cfenv>
#include <utility>

namespace {

using ev::ConvConfig;

/// Small networks that together have every layer that b0 has not.
using Large = ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{
    .width_list = {12, 16, 24},
    .depth_list = {1, 1, 1},
    .block_list = {ev::LargeBlock::res, ev::LargeBlock::fmb, ev::LargeBlock::att},
    .expand_list = {1, 4, 2},
    .fewer_norm_list = {false, false, true},
    .qkv_dim = 8}>;
using Segmenter = SmallSegmenter<Large>;
using Encoder = SmallEncoder<Large>;

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
                    EXPECT_TRUE(same_bits(image_of(together[s], n), alone[s]))
                        << "image " << n << ", stage " << s << ", " << threads << " threads, " << h << " x " << w;
                }
            }
        }
    }
}

TEST_P(Unchanged, ByTheRestOfTheBatchInHeads) {
    const auto check = [&](const auto& model, int h, int w) {
        const ev::Tensor x = golden_input({3, 3, h, w});
        for (const int threads : {1, 2, 3}) {
            ev::Context context({.threads = threads});
            const ev::Tensor together = model.forward(x, context);
            for (int n = 0; n < 3; ++n) {
                const ev::Tensor alone =
                    model.forward(ev::ConstTensorView{x.data() + n * 3 * h * w, {1, 3, h, w}}, context);
                EXPECT_TRUE(same_bits(image_of(together, n), alone)) << "image " << n << ", " << threads << " threads";
            }
        }
    };
    check(golden_layer<Segmenter>(GetParam()), 40, 24);
    check(golden_layer<Encoder>(GetParam()), 37, 50);
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
    check(
        golden_layer<ev::LiteMLA<ev::LiteMLAConfig{.in_channels = 17, .out_channels = 9, .dim = 5, .scales = {3, 7}}>>(
            GetParam()),
        {2, 17, 8, 11});
    check(golden_layer<ev::EfficientViTCls<
              ev::EfficientViTBackbone<ev::BackboneConfig{.width_list = {3, 5}, .depth_list = {1, 1}}>,
              ev::ClsHeadConfig{.width_list = {9, 17}, .n_classes = 3}>>(GetParam()),
          {2, 3, 30, 11});
    check(golden_layer<Segmenter>(GetParam()), {2, 3, 40, 24});
    check(golden_layer<Encoder>(GetParam()), {2, 3, 37, 50});
}

TEST_P(Unchanged, FromRunToRun) {
    const ev::Tensor x = golden_input({2, 3, 50, 61});
    ev::Context context({.threads = 3});
    const ev::Tensor expected = backbone.forward_final(x, context);
    for (int run = 0; run < 20; ++run) EXPECT_TRUE(same_bits(backbone.forward_final(x, context), expected));
}

/// Everything at once, for each kind of network: runs, threads, alone or in a batch, memory fresh, used or NaN.
TEST_P(Unchanged, ByAnyOfTheseInAnyNetwork) {
    const auto check = [&](const auto& model, int h, int w) {
        const auto forward = [&](const ev::ConstTensorView& x, ev::Context& context) {
            if constexpr (requires { model.forward_final(x, context); }) {
                return ev::Tensor(model.forward_final(x, context));
            } else {
                return ev::Tensor(model.forward(x, context));
            }
        };
        constexpr int batch = 3;
        const ev::Tensor x = golden_input({batch, 3, h, w});
        const auto image = [&](int n) {
            return ev::ConstTensorView{x.data() + Eigen::Index{n} * 3 * h * w, {1, 3, h, w}};
        };
        std::vector<ev::Tensor> expected;
        for (int n = 0; n < batch; ++n) {
            ev::Context fresh;
            expected.push_back(forward(image(n), fresh));
        }
        for (const int threads : {1, 2, 3, 5}) {
            ev::Context context({.threads = threads});
            for (int run = 0; run < 3; ++run) {
                const ev::Tensor together = forward(ev::view(x), context);
                if (run == 1) poison(context, GetParam());
                for (int n = 0; n < batch; ++n) {
                    const ev::Tensor alone = forward(image(n), context);
                    ASSERT_TRUE(same_bits(alone, expected[std::size_t(n)])) << "image " << n << ", run " << run;
                    const Eigen::Index size = alone.size();
                    ASSERT_EQ(std::memcmp(together.data() + n * size, alone.data(), std::size_t(size) * sizeof(float)),
                              0)
                        << "image " << n << " in the batch, run " << run << ", " << threads << " threads";
                }
                poison(context, GetParam());
            }
        }
    };
    check(golden_layer<Large>(GetParam()), 40, 52);
    check(golden_layer<Segmenter>(GetParam()), 40, 24);
    check(golden_layer<Encoder>(GetParam()), 37, 50);
    check(golden_layer<
              ev::EfficientViTCls<ev::EfficientViTBackbone<ev::BackboneConfig{
                                      .width_list = {4, 8, 12, 16, 24}, .depth_list = {1, 1, 1, 1, 1}, .dim = 8}>,
                                  ev::ClsHeadConfig{.width_list = {9, 17}, .n_classes = 3}>>(GetParam()),
          150, 96);
}

#if defined(EFFICIENTVIT_X86)
constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040;

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
                const FloatModes modes(word);
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

/// Weights are folded as if the caller had the IEEE defaults, and the modes are the caller's again where loading or the
/// forward itself throws.
TEST_P(Unchanged, ByTheModesUnderWhichWeightsAreLoaded) {
    using Conv = ev::ConvLayer<ConvConfig{.in_channels = 3, .out_channels = 8, .act_func = ev::Activation::none}>;
    ev::StateDict weights;
    for (const ev::Parameter& p : Conv::parameters()) {
        std::vector<float> values = golden_tensor(p.name, p.shape);
        if (p.name == "conv.weight") {
            for (float& value : values) value *= 1e-39f;
        }
        weights.insert(p.name, p.shape, std::move(values));
    }
    const ev::Tensor x = golden_input({1, 3, 9, 9});
    Conv layer;
    layer.load_state_dict(weights, {.isa = GetParam()});
    const ev::Tensor expected = layer.forward(x);
    ev::Tensor large = x;
    for (Eigen::Index i = 0; i < large.size(); ++i) large.data()[i] *= 1e38f;
    const ev::Tensor expected_large = layer.forward(large);
    const unsigned word = 0x1f80 | _MM_ROUND_UP | flush_to_zero | denormals_are_zero;
    ev::Context context;
    unsigned after_load = 0, after_bad_load = 0, after_throw = 0;
    {
        const FloatModes modes(word);
        layer.load_state_dict(weights, {.isa = GetParam()});
        after_load = _mm_getcsr();
        try {
            layer.load_state_dict({});
        } catch (const ev::WeightsError&) {
        }
        after_bad_load = _mm_getcsr();
        try {
            context.run(ev::kernels::table(GetParam()), [](ev::detail::Session& session) {
                if (!session.measuring()) throw 1;
            });
        } catch (int) {
        }
        after_throw = _mm_getcsr();
    }
    EXPECT_EQ(after_load, word);
    EXPECT_EQ(after_bad_load, word);
    EXPECT_EQ(after_throw, word);
    EXPECT_TRUE(same_bits(layer.forward(x), expected));
    EXPECT_TRUE(same_bits(layer.forward(large), expected_large));
}

/// With exceptions unmasked the caller would be stopped by the first inexact result.
TEST_P(Unchanged, ByUnmaskedExceptions) {
    const ev::Tensor x = golden_input({1, 3, 33, 40});
    const ev::Tensor expected = backbone.forward_final(x);
    ev::Context context({.threads = 2});
    ev::Tensor y = expected;
    {
        const FloatModes modes(0x0000);
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

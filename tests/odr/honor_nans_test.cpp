// SPDX-License-Identifier: Apache-2.0
//
// NaN is told by its bits: a unit compiled with clang's -fno-honor-nans, which no macro tells of, keeps it all the
// same. Conversions, refusals, and networks: a pixel that is NaN makes NaN what depends on it, nothing else.
#include <efficientvit/images/box_nms.hpp>
#include <efficientvit/images/predictions.hpp>
#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/images/segmentation.hpp>
#include <efficientvit/models/mask_generator.hpp>
#include <efficientvit/nn/efficientvit_block.hpp>
#include <efficientvit/nn/mb_conv.hpp>
#include <efficientvit/weights/convert.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "../golden_values.hpp"

namespace ev = efficientvit;

namespace {

std::uint16_t converted_bits(std::uint32_t value, ev::DType format) {
    ev::StateDict weights;
    weights.insert("w", {1}, std::vector<float>{std::bit_cast<float>(value)});
    const ev::StateDict out = ev::converted(weights, format);
    const auto bytes = out.at("w").data;
    return static_cast<std::uint16_t>(static_cast<unsigned>(bytes[0]) | static_cast<unsigned>(bytes[1]) << 8);
}

template <class Error, class F>
bool throws(const F& f) {
    try {
        f();
    } catch (const Error&) {
        return true;
    }
    return false;
}

int failures = 0;
void expect(bool fine, const char* what) {
    if (fine) return;
    std::printf("%s\n", what);
    ++failures;
}

const float not_a_number = std::bit_cast<float>(0x7fc00000u);

bool is_nan(const float& x) { return (std::bit_cast<std::uint32_t>(x) & 0x7fffffffu) > 0x7f800000u; }

/// A picture with NaN in the middle of it: NaN reaches `reach` pixels around, and the others stay what they are without
/// it. A negative reach: all of them.
template <class Layer>
void expect_nan_spreads(ev::Isa isa, int reach, const char* what) {
    ev::StateDict weights;
    for (const ev::Parameter& p : Layer::parameters()) weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    Layer layer;
    layer.load_state_dict(weights, {.isa = isa});
    ev::Tensor x(1, Layer::in_channels, 9, 11);
    for (int i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i % 13 - 6);
    ev::Context context;
    const ev::Tensor before = layer.forward(x, context);
    x(0, 1, 4, 5) = not_a_number;
    const ev::Tensor y = layer.forward(x, context);
    bool fine = true;
    for (int c = 0; c < y.dimension(1); ++c) {
        for (int h = 0; h < 9; ++h) {
            for (int w = 0; w < 11; ++w) {
                const bool expected = reach < 0 || (std::abs(h - 4) <= reach && std::abs(w - 5) <= reach);
                const float &value = y(0, c, h, w), &same = before(0, c, h, w);
                fine = fine && is_nan(value) == expected && (expected || value == same);
            }
        }
    }
    expect(fine, what);
}

template <ev::Activation Act>
using Pointwise = ev::ConvLayer<ev::ConvConfig{
    .in_channels = 16, .out_channels = 24, .kernel_size = 1, .norm = ev::Norm::bn2d, .act_func = Act}>;

void expect_networks(ev::Isa isa) {
    using ev::Activation;
    expect_nan_spreads<Pointwise<Activation::none>>(isa, 0, "NaN is lost in a convolution");
    expect_nan_spreads<Pointwise<Activation::relu>>(isa, 0, "NaN is lost in relu");
    expect_nan_spreads<Pointwise<Activation::relu6>>(isa, 0, "NaN is lost in relu6");
    expect_nan_spreads<Pointwise<Activation::hswish>>(isa, 0, "NaN is lost in hswish");
    expect_nan_spreads<Pointwise<Activation::silu>>(isa, 0, "NaN is lost in silu");
    expect_nan_spreads<Pointwise<Activation::gelu>>(isa, 0, "NaN is lost in gelu");
    expect_nan_spreads<ev::MBConv<ev::MBConvConfig{.in_channels = 16, .out_channels = 16}>>(isa, 1,
                                                                                            "NaN is lost in MBConv");
    expect_nan_spreads<ev::EfficientViTBlock<ev::EfficientViTBlockConfig{.in_channels = 16, .dim = 8}>>(
        isa, -1, "NaN is lost in attention");
}

/// A class that is NaN never wins.
void expect_labels() {
    ev::Tensor logits(1, 3, 4, 4);
    for (int i = 0; i < 16; ++i) {
        logits.data()[i] = 0;
        logits.data()[16 + i] = not_a_number;
        logits.data()[32 + i] = 1;
    }
    ev::Context context;
    ev::LabelMap map;
    ev::upsample_argmax(logits, {16, 16}, {16, 16}, map, context);
    for (const auto label : map.labels) {
        if (label != 2) return expect(false, "NaN wins over a number");
    }
}

void expect_boxes() {
    const std::vector<ev::MaskBox> boxes{{0, 0, 9, 9}, {20, 20, 29, 29}, {40, 40, 49, 49}};
    const std::vector<float> scores{1, not_a_number, 2};
    expect(ev::box_nms(boxes, scores, 0.5) == std::vector<int>{1, 2, 0}, "a box whose score is NaN is not the first");
    ev::MaskGeneratorOptions options;
    options.crop_overlap_ratio = std::bit_cast<double>(std::uint64_t{0x7ff8000000000000});
    expect(throws<ev::ConfigError>([&] { ev::detail::check(options); }), "an overlap of NaN is taken");
    options = {};
    options.box_nms_thresh = std::bit_cast<double>(std::uint64_t{0x7ff8000000000000});
    expect(throws<ev::ConfigError>([&] { ev::detail::check(options); }), "a threshold of NaN is taken");
}

}  // namespace

int main() {
    for (const ev::Isa isa : {ev::Isa::scalar, ev::Isa::neon, ev::Isa::avx2, ev::Isa::avx512}) {
        if (ev::isa_supported(isa)) expect_networks(isa);
    }
    expect_labels();
    expect_boxes();
    for (const std::uint32_t nan : {0x7fc00000u, 0x7fffffffu, 0x7f800001u, 0xffffffffu}) {
        const unsigned b = converted_bits(nan, ev::DType::bf16), h = converted_bits(nan, ev::DType::f16);
        expect((b & 0x7fffu) > 0x7f80u && b >> 15 == nan >> 31, "NaN is lost in bf16");
        expect((h & 0x7fffu) > 0x7c00u && h >> 15 == nan >> 31, "NaN is lost in f16");
        const std::vector<float> logits{1, 2, std::bit_cast<float>(nan), 3};
        expect(throws<ev::ShapeError>([&] { ev::top_k(logits, 1); }), "top_k takes NaN for a number");
    }
    expect(converted_bits(0x7f800000u, ev::DType::bf16) == 0x7f80u, "infinity is lost in bf16");
    expect(converted_bits(0xff800000u, ev::DType::f16) == 0xfc00u, "infinity is lost in f16");
    const std::vector<float> logits{1, std::bit_cast<float>(0x7f800000u)};
    expect(throws<ev::ShapeError>([&] { ev::top_k(logits, 1); }), "top_k takes an infinity for a logit");

    const ev::Image image(ev::ImageSize{8, 8});
    ev::Tensor input;
    const double nan = std::bit_cast<double>(std::uint64_t{0x7ff8000000000000});
    expect(throws<ev::ImageError>([&] { ev::preprocess_cls(image, {.size = 4, .crop_ratio = nan}, input); }),
           "a crop ratio of NaN is taken");
    return failures == 0 ? 0 : 1;
}

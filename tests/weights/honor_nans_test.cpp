// SPDX-License-Identifier: Apache-2.0
//
// NaN is told by its bits: a unit compiled with clang's -fno-honor-nans, which no macro tells of, keeps it all the
// same.
#include <efficientvit/images/predictions.hpp>
#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/weights/convert.hpp>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <vector>

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

}  // namespace

int main() {
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

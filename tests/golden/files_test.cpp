// SPDX-License-Identifier: Apache-2.0
//
// Weights by way of real files: written in every naming convention and element type that people publish, loaded into
// backbones and classifiers. Which names are accepted in general is tested in weights/.
#include "golden_file.hpp"

#include <efficientvit/weights/save_safetensors.hpp>
#include <efficientvit/weights/torch_checkpoint.hpp>

#include <bit>
#include <random>

namespace {

namespace fs = std::filesystem;
using Names =
    std::vector<std::pair<std::string, ev::Parameter>>;  // the name in the file, the official one and its shape

/// float to a format with `mantissa` explicit bits, rounded to nearest even; exponents as IEEE's float16 has them or,
/// for bfloat16, as float has.
std::uint16_t to_16_bits(float x, int mantissa, int bias) {
    if (x == 0) return 0;
    int exponent = 0;
    std::frexp(x, &exponent);
    exponent = std::max(exponent - 1, 1 - bias);
    const int units = static_cast<int>(std::nearbyint(std::ldexp(std::abs(double{x}), mantissa - exponent)));
    // Rounding up to the next power of two carries into the exponent by itself.
    const int bits = units + (exponent + bias - 1) * (1 << mantissa);
    return static_cast<std::uint16_t>(bits | (x < 0 ? 0x8000 : 0));
}

class Files : public testing::Test {
protected:
    void SetUp() override {
        directory_ = fs::path(testing::TempDir()) / ("efficientvit_" + std::to_string(std::random_device()()));
        fs::create_directories(directory_);
    }
    void TearDown() override { fs::remove_all(directory_); }

    /// Golden values under these names in this type, and a counter for each batch norm, written to a file.
    fs::path write(const Names& names, ev::DType dtype) const {
        ev::StateDict out;
        for (const auto& [name, parameter] : names) {
            const std::vector<float> values = golden_tensor(parameter.name, parameter.shape);
            if (dtype == ev::DType::f64) {
                insert(out, name, dtype, parameter.shape, std::vector<double>(values.begin(), values.end()));
            } else if (dtype == ev::DType::f32) {
                out.insert(name, parameter.shape, values);
            } else {
                const bool half = dtype == ev::DType::f16;
                std::vector<std::uint16_t> bits;
                for (const float x : values) bits.push_back(half ? to_16_bits(x, 10, 15) : to_16_bits(x, 7, 127));
                insert(out, name, dtype, parameter.shape, std::move(bits));
            }
            if (!name.ends_with("running_var")) continue;
            const std::string norm = name.substr(0, name.size() - std::string("running_var").size());
            insert(out, norm + "num_batches_tracked", ev::DType::i64, {}, std::vector<std::int64_t>{12345});
        }
        out.metadata()["format"] = "pt";
        const fs::path path = directory_ / "weights.safetensors";
        ev::save_safetensors(path, out);
        return path;
    }

    fs::path directory_;

private:
    template <class T>
    static void insert(ev::StateDict& out, const std::string& name, ev::DType dtype, std::vector<std::int64_t> shape,
                       std::vector<T> values) {
        const auto owner = std::make_shared<const ev::HeapStorage<std::vector<T>>>(std::move(values));
        out.insert(name, dtype, std::move(shape), owner->bytes(), owner);
    }
};

Names official(const std::vector<ev::Parameter>& parameters, const std::string& prefix = {}) {
    Names out;
    for (const ev::Parameter& p : parameters) out.emplace_back(prefix + p.name, p);
    return out;
}

/// A b0 backbone as timm's classifier names it, or as its `features_only` models do.
Names timm(bool features_only) {
    std::ifstream in(fs::path(EFFICIENTVIT_TEST_DATA) / "names" / "timm_names_cls_b0.json");
    const auto names = nlohmann::json::parse(in);
    Names out;
    for (const ev::Parameter& p : ev::BackboneB0::parameters()) {
        std::string name = names.at("backbone." + p.name).get<std::string>();
        if (features_only) name[name.find('.')] = '_';  // stem.in_conv… to stem_in_conv…, stages.0… to stages_0…
        out.emplace_back(name, p);
    }
    return out;
}

const ev::Tensor& image() {
    static const ev::Tensor x = golden_input({1, 3, 64, 96});
    return x;
}

TEST_F(Files, InEveryNamingConventionGiveTheSame) {
    const ev::Tensor expected = golden_layer<ev::BackboneB0>().forward_final(image());
    const auto& parameters = ev::BackboneB0::parameters();
    EXPECT_EQ(timm(false).front().first, "stem.in_conv.conv.weight");
    EXPECT_EQ(timm(true).front().first, "stem_in_conv.conv.weight");
    for (const Names& names : {official(parameters), official(parameters, "backbone."), official(parameters, "module."),
                               official(parameters, "_orig_mod.model.backbone."), timm(false), timm(true)}) {
        ev::BackboneB0 backbone;
        const ev::LoadReport report = backbone.load_state_dict(ev::load_safetensors(write(names, ev::DType::f32)));
        EXPECT_TRUE(report.missing.empty() && report.unexpected.empty());
        EXPECT_TRUE(same_bits(backbone.forward_final(image()), expected)) << names.front().first;
    }
}

TEST_F(Files, InEveryElementType) {
    for (const ev::DType dtype : {ev::DType::f64, ev::DType::f32, ev::DType::f16, ev::DType::bf16}) {
        // What the file holds, by the definition of its type.
        const auto rounded = [&](float x) {
            if (!(dtype == ev::DType::f16 || dtype == ev::DType::bf16)) return x;
            const int mantissa = dtype == ev::DType::f16 ? 10 : 7, smallest = dtype == ev::DType::f16 ? -14 : -126;
            int exponent = 0;
            std::frexp(x, &exponent);
            const int last = std::max(exponent - 1, smallest) - mantissa;
            return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(double{x}, -last)), last));
        };
        ev::StateDict values;
        for (const ev::Parameter& p : ev::BackboneB0::parameters()) {
            std::vector<float> tensor = golden_tensor(p.name, p.shape);
            for (float& x : tensor) x = rounded(x);
            values.insert(p.name, p.shape, tensor);
        }
        ev::BackboneB0 expected, backbone;
        expected.load_state_dict(values);
        backbone.load_state_dict(ev::load_safetensors(write(official(ev::BackboneB0::parameters()), dtype)));
        EXPECT_TRUE(same_bits(backbone.forward_final(image()), expected.forward_final(image())))
            << ev::dtype_name(dtype);
    }
}

/// A published file is a whole classifier: it loads into one, and into the bare backbone.
TEST_F(Files, OfAWholeClassifier) {
    const fs::path path = write(official(ev::ClsB0<10>::parameters()), ev::DType::f32);
    const ev::StateDict file = ev::load_safetensors(path);
    ev::ClsB0<10> classifier;
    classifier.load_state_dict(file);
    EXPECT_TRUE(same_bits(classifier.forward(image()), golden_layer<ev::ClsB0<10>>().forward(image())));

    ev::BackboneB0 backbone;
    backbone.load_state_dict(file);
    ev::StateDict below;
    for (const ev::Parameter& p : ev::BackboneB0::parameters()) {
        below.insert(p.name, p.shape, golden_tensor("backbone." + p.name, p.shape));
    }
    ev::BackboneB0 expected;
    expected.load_state_dict(below);
    EXPECT_TRUE(same_bits(backbone.forward_final(image()), expected.forward_final(image())));

    // Into a network of another size: all that does not fit is told, and nothing is taken.
    ev::BackboneB1 other;
    const std::string message = message_of<ev::WeightsError>([&] { other.load_state_dict(file); });
    expect_in(path.string(), message);
    expect_in("found [8, 3, 3, 3], expected [16, 3, 3, 3]", message);
    EXPECT_FALSE(other.loaded());
}

/// As torch.save wrote it, `{"state_dict": …}`.
TEST_F(Files, OfPyTorchItself) {
    const fs::path path = fs::path(EFFICIENTVIT_TEST_DATA) / "checkpoints" / "backbone_b0_official.pt";
    ev::BackboneB0 backbone;
    const ev::LoadReport report = backbone.load_state_dict(ev::load_torch_checkpoint(path));
    EXPECT_TRUE(report.missing.empty() && report.unexpected.empty());
    EXPECT_TRUE(same_bits(backbone.forward_final(image()), golden_layer<ev::BackboneB0>().forward_final(image())));
}

/// What was loaded stays when the file changes or goes.
TEST_F(Files, AreNotNeededAfterLoading) {
    const ev::Tensor expected = golden_layer<ev::BackboneB0>().forward_final(image());
    const fs::path path = write(official(ev::BackboneB0::parameters()), ev::DType::f32);
    ev::BackboneB0 backbone;
    backbone.load_state_dict(ev::load_safetensors(path));
    fs::resize_file(path, 100);
    EXPECT_TRUE(same_bits(backbone.forward_final(image()), expected));
    fs::remove(path);
    EXPECT_TRUE(same_bits(backbone.forward_final(image()), expected));
}

#if !defined(_WIN32)  // Windows refuses to shorten a mapped file

/// A file cut short while it is open is an exception, and the model is as it was.
TEST_F(Files, CutShortWhileLoading) {
    ev::BackboneB0 backbone = golden_layer<ev::BackboneB0>();
    const ev::Tensor expected = backbone.forward_final(image());
    const fs::path path = write(official(ev::BackboneB0::parameters()), ev::DType::f32);
    const ev::StateDict file = ev::load_safetensors(path);
    fs::resize_file(path, fs::file_size(path) / 2);
    EXPECT_THROW(backbone.load_state_dict(file), ev::WeightsError);
    EXPECT_TRUE(same_bits(backbone.forward_final(image()), expected));
}

#endif

}  // namespace

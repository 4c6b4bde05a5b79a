// SPDX-License-Identifier: Apache-2.0
//
// NaN, infinities, zeros, denormals and huge numbers in inputs and in weights give what the naive reference gives:
// every kind of layer, both forms of attention, every instruction set. Whole backbones are in determinism_test.cpp.
#include "../reference_large.hpp"

#include "check_layer.hpp"

#include <efficientvit/nn/layer_norm_2d.hpp>
#include <efficientvit/nn/up_sample_layer.hpp>

#include <limits>
#include <memory>
#include <utility>

namespace {

using reference::Map;
using reference::Weights;

constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

struct Subject {
    std::string name;
    std::shared_ptr<AnyLayer> layer;
    ev::Shape shape;
    reference::Layer expected;
};
template <class Layer>
Subject subject(std::string name, const ev::Shape& shape, reference::Layer expected) {
    return {std::move(name), std::make_shared<AnyLayerOf<Layer>>(), shape, std::move(expected)};
}
template <ev::ConvConfig C>
Subject conv(std::string name) {
    return subject<ev::ConvLayer<C>>(std::move(name), {1, C.in_channels, 7, 9},
                                     [](const Map& x, const Weights& w) { return reference::conv_layer(x, w, C); });
}
/// 7x9 pixels are more than dim, 2x3 are fewer: the linear form and the quadratic one.
template <ev::LiteMLAConfig C>
void attention(std::vector<Subject>& out, const std::string& name) {
    for (const auto& [h, w] : {std::pair{7, 9}, std::pair{2, 3}}) {
        out.push_back(
            subject<ev::LiteMLA<C>>(name + (h * w > C.dim ? ", linear" : ", quadratic"), {1, C.in_channels, h, w},
                                    [](const Map& x, const Weights& v) { return reference::lite_mla(x, v, C); }));
    }
}

const std::vector<Subject>& subjects() {
    static const std::vector<Subject> all = [] {
        std::vector<Subject> out;
        out.push_back(conv<{.in_channels = 9, .out_channels = 20, .kernel_size = 1}>("pointwise"));
        out.push_back(conv<{.in_channels = 20, .out_channels = 20, .groups = 20}>("depthwise"));
        out.push_back(conv<{.in_channels = 3, .out_channels = 12, .stride = 2}>("stem"));
        out.push_back(conv<{.in_channels = 2, .out_channels = 12, .kernel_size = 5}>("planar"));
        out.push_back(conv<{.in_channels = 17, .out_channels = 9}>("dense"));
        out.push_back(conv<{.in_channels = 9, .out_channels = 6, .groups = 3}>("grouped"));
        static constexpr ev::DSConvConfig ds{.in_channels = 9, .out_channels = 12};
        out.push_back(subject<ev::DSConv<ds>>(
            "DSConv", {1, 9, 7, 9}, [](const Map& x, const Weights& w) { return reference::ds_conv(x, w, ds); }));
        static constexpr ev::MBConvConfig mb{
            .in_channels = 9,
            .out_channels = 12,
            .expand_ratio = 2,
            .act_func = {ev::Activation::hswish, ev::Activation::hswish, ev::Activation::none}};
        out.push_back(subject<ev::MBConv<mb>>(
            "MBConv", {1, 9, 7, 9}, [](const Map& x, const Weights& w) { return reference::mb_conv(x, w, mb); }));
        static constexpr ev::FusedMBConvConfig fused{.in_channels = 9, .out_channels = 12, .expand_ratio = 2};
        out.push_back(subject<ev::FusedMBConv<fused>>("FusedMBConv", {1, 9, 7, 9}, [](const Map& x, const Weights& w) {
            return reference::fused_mb_conv(x, w, fused);
        }));
        static constexpr ev::ResBlockConfig res{.in_channels = 9, .out_channels = 12};
        out.push_back(subject<ev::ResBlock<res>>(
            "ResBlock", {1, 9, 7, 9}, [](const Map& x, const Weights& w) { return reference::res_block(x, w, res); }));
        attention<{.in_channels = 16, .out_channels = 9, .dim = 16}>(out, "LiteMLA");
        attention<{.in_channels = 18, .out_channels = 20, .dim = 9, .scales = {3}}>(out, "LiteMLA with empty lanes");
        static constexpr ev::LinearConfig linear{.in_features = 45, .out_features = 20, .norm = ev::Norm::ln};
        out.push_back(subject<ev::LinearLayer<linear>>("LinearLayer", {2, 5, 3, 3}, [](const Map& x, const Weights& w) {
            return reference::linear_layer(x, w, linear);
        }));
        out.push_back(subject<ev::LayerNorm2d<ev::LayerNorm2dConfig{.num_features = 9}>>(
            "LayerNorm2d", {1, 9, 7, 9},
            [](const Map& x, const Weights& w) { return reference::layer_norm_2d(x, w, 1e-5); }));
        out.push_back(subject<ev::BatchNorm2d<ev::BatchNormConfig{.num_features = 9}>>(
            "BatchNorm2d", {1, 9, 7, 9},
            [](const Map& x, const Weights& w) { return reference::batch_norm(x, w, 1e-5); }));
        out.push_back(
            subject<ev::GlobalAveragePool<9>>("GlobalAveragePool", {1, 9, 7, 9},
                                              [](const Map& x, const Weights&) { return reference::average_pool(x); }));
        out.push_back(subject<ev::UpSampleLayer<ev::UpSampleConfig{.factor = 2}>>(
            "UpSampleLayer", {1, 9, 7, 9},
            [](const Map& x, const Weights&) { return reference::bicubic(x, 2 * x.h, 2 * x.w); }));
        return out;
    }();
    return all;
}

bool is_batch_norms_factor(const Subject& s, const std::string& name) {
    if (!name.ends_with("weight")) return false;
    const std::string variance = name.substr(0, name.size() - 6) + "running_var";
    const auto parameters = s.layer->parameters();
    return std::any_of(parameters.begin(), parameters.end(), [&](const auto& p) { return p.name == variance; });
}

using Change = std::function<void(const std::string& name, std::vector<float>& values)>;

class OddNumbers : public IsaTest {
protected:
    /// `change` is done to the input, called "input", and to every tensor of weights. `least` as in relative_error.
    void check(const Subject& s, const Change& change, const std::string& what, double least = 0.25) {
        ev::Tensor x = golden_input(s.shape);
        std::vector<float> in(x.data(), x.data() + x.size());
        change("input", in);
        std::copy(in.begin(), in.end(), x.data());
        const auto values = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
            std::vector<float> out = golden_tensor(name, shape);
            change(name, out);
            return out;
        };
        ev::StateDict weights;
        for (const ev::Parameter& p : s.layer->parameters()) weights.insert(p.name, p.shape, values(p.name, p.shape));
        s.layer->load(weights, GetParam());
        const ev::Shape shape = s.layer->output_shape(s.shape);
        ev::Tensor y(shape.n, shape.c, shape.h, shape.w);
        ev::Context context;
        s.layer->forward(ev::view(std::as_const(x)), ev::view(y), context);
        const Map in_map = to_map(x);
        const Map skipped = s.expected(in_map, Weights(values));
        reference::padding_is_read = true;
        const Map read = s.expected(in_map, Weights(values));
        reference::padding_is_read = false;
        double largest = least;
        for (const double v : skipped.values) {
            if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
        }
        for (std::size_t i = 0; i < skipped.values.size(); ++i) {
            const double found = double{y.data()[i]};
            const auto same = [&](double right) {
                if (std::isnan(right)) return std::isnan(found);
                if (std::isinf(right)) return found == right;
                return std::abs(found - right) <= bound * largest;  // not for NaN
            };
            ASSERT_TRUE(same(skipped.values[i]) || same(read.values[i]))
                << s.name << ", " << what << ": element " << i << " is " << found << ", expected " << skipped.values[i];
        }
    }

    /// `change` is done to one tensor alone.
    void check_one(const Subject& s, const std::string& tensor, const std::function<void(std::vector<float>&)>& change,
                   const std::string& what) {
        check(
            s,
            [&](const std::string& name, std::vector<float>& values) {
                if (name == tensor) change(values);
            },
            tensor + " " + what);
    }

    /// The input and all tensors of weights, by name.
    static std::vector<std::string> tensors(const Subject& s) {
        std::vector<std::string> names{"input"};
        for (const ev::Parameter& p : s.layer->parameters()) names.push_back(p.name);
        return names;
    }

    static auto times(float factor) {
        return [factor](std::vector<float>& values) {
            for (float& value : values) value *= factor;
        };
    }
};

TEST_P(OddNumbers, NaNAndInfinitiesInTheInput) {
    for (const Subject& s : subjects()) {
        for (const float poison : {nan, inf, -inf}) {
            const auto size = static_cast<std::size_t>(s.shape.n * s.shape.c * s.shape.h * s.shape.w);
            for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
                const auto set = [&](std::vector<float>& v) { v[at] = poison; };
                check_one(s, "input", set, "element " + std::to_string(at) + " " + std::to_string(poison));
            }
        }
    }
}

/// An infinite factor of a batch norm is left out: in the convolution's weights it makes NaN of a sum of both signs.
TEST_P(OddNumbers, NaNAndInfinitiesInTheWeights) {
    for (const Subject& s : subjects()) {
        for (const ev::Parameter& p : s.layer->parameters()) {
            for (const float poison : {nan, inf, -inf}) {
                if (std::isinf(poison) && is_batch_norms_factor(s, p.name)) continue;
                check_one(
                    s, p.name, [&](std::vector<float>& v) { v[v.size() / 3] = poison; }, std::to_string(poison));
            }
        }
    }
}

TEST_P(OddNumbers, Zeros) {
    const auto zeros = [](std::vector<float>& v) { std::fill(v.begin(), v.end(), 0.0f); };
    for (const Subject& s : subjects()) {
        for (const std::string& tensor : tensors(s)) check_one(s, tensor, zeros, "zero");
    }
}

TEST_P(OddNumbers, Denormals) {
    for (const Subject& s : subjects()) {
        for (const std::string& tensor : tensors(s)) check_one(s, tensor, times(1e-39f), "denormal");
    }
}

/// Sums of denormals are denormals, none is taken for zero.
TEST_P(OddNumbers, DenormalsAreKept) {
    constexpr auto none = ev::Activation::none;
    const std::vector<Subject> plain{
        conv<{.in_channels = 9, .out_channels = 20, .kernel_size = 1, .norm = ev::Norm::none, .act_func = none}>("1x1"),
        conv<{.in_channels = 9, .out_channels = 9, .groups = 9, .norm = ev::Norm::none, .act_func = none}>("depthwise"),
        conv<{.in_channels = 9, .out_channels = 9, .norm = ev::Norm::none, .act_func = none}>("dense"),
        conv<{.in_channels = 3, .out_channels = 9, .stride = 2, .norm = ev::Norm::none, .act_func = none}>("stem")};
    for (const Subject& s : plain) {
        for (const bool input : {true, false}) {
            check(
                s,
                [&](const std::string& name, std::vector<float>& v) {
                    if ((name == "input") == input) times(1e-39f)(v);
                },
                input ? "input" : "weights", 1e-38);
        }
    }
}

/// Attention multiplies three of its values, so 1e10 is about what float can do there.
TEST_P(OddNumbers, Huge) {
    for (const Subject& s : subjects()) {
        for (const float scale : {1e6f, 1e10f}) {
            for (const std::string& tensor : tensors(s)) {
                if (!tensor.ends_with("running_var")) check_one(s, tensor, times(scale), "huge");
            }
        }
    }
}

EFFICIENTVIT_ON_EVERY_ISA(OddNumbers);

}  // namespace

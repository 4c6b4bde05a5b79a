// SPDX-License-Identifier: Apache-2.0
//
// A user's unit that includes neither Eigen nor a network: ModelHandle gives the bits that the network's type gives.
#include "handle.hpp"

#include <efficientvit/models/model_handle.hpp>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "../golden_values.hpp"

#if defined(EIGEN_WORLD_VERSION)
#error "model_handle.hpp includes Eigen"
#endif

namespace ev = efficientvit;

namespace {

int failures = 0;
void check(bool right, const char* what) {
    if (!right) ++failures, std::printf("wrong: %s\n", what);
}

template <class Exception, class Action>
bool throws(const Action& action) {
    try {
        action();
    } catch (const Exception& error) {
        return std::printf("as it should: %.200s\n", error.what()) > 0;
    }
    return false;
}

std::size_t count(const ev::Shape& s) { return static_cast<std::size_t>(s.n * s.c * s.h * s.w); }

}  // namespace

int main() {
    const std::string path = "compiled_handle.safetensors";
    write_weights(path);
    const ev::Shape shape{2, 3, 64, 96};
    const std::vector<float> image = golden_tensor("input", {2, 3, 64, 96});
    const ev::ConstTensorView x{image.data(), shape};
    const std::vector<std::vector<float>> expected = reference_stages(x);

    ev::ModelHandle model("", path);
    check(model.name() == "backbone_b0", "the network that the weights look like");
    check(model.usual_input() == ev::Shape{1, 3, 224, 224}, "usual_input");
    check(model.outputs() == 5 && std::string(model.output_name(4)) == "stage4", "the outputs' names");

    const ev::Shape last = model.output_shape(4, shape);
    check(last == ev::Shape{2, 128, 2, 3}, "output_shape");
    std::vector<float> y(count(last));
    ev::ModelHandle moved = std::move(model);
    moved.forward(x, {y.data(), last});
    check(y == expected[4], "forward");

    std::vector<std::vector<float>> stages(5);
    std::vector<ev::TensorView> views(5);
    for (int i = 0; i < 5; ++i) {
        if (i == 2) continue;  // left out
        const ev::Shape s = moved.output_shape(i, shape);
        stages[static_cast<std::size_t>(i)].resize(count(s));
        views[static_cast<std::size_t>(i)] = {stages[static_cast<std::size_t>(i)].data(), s};
    }
    ev::ModelHandle other = moved.share(2);
    other.forward_all(x, views.data());
    for (std::size_t i = 0; i < 5; ++i) check(i == 2 ? stages[i].empty() : stages[i] == expected[i], "forward_all");

    std::fill(y.begin(), y.end(), 0.0f);
    moved.forward_stage("stage_final", x, {y.data(), last});
    check(y == expected[4], "forward_stage");
    check(throws<ev::Error>([&] { moved.forward_stage("stage5", x, {y.data(), last}); }), "a stage that is not there");
    check(throws<ev::Error>([&] { (void)moved.pre_logits_shape(shape); }), "the pre-logits of a backbone");
    check(moved.n_classes() == 0 && moved.crop_ratio() == 1, "n_classes and crop_ratio of a backbone");

    const std::string classifier_path = "compiled_classifier.safetensors";
    write_classifier(classifier_path);
    ev::ModelHandle classifier("", classifier_path);
    check(classifier.n_classes() == 7 && classifier.crop_ratio() == 0.95, "n_classes and crop_ratio");
    const ev::Shape features = classifier.pre_logits_shape(shape);
    check(features == ev::Shape{2, 1280, 1, 1}, "pre_logits_shape");
    std::vector<float> embedding(count(features));
    classifier.forward_pre_logits(x, {embedding.data(), features});
    check(embedding == reference_pre_logits(x), "forward_pre_logits");
    check(throws<ev::Error>([&] {
              classifier.forward_stage("stage1", x, {y.data(), last});
          }),
          "a stage of a classifier");

    ev::ModelHandle rounded("backbone_b0", path, {.threads = 2, .precision = ev::ModelHandleOptions::Precision::bf16});
    rounded.forward(x, {y.data(), last});
    check(y == reference_stages(x, true)[4] && y != expected[4], "forward in bfloat16");

    check(throws<ev::ShapeError>([&] { moved.forward(x, {y.data(), shape}); }), "the output's shape");
    check(throws<ev::ShapeError>([&] {
              other.forward_all(x, std::vector<ev::TensorView>(5, {y.data(), last}).data());
          }),
          "the outputs' shapes");
    check(throws<ev::Error>([&] { (void)moved.output_name(5); }), "an output that is not there");
    check(throws<ev::WeightsError>([&] { ev::ModelHandle("cls_b1", path); }), "another network's weights");
    check(throws<ev::ConfigError>([&] { ev::ModelHandle("b17", path); }), "an unknown name");
    check(throws<ev::WeightsError>([&] { ev::ModelHandle("", "weights.onnx"); }), "an unknown format");
    return failures;
}

// SPDX-License-Identifier: Apache-2.0
//
// SAM's decoder on a ready embedding, to low-resolution masks and their predicted IoU: what a click costs after
// set_image(). And what is computed once for a picture beside its encoder.

#include <efficientvit/models/sam_predictor.hpp>

#include "random_weights.hpp"

#include <benchmark/benchmark.h>

#include <string>

namespace ev = efficientvit;

namespace {

// The published decoder behind a small encoder, whose weights would only take time to make.
using Backbone = ev::EfficientViTLargeBackbone<ev::LargeBackboneConfig{
    .width_list = {8, 8, 8, 16, 16}, .depth_list = {1, 1, 1, 1, 1}, .qkv_dim = 8}>;
using Sam = ev::EfficientViTSam<ev::SamImageEncoder<Backbone, ev::SamNeckConfig{.head_width = 16}>,
                                ev::SamConfig{.image_size = 128}>;

const Sam& model(const ev::Precision& precision) {
    static const Sam models[2] = {[] { return bench::random_model<Sam>(); }(),
                                  [] {
                                      Sam sam;
                                      sam.load_state_dict(bench::random_weights<Sam>(),
                                                          {.precision = ev::Precision::bf16});
                                      return sam;
                                  }()};
    return models[precision.kernels() == nullptr ? 0 : 1];
}

/// Takes masks or leaves them.
class Sink final : public ev::MaskSink {
public:
    explicit Sink(bool wants) : wants_(wants) {}
    bool wants_masks(int, std::span<const float>) noexcept override { return wants_; }
    void take_masks(int, std::span<const float>, const float* low_res) noexcept override {
        benchmark::DoNotOptimize(low_res);
    }

private:
    bool wants_;
};

ev::Tensor embedding() {
    ev::Tensor out(1, 256, 64, 64);
    out.setRandom();
    return out;
}

void prompts(benchmark::State& state, const ev::Precision& precision, const ev::SamPrompt& prompt, bool masks,
             int count) {
    ev::Context context({.threads = static_cast<int>(state.range(0))});
    ev::SamPredictor predictor(model(precision));
    predictor.set_embedding(embedding(), {480, 640});
    const std::vector<ev::SamPrompt> all(static_cast<std::size_t>(count), prompt);
    Sink sink(masks);
    for (auto _ : state) predictor.decode(all, sink, context);
    state.counters["prompts/s"] =
        benchmark::Counter(static_cast<double>(state.iterations()) * count, benchmark::Counter::kIsRate);
}

void set_embedding(benchmark::State& state, const ev::Precision& precision) {
    ev::Context context({.threads = static_cast<int>(state.range(0))});
    ev::SamPredictor predictor(model(precision));
    const ev::Tensor x = embedding();
    for (auto _ : state) predictor.set_embedding(ev::view(x), {480, 640}, context);
}

}  // namespace

int main(int argc, char** argv) {
    static const ev::Tensor mask = [] {
        ev::Tensor out(1, 1, 256, 256);
        out.setRandom();
        return out;
    }();
    const ev::SamPrompt point{.points = {{320, 200}}}, box{.box = ev::Box{30, 40, 300, 400}, .multimask_output = false},
        with_mask{.points = {{320, 200}}, .mask_input = ev::view(mask), .multimask_output = false};
    for (const bool bf16 : {false, true}) {
        const ev::Precision precision = bf16 ? ev::Precision::bf16 : ev::Precision::f32;
        const std::string name = bf16 ? "bf16/" : "f32/";
        const auto add = [&](const char* what, const auto& function, const auto&... arguments) {
            benchmark::RegisterBenchmark((name + what).c_str(), function, precision, arguments...)
                ->ArgName("threads")
                ->Arg(1)
                ->Arg(2)
                ->UseRealTime()
                ->Unit(benchmark::kMillisecond);
        };
        add("point", prompts, point, true, 1);
        add("box_single", prompts, box, true, 1);
        add("mask_and_point", prompts, with_mask, true, 1);
        add("iou_alone", prompts, point, false, 1);
        add("16_points", prompts, point, true, 16);
        add("set_embedding", set_embedding);
    }
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}

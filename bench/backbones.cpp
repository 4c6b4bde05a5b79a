// SPDX-License-Identifier: Apache-2.0
//
// Backbones b0 to b3: stage_final, with size, batch and threads as arguments, and the share of the FMA limit that all
// multiply-adds, attention's included, come to. Then each stage of b0 alone.
//
//   bench_backbones --benchmark_filter='b0/.*threads:1'

#include <efficientvit/efficientvit.hpp>

#include "fma_limit.hpp"
#include "random_weights.hpp"

namespace ev = efficientvit;

namespace {

/// Multiply-adds of one image, counted from the configuration: convolutions, and both products of linear attention.
double multiply_adds(const ev::BackboneConfig& c, int size) {
    double total = 0, side = (size + 1) / 2;
    const auto mb_conv = [&](double in, double out, double stride) {
        const double mid = in * c.expand_ratio, out_side = std::ceil(side / stride);
        total += side * side * in * mid + out_side * out_side * mid * (9 + out);
        side = out_side;
    };
    const double w0 = c.width_list[0];
    total += side * side * w0 * (9.0 * c.in_channels + c.depth_list[0] * (9 + w0));
    for (int stage = 1; stage < c.width_list.size(); ++stage) {
        const double in = c.width_list[stage - 1], out = c.width_list[stage];
        const int depth = c.depth_list[stage];
        if (stage <= 2) {
            for (int i = 0; i < depth; ++i) mb_conv(i == 0 ? in : out, out, i == 0 ? 2 : 1);
            continue;
        }
        mb_conv(in, out, 2);
        for (int i = 0; i < depth; ++i) {
            const double pixels = side * side, dim = c.dim;
            total += pixels * (out * 3 * out + 3 * out * (25 + dim) + 2 * out * out);  // qkv, aggreg, proj
            const double heads = 2 * out / dim;
            total += heads * (pixels > dim ? 2 * pixels * dim * (dim + 1) : 2 * pixels * pixels * dim);
            mb_conv(out, out, 1);
        }
    }
    return total;
}

template <class Backbone>
void backbone(benchmark::State& state) {
    const int size = static_cast<int>(state.range(0)), batch = static_cast<int>(state.range(1));
    const int threads = static_cast<int>(state.range(2));
    const Backbone model = bench::random_model<Backbone>();
    ev::Context context({.threads = threads});
    ev::Tensor x(batch, 3, size, size), y;
    x.setRandom();
    model.forward_final(x, y, context);
    for (auto _ : state) model.forward_final(x, y, context);
    bench::report(state, batch * multiply_adds(Backbone::config, size), model.isa(), threads);
}

void arguments(benchmark::internal::Benchmark* b) {
    b->ArgNames({"size", "batch", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
    for (const int threads : {1, 2}) b->Args({224, 1, threads});
}
void arguments_b0(benchmark::internal::Benchmark* b) {
    arguments(b);
    for (const int threads : {1, 2}) b->Args({512, 1, threads})->Args({224, 8, threads});
}

BENCHMARK(backbone<ev::BackboneB0>)->Name("b0")->Apply(arguments_b0);
BENCHMARK(backbone<ev::BackboneB1>)->Name("b1")->Apply(arguments);
BENCHMARK(backbone<ev::BackboneB2>)->Name("b2")->Apply(arguments);
BENCHMARK(backbone<ev::BackboneB3>)->Name("b3")->Apply(arguments);

/// b0 cut off behind stage Last: the differences of neighbours are the stages.
template <int Last>
void until_stage(benchmark::State& state) {
    constexpr ev::BackboneConfig cut = [] {
        ev::BackboneConfig c = ev::b0;
        c.width_list.count = c.depth_list.count = Last + 1;
        return c;
    }();
    backbone<ev::EfficientViTBackbone<cut>>(state);
}
BENCHMARK(until_stage<0>)->Name("b0_until_stage0")->Apply(arguments);
BENCHMARK(until_stage<1>)->Name("b0_until_stage1")->Apply(arguments);
BENCHMARK(until_stage<2>)->Name("b0_until_stage2")->Apply(arguments);
BENCHMARK(until_stage<3>)->Name("b0_until_stage3")->Apply(arguments);
BENCHMARK(until_stage<4>)->Name("b0_until_stage4")->Apply(arguments);

}  // namespace

BENCHMARK_MAIN();

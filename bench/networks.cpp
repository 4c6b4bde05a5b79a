// SPDX-License-Identifier: Apache-2.0
//
// Times networks by name at the size that they were published for, on one thread and on two: the README's table.
#include <efficientvit/compiled/networks.hpp>
#include <efficientvit/runtime/context.hpp>

#include "random_weights.hpp"
#include "times.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace ev = efficientvit;

void time_network(std::string_view name) {
    const std::unique_ptr<ev::AnyModel> model = ev::compiled::make_model(name);
    std::int64_t weights = 0;
    for (const ev::Parameter& parameter : model->parameters()) {
        if (parameter.name.find("running_") != std::string::npos) continue;
        std::int64_t count = 1;
        for (const std::int64_t extent : parameter.shape) count *= extent;
        weights += count;
    }
    model->load_state_dict(bench::random_weights(model->parameters()));
    ev::Tensor x(1, 3, model->info().height, model->info().width);
    x.setConstant(0.5f);
    std::printf("| %s | %dx%d | %.1f M |", model->info().name.c_str(), model->info().height, model->info().width,
                static_cast<double>(weights) / 1e6);
    for (const int threads : {1, 2}) {
        ev::Context context({.threads = threads});
        ev::NamedTensors y;
        const auto forward = [&] { model->forward(x, y, context); };
        forward();  // takes its memory
        const std::vector<double> times = bench::sorted_times(forward, 7, std::chrono::milliseconds(2500));
        std::printf(" %.2f (%.2f) |", times[times.size() / 2], times.front());
        std::fflush(stdout);
    }
    std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> names(argv + 1, argv + argc);
    if (names.empty()) {
        for (std::size_t i = 0; const char* name = ev::compiled::model_name(i); ++i) names.emplace_back(name);
    }
    std::printf("| network | input | weights | ms on 1 thread, median (least) | on 2 |\n|---|---|---|---|---|\n");
    try {
        for (const std::string& name : names) time_network(name);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_networks: %s\n", error.what());
        return 1;
    }
    return 0;
}

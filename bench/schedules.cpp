// SPDX-License-Identifier: Apache-2.0
//
// What was decided for each fused layer of a network on this machine, and how long the layer takes: its schedule
// (nn/schedules.hpp), and the least time of several forwards on one thread, of work that is cut for `threads`.
//
//   bench_schedules [b0|b1|b2|b3|l1 [threads [size]]]     (default b0 1 224)
#include <efficientvit/efficientvit.hpp>

#include "random_weights.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace ev = efficientvit;

namespace {

/// A schedule in words, and the time of the sections behind it.
struct Step {
    std::string schedule;
    double seconds = 0, least = std::numeric_limits<double>::infinity();
};

class Steps : public ev::ChunkTrace {
public:
    void section(int) override {}
    void chunk(int, double seconds) override { steps_[current_].seconds += seconds; }
    void schedule(const ev::detail::InvertedBottleneckSchedule& s) override {
        const std::string way = s.by_blocks ? "blocks" : std::to_string(s.bands) + " bands";
        next("MBConv  " + way + ", steps of " + std::to_string(s.step_rows) + " rows, ring of " +
             std::to_string(s.ring_rows) + " rows x " + std::to_string(s.ring_blocks) + " blocks, slices of " +
             std::to_string(s.slice_blocks) + " blocks, " +
             std::to_string((s.ring_floats + s.middle_floats) * 4 / 1024) + " KB");
    }
    void schedule(const ev::detail::FusedBottleneckSchedule& s) override {
        next("FusedMBConv  " + std::to_string(s.steps) + " steps of " + std::to_string(s.step_rows) + " rows, " +
             std::to_string(s.middle_floats * 4 / 1024) + " KB");
    }
    void schedule(const ev::detail::WinogradSchedule& s) override {
        next("Winograd  " + std::to_string(s.steps_down) + " x " + std::to_string(s.steps_across) + " steps of " +
             std::to_string(s.step_rows) + " x " + std::to_string(s.step_columns) + " tiles, " +
             std::to_string(s.floats * 4 / 1024) + " KB");
    }
    void schedule(const ev::detail::AttentionSchedule& s) override {
        next("LiteMLA  " + std::to_string(s.groups) + " groups of " + std::to_string(s.group) + " parts, " +
             std::to_string(s.image_floats * 4 / 1024) + " KB");
    }

    /// A forward is over.
    void rewind() {
        for (Step& step : steps_) step.least = std::min(step.least, std::exchange(step.seconds, 0));
        current_ = 0;
    }
    const std::vector<Step>& steps() const { return steps_; }

private:
    void next(std::string schedule) {
        if (++current_ == steps_.size()) steps_.push_back({std::move(schedule)});
    }

    std::vector<Step> steps_{{"(before the first fused layer)"}};
    std::size_t current_ = 0;
};

template <class Backbone>
void run(int threads, int size) {
    const Backbone model = bench::random_model<Backbone>();
    Steps steps;
    ev::Context context({.threads = threads, .trace = &steps});
    ev::Tensor x(1, 3, size, size), y;
    x.setRandom();
    constexpr int repeats = 100;
    for (int i = 0; i < repeats; ++i) {
        model.forward_final(x, y, context);
        steps.rewind();
    }
    for (const Step& step : steps.steps()) std::printf("%8.1f us  %s\n", step.least * 1e6, step.schedule.c_str());
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view name = argc > 1 ? argv[1] : "b0";
    const int threads = argc > 2 ? std::atoi(argv[2]) : 1, size = argc > 3 ? std::atoi(argv[3]) : 224;
    const auto network = name == "b0"   ? run<ev::BackboneB0>
                         : name == "b1" ? run<ev::BackboneB1>
                         : name == "b2" ? run<ev::BackboneB2>
                         : name == "b3" ? run<ev::BackboneB3>
                         : name == "l1" ? run<ev::BackboneL1>
                                        : nullptr;
    if (network == nullptr || threads < 1 || size < 1) {
        std::fprintf(stderr, "usage: bench_schedules [b0|b1|b2|b3|l1 [threads [size]]]\n");
        return 2;
    }
    const ev::detail::Core& core = ev::detail::this_core();
    std::printf("caches of %td KB and %td KB, %d FMA units\n", core.l2_bytes / 1024, core.l3_bytes / 1024,
                core.fma_units);
    network(threads, size);
}

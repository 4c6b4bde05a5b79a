// SPDX-License-Identifier: Apache-2.0
//
// Forwards of a backbone with random weights, and nothing else: a program for boards, profilers and emulators, which
// needs no library but this one.
//
//   bench_forward                                              times of b0, b1, b3, as rows of boards.md
//   bench_forward b0|b1|b2|b3|l1 [forwards [size [precision]]] (default 1 224 f32) one thread, for {arm,x86}/forward.py
#include <efficientvit/build_info.hpp>
#include <efficientvit/efficientvit.hpp>

#include "random_weights.hpp"
#include "times.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>
#if defined(__ANDROID__)
#include <sys/system_properties.h>
#endif

namespace ev = efficientvit;

namespace {

const ev::Precision precisions[] = {ev::Precision::f32, ev::Precision::bf16, ev::Precision::bf16_weights,
                                    ev::Precision::int8, ev::Precision::f16};

template <class Backbone>
Backbone load(ev::Precision precision) {
    Backbone model;
    model.load_state_dict(bench::random_weights<Backbone>(), {.precision = precision});
    return model;
}

template <class Backbone>
void run(int forwards, int size, ev::Precision precision) {
    const Backbone model = load<Backbone>(precision);
    ev::Context context({.threads = 1});
    ev::Tensor x(1, 3, size, size), y;
    x.setRandom();
    for (int i = 0; i < forwards; ++i) {
        model.forward_final(x, y, context);
        std::printf("%g\n", static_cast<double>(y.data()[0]));  // x86/forward.py counts from one to the next
    }
}

/// What the machine is sold as, where it tells: "Raspberry Pi 5 Model B Rev 1.0".
std::string machine_name() {
    std::string name;
#if defined(__ANDROID__)
    char text[PROP_VALUE_MAX] = "";
    if (__system_property_get("ro.product.model", text) > 0) name = text;
#elif defined(__linux__)
    for (const char* const path : {"/proc/device-tree/model", "/sys/class/dmi/id/product_name"}) {
        std::ifstream file(path);
        if (name.empty() && std::getline(file, name)) name.resize(name.find_last_not_of('\0') + 1);
    }
#endif
    return name.empty() ? "?" : name;
}

/// "shortest / median" of forwards in milliseconds: ten at least, and for two seconds. The first two do not count.
template <class Backbone>
std::string times(const Backbone& model, ev::Context& context) {
    ev::Tensor x(1, 3, 224, 224), y;
    x.setRandom();
    for (int i = 0; i < 2; ++i) model.forward_final(x, y, context);
    const std::vector<double> all =
        bench::sorted_times([&] { model.forward_final(x, y, context); }, 10, std::chrono::seconds(2));
    char text[64];
    std::snprintf(text, sizeof text, "%.4g / %.4g", all.front(), all[all.size() / 2]);
    return text;
}

/// Cells of one network for each number of threads, and what multiplies there.
template <class Backbone>
std::string add_times(ev::Precision precision, const std::vector<int>& threads, std::vector<std::string>& cells) {
    const Backbone model = load<Backbone>(precision);
    for (std::size_t i = 0; i < threads.size(); ++i) {
        ev::Context context({.threads = threads[i]});
        cells[i] += " | " + times(model, context);
    }
    return std::string(model.precision());
}

/// A row for each precision and number of threads: one, and all that this process has CPUs for.
void print_rows() {
    const ev::BuildInfo info = ev::build_info();
    const std::string machine = machine_name(), cpu = ev::detail::cpu_name();
    const int all = ev::Context({.threads = 0}).threads();
    const std::vector<int> threads = all > 1 ? std::vector{1, all} : std::vector{1};
    std::puts(
        "| machine | CPU | ISA | precision | threads | b0, ms: min / median | b1 | b3 | compiler | system | version |");
    std::puts("|---|---|---|---|---|---|---|---|---|---|---|");
    for (const ev::Precision& precision : precisions) {
        // Weights that are widened are there to save memory, not time.
        if (precision == ev::Precision::bf16_weights) continue;
        if (precision == ev::Precision::bf16 && ev::bf16_unit(ev::default_isa()) == ev::Bf16Unit::none) continue;
        if (precision == ev::Precision::f16 && !ev::f16_unit_supported(ev::F16Unit::neon_fp16)) continue;
        std::vector<std::string> cells(threads.size());
        const std::string unit = add_times<ev::BackboneB0>(precision, threads, cells);
        add_times<ev::BackboneB1>(precision, threads, cells);
        add_times<ev::BackboneB3>(precision, threads, cells);
        for (std::size_t i = 0; i < threads.size(); ++i) {
            std::printf("| %s | %s | %s | %s | %d of %d%s | %s | %s | %s |\n", machine.c_str(), cpu.c_str(),
                        info.isa.c_str(), unit.c_str(), threads[i], all, cells[i].c_str(), info.compiler.c_str(),
                        info.system.c_str(), info.version.c_str());
        }
        std::fflush(stdout);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 1) {
        print_rows();
        return 0;
    }
    const std::string_view name = argv[1], asked = argc > 4 ? argv[4] : "f32";
    const int forwards = argc > 2 ? std::atoi(argv[2]) : 1, size = argc > 3 ? std::atoi(argv[3]) : 224;
    const auto network = name == "b0"   ? run<ev::BackboneB0>
                         : name == "b1" ? run<ev::BackboneB1>
                         : name == "b2" ? run<ev::BackboneB2>
                         : name == "b3" ? run<ev::BackboneB3>
                         : name == "l1" ? run<ev::BackboneL1>
                                        : nullptr;
    const auto* const precision =
        std::ranges::find_if(precisions, [&](const ev::Precision& p) { return p.name() == asked; });
    if (network == nullptr || forwards < 1 || size < 1 || precision == std::end(precisions)) {
        std::fprintf(stderr, "usage: bench_forward [b0|b1|b2|b3|l1 [forwards [size [precision]]]]\n");
        return 2;
    }
    network(forwards, size, *precision);
    return 0;
}

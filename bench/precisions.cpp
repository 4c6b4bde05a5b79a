// SPDX-License-Identifier: Apache-2.0
//
// Backbones in every precision and by every unit that this CPU has, on one thread: forwards in turn, so that what else
// the machine does meets all alike; the shortest and the median of each.
//
//   bench_precisions b0|b1|b2|b3|l1 [rounds [size]]     (default 20 224)
#include <efficientvit/efficientvit.hpp>
#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/f16.hpp>
#include <efficientvit/kernels/int8.hpp>

#include "random_weights.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace ev = efficientvit;

namespace {

struct Way {
    ev::Isa isa;
    ev::Precision precision;
};

template <ev::Bf16Unit Unit>
const ev::kernels::Table& bf16_by(ev::Isa isa) {
    return ev::kernels::bf16_unit_table<void>(isa, Unit);
}
template <ev::Int8Unit Unit>
const ev::kernels::Table& int8_by(ev::Isa isa) {
    return ev::kernels::int8_unit_table<void>(isa, Unit);
}

std::vector<Way> ways() {
    std::vector<Way> all;
    for (const ev::Isa isa : {ev::Isa::avx512, ev::Isa::avx2, ev::Isa::neon}) {
        if (!ev::isa_supported(isa)) continue;
        all.push_back({isa, ev::Precision::f32});
        const auto bf16 = [&](ev::Bf16Unit unit, ev::Isa of, ev::Precision precision) {
            if (of == isa && ev::bf16_unit_supported(unit)) all.push_back({isa, precision});
        };
        bf16(ev::Bf16Unit::amx, ev::Isa::avx512, {"bf16", bf16_by<ev::Bf16Unit::amx>});
        bf16(ev::Bf16Unit::avx512_bf16, ev::Isa::avx512, {"bf16", bf16_by<ev::Bf16Unit::avx512_bf16>});
        bf16(ev::Bf16Unit::neon_bf16, ev::Isa::neon, {"bf16", bf16_by<ev::Bf16Unit::neon_bf16>});
        const auto int8 = [&](ev::Int8Unit unit, ev::Precision precision) {
            if (ev::int8_unit_isa(unit) == isa && ev::int8_unit_supported(unit)) all.push_back({isa, precision});
        };
        int8(ev::Int8Unit::avx512_vnni, {"int8", int8_by<ev::Int8Unit::avx512_vnni>});
        int8(ev::Int8Unit::avx_vnni, {"int8", int8_by<ev::Int8Unit::avx_vnni>});
        int8(ev::Int8Unit::neon_i8mm, {"int8", int8_by<ev::Int8Unit::neon_i8mm>});
        int8(ev::Int8Unit::neon_dotprod, {"int8", int8_by<ev::Int8Unit::neon_dotprod>});
        all.push_back({isa, {"int8", int8_by<ev::Int8Unit::none>}});
        if (isa == ev::Isa::neon && ev::f16_unit_supported(ev::F16Unit::neon_fp16)) {
            all.push_back({isa, ev::Precision::f16});
        }
    }
    return all;
}

template <class Backbone>
void run(int rounds, int size) {
    const std::vector<Way> all = ways();
    const ev::StateDict weights = bench::random_weights<Backbone>();
    std::vector<Backbone> models(all.size());
    std::vector<ev::Context> contexts(all.size());
    std::vector<std::vector<double>> times(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        models[i].load_state_dict(weights, {.isa = all[i].isa, .precision = all[i].precision});
    }
    ev::Tensor x(1, 3, size, size), y;
    x.setRandom();
    for (int round = -1; round < rounds; ++round) {  // the first is not counted
        for (std::size_t i = 0; i < all.size(); ++i) {
            const auto begin = std::chrono::steady_clock::now();
            models[i].forward_final(x, y, contexts[i]);
            const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
            if (round >= 0) times[i].push_back(time.count());
        }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::sort(times[i].begin(), times[i].end());
        std::printf("%-8s %-20s min %9.3f ms  median %9.3f ms\n", std::string(ev::isa_name(all[i].isa)).c_str(),
                    std::string(models[i].precision()).c_str(), times[i].front(), times[i][times[i].size() / 2]);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view name = argc > 1 ? argv[1] : "";
    const int rounds = argc > 2 ? std::atoi(argv[2]) : 20, size = argc > 3 ? std::atoi(argv[3]) : 224;
    const auto network = name == "b0"   ? run<ev::BackboneB0>
                         : name == "b1" ? run<ev::BackboneB1>
                         : name == "b2" ? run<ev::BackboneB2>
                         : name == "b3" ? run<ev::BackboneB3>
                         : name == "l1" ? run<ev::BackboneL1>
                                        : nullptr;
    if (network == nullptr || rounds < 1 || size < 1) {
        std::fprintf(stderr, "usage: bench_precisions b0|b1|b2|b3|l1 [rounds [size]]\n");
        return 2;
    }
    network(rounds, size);
    return 0;
}

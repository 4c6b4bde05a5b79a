// SPDX-License-Identifier: Apache-2.0
//
// Runs the plain unit and one of wider flags on the same views, in turns. Plain arrays only: the standard library's
// templates do merge between units, and this one must run everywhere.
#include <cmath>
#include <cstddef>
#include <cstdio>

#include "unit.hpp"

namespace {

namespace ev = efficientvit;

constexpr std::size_t count(const ev::Shape& s) { return static_cast<std::size_t>(s.n * s.c * s.h * s.w); }

float input[count(odr_input)];
float outputs[3][count(odr_output)];

bool run(OdrForward& forward, float* to) { return forward({input, odr_input}, {to, odr_output}); }

[[maybe_unused]] bool cpu_has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
[[maybe_unused]] bool cpu_has_avx512() {
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

#define ODR_JOIN_(a, b) a##b
#define ODR_JOIN(a, b) ODR_JOIN_(a, b)

}  // namespace

int main() {
    if (!ODR_JOIN(cpu_has_, ODR_OTHER)()) {
        std::puts("skipped: this CPU cannot run the wider unit");
        return 77;
    }
    for (std::size_t i = 0; i < count(odr_input); ++i) input[i] = std::sin(static_cast<float>(i));
    OdrForward& forward_other = ODR_JOIN(forward_, ODR_OTHER);
    if (!run(forward_plain, outputs[0]) || !run(forward_other, outputs[1]) || !run(forward_plain, outputs[2])) return 1;

    float largest = 0, difference = 0;
    for (std::size_t i = 0; i < count(odr_output); ++i) {
        if (outputs[2][i] != outputs[0][i]) return std::puts("the plain unit's result changed"), 1;
        largest = std::fmax(largest, std::fabs(outputs[0][i]));
        difference = std::fmax(difference, std::fabs(outputs[1][i] - outputs[0][i]));
    }
    std::printf("largest value %g, largest difference between units %g\n", double{largest}, double{difference});
    return largest > 0.1f && difference <= 8e-6f * largest ? 0 : 1;
}

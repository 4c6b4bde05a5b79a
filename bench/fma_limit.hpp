// SPDX-License-Identifier: Apache-2.0
//
// How many multiply-adds this core does in a second when it does nothing else: what every benchmark is held against, in
// the same run, since clocks drift. And the counters that show a benchmark's share of it.
#pragma once

#include <benchmark/benchmark.h>
#include <efficientvit/kernels/kernels.hpp>

#include <algorithm>
#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace bench {

namespace ev = efficientvit;

// Twelve independent chains of vector FMA: three times what hides the latency on one port, enough for two.
#define BENCH_FMA_CHAINS(target, vector, set, fma, lanes)                                         \
    target inline float fma_chains_##lanes(int rounds) {                                          \
        vector sum[12];                                                                           \
        const vector a = set(0.999f), b = set(0.001f);                                            \
        for (int i = 0; i < 12; ++i) sum[i] = set(static_cast<float>(i));                         \
        for (int round = 0; round < rounds; ++round) {                                            \
            _Pragma("GCC unroll 12") for (int i = 0; i < 12; ++i) { sum[i] = fma(sum[i], a, b); } \
        }                                                                                         \
        float out = 0;                                                                            \
        for (int i = 0; i < 12; ++i) out += reinterpret_cast<float*>(&sum[i])[0];                 \
        return out;                                                                               \
    }

#if defined(__x86_64__)
BENCH_FMA_CHAINS(__attribute__((target("avx2,fma"))), __m256, _mm256_set1_ps, _mm256_fmadd_ps, 8)
BENCH_FMA_CHAINS(__attribute__((target("avx512f"))), __m512, _mm512_set1_ps, _mm512_fmadd_ps, 16)
#elif defined(__aarch64__)
inline float32x4_t neon_fma(float32x4_t x, float32x4_t a, float32x4_t b) { return vfmaq_f32(b, x, a); }
BENCH_FMA_CHAINS(, float32x4_t, vdupq_n_f32, neon_fma, 4)
#endif
inline float scalar_set(float x) { return x; }
inline float scalar_fma(float x, float a, float b) { return x * a + b; }
BENCH_FMA_CHAINS(, float, scalar_set, scalar_fma, 1)
#undef BENCH_FMA_CHAINS

/// 10^9 multiply-adds a second of one core with the vectors of `isa`, the best of some short runs.
inline double measure_fma_limit(ev::Isa isa) {
    float (*chains)(int) = fma_chains_1;
    int lanes = 1;
#if defined(__x86_64__)
    if (isa == ev::Isa::avx2) chains = fma_chains_8, lanes = 8;
    if (isa == ev::Isa::avx512) chains = fma_chains_16, lanes = 16;
#elif defined(__aarch64__)
    if (isa == ev::Isa::neon) chains = fma_chains_4, lanes = 4;
#endif
    constexpr int rounds = 20000;
    double best = 1e30;
    for (int repeat = 0; repeat < 50; ++repeat) {
        const auto begin = std::chrono::steady_clock::now();
        benchmark::DoNotOptimize(chains(rounds));
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return 12.0 * lanes * rounds / best / 1e9;
}

/// Counters for `multiply_adds` in each iteration on `threads` threads: GFMA/s, and the share of the limit, measured
/// now.
inline void report(benchmark::State& state, double multiply_adds, ev::Isa isa, int threads = 1) {
    using Counter = benchmark::Counter;
    const double limit = measure_fma_limit(isa) * threads;
    state.counters["GFMA/s"] = Counter(multiply_adds / 1e9, Counter::kIsIterationInvariantRate);
    state.counters["of_limit"] = Counter(multiply_adds / 1e9 / limit, Counter::kIsIterationInvariantRate);
}

}  // namespace bench

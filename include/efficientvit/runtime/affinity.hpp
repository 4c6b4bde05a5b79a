// SPDX-License-Identifier: Apache-2.0
//
// Which CPUs a thread may run on, where the system tells (Linux).
#pragma once

#include <efficientvit/config.hpp>

#include <vector>

#if defined(__linux__)
#include <sched.h>

#include <cerrno>
#include <cstddef>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// The CPUs that the calling thread may run on; none where the system does not tell.
EFFICIENTVIT_COLD inline std::vector<int> allowed_cpus() {
    std::vector<int> cpus;
#if defined(__linux__)
    // The kernel refuses a set that is smaller than its own.
    for (std::size_t words = 16; words <= 4096; words *= 2) {
        constexpr std::size_t bits = 8 * sizeof(unsigned long);
        std::vector<unsigned long> set(words);
        if (sched_getaffinity(0, words * sizeof(set[0]), reinterpret_cast<cpu_set_t*>(set.data())) != 0) {
            if (errno == EINVAL) continue;
            break;
        }
        for (std::size_t cpu = 0; cpu < words * bits; ++cpu) {
            if ((set[cpu / bits] >> cpu % bits & 1) != 0) cpus.push_back(static_cast<int>(cpu));
        }
        break;
    }
#endif
    return cpus;
}

/// Binds the calling thread to one CPU. Where the system does not let it, nothing happens.
EFFICIENTVIT_COLD inline void bind_to_cpu(int cpu) {
#if defined(__linux__)
    constexpr std::size_t bits = 8 * sizeof(unsigned long);
    const auto at = static_cast<std::size_t>(cpu);
    std::vector<unsigned long> set(at / bits + 1);
    set[at / bits] = 1UL << at % bits;
    static_cast<void>(
        sched_setaffinity(0, set.size() * sizeof(set[0]), reinterpret_cast<const cpu_set_t*>(set.data())));
#else
    static_cast<void>(cpu);
#endif
}

/// For helpers of the calling thread: the CPUs that it may run on but for the one that it does run on, from the next
/// on.
EFFICIENTVIT_COLD inline std::vector<int> cpus_for_helpers() {
    std::vector<int> cpus = allowed_cpus();
#if defined(__linux__)
    const int here = sched_getcpu();
    std::vector<int> behind;
    for (const int cpu : cpus) {
        if (cpu > here) behind.push_back(cpu);
    }
    for (const int cpu : cpus) {
        if (cpu < here) behind.push_back(cpu);
    }
    cpus = behind;
#endif
    return cpus;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

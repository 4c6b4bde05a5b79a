// SPDX-License-Identifier: Apache-2.0
//
// What a schedule is made for beside a layer and a map: the caches and multipliers of this CPU's cores, and how many of
// them work. Nothing here changes a result.
#pragma once

#include <efficientvit/kernels/args.hpp>

#include <algorithm>
#include <cstddef>
#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__) && !defined(EFFICIENTVIT_X86)
#include <cstdio>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// A core of a CPU. Where the system does not tell, it is one of the common sizes.
struct Core {
    std::ptrdiff_t l2_bytes = 1 << 20;  ///< second-level cache, which other cores may share
    std::ptrdiff_t l3_bytes = 0;        ///< third-level cache of all cores; 0: none, or not known
    int fma_units = 2;                  ///< vectors of the widest kind that it multiplies and adds in a cycle
    int l2_cores = 1;                   ///< cores of one cluster, which share the second-level cache
    bool operator==(const Core&) const = default;
};

/// What schedules depend on beside layers and maps.
struct Machine {
    int workers = 1;  ///< threads that share a forward
    kernels::Operands operands = kernels::Operands::f32;
    Core core{};

    /// Of the second-level cache, what one worker may count on.
    std::ptrdiff_t l2_share() const { return core.l2_bytes / std::min(workers, core.l2_cores); }
};

/// How many CPUs a list names as Linux writes it: "0-3,8" has five.
constexpr int count_cpus(const char* list) {
    const auto number = [&] {
        int n = 0;
        for (; *list >= '0' && *list <= '9'; ++list) n = 10 * n + (*list - '0');
        return n;
    };
    int count = 0;
    while (*list >= '0' && *list <= '9') {
        const int first = number();
        if (*list == '-') ++list, count += number() - first;
        ++count;
        if (*list == ',') ++list;
    }
    return count;
}

#if defined(EFFICIENTVIT_X86)
/// Bytes of the data cache that leaf 4 (Intel) or 0x8000001d (AMD) describes, and its level; level 0 behind the last.
struct CacheLevel {
    int level = 0;
    std::ptrdiff_t bytes = 0;
};
inline CacheLevel cache_level(const CpuidRegisters& r) {
    const unsigned type = r.eax & 31U, level = r.eax >> 5 & 7U;
    if (type == 0) return {};
    if (type == 2) return {static_cast<int>(level), 0};  // of instructions
    const auto field = [&](int low, unsigned mask) { return static_cast<std::ptrdiff_t>((r.ebx >> low & mask) + 1); };
    const std::ptrdiff_t line = field(0, 0xfff), partitions = field(12, 0x3ff), ways = field(22, 0x3ff);
    return {static_cast<int>(level), line * partitions * ways * (static_cast<std::ptrdiff_t>(r.ecx) + 1)};
}

/// Leaves beyond the last one that a CPU has mean something else.
inline CpuidRegisters cpuid_or_zero(unsigned leaf, unsigned subleaf) {
    return cpuid(leaf & 0x80000000U, 0).eax >= leaf ? cpuid(leaf, subleaf) : CpuidRegisters{};
}

/// No CPU says how many units it has. With AVX-512, AMD has had two since Zen 5, Intel has two in servers only:
/// Skylake's and Ice Lake's by their numbers, later ones have AMX. Without it, all have two.
inline int fma_units(Isa best, bool amd, unsigned family, unsigned model, bool amx) {
    if (best != Isa::avx512) return 2;
    if (amd) return family >= 0x1a ? 2 : 1;
    return amx || model == 0x55 || model == 0x6a || model == 0x6c ? 2 : 1;
}

EFFICIENTVIT_COLD inline Core detect_core() {
    Core core;
    constexpr unsigned intel_caches = 4, amd_caches = 0x8000001d;
    const unsigned leaf = cache_level(cpuid_or_zero(intel_caches, 0)).level != 0 ? intel_caches : amd_caches;
    for (unsigned i = 0;; ++i) {
        const CacheLevel cache = cache_level(cpuid_or_zero(leaf, i));
        if (cache.level == 0) break;
        if (cache.bytes > 0 && cache.level == 2) core.l2_bytes = cache.bytes;
        if (cache.bytes > 0 && cache.level == 3) core.l3_bytes = cache.bytes;
    }
    constexpr unsigned authentic_amd = 0x68747541;  // "Auth"
    const unsigned version = cpuid(1, 0).eax, base_family = version >> 8 & 15U;
    const unsigned family = base_family + (base_family == 15 ? version >> 20 & 0xffU : 0);
    const unsigned model = (version >> 4 & 15U) | (version >> 12 & 0xf0U);
    const bool amx = (cpuid_or_zero(7, 0).edx >> 24 & 1U) != 0;
    core.fma_units = fma_units(best_isa(), cpuid(0, 0).ebx == authentic_amd, family, model, amx);
    return core;
}
#elif defined(__APPLE__)
EFFICIENTVIT_COLD inline Core detect_core() {
    Core core;
    std::size_t size = sizeof core.l2_bytes;
    // Of the fast cores, where there are two kinds.
    if (::sysctlbyname("hw.perflevel0.l2cachesize", &core.l2_bytes, &size, nullptr, 0) != 0) {
        size = sizeof core.l2_bytes;
        ::sysctlbyname("hw.l2cachesize", &core.l2_bytes, &size, nullptr, 0);
    }
    return core;
}
#elif defined(__linux__)
/// Reads numbers from a file below /sys/devices/system/cpu/cpu<cpu>. Whether all were there.
template <class... To>
bool read_cpu_file(int cpu, const char* name, const char* format, To*... to) {
    char path[96];
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", cpu, name);
    std::FILE* const file = std::fopen(path, "r");
    if (file == nullptr) return false;
    const bool read_all = std::fscanf(file, format, to...) == static_cast<int>(sizeof...(to));
    std::fclose(file);
    return read_all;
}

/// The first of the fastest CPUs: where there are little cores too, busy threads are moved to the big ones.
inline int fastest_cpu() {
    int best = 0;
    long most = 0, capacity = 0;
    for (int cpu = 0; read_cpu_file(cpu, "cpu_capacity", "%ld", &capacity); ++cpu) {
        if (capacity > most) most = capacity, best = cpu;
    }
    return best;
}

/// From /sys, whose files say "512K".
EFFICIENTVIT_COLD inline Core detect_core() {
    Core core;
    const int cpu = fastest_cpu();
    for (int index = 0; index < 8; ++index) {
        const auto read = [&](const char* file, const char* format, auto* to) {
            char name[48];
            std::snprintf(name, sizeof name, "cache/index%d/%s", index, file);
            return read_cpu_file(cpu, name, format, to);
        };
        int level = 0;
        long kilobytes = 0;
        if (!read("level", "%d", &level)) break;
        if (!read("size", "%ldK", &kilobytes) || kilobytes <= 0) continue;
        char sharers[64] = "";
        if (level == 2) {
            core.l2_bytes = std::ptrdiff_t{kilobytes} * 1024;
            if (read("shared_cpu_list", "%63s", &sharers)) core.l2_cores = std::max(1, count_cpus(sharers));
        }
        if (level == 3) core.l3_bytes = std::ptrdiff_t{kilobytes} * 1024;
    }
    return core;
}
#else
EFFICIENTVIT_COLD inline Core detect_core() { return {}; }
#endif

/// The core that the first call ran on.
EFFICIENTVIT_LOCAL inline const Core& this_core() {
    static const Core core = detect_core();
    return core;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// What this CPU can run: asked of CPUID and XGETBV once, outside any target region. Not a place for kernels.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>

#if !defined(__cpp_exceptions)
#error \
    "efficientvit: errors are exceptions, so -fno-exceptions does not go; <efficientvit/models/model_handle.hpp> alone compiles with it, beside the files of compiled/ compiled without"
#endif

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#if defined(__x86_64__) || defined(_M_X64)
#define EFFICIENTVIT_X86 1
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define EFFICIENTVIT_ARM64 1
#elif defined(__wasm_simd128__)
#define EFFICIENTVIT_WASM 1
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// The instruction sets that kernels exist for. avx2 includes FMA; avx512 means F, VL, BW and DQ.
enum class Isa {
    scalar,  ///< plain C++
    avx2,    ///< x86-64 with AVX2 and FMA
    avx512,  ///< x86-64 with AVX-512 F, BW, DQ and VL
    neon,    ///< AArch64
    wasm     ///< WebAssembly with 128-bit SIMD
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// "scalar", "avx2", "avx512", "neon" or "wasm".
constexpr std::string_view isa_name(Isa isa) {
    switch (isa) {
        case Isa::avx2:
            return "avx2";
        case Isa::avx512:
            return "avx512";
        case Isa::neon:
            return "neon";
        case Isa::wasm:
            return "wasm";
        case Isa::scalar:
            break;
    }
    return "scalar";
}

namespace detail {

#if defined(EFFICIENTVIT_X86)
struct CpuidRegisters {
    unsigned eax, ebx, ecx, edx;
};

inline CpuidRegisters cpuid(unsigned leaf, unsigned subleaf) {
#if defined(_MSC_VER) && !defined(__clang__)
    int r[4];
    __cpuidex(r, static_cast<int>(leaf), static_cast<int>(subleaf));
    return {unsigned(r[0]), unsigned(r[1]), unsigned(r[2]), unsigned(r[3])};
#else
    CpuidRegisters r{};
    __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
    return r;
#endif
}

// Which register files the operating system saves on a context switch. Only called where OSXSAVE is set.
inline unsigned long long xgetbv() {
#if defined(_MSC_VER) && !defined(__clang__)
    return _xgetbv(0);
#else
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<unsigned long long>(high) << 32) | low;
#endif
}

inline Isa detect_isa() {
    constexpr auto has = [](unsigned value, int bit) { return ((value >> bit) & 1U) != 0; };
    const CpuidRegisters leaf1 = cpuid(1, 0);
    if (!has(leaf1.ecx, 27) || !has(leaf1.ecx, 28) || !has(leaf1.ecx, 12)) return Isa::scalar;  // OSXSAVE, AVX, FMA
    const unsigned long long saved = xgetbv();
    if ((saved & 0x6) != 0x6) return Isa::scalar;  // xmm, ymm
    const CpuidRegisters leaf7 = cpuid(7, 0);
    if (!has(leaf7.ebx, 5)) return Isa::scalar;  // AVX2
    const bool f_dq_bw_vl = has(leaf7.ebx, 16) && has(leaf7.ebx, 17) && has(leaf7.ebx, 30) && has(leaf7.ebx, 31);
    return f_dq_bw_vl && (saved & 0xe6) == 0xe6 ? Isa::avx512 : Isa::avx2;  // and opmask, zmm
}
#elif defined(EFFICIENTVIT_ARM64)
inline Isa detect_isa() { return Isa::neon; }  // part of every AArch64
#elif defined(EFFICIENTVIT_WASM)
inline Isa detect_isa() { return Isa::wasm; }  // else the module would not have been accepted
#else
inline Isa detect_isa() { return Isa::scalar; }
#endif

}  // namespace detail

/// The best instruction set that this CPU and operating system can run.
EFFICIENTVIT_LOCAL inline Isa best_isa() {
    static const Isa isa = detail::detect_isa();
    return isa;
}

/// Whether kernels of `isa` can run here.
inline bool isa_supported(Isa isa) {
    const Isa best = best_isa();
    return isa == best || isa == Isa::scalar || (best == Isa::avx512 && isa == Isa::avx2);
}

/// The ISA that models are packed for when their LoadOptions name none: the environment variable
/// EFFICIENTVIT_ISA (scalar, avx2, avx512, neon, wasm) if it is set, else best_isa().
/// Throws ConfigError where the variable names an ISA that is unknown or that this CPU lacks.
EFFICIENTVIT_COLD inline Isa default_isa() {
    const char* const forced = std::getenv("EFFICIENTVIT_ISA");
    if (forced == nullptr || *forced == '\0') return best_isa();
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::neon, Isa::wasm}) {
        if (isa_name(isa) != forced) continue;
        if (!isa_supported(isa)) {
            throw ConfigError(detail::concat(
                {"EFFICIENTVIT_ISA asks for ", forced, ", this CPU has ", isa_name(best_isa()), " at best"}));
        }
        return isa;
    }
    throw ConfigError(
        detail::concat({"EFFICIENTVIT_ISA is '", forced, "', known are scalar, avx2, avx512, neon, wasm"}));
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

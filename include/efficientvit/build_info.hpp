// SPDX-License-Identifier: Apache-2.0
//
// What a report of a problem should say about the program: which library, which compiler and flags, which kernels on
// which CPU. Text for people, not for programs to decide by; not part of efficientvit.hpp.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/cpu.hpp>

#include <Eigen/Core>

#include <ostream>
#include <string>
#include <string_view>
#include <version>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// One line of text for each question that a reader of the report would ask.
struct BuildInfo {
    std::string version;    ///< of this library: "0.1.0"
    std::string compiler;   ///< and its version: "g++ 12.2.0"
    std::string libraries;  ///< the standard library's version and Eigen's
    std::string language;   ///< __cplusplus
    std::string flags;      ///< what optimisation, -m flags, sanitizers and the like left in the compiler's macros
    std::string system;     ///< operating system and architecture: "Linux x86-64"
    std::string cpu;        ///< its name where it tells one, and the best instruction set that kernels could use here
    std::string isa;        ///< what weights are packed for where LoadOptions name nothing, and whether that is forced
    std::string bf16;       ///< what Precision::bf16 multiplies with there, and whether that is forced
    std::string kernels;    ///< whether each translation unit compiles them, or one for all
};

namespace detail {

EFFICIENTVIT_COLD inline void add_word(std::string& list, std::string_view word) {
    list += concat({list.empty() ? "" : " ", word});
}

EFFICIENTVIT_COLD inline std::string dotted(int a, int b, int c) {
    return concat({std::to_string(a), ".", std::to_string(b), ".", std::to_string(c)});
}

/// The brand string of an x86 CPU, "" elsewhere.
EFFICIENTVIT_COLD inline std::string cpu_name() {
    std::string name;
#if defined(EFFICIENTVIT_X86)
    for (unsigned leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
        const CpuidRegisters r = cpuid(leaf, 0);
        for (const unsigned part : {r.eax, r.ebx, r.ecx, r.edx}) {
            for (unsigned shift = 0; shift < 32; shift += 8) name += static_cast<char>(part >> shift & 0xff);
        }
    }
    name.resize(name.find_last_not_of(std::string_view(" \0", 2)) + 1);
    name.erase(0, name.find_first_not_of(' '));
#endif
    return name;
}

/// What choose() gives, or why it refuses; and the environment variable if it is set.
template <class Choose>
EFFICIENTVIT_COLD std::string choice(const char* variable, const Choose& choose) {
    const char* const forced = std::getenv(variable);
    try {
        const std::string_view name = choose();
        if (forced == nullptr || *forced == '\0') return std::string(name);
        return concat({name, " (forced by ", variable, ")"});
    } catch (const ConfigError& error) {
        return error.what();
    }
}

}  // namespace detail

/// Tells of the translation unit that calls it. Throws nothing but std::bad_alloc: an environment variable that names
/// what this CPU lacks is told of. Asks Linux for the use of AMX where the CPU has that, as loading in bf16 does.
///
/// Static, since units with different flags must not share it.
[[maybe_unused]] EFFICIENTVIT_COLD static BuildInfo build_info() {
    using detail::concat, detail::dotted, detail::add_word;
    BuildInfo info;
    info.version = EFFICIENTVIT_VERSION;

#if defined(__clang__)
    info.compiler = concat({"clang++ ", __clang_version__});
#elif defined(__GNUC__)
    info.compiler = concat({"g++ ", __VERSION__});
#elif defined(_MSC_FULL_VER)
    info.compiler = concat({"MSVC ", std::to_string(_MSC_FULL_VER)});
#else
    info.compiler = "unknown";
#endif

#if defined(_GLIBCXX_RELEASE)
    info.libraries = concat({"libstdc++ ", std::to_string(_GLIBCXX_RELEASE), " of ", std::to_string(__GLIBCXX__)});
#elif defined(_LIBCPP_VERSION)
    info.libraries = concat({"libc++ ", std::to_string(_LIBCPP_VERSION)});
#elif defined(_MSVC_STL_UPDATE)
    info.libraries = concat({"Microsoft's ", std::to_string(_MSVC_STL_UPDATE)});
#else
    info.libraries = "unknown standard library";
#endif
#if defined(EIGEN_PATCH_VERSION)  // since 5.0
    info.libraries += concat({", Eigen ", dotted(EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION, EIGEN_PATCH_VERSION)});
#else
    info.libraries += concat({", Eigen ", dotted(EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION)});
#endif

#if defined(_MSVC_LANG)
    info.language = concat({"C++ ", std::to_string(_MSVC_LANG)});
#else
    info.language = concat({"C++ ", std::to_string(__cplusplus)});
#endif

    std::string& flags = info.flags;
#if defined(NDEBUG)
    add_word(flags, "NDEBUG");
#endif
#if defined(__OPTIMIZE_SIZE__)
    add_word(flags, "__OPTIMIZE_SIZE__");
#elif defined(__OPTIMIZE__)
    add_word(flags, "__OPTIMIZE__");
#endif
#if defined(__AVX512F__)
    add_word(flags, "__AVX512F__");
#elif defined(__AVX2__)
    add_word(flags, "__AVX2__");
#elif defined(__AVX__)
    add_word(flags, "__AVX__");
#elif defined(__SSE4_2__)
    add_word(flags, "__SSE4_2__");
#endif
#if defined(__FMA__)
    add_word(flags, "__FMA__");  // a compiler may then contract what is not in a kernel
#endif
#if defined(__wasm_relaxed_simd__)
    add_word(flags, "__wasm_relaxed_simd__");
#endif
#if !defined(__cpp_exceptions)
    add_word(flags, "no-exceptions");
#endif
#if !defined(__cpp_rtti)
    add_word(flags, "no-rtti");
#endif
#if defined(__PIE__)
    add_word(flags, "__PIE__");
#elif defined(__PIC__)
    add_word(flags, "__PIC__");
#endif
#if defined(_GLIBCXX_ASSERTIONS)
    add_word(flags, "_GLIBCXX_ASSERTIONS");
#endif
#if defined(_GLIBCXX_USE_CXX11_ABI) && !_GLIBCXX_USE_CXX11_ABI
    add_word(flags, "_GLIBCXX_USE_CXX11_ABI=0");
#endif
#if defined(__has_feature)
#define EFFICIENTVIT_HAS_FEATURE(name) __has_feature(name)
#else
#define EFFICIENTVIT_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || EFFICIENTVIT_HAS_FEATURE(address_sanitizer)
    add_word(flags, "sanitize=address");
#endif
#if defined(__SANITIZE_THREAD__) || EFFICIENTVIT_HAS_FEATURE(thread_sanitizer)
    add_word(flags, "sanitize=thread");
#endif
#undef EFFICIENTVIT_HAS_FEATURE
    if (flags.empty()) flags = "none that show";

#if defined(__linux__)
    info.system = "Linux ";
#elif defined(_WIN32)
    info.system = "Windows ";
#elif defined(__APPLE__)
    info.system = "macOS ";
#elif defined(__wasi__)
    info.system = "WASI ";
#else
    info.system = "another system, ";
#endif
#if defined(EFFICIENTVIT_X86)
    info.system += "x86-64";
#elif defined(EFFICIENTVIT_ARM64)
    info.system += "AArch64";
#elif defined(__wasm__)
    info.system += concat({"WebAssembly of ", std::to_string(8 * sizeof(void*)), " bits"});
#else
    info.system += concat({"another architecture of ", std::to_string(8 * sizeof(void*)), " bits"});
#endif

    const std::string name = detail::cpu_name();
    info.cpu = concat({name, name.empty() ? "" : ", ", isa_name(best_isa()), " at best"});
    info.isa = detail::choice("EFFICIENTVIT_ISA", [] { return isa_name(default_isa()); });
    info.bf16 = detail::choice("EFFICIENTVIT_BF16", [] { return bf16_unit_name(bf16_unit(default_isa())); });
#if defined(EFFICIENTVIT_COMPILED)
    info.kernels = "compiled once for the program";
#else
    info.kernels = "compiled by each translation unit";
#endif
    return info;
}

/// As lines "name: text", to paste into a report.
EFFICIENTVIT_COLD inline std::ostream& operator<<(std::ostream& out, const BuildInfo& info) {
    return out << "efficientvit: " << info.version << "\ncompiler: " << info.compiler
               << "\nlibraries: " << info.libraries << "\nlanguage: " << info.language << "\nflags: " << info.flags
               << "\nsystem: " << info.system << "\nCPU: " << info.cpu << "\nISA: " << info.isa
               << "\nbf16: " << info.bf16 << "\nkernels: " << info.kernels << "\n";
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

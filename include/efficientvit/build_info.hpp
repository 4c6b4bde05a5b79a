// SPDX-License-Identifier: Apache-2.0
//
// What a report of a problem should say about the program: which library, which compiler and flags, which kernels on
// which CPU. Text for people, not for programs to decide by; not part of efficientvit.hpp.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/cpu.hpp>
#include <efficientvit/kernels/f16.hpp>
#include <efficientvit/kernels/int8.hpp>
#include <efficientvit/runtime/cpu_name.hpp>

#include <Eigen/Core>

#include <cstdlib>
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
    std::string flags;      ///< what optimisation, sanitizers and the like left in the compiler's macros
    std::string baseline;   ///< what -m, -march and -mcpu allow: as in the namespace's name, and by the macros
    std::string system;     ///< operating system and architecture: "Linux x86-64"
    std::string cpu;        ///< its name where it tells one, and the best instruction set that kernels could use here
    std::string isa;        ///< what weights are packed for where LoadOptions name nothing, and whether that is forced
    std::string bf16;       ///< what Precision::bf16 multiplies with there, and whether that is forced
    std::string int8;       ///< the same of Precision::int8
    std::string f16;        ///< what Precision::f16 multiplies with, or why it is refused
    std::string kernels;    ///< whether each translation unit compiles them, or one for all
};

namespace detail {

EFFICIENTVIT_COLD inline void add_word(std::string& list, std::string_view word) {
    list += concat({list.empty() ? "" : " ", word});
}

EFFICIENTVIT_COLD inline std::string dotted(int a, int b, int c) {
    return concat({std::to_string(a), ".", std::to_string(b), ".", std::to_string(c)});
}

/// What choose() gives, or why it refuses; and the environment variable if there is one and it is set.
template <class Choose>
EFFICIENTVIT_COLD std::string choice(const char* variable, const Choose& choose) {
    const char* const forced = variable == nullptr ? nullptr : std::getenv(variable);
    try {
        const std::string_view name = choose();
        if (forced == nullptr || *forced == '\0') return std::string(name);
        return concat({name, " (forced by ", variable, ")"});
    } catch (const ConfigError& error) {
        return error.what();
    }
}

}  // namespace detail

namespace detail {

// Static, all of them: units with different flags must not share what tells of flags.

[[maybe_unused]] EFFICIENTVIT_COLD static std::string compiler_text() {
#if defined(__clang__)
    return concat({"clang++ ", __clang_version__});
#elif defined(__GNUC__)
    return concat({"g++ ", __VERSION__});
#elif defined(_MSC_FULL_VER)
    return concat({"MSVC ", std::to_string(_MSC_FULL_VER)});
#else
    return "unknown";
#endif
}

[[maybe_unused]] EFFICIENTVIT_COLD static std::string libraries_text() {
#if defined(_GLIBCXX_RELEASE)
    const std::string library =
        concat({"libstdc++ ", std::to_string(_GLIBCXX_RELEASE), " of ", std::to_string(__GLIBCXX__)});
#elif defined(_LIBCPP_VERSION)
    const std::string library = concat({"libc++ ", std::to_string(_LIBCPP_VERSION)});
#elif defined(_MSVC_STL_UPDATE)
    const std::string library = concat({"Microsoft's ", std::to_string(_MSVC_STL_UPDATE)});
#else
    const std::string library = "unknown standard library";
#endif
#if defined(EIGEN_PATCH_VERSION)  // since 5.0
    return concat({library, ", Eigen ", dotted(EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION, EIGEN_PATCH_VERSION)});
#else
    return concat({library, ", Eigen ", dotted(EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION)});
#endif
}

#if defined(__has_feature)
#define EFFICIENTVIT_HAS_FEATURE(name) __has_feature(name)
#else
#define EFFICIENTVIT_HAS_FEATURE(name) 0
#endif
[[maybe_unused]] EFFICIENTVIT_COLD static std::string flags_text() {
    std::string flags;
#if defined(NDEBUG)
    add_word(flags, "NDEBUG");
#endif
#if defined(__OPTIMIZE_SIZE__)
    add_word(flags, "__OPTIMIZE_SIZE__");
#elif defined(__OPTIMIZE__)
    add_word(flags, "__OPTIMIZE__");
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
#if defined(__SANITIZE_ADDRESS__) || EFFICIENTVIT_HAS_FEATURE(address_sanitizer)
    add_word(flags, "sanitize=address");
#endif
#if defined(__SANITIZE_THREAD__) || EFFICIENTVIT_HAS_FEATURE(thread_sanitizer)
    add_word(flags, "sanitize=thread");
#endif
    return flags.empty() ? "none that show" : flags;
}
#undef EFFICIENTVIT_HAS_FEATURE

/// The baseline's letters, and its macros that are defined.
#define EFFICIENTVIT_TEXT_(...) #__VA_ARGS__
#define EFFICIENTVIT_TEXT(...) EFFICIENTVIT_TEXT_(__VA_ARGS__)
// clang-format off
#define EFFICIENTVIT_NAMED_BITS(row, a, b, c, d) \
    {#a, EFFICIENTVIT_BIT(a) == 1}, {#b, EFFICIENTVIT_BIT(b) == 1}, \
    {#c, EFFICIENTVIT_BIT(c) == 1}, {#d, EFFICIENTVIT_BIT(d) == 1}
// clang-format on
[[maybe_unused]] EFFICIENTVIT_COLD static std::string baseline_text() {
    struct Feature {
        const char* macro;
        bool defined;
    };
    constexpr Feature features[] = {EFFICIENTVIT_FEATURES(EFFICIENTVIT_NAMED_BITS)};
    std::string text = EFFICIENTVIT_TEXT(EFFICIENTVIT_BASELINE);
    for (const Feature& feature : features) {
        if (feature.defined) add_word(text, feature.macro);
    }
    return text.empty() ? "the architecture's own" : text;
}
#undef EFFICIENTVIT_TEXT_
#undef EFFICIENTVIT_TEXT
#undef EFFICIENTVIT_NAMED_BITS

[[maybe_unused]] EFFICIENTVIT_COLD static std::string system_text() {
#if defined(__linux__)
    const std::string_view system = "Linux ";
#elif defined(_WIN32)
    const std::string_view system = "Windows ";
#elif defined(__APPLE__)
    const std::string_view system = "macOS ";
#elif defined(__wasi__)
    const std::string_view system = "WASI ";
#else
    const std::string_view system = "another system, ";
#endif
#if defined(EFFICIENTVIT_X86)
    return concat({system, "x86-64"});
#elif defined(EFFICIENTVIT_ARM64)
    return concat({system, "AArch64"});
#elif defined(__wasm__)
    return concat({system, "WebAssembly of ", std::to_string(8 * sizeof(void*)), " bits"});
#else
    return concat({system, "another architecture of ", std::to_string(8 * sizeof(void*)), " bits"});
#endif
}

}  // namespace detail

/// Tells of the translation unit that calls it. Throws nothing but std::bad_alloc: an environment variable that names
/// what this CPU lacks is told of. Asks Linux for the use of AMX where the CPU has that, as loading in bf16 does.
///
/// Static, since units with different flags must not share it.
[[maybe_unused]] EFFICIENTVIT_COLD static BuildInfo build_info() {
    BuildInfo info;
    info.version = EFFICIENTVIT_VERSION;
    info.compiler = detail::compiler_text();
    info.libraries = detail::libraries_text();
#if defined(_MSVC_LANG)
    info.language = detail::concat({"C++ ", std::to_string(_MSVC_LANG)});
#else
    info.language = detail::concat({"C++ ", std::to_string(__cplusplus)});
#endif
    info.flags = detail::flags_text();
    info.baseline = detail::baseline_text();
    info.system = detail::system_text();
    const std::string name = detail::cpu_name();
    info.cpu = detail::concat({name, name.empty() ? "" : ", ", isa_name(best_isa()), " at best"});
    info.isa = detail::choice("EFFICIENTVIT_ISA", [] { return isa_name(default_isa()); });
    info.bf16 = detail::choice("EFFICIENTVIT_BF16", [] { return bf16_unit_name(bf16_unit(default_isa())); });
    info.int8 = detail::choice("EFFICIENTVIT_INT8", [] { return int8_unit_name(int8_unit(default_isa())); });
    info.f16 = detail::choice(nullptr, [] { return f16_unit_name(f16_unit(default_isa())); });
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
               << "\nbaseline: " << info.baseline << "\nsystem: " << info.system << "\nCPU: " << info.cpu
               << "\nISA: " << info.isa << "\nbf16: " << info.bf16 << "\nint8: " << info.int8 << "\nf16: " << info.f16
               << "\nkernels: " << info.kernels << "\n";
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

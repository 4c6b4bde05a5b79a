// SPDX-License-Identifier: Apache-2.0
//
// The second door to the kernels: tables whose products are of bfloat16 numbers, for AMX, AVX512_BF16 and Arm's BF16,
// and those that widen bf16 weights on any CPU. The bodies are those of kernels.hpp with other operands; all that
// multiply are templates, which only Precision::bf16, bf16_weights and int8 instantiate.
#pragma once

#include <efficientvit/kernels/arm_features.hpp>
#include <efficientvit/kernels/kernels.hpp>
#include <efficientvit/kernels/precision.hpp>

#if defined(EFFICIENTVIT_X86) && defined(__linux__)
#define EFFICIENTVIT_AMX 1  // elsewhere amx_permitted() gets none, and GCC for Windows gives its loads a 32-bit stride
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <efficientvit/kernels/target.hpp>

#include <efficientvit/foreign_macros.hpp>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"  // as in kernels.hpp
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#endif

#if !EFFICIENTVIT_KERNELS_HERE
#elif defined(EFFICIENTVIT_X86)

EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX512_BF16
namespace kernels {
namespace avx512_bf16 {
using avx512::depthwise;
#include <efficientvit/kernels/isa/avx512_unit.hpp>

#include <efficientvit/kernels/isa/avx512_bf16.hpp>
namespace narrow = avx512_bf16;

#include <efficientvit/kernels/products.inl>

#include <efficientvit/kernels/winograd.inl>
}  // namespace avx512_bf16
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE

#if defined(EFFICIENTVIT_AMX)
EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AMX
namespace kernels {
namespace amx {
using avx512::depthwise;
using avx512_bf16::round_inputs;
#include <efficientvit/kernels/isa/avx512_unit.hpp>

#include <efficientvit/kernels/isa/avx512_bf16.hpp>

#include <efficientvit/kernels/amx.inl>

#include <efficientvit/kernels/inverted_bottleneck.inl>
}  // namespace amx
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE
#endif

#elif defined(EFFICIENTVIT_NEON_UNITS)

EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_NEON_BF16
namespace kernels {
namespace neon_bf16 {
using neon::depthwise;
#include <efficientvit/kernels/isa/neon_unit.hpp>

#include <efficientvit/kernels/isa/neon_bf16.hpp>
namespace narrow = neon_bf16;

#include <efficientvit/kernels/products.inl>
}  // namespace neon_bf16
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE

#endif

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <efficientvit/kernels/target_end.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// What multiplies bf16 numbers.
enum class Bf16Unit {
    none,         ///< neither of these
    avx512_bf16,  ///< vdpbf16ps
    amx,          ///< tiles, tdpbf16ps
    neon_bf16     ///< Arm's BF16 extension
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// "none", "avx512_bf16", "amx" or "neon_bf16".
constexpr std::string_view bf16_unit_name(Bf16Unit unit) {
    switch (unit) {
        case Bf16Unit::avx512_bf16:
            return "avx512_bf16";
        case Bf16Unit::amx:
            return "amx";
        case Bf16Unit::neon_bf16:
            return "neon_bf16";
        case Bf16Unit::none:
            break;
    }
    return "none";
}

namespace detail {

#if defined(EFFICIENTVIT_X86)
/// Linux hands out the matrix unit's registers on demand only, for the whole process and for good.
EFFICIENTVIT_LOCAL inline bool amx_permitted() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr int request_permission = 0x1023, tile_data = 18;
    static const bool permitted = ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    return permitted;
#else
    return false;
#endif
}

inline bool has_bf16_unit(Bf16Unit unit) {
    constexpr auto has = [](unsigned value, int bit) { return ((value >> bit) & 1U) != 0; };
    if (unit == Bf16Unit::none) return true;
    if (unit == Bf16Unit::neon_bf16 || best_isa() != Isa::avx512 || !has(cpuid(7, 1).eax, 5)) return false;
    if (unit == Bf16Unit::avx512_bf16) return true;
    const unsigned features = cpuid(7, 0).edx;
    return has(features, 22) && has(features, 24) && (xgetbv() & 0x60000) == 0x60000 && amx_permitted();
}
#elif defined(EFFICIENTVIT_NEON_UNITS)
inline bool has_bf16_unit(Bf16Unit unit) {
    return unit == Bf16Unit::none || (unit == Bf16Unit::neon_bf16 && has_arm_feature(ArmFeature::bf16));
}
#else
inline bool has_bf16_unit(Bf16Unit unit) { return unit == Bf16Unit::none; }
#endif

}  // namespace detail

/// Whether this CPU and operating system have it.
inline bool bf16_unit_supported(Bf16Unit unit) { return detail::has_bf16_unit(unit); }

namespace detail {
inline bool bf16_unit_fits(Bf16Unit unit, Isa isa) {
    return isa == (unit == Bf16Unit::neon_bf16 ? Isa::neon : Isa::avx512) && has_bf16_unit(unit);
}

/// Whether vectors of `isa` multiply bf16 numbers faster than floats. AVX512_BF16 has twice the rate of floats on AMD's
/// cores, no more than that on Intel's, and half of it on those with AMX.
inline bool gains_by_bf16_vectors([[maybe_unused]] Isa isa) {
#if defined(EFFICIENTVIT_X86)
    constexpr unsigned auth = 0x68747541;  // of "AuthenticAMD"
    return bf16_unit_fits(Bf16Unit::avx512_bf16, isa) && cpuid(0, 0).ebx == auth;
#else
    return bf16_unit_fits(Bf16Unit::neon_bf16, isa);
#endif
}
}  // namespace detail

/// What Precision::bf16 uses with kernels of `isa`: the environment variable EFFICIENTVIT_BF16 (a name of above) if it
/// is set, else the fastest that is there. Throws ConfigError where the variable is not a name, or names what is not
/// there or of another instruction set.
inline Bf16Unit bf16_unit(Isa isa) {
    if (isa != Isa::avx512 && isa != Isa::neon) return Bf16Unit::none;
    return detail::choose_unit<Bf16Unit>("EFFICIENTVIT_BF16", isa,
                                         {Bf16Unit::amx, Bf16Unit::avx512_bf16, Bf16Unit::neon_bf16, Bf16Unit::none},
                                         bf16_unit_name, detail::bf16_unit_fits);
}

namespace kernels {

#if EFFICIENTVIT_KERNELS_HERE
EFFICIENTVIT_BEGIN_TABLES

#define EFFICIENTVIT_PRODUCTS(operands, rest, unit, round, words)                                   \
    Table {                                                                                         \
        Isa::rest, operands, unit::pointwise<operands>, rest::depthwise, rest::stem, rest::affine,  \
            unit::inverted_bottleneck<operands>, rest::linear_attention, rest::quadratic_attention, \
            unit::dense<operands>, round, &table(Isa::rest), words                                  \
    }

/// The kernels of `isa` for bf16 weights and float inputs.
template <class>
EFFICIENTVIT_LOCAL const Table& bf16_weights_table(Isa isa) {
    constexpr Operands operands = Operands::bf16_weights;
    table(isa);  // which throws where this CPU lacks it
    switch (isa) {
#if defined(EFFICIENTVIT_X86)
        case Isa::avx512: {
            static const Table avx512_table = EFFICIENTVIT_PRODUCTS(operands, avx512, avx512, nullptr, "bf16_weights");
            return avx512_table;
        }
        case Isa::avx2: {
            static const Table avx2_table = EFFICIENTVIT_PRODUCTS(operands, avx2, avx2, nullptr, "bf16_weights");
            return avx2_table;
        }
#elif defined(EFFICIENTVIT_ARM64)
        case Isa::neon: {
            static const Table neon_table = EFFICIENTVIT_PRODUCTS(operands, neon, neon, nullptr, "bf16_weights");
            return neon_table;
        }
#elif defined(EFFICIENTVIT_WASM)
        case Isa::wasm: {
            static const Table wasm_table = EFFICIENTVIT_PRODUCTS(operands, wasm, wasm, nullptr, "bf16_weights");
            return wasm_table;
        }
#endif
        default:
            break;
    }
    static const Table scalar_table = EFFICIENTVIT_PRODUCTS(operands, scalar, scalar, nullptr, "bf16_weights");
    return scalar_table;
}

#if defined(EFFICIENTVIT_X86) || defined(EFFICIENTVIT_NEON_UNITS)
/// The kernels whose products are an instruction for vectors, AVX512_BF16's or that of Arm's BF16.
template <class>
EFFICIENTVIT_LOCAL const Table& bf16_vectors_table() {
    constexpr Operands operands = Operands::bf16;
#if defined(EFFICIENTVIT_X86)
    static const Table bf16_table =
        EFFICIENTVIT_PRODUCTS(operands, avx512, avx512_bf16, avx512_bf16::round_inputs<operands>, "bf16 (AVX512_BF16)");
#else
    static const Table bf16_table =
        EFFICIENTVIT_PRODUCTS(operands, neon, neon_bf16, neon_bf16::round_inputs<operands>, "bf16 (Arm BF16)");
#endif
    return bf16_table;
}
#endif

/// The kernels of `isa` whose products are made by `unit`, which the CPU must have.
template <class T>
EFFICIENTVIT_LOCAL const Table& bf16_unit_table(Isa isa, Bf16Unit unit) {
#if defined(EFFICIENTVIT_AMX)
    if (unit == Bf16Unit::amx) {
        constexpr Operands operands = Operands::bf16;
        static const Table amx_table =
            EFFICIENTVIT_PRODUCTS(operands, avx512, amx, avx512_bf16::round_inputs<operands>, "bf16 (AMX)");
        return amx_table;
    }
#endif
#if defined(EFFICIENTVIT_X86) || defined(EFFICIENTVIT_NEON_UNITS)
    if (unit != Bf16Unit::none) return bf16_vectors_table<T>();
#endif
    (void)unit;
    return bf16_weights_table<T>(isa);
}
#undef EFFICIENTVIT_PRODUCTS

EFFICIENTVIT_END_TABLES
#endif

template <class T>
const Table& bf16_table(Isa isa) {
    return bf16_unit_table<T>(isa, bf16_unit(isa));
}

}  // namespace kernels

template <class T>
inline const PrecisionOf<T> PrecisionOf<T>::f32{};
template <class T>
inline const PrecisionOf<T> PrecisionOf<T>::bf16_weights{"bf16_weights", kernels::bf16_weights_table<T>};
template <class T>
inline const PrecisionOf<T> PrecisionOf<T>::bf16{"bf16", kernels::bf16_table<T>};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

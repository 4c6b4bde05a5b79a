// SPDX-License-Identifier: Apache-2.0
//
// The third door to the kernels: tables whose products are of 8-bit integers. The bodies are those of kernels.hpp with
// other operands; all that multiply are templates, which only Precision::int8 instantiates.
#pragma once

#include <efficientvit/kernels/arm_features.hpp>
#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/kernels.hpp>
#include <efficientvit/kernels/precision.hpp>

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

#if EFFICIENTVIT_KERNELS_HERE

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
namespace scalar {
#include <efficientvit/kernels/isa/scalar_int8.hpp>
}  // namespace scalar
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#if defined(EFFICIENTVIT_X86)

EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX2
namespace kernels {
namespace avx2 {
#include <efficientvit/kernels/isa/avx2_quantize.hpp>

#include <efficientvit/kernels/isa/avx2_int8.hpp>
}  // namespace avx2
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX_VNNI
namespace kernels {
namespace avx_vnni {
using avx2::depthwise;
#include <efficientvit/kernels/isa/avx2_unit.hpp>

#include <efficientvit/kernels/isa/avx2_quantize.hpp>
#include <efficientvit/kernels/isa/avx_vnni.hpp>
namespace narrow = avx_vnni;

#include <efficientvit/kernels/products.inl>
}  // namespace avx_vnni
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX512_VNNI
namespace kernels {
namespace avx512_vnni {
using avx512::depthwise;
#include <efficientvit/kernels/isa/avx512_unit.hpp>

#include <efficientvit/kernels/isa/avx2_quantize.hpp>

#include <efficientvit/kernels/isa/avx512_vnni.hpp>
namespace narrow = avx512_vnni;

#include <efficientvit/kernels/products.inl>
}  // namespace avx512_vnni
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE

#elif defined(EFFICIENTVIT_ARM64)

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
namespace neon {
#include <efficientvit/kernels/isa/neon_quantize.hpp>

#include <efficientvit/kernels/isa/neon_int8.hpp>
}  // namespace neon
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#if defined(EFFICIENTVIT_NEON_UNITS)
EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_NEON_DOTPROD
namespace kernels {
namespace neon_dotprod {
using neon::depthwise;
#include <efficientvit/kernels/isa/neon_unit.hpp>

#include <efficientvit/kernels/isa/neon_quantize.hpp>

#include <efficientvit/kernels/isa/neon_dotprod.hpp>
namespace narrow = neon_dotprod;

#include <efficientvit/kernels/products.inl>
}  // namespace neon_dotprod
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_NEON_I8MM
namespace kernels {
namespace neon_i8mm {
using neon::depthwise;
#include <efficientvit/kernels/isa/neon_unit.hpp>

#include <efficientvit/kernels/isa/neon_quantize.hpp>

#include <efficientvit/kernels/isa/neon_i8mm.hpp>
namespace narrow = neon_i8mm;

#include <efficientvit/kernels/products.inl>
}  // namespace neon_i8mm
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE
#endif

#elif defined(EFFICIENTVIT_WASM)

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
namespace wasm {
#include <efficientvit/kernels/isa/wasm_int8.hpp>
}  // namespace wasm
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#endif
#endif

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <efficientvit/kernels/target_end.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// What multiplies 8-bit integers.
enum class Int8Unit {
    none,          ///< none of these: products of wider integers
    avx_vnni,      ///< vpdpbusd of 256 bits
    avx512_vnni,   ///< vpdpbusd of 512 bits
    neon_dotprod,  ///< Arm's DotProd extension
    neon_i8mm      ///< Arm's I8MM extension
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// "none", "avx_vnni", "avx512_vnni", "neon_dotprod" or "neon_i8mm".
constexpr std::string_view int8_unit_name(Int8Unit unit) {
    switch (unit) {
        case Int8Unit::avx_vnni:
            return "avx_vnni";
        case Int8Unit::avx512_vnni:
            return "avx512_vnni";
        case Int8Unit::neon_dotprod:
            return "neon_dotprod";
        case Int8Unit::neon_i8mm:
            return "neon_i8mm";
        case Int8Unit::none:
            break;
    }
    return "none";
}

/// The instruction set that a unit's kernels belong to.
constexpr Isa int8_unit_isa(Int8Unit unit) {
    switch (unit) {
        case Int8Unit::avx_vnni:
            return Isa::avx2;
        case Int8Unit::avx512_vnni:
            return Isa::avx512;
        case Int8Unit::neon_dotprod:
        case Int8Unit::neon_i8mm:
            return Isa::neon;
        case Int8Unit::none:
            break;
    }
    return Isa::scalar;
}

/// Whether this CPU and operating system have it.
inline bool int8_unit_supported(Int8Unit unit) {
    if (!isa_supported(int8_unit_isa(unit))) return false;
#if defined(EFFICIENTVIT_X86)
    constexpr auto has = [](unsigned value, int bit) { return (value >> bit & 1U) != 0; };
    if (unit == Int8Unit::avx_vnni) return has(detail::cpuid(7, 1).eax, 4);
    if (unit == Int8Unit::avx512_vnni) return has(detail::cpuid(7, 0).ecx, 11);
#elif defined(EFFICIENTVIT_NEON_UNITS)
    if (unit == Int8Unit::neon_dotprod) return detail::has_arm_feature(detail::ArmFeature::dotprod);
    if (unit == Int8Unit::neon_i8mm) return detail::has_arm_feature(detail::ArmFeature::i8mm);
#endif
    return unit == Int8Unit::none;
}

namespace detail {
inline bool int8_unit_fits(Int8Unit unit, Isa isa) { return int8_unit_isa(unit) == isa && int8_unit_supported(unit); }
}  // namespace detail

/// What Precision::int8 uses with kernels of `isa`: the environment variable EFFICIENTVIT_INT8 (a name of above) if it
/// is set, else the fastest that is there. Throws ConfigError where the variable is not a name, or names what is not
/// there or of another instruction set.
inline Int8Unit int8_unit(Isa isa) {
    if (isa == Isa::scalar) return Int8Unit::none;
    return detail::choose_unit<Int8Unit>(
        "EFFICIENTVIT_INT8", isa,
        {Int8Unit::avx512_vnni, Int8Unit::avx_vnni, Int8Unit::neon_i8mm, Int8Unit::neon_dotprod, Int8Unit::none},
        int8_unit_name, detail::int8_unit_fits);
}

namespace kernels {

#if EFFICIENTVIT_KERNELS_HERE
EFFICIENTVIT_BEGIN_TABLES

/// What computes layers of too few channels for bytes: products of bf16 where vectors gain by them, else of floats.
template <class T>
EFFICIENTVIT_LOCAL const Table& few_channels_table(Isa isa) {
#if defined(EFFICIENTVIT_X86) || defined(EFFICIENTVIT_NEON_UNITS)
    if (detail::gains_by_bf16_vectors(isa)) return bf16_vectors_table<T>();
#endif
    return table(isa);
}

#define EFFICIENTVIT_PRODUCTS(rest, unit, operands, words, ...)                                         \
    Table {                                                                                             \
        Isa::rest, operands, unit::pointwise<operands>, rest::depthwise, rest::stem, rest::affine,      \
            unit::inverted_bottleneck<operands>, rest::linear_attention, rest::quadratic_attention,     \
            unit::dense<operands>, unit::round_inputs<operands>, &table(Isa::rest), "int8 (" words ")", \
            &few_channels_table<T>(Isa::rest), __VA_ARGS__                                              \
    }
// Units of bytes multiply four times as many of them as floats, which is as much as Winograd's algorithm saves; where
// there is none, floats and less of them take less time. bf16 saves half of that again, and is less exact than bytes
// where these have few channels to a scale.
#define EFFICIENTVIT_FLOAT_WINOGRAD(isa) isa::winograd<Operands::int8, Operands::f32>
#if defined(EFFICIENTVIT_X86)
constexpr int bf16_winograd_channels = 64;
template <class T>
EFFICIENTVIT_LOCAL void (*avx512_winograd())(const Winograd&) {
    return detail::gains_by_bf16_vectors(Isa::avx512) ? avx512_bf16::winograd<Operands::int8, Operands::bf16> : nullptr;
}
#endif

/// The kernels of `isa` whose products are made by `unit`, which the CPU must have. Throws ConfigError where the CPU
/// lacks the instruction set.
template <class T>
EFFICIENTVIT_LOCAL const Table& int8_unit_table(Isa isa, Int8Unit unit) {
    table(isa);  // which throws where this CPU lacks it
    (void)unit;
    switch (isa) {
#if defined(EFFICIENTVIT_X86)
        case Isa::avx512: {
            static const Table vnni_table = EFFICIENTVIT_PRODUCTS(avx512, avx512_vnni, Operands::int8, "AVX512_VNNI",
                                                                  avx512_winograd<T>(), bf16_winograd_channels);
            static const Table avx512_table =
                EFFICIENTVIT_PRODUCTS(avx512, avx2, Operands::int8_wide, "AVX2", EFFICIENTVIT_FLOAT_WINOGRAD(avx512));
            return unit == Int8Unit::avx512_vnni ? vnni_table : avx512_table;
        }
        case Isa::avx2: {
            static const Table vnni_table = EFFICIENTVIT_PRODUCTS(avx2, avx_vnni, Operands::int8, "AVX-VNNI", nullptr);
            static const Table avx2_table =
                EFFICIENTVIT_PRODUCTS(avx2, avx2, Operands::int8_wide, "AVX2", EFFICIENTVIT_FLOAT_WINOGRAD(avx2));
            return unit == Int8Unit::avx_vnni ? vnni_table : avx2_table;
        }
#elif defined(EFFICIENTVIT_ARM64)
        case Isa::neon: {
#if defined(EFFICIENTVIT_NEON_UNITS)
            static const Table i8mm_table = EFFICIENTVIT_PRODUCTS(neon, neon_i8mm, Operands::int8, "Arm I8MM", nullptr);
            static const Table dotprod_table =
                EFFICIENTVIT_PRODUCTS(neon, neon_dotprod, Operands::int8, "Arm DotProd", nullptr);
            if (unit == Int8Unit::neon_i8mm) return i8mm_table;
            if (unit == Int8Unit::neon_dotprod) return dotprod_table;
#endif
            static const Table neon_table =
                EFFICIENTVIT_PRODUCTS(neon, neon, Operands::int8, "NEON", EFFICIENTVIT_FLOAT_WINOGRAD(neon));
            return neon_table;
        }
#elif defined(EFFICIENTVIT_WASM)
        case Isa::wasm: {
            static const Table wasm_table =
                EFFICIENTVIT_PRODUCTS(wasm, wasm, Operands::int8_wide, "SIMD128", EFFICIENTVIT_FLOAT_WINOGRAD(wasm));
            return wasm_table;
        }
#endif
        default:
            break;
    }
    static const Table scalar_table =
        EFFICIENTVIT_PRODUCTS(scalar, scalar, Operands::int8, "scalar", EFFICIENTVIT_FLOAT_WINOGRAD(scalar));
    return scalar_table;
}
#undef EFFICIENTVIT_PRODUCTS
#undef EFFICIENTVIT_FLOAT_WINOGRAD

EFFICIENTVIT_END_TABLES
#endif

template <class T>
const Table& int8_table(Isa isa) {
    return int8_unit_table<T>(isa, int8_unit(isa));
}

}  // namespace kernels

template <class T>
inline const PrecisionOf<T> PrecisionOf<T>::int8{"int8", kernels::int8_table<T>};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

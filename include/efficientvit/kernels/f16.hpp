// SPDX-License-Identifier: Apache-2.0
//
// The fourth door to the kernels: tables whose products are of IEEE halves, for Arm's FP16 and in plain C++. The bodies
// are those of kernels.hpp with other operands; all are templates, which only Precision::f16 instantiates.
#pragma once

#include <efficientvit/kernels/arm_features.hpp>
#include <efficientvit/kernels/int8.hpp>
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
#include <efficientvit/kernels/isa/scalar_f16.hpp>
}  // namespace scalar
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#if defined(EFFICIENTVIT_NEON_UNITS)
EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_NEON_FP16
namespace kernels {
namespace neon_fp16 {
using neon::depthwise;
#include <efficientvit/kernels/isa/neon_unit.hpp>

#include <efficientvit/kernels/isa/neon_quantize.hpp>

#include <efficientvit/kernels/isa/neon_fp16.hpp>
namespace narrow = neon_fp16;

#include <efficientvit/kernels/products.inl>
}  // namespace neon_fp16
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE
#endif

#endif

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <efficientvit/kernels/target_end.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// What multiplies halves.
enum class F16Unit {
    none,      ///< plain C++
    neon_fp16  ///< Arm's FP16 extension
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// "none" or "neon_fp16".
constexpr std::string_view f16_unit_name(F16Unit unit) { return unit == F16Unit::neon_fp16 ? "neon_fp16" : "none"; }

/// Whether this CPU and operating system have it.
inline bool f16_unit_supported(F16Unit unit) {
#if defined(EFFICIENTVIT_NEON_UNITS)
    if (unit == F16Unit::neon_fp16) return detail::has_arm_feature(detail::ArmFeature::fp16);
#endif
    return unit == F16Unit::none;
}

/// What Precision::f16 uses with kernels of `isa`. Throws ConfigError where there is none: on CPUs other than Arm's,
/// and on those without FP16.
inline F16Unit f16_unit(Isa isa) {
    if (isa == Isa::scalar) return F16Unit::none;
    if (isa == Isa::neon && f16_unit_supported(F16Unit::neon_fp16)) return F16Unit::neon_fp16;
    throw ConfigError(detail::concat({"Precision::f16 is for Arm's FP16, which is not here with ", isa_name(isa),
                                      "; bf16_weights takes as little memory, and bf16 and int8 run on every CPU"}));
}

namespace kernels {

#if EFFICIENTVIT_KERNELS_HERE
EFFICIENTVIT_BEGIN_TABLES

#define EFFICIENTVIT_PRODUCTS(rest, unit, words)                                                                \
    Table {                                                                                                     \
        Isa::rest, Operands::f16, unit::pointwise<Operands::f16>, rest::depthwise, rest::stem, rest::affine,    \
            unit::inverted_bottleneck<Operands::f16>, rest::linear_attention, rest::quadratic_attention,        \
            unit::dense<Operands::f16>, unit::round_inputs<Operands::f16>, &table(Isa::rest), "f16 (" words ")" \
    }

/// The kernels of `isa` whose products are made by `unit`, which the CPU must have.
template <class>
EFFICIENTVIT_LOCAL const Table& f16_unit_table(Isa isa, F16Unit unit) {
    table(isa);  // which throws where this CPU lacks it
#if defined(EFFICIENTVIT_NEON_UNITS)
    if (unit == F16Unit::neon_fp16) {
        static const Table fp16_table = EFFICIENTVIT_PRODUCTS(neon, neon_fp16, "Arm FP16");
        return fp16_table;
    }
#endif
    (void)unit;
    static const Table scalar_table = EFFICIENTVIT_PRODUCTS(scalar, scalar, "scalar");
    return scalar_table;
}
#undef EFFICIENTVIT_PRODUCTS

EFFICIENTVIT_END_TABLES
#endif

template <class T>
const Table& f16_table(Isa isa) {
    return f16_unit_table<T>(isa, f16_unit(isa));
}

}  // namespace kernels

template <class T>
inline const PrecisionOf<T> PrecisionOf<T>::f16{"f16", kernels::f16_table<T>};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

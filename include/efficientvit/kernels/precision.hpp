// SPDX-License-Identifier: Apache-2.0
//
// Precision: the number format of a model's products, chosen where its weights are packed. What a format means for the
// kernels is bf16.hpp's, int8.hpp's and f16.hpp's.
#pragma once

#include <efficientvit/kernels/cpu.hpp>

#include <initializer_list>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
struct Table;
}

/// Precision::f32, the default: float throughout.
///
/// Precision::bf16: weights of 1x1 and dense convolutions are rounded to bfloat16, and so are the numbers that they are
/// multiplied by; sums, attention, depthwise convolutions and all else stay float. Where neither AMX nor AVX512_BF16
/// nor Arm's BF16 is there, it is bf16_weights.
///
/// Precision::bf16_weights: only weights are rounded, on every CPU: half their memory, float's range and nearly its
/// precision, a little slower than f32.
///
/// Precision::int8: weights of 1x1 and dense convolutions are 8-bit integers with a scale for each output channel.
/// Their inputs are quantized as they are needed, with a scale and an offset for each pixel and 128 channels, so no
/// calibration data is needed; sums of products are exact, for activations up to 1e30. All else is float, and so are a
/// network's first blocks, of fewer than 32 input channels or of 32 throughout, and LiteMLA's aggregations, if their
/// groups have 32 channels at most. On AMD's cores with AVX512_BF16 and on Arm's with BF16 these are bf16 where they
/// have more than 8 channels, and so are MBConvs that halve the map, of at least 128 input channels and widened
/// sixfold at most (nn/module.hpp, layer_kernels). 3x3 convolutions that may be Winograd's
/// (kernels/winograd_args.hpp) multiply 8-bit weights, made floats, and inputs as they are where no unit multiplies
/// bytes, the same in bf16 on AMD's cores with AVX512_BF16, from 64 input channels on. Runs on every CPU; is meant for
/// those with 8-bit dot products (AVX512_VNNI, AVX-VNNI, Arm's DotProd and I8MM). With AVX2 alone large networks gain a
/// sixth to a third over float.
///
/// Precision::f16: weights of 1x1 and dense convolutions are IEEE halves, and so are the numbers that they are
/// multiplied by, each pixel's 32 channels with a power of two of their own, so that none overflows. 32 products are
/// summed in halves, these sums in float. All else is float. For Arm with FP16 (Armv8.2), and in plain C++, slowly, for
/// comparison; ConfigError elsewhere, and WeightsError for a weight beyond 511.
///
/// A class template, so that programs which never say bf16, int8 or f16 are not compiled with their kernels. Write
/// `ev::Precision`.
template <class>
class PrecisionOf {
public:
    /// The kernels for an instruction set.
    using Kernels = const kernels::Table&(Isa);

    /// f32.
    constexpr PrecisionOf() = default;
    /// For the constants below.
    constexpr PrecisionOf(std::string_view name, Kernels* for_isa) : name_(name), kernels_(for_isa) {}

    static const PrecisionOf f32;           ///< float throughout
    static const PrecisionOf bf16_weights;  ///< weights rounded to bfloat16
    static const PrecisionOf bf16;          ///< and what they are multiplied by
    static const PrecisionOf int8;          ///< 8-bit integers
    static const PrecisionOf f16;           ///< IEEE halves

    /// "f32", "bf16_weights", "bf16", "int8" or "f16".
    constexpr std::string_view name() const { return name_; }

    /// Null for f32: kernels::table.
    constexpr Kernels* kernels() const { return kernels_; }

    /// Whether they are the same.
    friend constexpr bool operator==(const PrecisionOf& a, const PrecisionOf& b) { return a.name_ == b.name_; }

private:
    std::string_view name_ = "f32";
    Kernels* kernels_ = nullptr;
};
/// f32, bf16_weights, bf16, int8 or f16.
using Precision = PrecisionOf<void>;

namespace detail {

/// The unit that a precision multiplies with: of `units`, which ends with none, the one that the environment variable
/// names if it is set, else the first that fits kernels of `isa`. Throws ConfigError where the variable is not a name,
/// or names what does not fit.
template <class Unit>
EFFICIENTVIT_COLD Unit choose_unit(const char* variable, Isa isa, std::initializer_list<Unit> units,
                                   std::string_view (*name)(Unit), bool (*fits)(Unit, Isa)) {
    const char* const forced = std::getenv(variable);
    const bool named = forced != nullptr && *forced != '\0';
    for (const Unit unit : units) {
        // In this order: to ask for AMX is to have the process's threads save its registers from then on.
        if (named && name(unit) != forced) continue;
        if (unit == Unit::none || fits(unit, isa)) return unit;
        if (named) {
            throw ConfigError(
                concat({variable, " asks for ", forced, ", which this CPU does not have with ", isa_name(isa)}));
        }
    }
    std::string known;
    for (const Unit unit : units) known += concat({known.empty() ? "" : ", ", name(unit)});
    throw ConfigError(concat({variable, " is '", forced, "', known are ", known}));
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

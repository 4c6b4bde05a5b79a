// SPDX-License-Identifier: Apache-2.0
//
// Which extensions of Arm's instruction set this CPU has, as Linux, Android and Apple's systems tell it. For the units
// of products: bf16.hpp, int8.hpp and f16.hpp.
#pragma once

#include <efficientvit/kernels/cpu.hpp>

// Older compilers have these instructions only where the whole program may use them.
#if defined(EFFICIENTVIT_ARM64) && (defined(__linux__) || defined(__APPLE__)) && \
    (defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 10)
#define EFFICIENTVIT_NEON_UNITS 1
#if defined(__APPLE__)
#include <sys/sysctl.h>

#include <cstddef>
#else
#include <sys/auxv.h>
#endif
#endif

#include <efficientvit/foreign_macros.hpp>

#if defined(EFFICIENTVIT_NEON_UNITS)
EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Extensions, by Arm's names.
enum class ArmFeature {
    fp16,     ///< FEAT_FP16: arithmetic on halves
    dotprod,  ///< FEAT_DotProd
    i8mm,     ///< FEAT_I8MM
    bf16      ///< FEAT_BF16
};

#if defined(__APPLE__)
inline bool has_arm_feature(ArmFeature feature) {
    constexpr const char* names[] = {"hw.optional.arm.FEAT_FP16", "hw.optional.arm.FEAT_DotProd",
                                     "hw.optional.arm.FEAT_I8MM", "hw.optional.arm.FEAT_BF16"};
    int value = 0;
    std::size_t size = sizeof value;
    return ::sysctlbyname(names[static_cast<int>(feature)], &value, &size, nullptr, 0) == 0 && value != 0;
}
#else
inline bool has_arm_feature(ArmFeature feature) {
    // Bits of the kernel's HWCAP_ASIMDHP, HWCAP_ASIMDDP, HWCAP2_I8MM and HWCAP2_BF16.
    switch (feature) {
        case ArmFeature::fp16:
            return (::getauxval(AT_HWCAP) >> 10 & 1U) != 0;
        case ArmFeature::dotprod:
            return (::getauxval(AT_HWCAP) >> 20 & 1U) != 0;
        case ArmFeature::i8mm:
            return (::getauxval(AT_HWCAP2) >> 13 & 1U) != 0;
        case ArmFeature::bf16:
            return (::getauxval(AT_HWCAP2) >> 14 & 1U) != 0;
    }
    return false;
}
#endif

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE
#endif

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Version, namespaces, and where kernels are compiled. Not an options file otherwise: the library has no compile-time
// switches to set.
//
// Everything lives in namespace efficientvit. Two inline namespaces below it keep programs honest:
//
//  * EFFICIENTVIT_BEGIN_NAMESPACE: code. The name carries the version and the instruction set that the
//    compiler flags of this translation unit allow. Two units built with different -m flags therefore
//    never share an inline function, so the linker cannot put AVX-512 code into a program's plain half. Nor
//    do units with kernels of their own and units without (EFFICIENTVIT_COMPILED).
//  * EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE: views, enums, exceptions. Version only: these types hold no
//    vector code, mean the same under all flags, and may cross between such units.
#pragma once

#define EFFICIENTVIT_VERSION_MAJOR 0
#define EFFICIENTVIT_VERSION_MINOR 1
#define EFFICIENTVIT_VERSION_PATCH 0
#define EFFICIENTVIT_VERSION "0.1.0"

#if defined(__FAST_MATH__) || (defined(_MSC_VER) && defined(_M_FP_FAST))
#error \
    "efficientvit: -ffast-math (/fp:fast) breaks NaN handling and sets flush-to-zero for the whole process; compile without it"
#endif

// Kernels are compiled by every translation unit that uses them; or, where all units define EFFICIENTVIT_COMPILED, by
// the one that defines EFFICIENTVIT_IMPLEMENTATION before it includes the library (compiled/door.hpp).
#if defined(EFFICIENTVIT_IMPLEMENTATION) && !defined(EFFICIENTVIT_COMPILED)
#define EFFICIENTVIT_COMPILED
#endif
#if defined(EFFICIENTVIT_IMPLEMENTATION) || !defined(EFFICIENTVIT_COMPILED)
#define EFFICIENTVIT_KERNELS_HERE 1
#else
#define EFFICIENTVIT_KERNELS_HERE 0
#endif

#if defined(__AVX512F__)
#define EFFICIENTVIT_BASELINE v0_avx512
#elif defined(__AVX2__)
#define EFFICIENTVIT_BASELINE v0_avx2
#elif defined(__AVX__)
#define EFFICIENTVIT_BASELINE v0_avx
#elif defined(__SSE4_2__)
#define EFFICIENTVIT_BASELINE v0_sse4
#else
#define EFFICIENTVIT_BASELINE v0_base
#endif

#define EFFICIENTVIT_JOIN_(a, b) a##b
#define EFFICIENTVIT_JOIN(a, b) EFFICIENTVIT_JOIN_(a, b)
#if defined(EFFICIENTVIT_COMPILED)
#define EFFICIENTVIT_CODE_NAMESPACE EFFICIENTVIT_JOIN(EFFICIENTVIT_BASELINE, _compiled)
#else
#define EFFICIENTVIT_CODE_NAMESPACE EFFICIENTVIT_BASELINE
#endif

// Loading and its messages: compiled for size, which takes half the time.
#if defined(__GNUC__)
#define EFFICIENTVIT_COLD __attribute__((cold))
#else
#define EFFICIENTVIT_COLD
#endif

#define EFFICIENTVIT_BEGIN_NAMESPACE \
    namespace efficientvit {         \
    inline namespace EFFICIENTVIT_CODE_NAMESPACE {
#define EFFICIENTVIT_END_NAMESPACE \
    }                              \
    }

#define EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE \
    namespace efficientvit {               \
    inline namespace v0 {
#define EFFICIENTVIT_END_PLAIN_NAMESPACE \
    }                                    \
    }

// Within namespace kernels, around the tables of kernels: where kernels are compiled once, they are asked for through
// compiled/door.hpp, in the one unit that has them too.
#if defined(EFFICIENTVIT_COMPILED)
#define EFFICIENTVIT_BEGIN_TABLES namespace built {
#else
#define EFFICIENTVIT_BEGIN_TABLES inline namespace built {
#endif
#define EFFICIENTVIT_END_TABLES }

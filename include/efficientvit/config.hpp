// SPDX-License-Identifier: Apache-2.0
//
// Version and namespaces. Not an options file: the library has no compile-time switches to set.
//
// Everything lives in namespace efficientvit. Two inline namespaces below it keep programs honest:
//
//  * EFFICIENTVIT_BEGIN_NAMESPACE: code. The name carries the version and the instruction set that the
//    compiler flags of this translation unit allow. Two units built with different -m flags therefore
//    never share an inline function, so the linker cannot put AVX-512 code into a program's plain half.
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

#if defined(__AVX512F__)
#define EFFICIENTVIT_CODE_NAMESPACE v0_avx512
#elif defined(__AVX2__)
#define EFFICIENTVIT_CODE_NAMESPACE v0_avx2
#elif defined(__AVX__)
#define EFFICIENTVIT_CODE_NAMESPACE v0_avx
#elif defined(__SSE4_2__)
#define EFFICIENTVIT_CODE_NAMESPACE v0_sse4
#else
#define EFFICIENTVIT_CODE_NAMESPACE v0_base
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

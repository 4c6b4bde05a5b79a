// SPDX-License-Identifier: Apache-2.0
//
// Version, namespaces, and where kernels are compiled. Not an options file otherwise: the library has no compile-time
// switches to set.
//
// Everything lives in namespace efficientvit. Two inline namespaces below it keep programs honest:
//
//  * EFFICIENTVIT_BEGIN_NAMESPACE: code. The name carries the whole version and what the compiler flags of this
//    translation unit allow (baseline.hpp). Two units built with different -m, -march or -mcpu flags therefore never
//    share an inline function, so the linker cannot put AVX-512 code into a program's plain half. Nor do units with
//    kernels of their own and units without (EFFICIENTVIT_COMPILED), nor two versions in one process.
//  * EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE: views, enums, exceptions. Version only: these types hold no
//    vector code, mean the same under all flags, and may cross between such units.
//
// Macros that stay defined behind these headers. For programs: EFFICIENTVIT_VERSION, EFFICIENTVIT_VERSION_MAJOR,
// EFFICIENTVIT_VERSION_MINOR, EFFICIENTVIT_VERSION_PATCH. For the headers alone: EFFICIENTVIT_ALWAYS_INLINE,
// EFFICIENTVIT_AMX, EFFICIENTVIT_ARM64, EFFICIENTVIT_BEGIN_NAMESPACE, EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE,
// EFFICIENTVIT_BEGIN_TABLES, EFFICIENTVIT_CODE_NAMESPACE, EFFICIENTVIT_COLD, EFFICIENTVIT_COMPILED, EFFICIENTVIT_DOOR,
// EFFICIENTVIT_DOOR_OF, EFFICIENTVIT_DOOR_OF_, EFFICIENTVIT_END_NAMESPACE, EFFICIENTVIT_END_PLAIN_NAMESPACE,
// EFFICIENTVIT_END_TABLES, EFFICIENTVIT_FLATTEN, EFFICIENTVIT_HAS_MMAP, EFFICIENTVIT_HAS_THREADS,
// EFFICIENTVIT_KERNELS_HERE, EFFICIENTVIT_LOCAL, EFFICIENTVIT_NEON_UNITS, EFFICIENTVIT_PLAIN_NAMESPACE,
// EFFICIENTVIT_POSIX_THREADS, EFFICIENTVIT_VERSION_NAME, EFFICIENTVIT_VERSION_NAME_,
// EFFICIENTVIT_WASM, EFFICIENTVIT_X86, and those of baseline.hpp. Macros of others are put aside meanwhile, see
// foreign_macros.hpp.
#pragma once

#include <efficientvit/baseline.hpp>

#define EFFICIENTVIT_VERSION_MAJOR 0
#define EFFICIENTVIT_VERSION_MINOR 1
#define EFFICIENTVIT_VERSION_PATCH 0
#define EFFICIENTVIT_VERSION "0.1.0"

#if defined(__FAST_MATH__) || (defined(_MSC_VER) && defined(_M_FP_FAST))
#error \
    "efficientvit: -ffast-math (/fp:fast) breaks NaN handling and sets flush-to-zero for the whole process; compile without it (icpx, whose default it is: with -fp-model=precise)"
#elif defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error \
    "efficientvit: -ffinite-math-only breaks NaN handling; compile without it, or with -fno-finite-math-only behind it"
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

// Until 1.0 any version may change what types look like, so names carry all of it: two versions live in one process.
#define EFFICIENTVIT_VERSION_NAME_(major, minor, patch) v##major##_##minor##_##patch
#define EFFICIENTVIT_VERSION_NAME(major, minor, patch) EFFICIENTVIT_VERSION_NAME_(major, minor, patch)
#define EFFICIENTVIT_PLAIN_NAMESPACE \
    EFFICIENTVIT_VERSION_NAME(EFFICIENTVIT_VERSION_MAJOR, EFFICIENTVIT_VERSION_MINOR, EFFICIENTVIT_VERSION_PATCH)
#if defined(EFFICIENTVIT_COMPILED)
#define EFFICIENTVIT_CODE_NAMESPACE \
    EFFICIENTVIT_JOIN(EFFICIENTVIT_JOIN(EFFICIENTVIT_PLAIN_NAMESPACE, c_), EFFICIENTVIT_BASELINE)
#else
#define EFFICIENTVIT_CODE_NAMESPACE \
    EFFICIENTVIT_JOIN(EFFICIENTVIT_JOIN(EFFICIENTVIT_PLAIN_NAMESPACE, _), EFFICIENTVIT_BASELINE)
#endif

// Loading and its messages: compiled for size, which takes half the time.
#if defined(__GNUC__)
#define EFFICIENTVIT_COLD __attribute__((cold))
#else
#define EFFICIENTVIT_COLD
#endif

// For functions of the plain namespace that copy or compare values, which a compiler may do with vectors: units have no
// copy of them that the linker could keep for other units.
#if defined(__GNUC__)
#define EFFICIENTVIT_ALWAYS_INLINE __attribute__((always_inline))
#else
#define EFFICIENTVIT_ALWAYS_INLINE
#endif

// For functions that fill standard containers where weights are loaded: what they call becomes part of them. A standard
// container's functions have the same name in all units, so that the linker would take those of one for all.
#if defined(__GNUC__)
#define EFFICIENTVIT_FLATTEN __attribute__((flatten))
#else
#define EFFICIENTVIT_FLATTEN
#endif

// For functions that own statics or thread_locals, and inline variables: each shared library has its own. g++ would
// make them unique in a process, and what is so keeps its library in memory: a plugin that is closed and replaced would
// stay.
#if defined(__ELF__) || defined(__APPLE__)
#define EFFICIENTVIT_LOCAL __attribute__((visibility("hidden")))
#else
#define EFFICIENTVIT_LOCAL
#endif

#define EFFICIENTVIT_BEGIN_NAMESPACE \
    namespace efficientvit {         \
    inline namespace EFFICIENTVIT_CODE_NAMESPACE {
#define EFFICIENTVIT_END_NAMESPACE \
    }                              \
    }

#define EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE \
    namespace efficientvit {               \
    inline namespace EFFICIENTVIT_PLAIN_NAMESPACE {
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

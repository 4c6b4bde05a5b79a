// SPDX-License-Identifier: Apache-2.0
//
// Begins a region of kernels, which target_end.hpp ends, with macros that open and close parts of it for one
// instruction set, and the inlining and unrolling hints that kernels use. No user sees them.
//
// A region stands inside the namespace: within it the compiler's feature macros are those of the region, and the
// namespace's name, which is made of them, would be another.
// Inside a region: no std or Eigen header, no call of their templates, no lambda, no friend function, no static.
// Their code could be merged by the linker with the plain program's copy.

// Kernels are optimised in debug builds too: unoptimised they take eighteen times as long. GCC cannot tell -Og from -O2
// here, so all levels but the one for size get what kernels were measured with. For AArch64 that would make -O2
// another, since it undoes what EFFICIENTVIT_NOINLINE says below, so there it is for -O0 alone. Clang knows no such
// region.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#if !defined(__OPTIMIZE__) || !(defined(__OPTIMIZE_SIZE__) || defined(__aarch64__))
#pragma GCC optimize("O2")
#endif
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <string.h>
#define EFFICIENTVIT_INLINE __forceinline
#define EFFICIENTVIT_NOINLINE __declspec(noinline)
#define EFFICIENTVIT_UNROLL
#define EFFICIENTVIT_RESTRICT __restrict
#define EFFICIENTVIT_COPY(to, from, size) memcpy(to, from, size)
#define EFFICIENTVIT_HOLD(constraint, x)
#define EFFICIENTVIT_PREFETCH(p)
#define EFFICIENTVIT_FENCE(p) (void)(p)
#define EFFICIENTVIT_BEGIN_AVX2
#define EFFICIENTVIT_BEGIN_AVX512
#define EFFICIENTVIT_BEGIN_AVX512_BF16
#define EFFICIENTVIT_BEGIN_AMX
#define EFFICIENTVIT_BEGIN_NEON_BF16
#define EFFICIENTVIT_BEGIN_AVX_VNNI
#define EFFICIENTVIT_BEGIN_AVX512_VNNI
#define EFFICIENTVIT_BEGIN_NEON_DOTPROD
#define EFFICIENTVIT_BEGIN_NEON_I8MM
#define EFFICIENTVIT_BEGIN_NEON_FP16
#define EFFICIENTVIT_END_TARGET
#else
#define EFFICIENTVIT_INLINE inline __attribute__((always_inline))
// GCC for AArch64 orders instructions before it hands out registers in a way that leaves the largest tiles one short.
#if defined(__aarch64__) && !defined(__clang__)
#define EFFICIENTVIT_NOINLINE __attribute__((noinline, optimize("no-schedule-insns")))
#else
#define EFFICIENTVIT_NOINLINE __attribute__((noinline))
#endif
#define EFFICIENTVIT_RESTRICT __restrict__
#define EFFICIENTVIT_COPY(to, from, size) __builtin_memcpy(to, from, size)
// The compiler must have x in a register here. GCC would rather load a value again for each of its uses, which fills
// the two load ports of a core with two FMA units.
#define EFFICIENTVIT_HOLD(constraint, x) __asm__("" : "+" constraint(x))
// Memory is as the program says here. GCC's intrinsics for AMX do not tell that they read it.
#define EFFICIENTVIT_FENCE(p) __asm__ volatile("" : : "r"(p) : "memory")
// Into the second-level cache: what is fetched is wanted later than the next few thousand loads.
#define EFFICIENTVIT_PREFETCH(p) __builtin_prefetch(p, 0, 2)
#if defined(__clang__)
#define EFFICIENTVIT_UNROLL _Pragma("clang loop unroll(full)")
// clang-format off
#define EFFICIENTVIT_BEGIN_AVX2 \
    _Pragma("clang attribute push(__attribute__((target(\"avx2,fma\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_AVX512 \
    _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_AVX512_BF16 \
    _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_AMX \
    _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,amx-tile,amx-bf16\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_NEON_BF16 \
    _Pragma("clang attribute push(__attribute__((target(\"bf16\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_AVX_VNNI \
    _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,avxvnni\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_AVX512_VNNI \
    _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_NEON_DOTPROD \
    _Pragma("clang attribute push(__attribute__((target(\"dotprod\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_NEON_I8MM \
    _Pragma("clang attribute push(__attribute__((target(\"i8mm\"))), apply_to = function)")
#define EFFICIENTVIT_BEGIN_NEON_FP16 \
    _Pragma("clang attribute push(__attribute__((target(\"fullfp16\"))), apply_to = function)")
#define EFFICIENTVIT_END_TARGET _Pragma("clang attribute pop")
#else
#define EFFICIENTVIT_UNROLL _Pragma("GCC unroll 32")
// mprefer-vector-width: 512 bits are asked for by the intrinsics; it does not matter to the rest.
#define EFFICIENTVIT_BEGIN_AVX2 _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma\")")
#define EFFICIENTVIT_BEGIN_AVX512 \
    _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq\")")
#define EFFICIENTVIT_BEGIN_AVX512_BF16 \
    _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16\")")
#define EFFICIENTVIT_BEGIN_AMX \
    _Pragma("GCC push_options") \
    _Pragma("GCC target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,amx-tile,amx-bf16\")")
#define EFFICIENTVIT_BEGIN_NEON_BF16 _Pragma("GCC push_options") _Pragma("GCC target(\"arch=armv8.2-a+bf16\")")
#define EFFICIENTVIT_BEGIN_AVX_VNNI _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma,avxvnni\")")
#define EFFICIENTVIT_BEGIN_AVX512_VNNI \
    _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni\")")
#define EFFICIENTVIT_BEGIN_NEON_DOTPROD _Pragma("GCC push_options") _Pragma("GCC target(\"arch=armv8.2-a+dotprod\")")
#define EFFICIENTVIT_BEGIN_NEON_I8MM _Pragma("GCC push_options") _Pragma("GCC target(\"arch=armv8.2-a+i8mm\")")
#define EFFICIENTVIT_BEGIN_NEON_FP16 _Pragma("GCC push_options") _Pragma("GCC target(\"arch=armv8.2-a+fp16\")")
#define EFFICIENTVIT_END_TARGET _Pragma("GCC pop_options")
// clang-format on
#endif
#endif

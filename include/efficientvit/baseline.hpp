// SPDX-License-Identifier: Apache-2.0
//
// The instructions that the compiler flags of this translation unit allow, as a part of a name: EFFICIENTVIT_BASELINE.
// Of two units that differ in one bit of the table below the inline functions have other names, so that the linker
// never takes one for the other.
//
// A preprocessor cannot hash, but it can paste: four macros that are 1 or not defined make one hexadecimal digit behind
// the letter of their row, the first of them its highest bit; a row of zeros is left out. g++ -mavx2 gives aFb8c4dC,
// plain x86-64 nothing; build_info() prints it, and which macros that are. tests/odr/feature_macros.py asks compilers
// for what their flags define, and fails where a macro is neither here nor among its exceptions.
#pragma once

#include <version>  // whose _GLIBCXX_USE_CXX11_ABI is in the table

#define EFFICIENTVIT_JOIN_(a, b) a##b
#define EFFICIENTVIT_JOIN(a, b) EFFICIENTVIT_JOIN_(a, b)

// 1 for a macro that is 1, else 0: EFFICIENTVIT_ONE_1 puts a comma before the second argument.
#define EFFICIENTVIT_ONE_1 0,
#define EFFICIENTVIT_SECOND(a, b, ...) b
#define EFFICIENTVIT_BIT__(x) EFFICIENTVIT_SECOND(x 1, 0, 0)
#define EFFICIENTVIT_BIT_(x) EFFICIENTVIT_BIT__(EFFICIENTVIT_ONE_##x)
#define EFFICIENTVIT_BIT(x) EFFICIENTVIT_BIT_(x)

#define EFFICIENTVIT_HEX_0000(row)
#define EFFICIENTVIT_HEX_0001(row) row##1
#define EFFICIENTVIT_HEX_0010(row) row##2
#define EFFICIENTVIT_HEX_0011(row) row##3
#define EFFICIENTVIT_HEX_0100(row) row##4
#define EFFICIENTVIT_HEX_0101(row) row##5
#define EFFICIENTVIT_HEX_0110(row) row##6
#define EFFICIENTVIT_HEX_0111(row) row##7
#define EFFICIENTVIT_HEX_1000(row) row##8
#define EFFICIENTVIT_HEX_1001(row) row##9
#define EFFICIENTVIT_HEX_1010(row) row##A
#define EFFICIENTVIT_HEX_1011(row) row##B
#define EFFICIENTVIT_HEX_1100(row) row##C
#define EFFICIENTVIT_HEX_1101(row) row##D
#define EFFICIENTVIT_HEX_1110(row) row##E
#define EFFICIENTVIT_HEX_1111(row) row##F
#define EFFICIENTVIT_DIGIT__(row, a, b, c, d) EFFICIENTVIT_HEX_##a##b##c##d(row)
#define EFFICIENTVIT_DIGIT_(row, a, b, c, d) EFFICIENTVIT_DIGIT__(row, a, b, c, d)
#define EFFICIENTVIT_DIGIT(row, a, b, c, d) \
    EFFICIENTVIT_DIGIT_(row, EFFICIENTVIT_BIT(a), EFFICIENTVIT_BIT(b), EFFICIENTVIT_BIT(c), EFFICIENTVIT_BIT(d))

// What is no macro that is 1: said by one that is.
#if (defined(__x86_64__) || defined(__i386__)) && !defined(__SSE2__)
#define EFFICIENTVIT_NO_SSE2 1
#endif
#if (defined(__x86_64__) || defined(__i386__)) && !defined(__SSE2_MATH__)
#define EFFICIENTVIT_X87 1
#endif
#if defined(__i386__) && defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_8)
#define EFFICIENTVIT_CX8 1
#endif
#if defined(__ARM_FEATURE_PAC_DEFAULT)  // its value says with which key
#define EFFICIENTVIT_PAC 1
#endif
// Not of the CPU, but as wrong where functions merge: standard containers and strings of another layout.
#if defined(_GLIBCXX_DEBUG)
#define EFFICIENTVIT_DEBUG_CONTAINERS 1
#endif
#if defined(_GLIBCXX_USE_CXX11_ABI)
#if !_GLIBCXX_USE_CXX11_ABI
#define EFFICIENTVIT_OLD_STRING 1
#endif
#endif

// clang-format off
// The table: X(row, four macros), 24 rows.
#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#define EFFICIENTVIT_FEATURES(X) \
    X(a, __SSE3__, __SSSE3__, __SSE4_1__, __SSE4_2__), \
    X(b, __POPCNT__, __LZCNT__, __BMI__, __BMI2__), \
    X(c, __MOVBE__, __CRC32__, __F16C__, __FMA__), \
    X(d, __AVX__, __AVX2__, __AVX512F__, __AVX512CD__), \
    X(e, __AVX512VL__, __AVX512BW__, __AVX512DQ__, __AVX512IFMA__), \
    X(f, __AVX512VBMI__, __AVX512VBMI2__, __AVX512VNNI__, __AVX512BITALG__), \
    X(g, __AVX512VPOPCNTDQ__, __AVX512BF16__, __AVX512FP16__, __AVX512VP2INTERSECT__), \
    X(h, __AVX512ER__, __AVX512PF__, __AVX5124FMAPS__, __AVX5124VNNIW__), \
    X(i, __AVXVNNI__, __AVXVNNIINT8__, __AVXVNNIINT16__, __AVXIFMA__), \
    X(j, __AVXNECONVERT__, __AVX10_1__, __AVX10_2__, __AVX10_1_512__), \
    X(k, __AVX10_2_512__, __AVX10_1_256__, __EVEX512__, __EVEX256__), \
    X(l, __AMX_TILE__, __AMX_BF16__, __AMX_INT8__, __AMX_FP16__), \
    X(m, __AMX_COMPLEX__, __AMX_FP8__, __AMX_TF32__, __AMX_AVX512__), \
    X(n, __AMX_MOVRS__, __AMX_TRANSPOSE__, __MOVRS__, __APX_F__), \
    X(o, __EGPR__, __PUSH2POP2__, __PPX__, __NDD__), \
    X(p, __CCMP__, __NF__, __CF__, __ZU__), \
    X(q, __AES__, __PCLMUL__, __VAES__, __VPCLMULQDQ__), \
    X(r, __GFNI__, __SHA__, __SHA512__, __SM3__), \
    X(s, __SM4__, __RTM__, __GCC_HAVE_SYNC_COMPARE_AND_SWAP_16, __LAHF_SAHF__), \
    X(t, __SSE4A__, __FMA4__, __XOP__, __TBM__), \
    X(u, __ADX__, __3dNOW__, __3dNOW_A__, __PRFCHW__), \
    X(v, __CMPCCXADD__, __RAOINT__, __PREFETCHWT1__, __HLE__), \
    X(w, EFFICIENTVIT_NO_SSE2, EFFICIENTVIT_X87, EFFICIENTVIT_CX8, __PREFETCHI__), \
    X(x, __CHAR_UNSIGNED__, EFFICIENTVIT_DEBUG_CONTAINERS, EFFICIENTVIT_OLD_STRING, __FINITE_MATH_ONLY__)
#elif defined(__aarch64__) || defined(__arm__) || defined(_M_ARM64) || defined(_M_ARM)
#define EFFICIENTVIT_FEATURES(X) \
    X(a, __ARM_NEON, __ARM_FEATURE_FMA, __ARM_FEATURE_CLZ, __ARM_FEATURE_IDIV), \
    X(b, __ARM_FEATURE_DIRECTED_ROUNDING, __ARM_FEATURE_NUMERIC_MAXMIN, __ARM_FEATURE_UNALIGNED, __ARM_FEATURE_DSP), \
    X(c, __ARM_FEATURE_ATOMICS, __ARM_FEATURE_CRC32, __ARM_FEATURE_RCPC, __ARM_FEATURE_QRDMX), \
    X(d, __ARM_FEATURE_FP16_SCALAR_ARITHMETIC, __ARM_FEATURE_FP16_VECTOR_ARITHMETIC, __ARM_FEATURE_FP16_FML, __ARM_FEATURE_COMPLEX), \
    X(e, __ARM_FEATURE_BF16, __ARM_FEATURE_BF16_SCALAR_ARITHMETIC, __ARM_FEATURE_BF16_VECTOR_ARITHMETIC, __ARM_FEATURE_SVE_BF16), \
    X(f, __ARM_FEATURE_DOTPROD, __ARM_FEATURE_MATMUL_INT8, __ARM_FEATURE_SVE_MATMUL_INT8, __ARM_FEATURE_JCVT), \
    X(g, __ARM_FEATURE_FRINT, __ARM_FEATURE_SVE, __ARM_FEATURE_SVE2, __ARM_FEATURE_SVE2p1), \
    X(h, __ARM_FEATURE_SVE_MATMUL_FP32, __ARM_FEATURE_SVE_MATMUL_FP64, __ARM_FEATURE_SVE_B16B16, __ARM_FEATURE_SVE2_BITPERM), \
    X(i, __ARM_FEATURE_SVE2_AES, __ARM_FEATURE_SVE2_SHA3, __ARM_FEATURE_SVE2_SM4, __ARM_FEATURE_SME), \
    X(j, __ARM_FEATURE_SME2, __ARM_FEATURE_SME2p1, __ARM_FEATURE_SME_F64F64, __ARM_FEATURE_SME_I16I64), \
    X(k, __ARM_FEATURE_SME_F16F16, __ARM_FEATURE_SME_B16B16, __ARM_FEATURE_SME_FA64, __ARM_FEATURE_SME_LUTv2), \
    X(l, __ARM_FEATURE_FP8, __ARM_FEATURE_FP8FMA, __ARM_FEATURE_FP8DOT2, __ARM_FEATURE_FP8DOT4), \
    X(m, __ARM_FEATURE_FAMINMAX, __ARM_FEATURE_LUT, __ARM_FEATURE_CSSC, __ARM_FEATURE_MOPS), \
    X(n, __ARM_FEATURE_CRYPTO, __ARM_FEATURE_AES, __ARM_FEATURE_SHA2, __ARM_FEATURE_SHA3), \
    X(o, __ARM_FEATURE_SHA512, __ARM_FEATURE_SM3, __ARM_FEATURE_SM4, __ARM_FEATURE_LS64), \
    X(p, __ARM_FEATURE_MEMORY_TAGGING, __ARM_FEATURE_RNG, __ARM_FEATURE_TME, __ARM_FEATURE_LSE128), \
    X(q, __ARM_FEATURE_BTI_DEFAULT, EFFICIENTVIT_PAC, __ARM_FEATURE_PAUTH, __ARM_FEATURE_GCS), \
    X(r, __thumb__, __thumb2__, __SOFTFP__, __ARM_PCS_VFP), \
    X(s, __ARM_VFPV2__, __ARM_VFPV3__, __ARM_VFPV4__, __ARM_FPV5__), \
    X(t, __ARM_FEATURE_SAT, __ARM_FEATURE_QBIT, __ARM_FEATURE_SIMD32, __ARM_ARCH_EXT_IDIV__), \
    X(u, __IWMMXT__, __IWMMXT2__, __ARM_FEATURE_CMSE, __GCC_HAVE_SYNC_COMPARE_AND_SWAP_8), \
    X(v, __ARM_FEATURE_SSVE_FP8FMA, __ARM_FEATURE_SSVE_FP8DOT2, __ARM_FEATURE_SSVE_FP8DOT4, __ARM_FEATURE_SME_F8F16), \
    X(w, __ARM_FEATURE_SME_F8F32, __ARM_FEATURE_SVE_AES, __ARM_FEATURE_BTI, __ARM_FEATURE_PAUTH_LR), \
    X(x, __CHAR_UNSIGNED__, EFFICIENTVIT_DEBUG_CONTAINERS, EFFICIENTVIT_OLD_STRING, __FINITE_MATH_ONLY__)
#else
// Others in a coarser way: their flags that are 1.
#define EFFICIENTVIT_FEATURES(X) \
    X(a, __riscv_vector, __riscv_compressed, __riscv_atomic, __riscv_muldiv), \
    X(b, __riscv_zfh, __riscv_zba, __riscv_zbb, __riscv_zbs), \
    X(c, __ALTIVEC__, __VSX__, __POWER8_VECTOR__, __POWER9_VECTOR__), \
    X(d, _ARCH_PWR7, _ARCH_PWR8, _ARCH_PWR9, _ARCH_PWR10), \
    X(e, __MMA__, __VEC__, __VX__, __loongarch_sx), \
    X(f, __loongarch_asx, __wasm_simd128__, __wasm_relaxed_simd__, __wasm_bulk_memory__), \
    X(g, __wasm_atomics__, __wasm_sign_ext__, __wasm_nontrapping_fptoint__, __wasm_tail_call__), \
    X(h, _, _, _, _), X(i, _, _, _, _), X(j, _, _, _, _), X(k, _, _, _, _), X(l, _, _, _, _), X(m, _, _, _, _), \
    X(n, _, _, _, _), X(o, _, _, _, _), X(p, _, _, _, _), X(q, _, _, _, _), X(r, _, _, _, _), X(s, _, _, _, _), \
    X(t, _, _, _, _), X(u, _, _, _, _), X(v, _, _, _, _), X(w, _, _, _, _), \
    X(x, __CHAR_UNSIGNED__, EFFICIENTVIT_DEBUG_CONTAINERS, EFFICIENTVIT_OLD_STRING, __FINITE_MATH_ONLY__)
#endif
// clang-format on

// Macros that have other values than 1.
#if defined(__aarch64__)
#if defined(__ARM_FEATURE_SVE_BITS) && __ARM_FEATURE_SVE_BITS > 0
#define EFFICIENTVIT_LEVEL \
    EFFICIENTVIT_JOIN(EFFICIENTVIT_JOIN(_, __ARM_ARCH), EFFICIENTVIT_JOIN(_, __ARM_FEATURE_SVE_BITS))
#else
#define EFFICIENTVIT_LEVEL EFFICIENTVIT_JOIN(_, __ARM_ARCH)
#endif
#elif defined(__arm__) && defined(__ARM_ARCH)
#if defined(__ARM_FP)
#define EFFICIENTVIT_FP EFFICIENTVIT_JOIN(_, __ARM_FP)
#else
#define EFFICIENTVIT_FP
#endif
#if defined(__ARM_FEATURE_MVE)
#define EFFICIENTVIT_MVE EFFICIENTVIT_JOIN(_mve, __ARM_FEATURE_MVE)
#else
#define EFFICIENTVIT_MVE
#endif
#if defined(__ARM_FEATURE_LDREX)
#define EFFICIENTVIT_LDREX EFFICIENTVIT_JOIN(_, __ARM_FEATURE_LDREX)
#else
#define EFFICIENTVIT_LDREX
#endif
#define EFFICIENTVIT_LEVEL                              \
    EFFICIENTVIT_JOIN(EFFICIENTVIT_JOIN(_, __ARM_ARCH), \
                      EFFICIENTVIT_JOIN(EFFICIENTVIT_JOIN(EFFICIENTVIT_FP, EFFICIENTVIT_MVE), EFFICIENTVIT_LDREX))
#elif defined(_M_IX86_FP)
#define EFFICIENTVIT_LEVEL EFFICIENTVIT_JOIN(_, _M_IX86_FP)
#elif defined(__riscv_flen) && defined(__riscv_v_elen)
#define EFFICIENTVIT_LEVEL EFFICIENTVIT_JOIN(EFFICIENTVIT_JOIN(_, __riscv_flen), EFFICIENTVIT_JOIN(_, __riscv_v_elen))
#elif defined(__riscv_flen)
#define EFFICIENTVIT_LEVEL EFFICIENTVIT_JOIN(_, __riscv_flen)
#else
#define EFFICIENTVIT_LEVEL
#endif

#define EFFICIENTVIT_JOIN_ROWS_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x) \
    a##b##c##d##e##f##g##h##i##j##k##l##m##n##o##p##q##r##s##t##u##v##w##x
#define EFFICIENTVIT_JOIN_ROWS(rows) EFFICIENTVIT_JOIN_ROWS_ rows
#define EFFICIENTVIT_BASELINE \
    EFFICIENTVIT_JOIN(EFFICIENTVIT_JOIN_ROWS((EFFICIENTVIT_FEATURES(EFFICIENTVIT_DIGIT))), EFFICIENTVIT_LEVEL)

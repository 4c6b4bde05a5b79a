// SPDX-License-Identifier: Apache-2.0
//
// Ends the region of kernels that target.hpp begins, and takes back its macros.

#undef EFFICIENTVIT_INLINE
#undef EFFICIENTVIT_NOINLINE
#undef EFFICIENTVIT_RESTRICT
#undef EFFICIENTVIT_COPY
#undef EFFICIENTVIT_HOLD
#undef EFFICIENTVIT_PREFETCH
#undef EFFICIENTVIT_FENCE
#undef EFFICIENTVIT_UNROLL
#undef EFFICIENTVIT_BEGIN_AVX2
#undef EFFICIENTVIT_BEGIN_AVX512
#undef EFFICIENTVIT_BEGIN_AVX512_BF16
#undef EFFICIENTVIT_BEGIN_AMX
#undef EFFICIENTVIT_BEGIN_NEON_BF16
#undef EFFICIENTVIT_END_TARGET

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

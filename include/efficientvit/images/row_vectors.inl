// SPDX-License-Identifier: Apache-2.0
//
// Vectors of EFFICIENTVIT_LANES values, by the compiler's own types; of one lane where it has none. Included by
// row_kernels.hpp once for each width, inside its region and namespace.

#if EFFICIENTVIT_LANES > 1
using Floats = float __attribute__((vector_size(EFFICIENTVIT_LANES * 4)));
using Ints = int __attribute__((vector_size(EFFICIENTVIT_LANES * 4)));
using Bytes = signed char __attribute__((vector_size(EFFICIENTVIT_LANES)));
#else
using Floats = float;
using Ints = int;
#endif

EFFICIENTVIT_INLINE Floats load(const float* p) {
    Floats v;
    EFFICIENTVIT_COPY(&v, p, sizeof(v));
    return v;
}
EFFICIENTVIT_INLINE void store(float* p, Floats v) { EFFICIENTVIT_COPY(p, &v, sizeof(v)); }

// A vector of equal values: what `0 +` broadcasts.
EFFICIENTVIT_INLINE Floats all(float x) { return Floats{} + x; }

// SPDX-License-Identifier: Apache-2.0
//
// Floating-point modes that a caller of the library may have set.
#pragma once

#include <efficientvit/kernels/cpu.hpp>

#if defined(EFFICIENTVIT_X86)
#include <xmmintrin.h>

/// Sets the processor's floating-point modes while it lives.
class FloatModes {
public:
    explicit FloatModes(unsigned word) : saved_(_mm_getcsr()) { _mm_setcsr(word); }
    FloatModes(const FloatModes&) = delete;
    FloatModes& operator=(const FloatModes&) = delete;
    ~FloatModes() { _mm_setcsr(saved_); }

private:
    unsigned saved_;
};
#endif

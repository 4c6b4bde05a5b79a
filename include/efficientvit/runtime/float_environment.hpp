// SPDX-License-Identifier: Apache-2.0
//
// The processor's floating-point modes. A caller may run with flush-to-zero or another rounding; kernels need neither,
// and results must not depend on it.
#pragma once

#include <efficientvit/kernels/cpu.hpp>

#include <cstdint>
#include <cstring>

#if defined(EFFICIENTVIT_X86)
#include <xmmintrin.h>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Whether it is not a number, told by its bits: `x != x` is false to a compiler that may take floats for numbers
/// (clang's -fno-honor-nans, which no macro tells of). By reference, since such a compiler thinks the same of
/// arguments.
inline bool is_nan(const float& x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7fffffffU) > 0x7f800000U;
}
inline bool is_nan(const double& x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7fffffffffffffffU) > 0x7ff0000000000000U;
}
/// Whether it is neither that nor an infinity, likewise.
inline bool is_finite(const float& x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7f800000U) != 0x7f800000U;
}
inline bool is_finite(const double& x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7ff0000000000000U) != 0x7ff0000000000000U;
}

/// Sets IEEE defaults (round to nearest, denormals kept, exceptions masked) while it lives, then puts back what
/// was.
class FloatEnvironment {
public:
    FloatEnvironment() : saved_(get()) { set(defaults); }
    FloatEnvironment(const FloatEnvironment&) = delete;
    FloatEnvironment& operator=(const FloatEnvironment&) = delete;
    ~FloatEnvironment() { set(saved_); }

private:
#if defined(EFFICIENTVIT_X86)
    using Word = unsigned;
    static constexpr Word defaults = 0x1f80;  // all exceptions masked
    static Word get() { return _mm_getcsr(); }
    static void set(Word word) { _mm_setcsr(word); }
#elif defined(EFFICIENTVIT_ARM64) && !defined(_MSC_VER)
    using Word = unsigned long long;
    static constexpr Word defaults = 0;
    static Word get() {
        Word word;
        __asm__ volatile("mrs %0, fpcr" : "=r"(word));
        return word;
    }
    static void set(Word word) { __asm__ volatile("msr fpcr, %0" : : "r"(word)); }
#else
    using Word = unsigned;
    static constexpr Word defaults = 0;
    static Word get() { return 0; }
    static void set(Word) {}
#endif
    Word saved_;
};

/// body(), in a call of its own: compilers know nothing of modes and move arithmetic across what sets them.
template <class Body>
#if defined(__GNUC__)
__attribute__((noinline))
#elif defined(_MSC_VER)
__declspec(noinline)
#endif
auto call_apart(const Body& body) {
    return body();
}

/// body() with IEEE defaults, for what computes outside a Context.
template <class Body>
auto with_float_defaults(const Body& body) {
    const FloatEnvironment environment;
    return call_apart(body);
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// What numerics_test.cpp finds, for each instruction set. On x86-64 one set of hashes is enough: g++ 12 and clang++ 14
// give the same bits from -O0 to -O2, since kernels ask for FMA by name and all else is compiled without it (with
// -mfma it would not be, so nothing is compared then). On AArch64, where FMA is always there, each compiler contracts
// products and sums in its own way, and portable C++ differs from level to level: those of NEON are g++ 12's,
// optimized.
#pragma once

#include <efficientvit/kernels/cpu.hpp>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>

struct NumericHashes {
    efficientvit::Isa isa;
    std::uint64_t linear, quadratic, others, exponentials, bf16_weights, winograd, direct;
};

inline std::string to_text(const NumericHashes& h) {
    char text[300];
    std::snprintf(text, sizeof text,
                  "{Isa::%s, 0x%016" PRIx64 ", 0x%016" PRIx64 ", 0x%016" PRIx64 ", 0x%016" PRIx64 ", 0x%016" PRIx64
                  ", 0x%016" PRIx64 ", 0x%016" PRIx64 "}",
                  std::string(efficientvit::isa_name(h.isa)).c_str(), h.linear, h.quadratic, h.others, h.exponentials,
                  h.bf16_weights, h.winograd, h.direct);
    return text;
}

/// Null where none are stored.
inline const NumericHashes* stored_hashes(efficientvit::Isa isa) {
    using efficientvit::Isa;
#if defined(EFFICIENTVIT_X86) && !defined(__FMA__)
    static constexpr NumericHashes all[] = {
        {Isa::scalar, 0x1e5706f345bd0c12, 0x6b7b22106ffc3874, 0x8627e7e51b550bcb, 0xe12ce0352c8324fb,
         0x07b3e767e974408b, 0x25654c6657b049e4, 0x459157c3f27dd6a8},
        {Isa::avx2, 0x6de188e30fed97db, 0x921aedbc442e4d40, 0x72f607189980d684, 0x30a5a0a3c22347a3, 0x02440437092070b9,
         0xf71c9395fe158e76, 0x7c6d6b4f23ee5121},
        {Isa::avx512, 0x6de188e30fed97db, 0x921aedbc442e4d40, 0x72f607189980d684, 0x0000000000000000,
         0x02440437092070b9, 0xf71c9395fe158e76, 0x7c6d6b4f23ee5121},
    };
#elif defined(EFFICIENTVIT_ARM64) && defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__)
    static constexpr NumericHashes all[] = {
        {Isa::neon, 0x454e7f691a497d9c, 0xf23a52927a589c9c, 0x72f607189980d684, 0x30a5a0a3c22347a3, 0xf9e7ed707f214758,
         0xf71c9395fe158e76, 0x7c6d6b4f23ee5121},
    };
#else
    static constexpr NumericHashes all[] = {{}};
    isa = static_cast<Isa>(-1);
#endif
    for (const NumericHashes& hashes : all) {
        if (hashes.isa == isa) return &hashes;
    }
    return nullptr;
}

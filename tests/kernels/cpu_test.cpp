// SPDX-License-Identifier: Apache-2.0
//
// What the library finds in the CPU, against what the compiler's own runtime finds: were something overlooked, all
// other tests would run without it and pass.
#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/cpu.hpp>
#include <efficientvit/kernels/f16.hpp>
#include <efficientvit/kernels/int8.hpp>

#include <gtest/gtest.h>

#include "../messages.hpp"

namespace ev = efficientvit;

TEST(Cpu, ANumberThatIsNoInstructionSetIsNotTakenForOne) {
    for (const int number : {-1, 5, 99}) {
        EXPECT_EQ(message_of<ev::ConfigError>([&] { ev::kernels::table(static_cast<ev::Isa>(number)); }),
                  "Isa(" + std::to_string(number) + ") is no instruction set");
    }
}

#if defined(__wasm_simd128__)

TEST(Cpu, WhatTheModuleIsCompiledForIsThere) { EXPECT_EQ(ev::best_isa(), ev::Isa::wasm); }

#elif defined(__x86_64__) && defined(__GNUC__)

TEST(Cpu, NothingThatItHasIsOverlooked) {
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    EXPECT_EQ(ev::best_isa(), avx512 ? ev::Isa::avx512 : avx2 ? ev::Isa::avx2 : ev::Isa::scalar);
    EXPECT_TRUE(ev::isa_supported(ev::Isa::scalar));
    EXPECT_EQ(ev::isa_supported(ev::Isa::avx2), avx2);
    EXPECT_EQ(ev::isa_supported(ev::Isa::avx512), avx512);
    EXPECT_FALSE(ev::isa_supported(ev::Isa::neon));
    EXPECT_FALSE(ev::isa_supported(ev::Isa::wasm));

    const bool avx512_bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
    EXPECT_TRUE(ev::bf16_unit_supported(ev::Bf16Unit::none));
    EXPECT_EQ(ev::bf16_unit_supported(ev::Bf16Unit::avx512_bf16), avx512_bf16);
    EXPECT_FALSE(ev::bf16_unit_supported(ev::Bf16Unit::neon_bf16));
    EXPECT_TRUE(avx512_bf16 || !ev::bf16_unit_supported(ev::Bf16Unit::amx));

    EXPECT_TRUE(ev::int8_unit_supported(ev::Int8Unit::none));
    EXPECT_EQ(ev::int8_unit_supported(ev::Int8Unit::avx512_vnni), avx512 && __builtin_cpu_supports("avx512vnni"));
    EXPECT_TRUE(avx2 || !ev::int8_unit_supported(ev::Int8Unit::avx_vnni));
    EXPECT_FALSE(ev::int8_unit_supported(ev::Int8Unit::neon_dotprod));
    EXPECT_FALSE(ev::int8_unit_supported(ev::Int8Unit::neon_i8mm));

    EXPECT_TRUE(ev::f16_unit_supported(ev::F16Unit::none));
    EXPECT_FALSE(ev::f16_unit_supported(ev::F16Unit::neon_fp16));
}

#endif

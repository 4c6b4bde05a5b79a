// SPDX-License-Identifier: Apache-2.0
#include <efficientvit/build_info.hpp>

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "../variable.hpp"

namespace {

namespace ev = efficientvit;

TEST(BuildInfo, EveryLineSaysSomething) {
    const ev::BuildInfo info = ev::build_info();
    EXPECT_EQ(info.version, EFFICIENTVIT_VERSION);
    EXPECT_EQ(info.cpu.find('\0'), std::string::npos);
    EXPECT_NE(info.cpu.find(std::string(ev::isa_name(ev::best_isa())) + " at best"), std::string::npos) << info.cpu;
    EXPECT_NE(info.libraries.find(", Eigen "), std::string::npos) << info.libraries;
#if defined(NDEBUG)
    EXPECT_NE(info.flags.find("NDEBUG"), std::string::npos) << info.flags;
#else
    EXPECT_EQ(info.flags.find("NDEBUG"), std::string::npos) << info.flags;
#endif

    std::stringstream text;
    text << info;
    int lines = 0;
    for (std::string line; std::getline(text, line); ++lines) {
        const std::size_t colon = line.find(": ");
        ASSERT_NE(colon, std::string::npos) << line;
        EXPECT_GT(line.size(), colon + 2) << line;
    }
    EXPECT_EQ(lines, 13);
}

TEST(BuildInfo, BaselineTellsWhatTheFlagsAllow) {
    const std::string baseline = ev::build_info().baseline;
#if defined(__AVX2__)
    EXPECT_NE(baseline.find("__AVX2__"), std::string::npos) << baseline;
#elif defined(__x86_64__) && !defined(__SSE3__) && !defined(_GLIBCXX_DEBUG)
    EXPECT_EQ(baseline, "the architecture's own");
#endif
    EXPECT_EQ(baseline.find("EFFICIENTVIT_BASELINE"), std::string::npos) << baseline;
}

TEST(BuildInfo, IsaIsTheOneThatWeightsArePackedFor) {
    {
        const Variable isa("EFFICIENTVIT_ISA", "");
        EXPECT_EQ(ev::build_info().isa, ev::isa_name(ev::best_isa()));
    }
    const Variable isa("EFFICIENTVIT_ISA", "scalar");
    EXPECT_EQ(ev::build_info().isa, "scalar (forced by EFFICIENTVIT_ISA)");
    const Variable unit("EFFICIENTVIT_BF16", "");
    EXPECT_EQ(ev::build_info().bf16, "none");
    EXPECT_EQ(ev::build_info().f16, "none");
}

TEST(BuildInfo, WhatTheEnvironmentAsksForInVainIsTold) {
    const Variable isa("EFFICIENTVIT_ISA", "mmx");
    EXPECT_EQ(ev::build_info().isa, "EFFICIENTVIT_ISA is 'mmx', known are scalar, avx2, avx512, neon, wasm");
}

TEST(BuildInfo, CoresOfAnArmCpuHaveNames) {
    const std::string big = "processor\t: 4\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0b\n\n";
    const std::string little = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\nCPU revision\t: 0\n\n";
    EXPECT_EQ(ev::detail::arm_cores(little + little + big), "2 Cortex-A55, 1 Cortex-A76");
    EXPECT_EQ(ev::detail::arm_cores("CPU part\t: 0xd4f"), "1 cores of part 0xd4f");  // without an implementer
    EXPECT_EQ(ev::detail::arm_cores("CPU implementer : 0x61\nCPU part : 0x022"), "1 cores of part 0x022");
    EXPECT_EQ(ev::detail::arm_cores("Hardware\t: BCM2835\nCPU part"), "");
    EXPECT_EQ(ev::detail::arm_cores(""), "");
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Tests that run once for each instruction set which this machine has, and carry its name. Not a choice of ISA for the
// library: tests force each in turn.
#pragma once

#include <efficientvit/kernels/cpu.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ev = efficientvit;

/// Every ISA that can run here, scalar first.
inline std::vector<ev::Isa> isas() {
    std::vector<ev::Isa> out;
    for (const ev::Isa isa : {ev::Isa::scalar, ev::Isa::neon, ev::Isa::wasm, ev::Isa::avx2, ev::Isa::avx512}) {
        if (ev::isa_supported(isa)) out.push_back(isa);
    }
    return out;
}

inline std::string isa_test_name(const testing::TestParamInfo<ev::Isa>& info) {
    return std::string(ev::isa_name(info.param));
}

/// Base of suites that are instantiated by EFFICIENTVIT_ON_EVERY_ISA(Suite).
class IsaTest : public testing::TestWithParam<ev::Isa> {};

#define EFFICIENTVIT_ON_EVERY_ISA(suite) INSTANTIATE_TEST_SUITE_P(Isa, suite, testing::ValuesIn(isas()), isa_test_name)

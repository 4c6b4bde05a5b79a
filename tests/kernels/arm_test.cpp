// SPDX-License-Identifier: Apache-2.0
//
// A published network with every unit of products that an Arm CPU has, against float64: small enough for an emulator,
// under which precision_test takes minutes. With the kernels of table.cpp; nothing for other CPUs.
#if defined(__aarch64__)
#include "../golden/golden_file.hpp"
#include "table.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

const ev::kernels::Table* asked = nullptr;
const ev::kernels::Table& kernels_asked(ev::Isa) { return *asked; }

/// The limits are those of precision_test.
void check(const std::vector<const ev::kernels::Table*>& tables, double limit) {
    const GoldenFile golden("backbone_b0_1x64x96");
    for (const ev::kernels::Table* const table : tables) {
        if (table->isa != ev::Isa::neon) continue;
        asked = table;
        ev::BackboneB0 network;
        network.load_state_dict(golden_weights(ev::BackboneB0::parameters()),
                                {.isa = ev::Isa::neon, .precision = {"reduced", kernels_asked}});
        EXPECT_EQ(network.precision(), table->products);
        const auto features = network.forward(golden_input(golden.input_shape()));
        for (int i = 0; i < ev::BackboneB0::stages; ++i) {
            const std::string stage = "stage" + std::to_string(i);
            if (!golden.has(stage)) continue;
            const double error = relative_error(features[static_cast<std::size_t>(i)], golden.map(stage));
            EXPECT_LE(error, limit) << table->products << ", " << stage;
            std::printf("[          ] %s, %s: %.2g of the largest value\n", table->products, stage.c_str(), error);
        }
    }
}

TEST(Arm, F16AgainstFloat64) { check(tables_of_f16(), 6.6e-3); }
TEST(Arm, Bf16AgainstFloat64) { check(tables_of_bf16(), 1.1e-2); }
TEST(Arm, Int8AgainstFloat64) { check(tables_of_int8(), 3.3e-2); }

}  // namespace
#endif

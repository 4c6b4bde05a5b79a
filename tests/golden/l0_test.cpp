// SPDX-License-Identifier: Apache-2.0
//
// The smallest network of the L family against what the reference computes in float64.
#include "../isas.hpp"
#include "backbones.hpp"

namespace {

class GoldenL0 : public IsaTest {};

TEST_P(GoldenL0, Backbone) { check_backbone<ev::BackboneL0>("l0_1x64x96", GetParam(), large_bound); }

TEST(PublishedNames, OfL0) { EXPECT_EQ(lines(ev::BackboneL0::parameters()), published("backbone_l0")); }

EFFICIENTVIT_ON_EVERY_ISA(GoldenL0);

}  // namespace

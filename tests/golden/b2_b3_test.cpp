// SPDX-License-Identifier: Apache-2.0
//
// The networks b2 and b3 against what the reference computes in float64.
#include "../isas.hpp"
#include "backbones.hpp"

namespace {

class GoldenB2 : public IsaTest {};
class GoldenB3 : public IsaTest {};

TEST_P(GoldenB2, Backbone224) { check_backbone<ev::BackboneB2>("b2_1x224x224", GetParam()); }
TEST_P(GoldenB2, BackboneQuadratic) { check_backbone<ev::BackboneB2>("b2_1x64x96", GetParam()); }
TEST_P(GoldenB2, Classifier) { check_classifier<ev::ClsB2<>>("cls_b2_224", GetParam()); }

TEST_P(GoldenB3, BackboneQuadratic) { check_backbone<ev::BackboneB3>("b3_1x64x96", GetParam()); }
TEST_P(GoldenB3, Classifier) { check_classifier<ev::ClsB3<>>("cls_b3_224", GetParam()); }

TEST(PublishedNames, OfB2AndB3) {
    EXPECT_EQ(lines(ev::BackboneB2::parameters()), published("backbone_b2"));
    EXPECT_EQ(lines(ev::BackboneB3::parameters()), published("backbone_b3"));
    EXPECT_EQ(lines(ev::ClsB2<>::parameters()), published("cls_b2"));
    EXPECT_EQ(lines(ev::ClsB3<>::parameters()), published("cls_b3"));
}

EFFICIENTVIT_ON_EVERY_ISA(GoldenB2);
EFFICIENTVIT_ON_EVERY_ISA(GoldenB3);

}  // namespace

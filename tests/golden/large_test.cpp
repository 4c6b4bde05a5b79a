// SPDX-License-Identifier: Apache-2.0
//
// The networks of the L family from l1 on against what the reference computes in float64.
#include "../isas.hpp"
#include "backbones.hpp"

namespace {

class GoldenL : public IsaTest {};

TEST_P(GoldenL, L1Backbone) { check_backbone<ev::BackboneL1>("l1_1x64x96", GetParam(), large_bound); }
TEST_P(GoldenL, L1Backbone224) { check_backbone<ev::BackboneL1>("l1_1x224x224", GetParam(), large_bound); }
TEST_P(GoldenL, L2Backbone) { check_backbone<ev::BackboneL2>("l2_1x64x96", GetParam(), large_bound); }
TEST_P(GoldenL, L3Backbone) { check_backbone<ev::BackboneL3>("l3_1x64x96", GetParam(), large_bound); }

/// The eps of published classifiers makes a difference that is seen.
TEST_P(GoldenL, L1BackboneOfTheClassifier) {
    check_backbone<ev::ClsL1<>::Backbone>("l1_eps1e-7_1x64x96", GetParam(), large_bound);
}

TEST_P(GoldenL, L1Classifier) { check_classifier<ev::ClsL1<>>("cls_l1_224", GetParam(), large_bound); }
TEST_P(GoldenL, L2Classifier) { check_classifier<ev::ClsL2<>>("cls_l2_224", GetParam(), large_bound); }
TEST_P(GoldenL, L3Classifier) { check_classifier<ev::ClsL3<>>("cls_l3_224", GetParam(), large_bound); }

TEST(PublishedNames, OfTheLFamily) {
    EXPECT_EQ(lines(ev::BackboneL1::parameters()), published("backbone_l1"));
    EXPECT_EQ(lines(ev::BackboneL2::parameters()), published("backbone_l2"));
    EXPECT_EQ(lines(ev::BackboneL3::parameters()), published("backbone_l3"));
    EXPECT_EQ(lines(ev::ClsL1<>::parameters()), published("cls_l1"));
    EXPECT_EQ(lines(ev::ClsL2<>::parameters()), published("cls_l2"));
    EXPECT_EQ(lines(ev::ClsL3<>::parameters()), published("cls_l3"));
}

EFFICIENTVIT_ON_EVERY_ISA(GoldenL);

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// The networks b0 and b1 against what the reference computes in float64.
#include "../isas.hpp"
#include "backbones.hpp"

namespace {

class GoldenB0 : public IsaTest {};
class GoldenB1 : public IsaTest {};

TEST_P(GoldenB0, Backbone224) { check_backbone<ev::BackboneB0>("b0_1x224x224", GetParam()); }
TEST_P(GoldenB0, BackboneQuadraticInTheLastStage) { check_backbone<ev::BackboneB0>("b0_1x64x96", GetParam()); }
TEST_P(GoldenB0, BackboneOddSize) { check_backbone<ev::BackboneB0>("b0_1x33x32", GetParam()); }
TEST_P(GoldenB0, BackboneBatchOfOddSize) { check_backbone<ev::BackboneB0>("b0_2x97x131", GetParam()); }
TEST_P(GoldenB0, Classifier) { check_classifier<ev::ClsB0<>>("cls_b0_224", GetParam()); }

TEST_P(GoldenB1, Backbone224) { check_backbone<ev::BackboneB1>("b1_1x224x224", GetParam()); }
TEST_P(GoldenB1, BackboneQuadraticInTheLastStage) { check_backbone<ev::BackboneB1>("b1_1x64x96", GetParam()); }
TEST_P(GoldenB1, Classifier) { check_classifier<ev::ClsB1<>>("cls_b1_224", GetParam()); }

TEST(PublishedNames, OfB0AndB1) {
    EXPECT_EQ(lines(ev::BackboneB0::parameters()), published("backbone_b0"));
    EXPECT_EQ(lines(ev::BackboneB1::parameters()), published("backbone_b1"));
    EXPECT_EQ(lines(ev::ClsB0<>::parameters()), published("cls_b0"));
    EXPECT_EQ(lines(ev::ClsB1<>::parameters()), published("cls_b1"));
}

TEST(PublishedNames, WithAnotherNumberOfClasses) {
    std::vector<std::string> expected = published("cls_b0");
    expected.at(expected.size() - 2) = "head.op_list.3.linear.weight 10 1280";
    expected.at(expected.size() - 1) = "head.op_list.3.linear.bias 10";
    EXPECT_EQ(lines(ev::ClsB0<10>::parameters()), expected);
    static_assert(ev::ClsB0<10>::n_classes == 10 && ev::ClsB0<10>::out_channels == 10);
}

EFFICIENTVIT_ON_EVERY_ISA(GoldenB0);
EFFICIENTVIT_ON_EVERY_ISA(GoldenB1);

}  // namespace

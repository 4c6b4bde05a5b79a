// SPDX-License-Identifier: Apache-2.0
//
// Segmenters and SAM's image encoders against what the reference computes in float64.
#include "../isas.hpp"
#include "backbones.hpp"

namespace {

class GoldenSeg : public IsaTest {
protected:
    template <class Model>
    static void check(const std::string& name, double limit = bound) {
        const GoldenFile golden("seg_" + name);
        const Model model = golden_layer<Model>(GetParam());
        golden.report("segout", GetParam(),
                      check_forward(model, golden.input_shape(), golden.map("segout"), name, limit));
    }
};

TEST_P(GoldenSeg, B0Cityscapes) { check<ev::SegB0Cityscapes<>>("b0_cityscapes_64x128"); }
TEST_P(GoldenSeg, B1Cityscapes) { check<ev::SegB1Cityscapes<>>("b1_cityscapes_64x128"); }
TEST_P(GoldenSeg, B2Cityscapes) { check<ev::SegB2Cityscapes<>>("b2_cityscapes_64x128"); }
TEST_P(GoldenSeg, B2CityscapesLinear) { check<ev::SegB2Cityscapes<>>("b2_cityscapes_192x256"); }
TEST_P(GoldenSeg, B3Cityscapes) { check<ev::SegB3Cityscapes<>>("b3_cityscapes_64x128"); }
TEST_P(GoldenSeg, L1Cityscapes) { check<ev::SegL1Cityscapes<>>("l1_cityscapes_64x128", large_bound); }
TEST_P(GoldenSeg, L2Cityscapes) { check<ev::SegL2Cityscapes<>>("l2_cityscapes_64x128", large_bound); }
TEST_P(GoldenSeg, B1ADE20K) { check<ev::SegB1ADE20K<>>("b1_ade20k_64x128"); }
TEST_P(GoldenSeg, B2ADE20K) { check<ev::SegB2ADE20K<>>("b2_ade20k_64x128"); }
TEST_P(GoldenSeg, B3ADE20K) { check<ev::SegB3ADE20K<>>("b3_ade20k_64x128"); }
TEST_P(GoldenSeg, L1ADE20K) { check<ev::SegL1ADE20K<>>("l1_ade20k_64x128", large_bound); }
TEST_P(GoldenSeg, L2ADE20K) { check<ev::SegL2ADE20K<>>("l2_ade20k_64x128", large_bound); }

class GoldenSam : public IsaTest {
protected:
    /// The file holds every 16th channel.
    template <class Encoder>
    static void check(const std::string& name) {
        const GoldenFile golden("sam_encoder_" + name);
        const Encoder encoder = golden_layer<Encoder>(GetParam());
        const ev::Tensor image = golden_input(golden.input_shape());
        ev::Tensor first;
        for (const int threads : {1, 2, 3}) {
            ev::Context context({.threads = threads});
            const ev::Tensor embedding = encoder.forward(image, context);
            if (threads > 1) {
                EXPECT_TRUE(same_bits(embedding, first)) << threads << " threads";
                continue;
            }
            first = embedding;
            ASSERT_EQ(shape_of(embedding), (ev::Shape{1, 256, 64, 64}));
            const Eigen::array<Eigen::Index, 4> strides{1, 16, 1, 1};
            const ev::Tensor kept = embedding.stride(strides);
            const double error = relative_error(kept, golden.map("output_every_16th_channel"));
            EXPECT_LE(error, large_bound);
            golden.report("output_every_16th_channel", GetParam(), error);
        }
    }
};

TEST_P(GoldenSam, L0) { check<ev::SamImageEncoderL0>("l0_128"); }
TEST_P(GoldenSam, L1) { check<ev::SamImageEncoderL1>("l1_128"); }
TEST_P(GoldenSam, L2) { check<ev::SamImageEncoderL2>("l2_128"); }
TEST_P(GoldenSam, XL0) { check<ev::SamImageEncoderXL0>("xl0_128"); }
TEST_P(GoldenSam, XL0Linear) { check<ev::SamImageEncoderXL0>("xl0_448"); }
TEST_P(GoldenSam, XL1) { check<ev::SamImageEncoderXL1>("xl1_128"); }

TEST(PublishedNames, OfSegmenters) {
    EXPECT_EQ(lines(ev::SegB0Cityscapes<>::parameters()), published("seg_b0_cityscapes"));
    EXPECT_EQ(lines(ev::SegB1Cityscapes<>::parameters()), published("seg_b1_cityscapes"));
    EXPECT_EQ(lines(ev::SegB2Cityscapes<>::parameters()), published("seg_b2_cityscapes"));
    EXPECT_EQ(lines(ev::SegB3Cityscapes<>::parameters()), published("seg_b3_cityscapes"));
    EXPECT_EQ(lines(ev::SegL1Cityscapes<>::parameters()), published("seg_l1_cityscapes"));
    EXPECT_EQ(lines(ev::SegL2Cityscapes<>::parameters()), published("seg_l2_cityscapes"));
    EXPECT_EQ(lines(ev::SegB1ADE20K<>::parameters()), published("seg_b1_ade20k"));
    EXPECT_EQ(lines(ev::SegB2ADE20K<>::parameters()), published("seg_b2_ade20k"));
    EXPECT_EQ(lines(ev::SegB3ADE20K<>::parameters()), published("seg_b3_ade20k"));
    EXPECT_EQ(lines(ev::SegL1ADE20K<>::parameters()), published("seg_l1_ade20k"));
    EXPECT_EQ(lines(ev::SegL2ADE20K<>::parameters()), published("seg_l2_ade20k"));
}

TEST(PublishedNames, OfSamEncoders) {
    EXPECT_EQ(lines(ev::SamImageEncoderL0::parameters()), published("sam_encoder_l0"));
    EXPECT_EQ(lines(ev::SamImageEncoderL1::parameters()), published("sam_encoder_l1"));
    EXPECT_EQ(lines(ev::SamImageEncoderL2::parameters()), published("sam_encoder_l2"));
    EXPECT_EQ(lines(ev::SamImageEncoderXL0::parameters()), published("sam_encoder_xl0"));
    EXPECT_EQ(lines(ev::SamImageEncoderXL1::parameters()), published("sam_encoder_xl1"));
}

EFFICIENTVIT_ON_EVERY_ISA(GoldenSeg);
EFFICIENTVIT_ON_EVERY_ISA(GoldenSam);

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// SAM's prompt encoder and mask decoder against what the reference computes in float64, prompt by prompt.
#include "../isas.hpp"
#include "backbones.hpp"
#include "sam_cases.hpp"

#include <optional>
#include <vector>

namespace {

using Prompts = ev::PromptEncoder<ev::PromptEncoderConfig{}>;
using Masks = ev::MaskDecoder<ev::MaskDecoderConfig{}>;

/// The bound: of the largest value.
constexpr double sam_bound = 1e-5;

/// A part of a whole SAM, from weights that stand below its name.
template <class Part>
Part sam_part(const std::string& prefix, ev::Isa isa) {
    Part part;
    part.load_state_dict(sam_weights(Part::parameters(), prefix), {.prefix = prefix, .isa = isa});
    return part;
}

class GoldenSamPrompt : public IsaTest {
protected:
    static void check(const std::string& name) {
        const SamCase golden(name);
        const auto prompts = sam_part<Prompts>("prompt_encoder.", GetParam());
        const auto decoder = sam_part<Masks>("mask_decoder.", GetParam());

        std::vector<ev::Tensor> tokens;
        for (int i = 0; i < golden.prompts(); ++i) {
            tokens.push_back(prompts.embed_sparse(golden.frame_points(i), golden.frame_box(i)));
        }
        ev::Tensor sparse(golden.prompts(), 1, tokens[0].dimension(2), 256);
        for (int i = 0; i < golden.prompts(); ++i) {
            std::copy_n(tokens[std::size_t(i)].data(), tokens[0].size(), sparse.data() + i * tokens[0].size());
        }
        EXPECT_LE(largest_error(sparse, golden.map("sparse"), 1), 2e-6) << "sparse";

        const ev::Tensor embedding = golden_tensor_of("embedding", {1, 256, 64, 64});
        const ev::Tensor mask = golden_tensor_of("mask_input", {1, 1, 256, 256});
        const ev::Tensor positions = prompts.get_dense_pe();
        ev::Tensor first_masks, first_iou;
        for (const int threads : {1, 2, 3}) {
            ev::Context context({.threads = threads});
            const ev::Tensor dense =
                golden.has_mask() ? prompts.embed_dense(const_view(mask), context) : prompts.embed_dense();
            ev::Tensor masks, iou;
            decoder.forward(const_view(embedding), const_view(positions), const_view(sparse), const_view(dense),
                            {.multimask_output = golden.multimask()}, masks, iou, context);
            if (threads > 1) {
                EXPECT_TRUE(same_bits(masks, first_masks)) << threads << " threads";
                EXPECT_TRUE(same_bits(iou, first_iou)) << threads << " threads";
                continue;
            }
            first_masks = masks;
            first_iou = iou;
            const double error = largest_error(masks, golden.map("low_res"), golden.low_res_step());
            EXPECT_LE(error, sam_bound) << "low_res";
            EXPECT_LE(largest_error(iou, golden.map("iou"), 1), sam_bound) << "iou";
            golden.file().report("low_res", GetParam(), error);
        }
    }
};

TEST_P(GoldenSamPrompt, Point) { check("point"); }
TEST_P(GoldenSamPrompt, PointsSingle) { check("points_single"); }
TEST_P(GoldenSamPrompt, Box) { check("box"); }
TEST_P(GoldenSamPrompt, BoxAndPoint) { check("box_point"); }
TEST_P(GoldenSamPrompt, MaskAndPoint) { check("mask_point"); }
TEST_P(GoldenSamPrompt, Batch) { check("batch"); }

EFFICIENTVIT_ON_EVERY_ISA(GoldenSamPrompt);

TEST(PublishedNames, OfWholeSam) { EXPECT_EQ(lines(ev::SamL0::parameters()), published("sam_l0_whole")); }

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// Segmenters and SAM's image encoder of any configuration against the reference, and the sizes that they take.
#include "check_layer.hpp"

namespace {

using ev::Activation;

constexpr ev::BackboneConfig small_backbone{
    .width_list = {4, 8, 9, 16, 20}, .depth_list = {1, 1, 1, 1, 1}, .dim = 4, .expand_ratio = 2};
constexpr ev::LargeBackboneConfig small_large{
    .width_list = {4, 8, 9, 16},
    .depth_list = {1, 1, 1, 1},
    .block_list = {ev::LargeBlock::res, ev::LargeBlock::fmb, ev::LargeBlock::mb, ev::LargeBlock::att},
    .expand_list = {1, 2, 2, 2},
    .fewer_norm_list = {false, false, true, true},
    .in_channels = 2,
    .qkv_dim = 4};

template <class Backbone, ev::SegHeadConfig H>
void check_seg(const std::string& what, const std::vector<ev::Shape>& sizes) {
    check_layer<ev::EfficientViTSeg<Backbone, H>>(what, sizes);
}

TEST(Segmenter, AnyHead) {
    using B = ev::EfficientViTBackbone<small_backbone>;
    const std::vector<ev::Shape> sizes{{1, 0, 32, 32}, {2, 0, 64, 32}, {1, 0, 32, 160}};
    check_seg<B, ev::SegHeadConfig{.head_width = 8, .head_depth = 2, .final_expand = 4, .n_classes = 19}>("MBConv",
                                                                                                          sizes);
    check_seg<B, ev::SegHeadConfig{.head_width = 5, .head_depth = 1, .expand_ratio = 3, .n_classes = 2}>("no expansion",
                                                                                                         sizes);
    check_seg<B, ev::SegHeadConfig{.head_width = 20,
                                   .head_depth = 1,
                                   .expand_ratio = 1,
                                   .middle_op = ev::SegMiddleOp::fmbconv,
                                   .final_expand = 2,
                                   .n_classes = 3,
                                   .act_func = Activation::gelu,
                                   .norm_eps = 0.1}>("FusedMBConv", sizes);
    check_seg<B, ev::SegHeadConfig{.head_width = 7, .head_depth = 0, .n_classes = 4}>("no blocks", sizes);
    check_seg<B, ev::SegHeadConfig{.inputs = 1, .head_width = 8, .head_depth = 1, .n_classes = 4}>(
        "one input", {{1, 0, 33, 17}, {1, 0, 5, 64}});
    check_seg<B, ev::SegHeadConfig{.inputs = 5, .head_width = 8, .head_depth = 1, .n_classes = 4}>("all stages", sizes);
}

TEST(Segmenter, OfTheLFamily) {
    using L = ev::EfficientViTLargeBackbone<small_large>;
    check_seg<L, ev::SegHeadConfig{.inputs = 2,
                                   .head_width = 16,
                                   .head_depth = 2,
                                   .middle_op = ev::SegMiddleOp::fmbconv,
                                   .n_classes = 5,
                                   .act_func = Activation::gelu}>("two inputs", {{1, 0, 16, 48}, {2, 0, 32, 16}});
}

/// Sizes that are no multiples but halve like one are taken, as in the reference.
TEST(Segmenter, SizesThatAddUp) {
    using B = ev::EfficientViTBackbone<small_backbone>;
    check_seg<B, ev::SegHeadConfig{.head_width = 8, .head_depth = 1, .n_classes = 3}>(
        "sizes", {{1, 0, 25, 32}, {1, 0, 31, 58}, {1, 0, 57, 90}});
}

TEST(Segmenter, SizesThatDoNotAddUp) {
    using Seg = ev::SegB0Cityscapes<>;
    EXPECT_EQ(Seg::size_multiple, 32);
    EXPECT_EQ(Seg::stride, 8);
    EXPECT_EQ(Seg::output_shape({1, 3, 1024, 2048}), (ev::Shape{1, 19, 128, 256}));
    const std::string message = message_of<ev::ShapeError>([] { Seg::output_shape({1, 3, 1080, 1920}); });
    expect_in("1080 x 1920", message);
    expect_in("136 x 240, 136 x 240, 135 x 240", message);
    expect_in("multiples of 32", message);

    const Seg model = golden_layer<Seg>();
    for (const ev::Shape& size : {ev::Shape{1, 3, 33, 64}, {1, 3, 64, 24}, {1, 3, 65, 65}}) {
        ev::Tensor y;
        ev::Context context;
        EXPECT_THROW(model.forward(golden_input(size)), ev::ShapeError) << to_text(size);
        EXPECT_THROW(model.forward(golden_input(size), y, context), ev::ShapeError) << to_text(size);
        EXPECT_THROW(model.workspace_bytes(size, context), ev::ShapeError) << to_text(size);
    }
    EXPECT_EQ((ev::EfficientViTSeg<ev::BackboneL1, ev::SegHeadConfig{.head_width = 8, .n_classes = 2}>::size_multiple),
              32);
}

template <class Backbone, ev::SamNeckConfig K>
void check_sam(const std::string& what, const std::vector<ev::Shape>& sizes) {
    check_layer<ev::SamImageEncoder<Backbone, K>>(what, sizes);
}

/// Any size of image gives the same size of embedding.
TEST(SamImageEncoder, AnyNeck) {
    using L = ev::EfficientViTLargeBackbone<small_large>;
    const std::vector<ev::Shape> sizes{{1, 0, 64, 64}, {1, 0, 9, 30}, {2, 0, 96, 40}};
    check_sam<L, ev::SamNeckConfig{.head_width = 8, .head_depth = 1, .out_dim = 12, .size = {5, 7}, .norm_eps = 0.01}>(
        "5x7", sizes);
    check_sam<L,
              ev::SamNeckConfig{.head_width = 12, .head_depth = 0, .expand_ratio = 4, .out_dim = 40, .size = {16, 16}}>(
        "16x16", sizes);
}

TEST(SamImageEncoder, PublishedOnes) {
    EXPECT_EQ(ev::SamImageEncoderL0::output_shape({1, 3, 512, 512}), (ev::Shape{1, 256, 64, 64}));
    EXPECT_EQ(ev::SamImageEncoderXL1::output_shape({2, 3, 1024, 1024}), (ev::Shape{2, 256, 64, 64}));
}

}  // namespace

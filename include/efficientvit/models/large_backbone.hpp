// SPDX-License-Identifier: Apache-2.0
//
// EfficientViTLargeBackbone of the reference and its sizes l0 to l3, and xl0 and xl1 that SAM has. Composition only:
// what a block computes is in nn/.
#pragma once

#include <efficientvit/models/features.hpp>
#include <efficientvit/nn/efficientvit_block.hpp>
#include <efficientvit/nn/fused_mb_conv.hpp>
#include <efficientvit/nn/res_block.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// The reference's block_list: "res", "fmb", "mb", "att" (aggregations over 5x5) and "att@3".
enum class LargeBlock {
    res,      ///< ResBlock
    fmb,      ///< FusedMBConv
    mb,       ///< MBConv
    att,      ///< EfficientViTBlock with an aggregation over 5x5
    att_at_3  ///< EfficientViTBlock with one over 3x3
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of EfficientViTLargeBackbone, named as in the reference. All lists have an entry for every stage, from
/// stage 0 on; the defaults are for five.
struct LargeBackboneConfig {
    IntList width_list{};  ///< channels of each stage, the stem's first
    IntList depth_list{};  ///< blocks of each stage
    /// Kind of block of each stage.
    ShortList<LargeBlock> block_list{LargeBlock::res, LargeBlock::fmb, LargeBlock::fmb, LargeBlock::mb,
                                     LargeBlock::att};
    ShortList<double> expand_list{1, 4, 4, 4, 6};  ///< expand ratio of each stage
    /// Of each stage: biases instead of norms, but for those behind a block's last convolution.
    ShortList<bool> fewer_norm_list{false, false, false, true, true};
    int in_channels = 3;                     ///< of the image
    int qkv_dim = 32;                        ///< channels of an attention head
    Norm norm = Norm::bn2d;                  ///< behind convolutions
    Activation act_func = Activation::gelu;  ///< of all blocks
    double norm_eps = 1e-5;        ///< published weights: 1e-7 for classification and segmentation, 1e-6 for SAM
    double attention_eps = 1e-15;  ///< LiteMLA's eps; timm's models are made with 1e-5
};

/// The same network with another eps in its norms.
constexpr LargeBackboneConfig with_norm_eps(LargeBackboneConfig config, double norm_eps) {
    config.norm_eps = norm_eps;
    return config;
}

namespace detail {

/// Arguments of EfficientViTLargeBackbone.build_local_block.
struct LargeBlockConfig {
    LargeBlock block = LargeBlock::mb;
    int in_channels = 0;
    int out_channels = 0;
    int stride = 1;
    double expand_ratio = 4;
    Norm norm = Norm::bn2d;
    Activation act_func = Activation::gelu;
    bool fewer_norm = false;
    double norm_eps = 1e-5;
};

/// build_local_block. A `res` block knows nothing of expand_ratio: it has as many channels inside.
template <LargeBlockConfig C>
auto build_large_block() {
    constexpr Norm early = C.fewer_norm ? Norm::none : C.norm;
    if constexpr (C.block == LargeBlock::res) {
        return ResBlock<ResBlockConfig{.in_channels = C.in_channels,
                                       .out_channels = C.out_channels,
                                       .stride = C.stride,
                                       .use_bias = {C.fewer_norm, false},
                                       .norm = {early, C.norm},
                                       .act_func = {C.act_func, Activation::none},
                                       .norm_eps = C.norm_eps}>{};
    } else if constexpr (C.block == LargeBlock::fmb) {
        return FusedMBConv<FusedMBConvConfig{.in_channels = C.in_channels,
                                             .out_channels = C.out_channels,
                                             .stride = C.stride,
                                             .expand_ratio = C.expand_ratio,
                                             .use_bias = {C.fewer_norm, false},
                                             .norm = {early, C.norm},
                                             .act_func = {C.act_func, Activation::none},
                                             .norm_eps = C.norm_eps}>{};
    } else {
        return MBConv<MBConvConfig{.in_channels = C.in_channels,
                                   .out_channels = C.out_channels,
                                   .stride = C.stride,
                                   .expand_ratio = C.expand_ratio,
                                   .use_bias = {C.fewer_norm, C.fewer_norm, false},
                                   .norm = {early, early, C.norm},
                                   .act_func = {C.act_func, C.act_func, Activation::none},
                                   .norm_eps = C.norm_eps}>{};
    }
}

constexpr bool is_attention(LargeBlock block) { return block == LargeBlock::att || block == LargeBlock::att_at_3; }

/// The layers of one stage.
template <LargeBackboneConfig C, int Stage>
struct LargeStageOf {
    static constexpr int width = C.width_list[Stage];
    static constexpr LargeBlock block = C.block_list[Stage];
    static constexpr double expand_ratio = C.expand_list[Stage];

    /// A block that halves the resolution is four times as wide inside.
    template <LargeBlock Kind, int InChannels, int Stride>
    using Local = decltype(build_large_block<LargeBlockConfig{.block = Kind,
                                                              .in_channels = InChannels,
                                                              .out_channels = width,
                                                              .stride = Stride,
                                                              .expand_ratio = expand_ratio*(Stride == 2 ? 4 : 1),
                                                              .norm = C.norm,
                                                              .act_func = C.act_func,
                                                              .fewer_norm = C.fewer_norm_list[Stage],
                                                              .norm_eps = C.norm_eps}>());

    /// What halves the resolution: a convolution in stage 0, then a block that is never attention nor `res`.
    static auto down() {
        if constexpr (Stage == 0) {
            return ConvLayer<ConvConfig{.in_channels = C.in_channels,
                                        .out_channels = width,
                                        .stride = 2,
                                        .norm = C.norm,
                                        .act_func = C.act_func,
                                        .norm_eps = C.norm_eps}>{};
        } else {
            constexpr LargeBlock kind = block == LargeBlock::fmb ? LargeBlock::fmb : LargeBlock::mb;
            return ResidualBlock<Local<kind, C.width_list[Stage - 1], 2>>{};
        }
    }
    /// What follows it, depth times.
    static auto body() {
        if constexpr (is_attention(block)) {
            return EfficientViTBlock<EfficientViTBlockConfig{
                .in_channels = width,
                .dim = C.qkv_dim,
                .expand_ratio = expand_ratio,
                .scales = block == LargeBlock::att_at_3 ? IntList{3} : IntList{5},
                .norm = C.norm,
                .act_func = C.act_func,
                .norm_eps = C.norm_eps,
                .attention_eps = C.attention_eps}>{};
        } else {
            return ResidualBlock<Local<block, width, 1>, IdentityLayer>{};
        }
    }

    template <std::size_t, class T>
    using Repeat = T;
    template <std::size_t... Is>
    static auto build(std::index_sequence<Is...>) {
        return OpSequential<decltype(down()), Repeat<Is, decltype(body())>...>{};
    }
    using type = decltype(build(std::make_index_sequence<std::size_t(C.depth_list[Stage])>{}));
};

template <LargeBackboneConfig C, class Derived,
          class Stages = std::make_index_sequence<std::size_t(C.width_list.size())>>
struct LargeBackboneOf;
template <LargeBackboneConfig C, class Derived, std::size_t... Stage>
struct LargeBackboneOf<C, Derived, std::index_sequence<Stage...>> {
    using type = Backbone<Derived, typename LargeStageOf<C, int(Stage)>::type...>;
};

/// Whether all lists have as many entries.
constexpr bool lists_fit(const LargeBackboneConfig& c) {
    const int stages = c.width_list.size();
    return stages > 0 && c.depth_list.size() == stages && c.block_list.size() == stages &&
           c.expand_list.size() == stages && c.fewer_norm_list.size() == stages;
}

}  // namespace detail

/// The L family: dense convolutions in the early stages, attention in the last. (N, in_channels, H, W) to the maps
/// of all stages; stage i has width_list[i] channels and is H and W halved i + 1 times, rounded up.
/// State dict: stages.<stage>.op_list.<i>….
template <LargeBackboneConfig C>
class EfficientViTLargeBackbone : public detail::LargeBackboneOf<C, EfficientViTLargeBackbone<C>>::type {
    static_assert(detail::lists_fit(C), "EfficientViTLargeBackbone: all lists need an entry for every stage");
    static_assert(!detail::is_attention(C.block_list[0]),
                  "EfficientViTLargeBackbone: stage 0 has blocks res, fmb or mb, not attention");

public:
    static constexpr LargeBackboneConfig config = C;  ///< its arguments

    /// Where a stage is in the state dict.
    static std::string stage_name(int stage) { return detail::concat({"stages.", std::to_string(stage)}); }
};

namespace detail {
constexpr LargeBackboneConfig extra_large(const IntList& depth_list) {
    using enum LargeBlock;
    return {.width_list = {32, 64, 128, 256, 512, 1024},
            .depth_list = depth_list,
            .block_list = {res, fmb, fmb, fmb, att_at_3, att_at_3},
            .expand_list = {1, 4, 4, 4, 4, 6},
            .fewer_norm_list = {false, false, false, false, true, true}};
}
}  // namespace detail

/// EfficientViT-L0.
inline constexpr LargeBackboneConfig l0{.width_list = {32, 64, 128, 256, 512}, .depth_list = {1, 1, 1, 4, 4}};
/// EfficientViT-L1.
inline constexpr LargeBackboneConfig l1{.width_list = {32, 64, 128, 256, 512}, .depth_list = {1, 1, 1, 6, 6}};
/// EfficientViT-L2.
inline constexpr LargeBackboneConfig l2{.width_list = {32, 64, 128, 256, 512}, .depth_list = {1, 2, 2, 8, 8}};
/// EfficientViT-L3.
inline constexpr LargeBackboneConfig l3{.width_list = {64, 128, 256, 512, 1024}, .depth_list = {1, 2, 2, 8, 8}};
/// EfficientViT-XL0.
inline constexpr LargeBackboneConfig xl0 = detail::extra_large({0, 1, 1, 2, 3, 3});
/// EfficientViT-XL1.
inline constexpr LargeBackboneConfig xl1 = detail::extra_large({1, 2, 2, 4, 6, 6});

/// EfficientViT-L0's.
using BackboneL0 = EfficientViTLargeBackbone<l0>;
/// EfficientViT-L1's.
using BackboneL1 = EfficientViTLargeBackbone<l1>;
/// EfficientViT-L2's.
using BackboneL2 = EfficientViTLargeBackbone<l2>;
/// EfficientViT-L3's.
using BackboneL3 = EfficientViTLargeBackbone<l3>;
/// EfficientViT-XL0's.
using BackboneXL0 = EfficientViTLargeBackbone<xl0>;
/// EfficientViT-XL1's.
using BackboneXL1 = EfficientViTLargeBackbone<xl1>;

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

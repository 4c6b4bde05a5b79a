// SPDX-License-Identifier: Apache-2.0
//
// EfficientViTBackbone of the reference (arXiv 2205.14756) and its sizes b0 to b3. Composition only: what a block
// computes is in nn/.
#pragma once

#include <efficientvit/models/features.hpp>
#include <efficientvit/nn/ds_conv.hpp>
#include <efficientvit/nn/efficientvit_block.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of EfficientViTBackbone, named as in the reference. Widths and depths are those of stage 0 (the stem),
/// 1, …
struct BackboneConfig {
    IntList width_list{};                      ///< channels of each stage, the stem's first
    IntList depth_list{};                      ///< blocks of each stage
    int in_channels = 3;                       ///< of the image
    int dim = 32;                              ///< channels of an attention head
    double expand_ratio = 4;                   ///< of all blocks but the stem's
    Norm norm = Norm::bn2d;                    ///< behind convolutions
    Activation act_func = Activation::hswish;  ///< of all blocks
    double norm_eps = 1e-5;                    ///< added to a norm's variance
    double attention_eps = 1e-15;              ///< LiteMLA's eps; timm's models are made with 1e-5
};

namespace detail {

/// Arguments of the reference's build_local_block.
struct LocalBlockConfig {
    int in_channels = 0;
    int out_channels = 0;
    int stride = 1;
    double expand_ratio = 4;
    Norm norm = Norm::bn2d;
    Activation act_func = Activation::hswish;
    bool fewer_norm = false;
    double norm_eps = 1e-5;
};

/// build_local_block: DSConv where nothing is expanded, else MBConv.
template <LocalBlockConfig C>
auto build_local_block() {
    constexpr Norm early = C.fewer_norm ? Norm::none : C.norm;
    if constexpr (C.expand_ratio == 1) {
        return DSConv<DSConvConfig{.in_channels = C.in_channels,
                                   .out_channels = C.out_channels,
                                   .stride = C.stride,
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
template <LocalBlockConfig C>
using LocalBlock = decltype(build_local_block<C>());

/// Channels behind a stage. A stage 1 or 2 of depth 0 is empty, as in the reference: what comes in goes out.
constexpr int channels_behind(const BackboneConfig& c, int stage) {
    while ((stage == 1 || stage == 2) && c.depth_list[stage] == 0) --stage;
    return c.width_list[stage];
}

template <BackboneConfig C, int Stage>
struct StageOf {
    static constexpr int width = C.width_list[Stage];
    static constexpr int depth = C.depth_list[Stage];

    /// A block of this stage; the first takes the width and the resolution from the stage before.
    template <bool First, bool FewerNorm, int Ratio = 0>
    using Block = LocalBlock<LocalBlockConfig{.in_channels = First ? channels_behind(C, Stage - 1) : width,
                                              .out_channels = width,
                                              .stride = First ? 2 : 1,
                                              .expand_ratio = Ratio == 0 ? C.expand_ratio : Ratio,
                                              .norm = C.norm,
                                              .act_func = C.act_func,
                                              .fewer_norm = FewerNorm,
                                              .norm_eps = C.norm_eps}>;

    /// input_stem: a strided convolution, then depth residual blocks that expand nothing.
    template <std::size_t... Is>
    static auto stem(std::index_sequence<Is...>) {
        using Conv = ConvLayer<ConvConfig{.in_channels = C.in_channels,
                                          .out_channels = width,
                                          .stride = 2,
                                          .norm = C.norm,
                                          .act_func = C.act_func,
                                          .norm_eps = C.norm_eps}>;
        return OpSequential<Conv, Repeat<Is, ResidualBlock<Block<false, false, 1>, IdentityLayer>>...>{};
    }
    /// stages 1 and 2: depth local blocks, the first of which halves the resolution.
    template <std::size_t... Is>
    static auto local(std::index_sequence<Is...>) {
        return OpSequential<std::conditional_t<Is == 0, ResidualBlock<Block<Stage != 0, false>>,
                                               ResidualBlock<Block<false, false>, IdentityLayer>>...>{};
    }
    /// stages 3 and later: a local block that halves the resolution, then depth EfficientViTBlocks.
    template <std::size_t... Is>
    static auto attention(std::index_sequence<Is...>) {
        using Block3 = EfficientViTBlock<EfficientViTBlockConfig{.in_channels = width,
                                                                 .dim = C.dim,
                                                                 .expand_ratio = C.expand_ratio,
                                                                 .norm = C.norm,
                                                                 .act_func = C.act_func,
                                                                 .norm_eps = C.norm_eps,
                                                                 .attention_eps = C.attention_eps}>;
        return OpSequential<ResidualBlock<Block<Stage != 0, true>>, Repeat<Is, Block3>...>{};
    }

    template <std::size_t, class T>
    using Repeat = T;

    static auto build() {
        constexpr auto blocks = std::make_index_sequence<static_cast<std::size_t>(depth)>{};
        if constexpr (Stage == 0) {
            return stem(blocks);
        } else if constexpr (Stage <= 2 && depth == 0) {
            return IdentityLayer{};
        } else if constexpr (Stage <= 2) {
            return local(blocks);
        } else {
            return attention(blocks);
        }
    }
    using type = decltype(build());
};

template <BackboneConfig C, class Derived, class Stages = std::make_index_sequence<std::size_t(C.width_list.size())>>
struct BackboneOf;
template <BackboneConfig C, class Derived, std::size_t... Stage>
struct BackboneOf<C, Derived, std::index_sequence<Stage...>> {
    using type = Backbone<Derived, typename StageOf<C, int(Stage)>::type...>;
};

}  // namespace detail

/// The B family: a stem, two stages of inverted bottlenecks, then stages of attention. (N, in_channels, H, W) to
/// the maps of all stages; stage i has width_list[i] channels and is H and W halved i + 1 times, rounded up; a stage 1
/// or 2 of depth 0 leaves the map as it is. State dict: input_stem.op_list.<i>…, stages.<stage - 1>.op_list.<i>….
template <BackboneConfig C>
class EfficientViTBackbone : public detail::BackboneOf<C, EfficientViTBackbone<C>>::type {
    static_assert(C.width_list.size() == C.depth_list.size() && C.width_list.size() > 0,
                  "EfficientViTBackbone: width_list and depth_list need an entry for every stage");

public:
    static constexpr BackboneConfig config = C;  ///< its arguments

    /// Where a stage is in the state dict.
    static std::string stage_name(int stage) {
        return stage == 0 ? "input_stem" : detail::concat({"stages.", std::to_string(stage - 1)});
    }
};

/// EfficientViT-B0.
inline constexpr BackboneConfig b0{.width_list = {8, 16, 32, 64, 128}, .depth_list = {1, 2, 2, 2, 2}, .dim = 16};
/// EfficientViT-B1.
inline constexpr BackboneConfig b1{.width_list = {16, 32, 64, 128, 256}, .depth_list = {1, 2, 3, 3, 4}, .dim = 16};
/// EfficientViT-B2.
inline constexpr BackboneConfig b2{.width_list = {24, 48, 96, 192, 384}, .depth_list = {1, 3, 4, 4, 6}, .dim = 32};
/// EfficientViT-B3.
inline constexpr BackboneConfig b3{.width_list = {32, 64, 128, 256, 512}, .depth_list = {1, 4, 6, 6, 9}, .dim = 32};

/// EfficientViT-B0's.
using BackboneB0 = EfficientViTBackbone<b0>;
/// EfficientViT-B1's.
using BackboneB1 = EfficientViTBackbone<b1>;
/// EfficientViT-B2's.
using BackboneB2 = EfficientViTBackbone<b2>;
/// EfficientViT-B3's.
using BackboneB3 = EfficientViTBackbone<b3>;

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

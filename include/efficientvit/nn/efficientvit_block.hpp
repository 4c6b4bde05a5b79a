// SPDX-License-Identifier: Apache-2.0
//
// EfficientViTBlock of the reference: attention for context, then an inverted bottleneck for the neighbourhood.
#pragma once

#include <efficientvit/nn/lite_mla.hpp>
#include <efficientvit/nn/mb_conv.hpp>
#include <efficientvit/nn/op_sequential.hpp>
#include <efficientvit/nn/residual_block.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of EfficientViTBlock, named as in the reference.
struct EfficientViTBlockConfig {
    int in_channels = 0;                       ///< of input and output
    double heads_ratio = 1.0;                  ///< attention's heads times dim, for each input channel
    int dim = 32;                              ///< channels of a head
    double expand_ratio = 4;                   ///< of the local module, an MBConv
    IntList scales{5};                         ///< sides of the aggregating depthwise convolutions
    Norm norm = Norm::bn2d;                    ///< behind convolutions
    Activation act_func = Activation::hswish;  ///< of the local module
    double norm_eps = 1e-5;                    ///< added to a norm's variance
    double attention_eps = 1e-15;              ///< LiteMLA's eps; timm's models are made with 1e-5
};

/// (N, in_channels, H, W) to the same. State dict: context_module.main (LiteMLA), local_module.main (MBConv).
template <EfficientViTBlockConfig C>
class EfficientViTBlock : public Module<EfficientViTBlock<C>> {
public:
    /// Attention, with its shortcut.
    using ContextModule = ResidualBlock<LiteMLA<LiteMLAConfig{.in_channels = C.in_channels,
                                                              .out_channels = C.in_channels,
                                                              .heads_ratio = C.heads_ratio,
                                                              .dim = C.dim,
                                                              .norm = {Norm::none, C.norm},
                                                              .scales = C.scales,
                                                              .eps = C.attention_eps,
                                                              .norm_eps = C.norm_eps}>,
                                        IdentityLayer>;
    /// The inverted bottleneck, with its shortcut.
    using LocalModule = ResidualBlock<MBConv<MBConvConfig{.in_channels = C.in_channels,
                                                          .out_channels = C.in_channels,
                                                          .expand_ratio = C.expand_ratio,
                                                          .use_bias = {true, true, false},
                                                          .norm = {Norm::none, Norm::none, C.norm},
                                                          .act_func = {C.act_func, C.act_func, Activation::none},
                                                          .norm_eps = C.norm_eps}>,
                                      IdentityLayer>;

    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.in_channels;
    static constexpr int stride = 1;
    static constexpr int wanted_padding = ContextModule::wanted_padding;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = LocalModule::fuses_residual;

    static detail::Extent output_extent(detail::Extent in) { return in; }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        ContextModule::describe(d.at("context_module"));
        LocalModule::describe(d.at("local_module"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        context_module_.pack(p.at("context_module"));
        local_module_.pack(p.at("local_module"));
    }
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        const detail::Workspace::Frame frame(session.workspace);
        const detail::FeatureMap between =
            detail::new_map(session, x.batch, x.channels, x.extent(), LocalModule::wanted_padding);
        context_module_.run(session, x, between, nullptr);
        local_module_.run(session, between, y, residual);
    }

private:
    ContextModule context_module_;
    LocalModule local_module_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

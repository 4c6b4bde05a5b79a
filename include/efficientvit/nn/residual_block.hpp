// SPDX-License-Identifier: Apache-2.0
//
// ResidualBlock of the reference. An identity shortcut is added by the main layer as it writes, where that can.
#pragma once

#include <efficientvit/nn/identity_layer.hpp>

#include <type_traits>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// ResidualBlock(main, shortcut, post_act, pre_norm) of the reference:
///   main NoLayer: x.   shortcut NoLayer: main(pre_norm(x)).   else: post_act(main(pre_norm(x)) + shortcut(x)).
/// State dict: pre_norm, main, shortcut.
template <class Main, class Shortcut = NoLayer, Activation PostAct = Activation::none, class PreNorm = NoLayer>
class ResidualBlock : public Module<ResidualBlock<Main, Shortcut, PostAct, PreNorm>> {
    static constexpr bool has_main = !std::is_same_v<Main, NoLayer>;
    static constexpr bool has_shortcut = has_main && !std::is_same_v<Shortcut, NoLayer>;
    static constexpr bool has_norm = has_main && !std::is_same_v<PreNorm, NoLayer>;
    static constexpr bool is_identity = std::is_same_v<Shortcut, IdentityLayer>;
    static constexpr bool shortcut_is_layer = has_shortcut && !is_identity;

    using MainLayer = std::conditional_t<has_main, Main, IdentityLayer>;
    using ShortcutLayer = std::conditional_t<shortcut_is_layer, Shortcut, IdentityLayer>;
    using NormLayer = std::conditional_t<has_norm, PreNorm, IdentityLayer>;

    static_assert(!(is_identity && has_main) || MainLayer::stride == 1,
                  "ResidualBlock: an identity shortcut needs a main layer of stride 1; use NoLayer for no shortcut");
    static_assert(!(is_identity && has_main) || MainLayer::in_channels == MainLayer::out_channels,
                  "ResidualBlock: an identity shortcut needs a main layer with as many output as input channels");
    static_assert(!shortcut_is_layer || MainLayer::stride == ShortcutLayer::stride,
                  "ResidualBlock: main and shortcut must have the same stride");
    static_assert(!shortcut_is_layer || MainLayer::out_channels == ShortcutLayer::out_channels,
                  "ResidualBlock: main and shortcut must have as many output channels");
    static_assert(!shortcut_is_layer || MainLayer::in_channels == ShortcutLayer::in_channels,
                  "ResidualBlock: main and shortcut must have as many input channels");
    static_assert(!has_norm || NormLayer::in_channels == MainLayer::in_channels,
                  "ResidualBlock: pre_norm must have as many channels as main takes");

public:
    static constexpr int in_channels = MainLayer::in_channels;
    static constexpr int out_channels = MainLayer::out_channels;
    static constexpr int stride = MainLayer::stride;
    static constexpr int wanted_padding =
        std::max(has_norm ? 0 : MainLayer::wanted_padding, ShortcutLayer::wanted_padding);
    static constexpr bool reads_planar = MainLayer::reads_planar && !has_shortcut && !has_norm;
    static constexpr bool fuses_residual = !has_shortcut && MainLayer::fuses_residual;

    static detail::Extent output_extent(detail::Extent in) { return MainLayer::output_extent(in); }
    EFFICIENTVIT_COLD static void describe(const detail::Describer& d) {
        NormLayer::describe(d.at("pre_norm"));
        MainLayer::describe(d.at("main"));
        ShortcutLayer::describe(d.at("shortcut"));
    }
    EFFICIENTVIT_COLD void pack(const detail::Packer& p) {
        pre_norm_.pack(p.at("pre_norm"));
        main_.pack(p.at("main"));
        shortcut_.pack(p.at("shortcut"));
    }

    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        const detail::Workspace::Frame frame(session.workspace);
        const detail::FeatureMap* added = residual;  // only where there is no shortcut: fuses_residual
        detail::FeatureMap shortcut = x;
        if constexpr (has_shortcut) added = &shortcut;
        if constexpr (shortcut_is_layer) {
            if constexpr (stride == 0) check_same_size(ShortcutLayer::output_extent(x.extent()), y.extent());
            shortcut = detail::new_map(session, y.batch, y.channels, y.extent(), 0);
            shortcut_.run(session, x, shortcut, nullptr);
        }
        detail::FeatureMap in = x;
        if constexpr (has_norm) {
            in = detail::new_map(session, x.batch, x.channels, x.extent(), MainLayer::wanted_padding);
            pre_norm_.run(session, x, in, nullptr);
        }
        if constexpr (MainLayer::fuses_residual) {
            main_.run(session, in, y, added);
        } else {
            main_.run(session, in, y, nullptr);
            if (added != nullptr) detail::run_affine(session, nullptr, kernels::Act::none, y, y, added);
        }
        if constexpr (has_shortcut && PostAct != Activation::none) {
            detail::run_affine(session, nullptr, detail::kernel_act(PostAct), y, y, nullptr);
        }
    }

private:
    /// Layers that interpolate or pool: whether their sizes agree may depend on the input.
    EFFICIENTVIT_COLD static void check_same_size(detail::Extent shortcut, detail::Extent main) {
        if (shortcut.height == main.height && shortcut.width == main.width) return;
        const auto text = [](detail::Extent e) {
            return detail::concat({std::to_string(e.height), " x ", std::to_string(e.width)});
        };
        throw ShapeError(
            detail::concat({"ResidualBlock: main gives ", text(main), " pixels, the shortcut ", text(shortcut)}));
    }

    MainLayer main_;
    [[no_unique_address]] ShortcutLayer shortcut_;
    [[no_unique_address]] NormLayer pre_norm_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

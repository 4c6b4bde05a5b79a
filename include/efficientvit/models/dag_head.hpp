// SPDX-License-Identifier: Apache-2.0
//
// DAGHead of the reference, as segmentation and SAM use it: maps of the last stages, brought to one width and one
// extent and added up, then blocks, then an output. What it is made of is segmenter.hpp's and sam_image_encoder.hpp's.
#pragma once

#include <efficientvit/models/features.hpp>
#include <efficientvit/nn/conv_layer.hpp>
#include <efficientvit/nn/residual_block.hpp>
#include <efficientvit/nn/up_sample_layer.hpp>

#include <tuple>
#include <utility>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// The convolution of an input op.
constexpr ConvConfig head_input_config(int in_channels, int width, Norm norm, double norm_eps) {
    return {.in_channels = in_channels,
            .out_channels = width,
            .kernel_size = 1,
            .norm = norm,
            .act_func = Activation::none,
            .norm_eps = norm_eps};
}

/// An input op: 1x1 to the head's width, then perhaps interpolation. Factor 1 is the convolution alone.
template <ConvConfig C, UpSampleConfig Up>
auto build_head_input() {
    using Conv = ConvLayer<C>;
    if constexpr (Up.size[0] == 0 && Up.factor == 1) {
        return Conv{};
    } else {
        return OpSequential<Conv, UpSampleLayer<Up>>{};
    }
}

/// `Depth` times Block with a shortcut around it.
template <class Block, class Index>
struct Residuals;
template <class Block>
struct Residuals<Block, std::index_sequence<>> {
    using type = IdentityLayer;
};
template <class Block, std::size_t... Is>
struct Residuals<Block, std::index_sequence<Is...>> {
    template <std::size_t>
    using One = ResidualBlock<Block, IdentityLayer>;
    using type = OpSequential<One<Is>...>;
};
template <class Block, int Depth>
using ResidualsOf = typename Residuals<Block, std::make_index_sequence<std::size_t(Depth)>>::type;

/// State dict: input_ops.<i>, middle, output_ops.0. Input op i reads the i-th stage from the end, and comes from
/// build_head_input; only the last one may be a convolution alone.
template <class Middle, class Output, class... InputOps>
class DAGHead {
    static constexpr std::index_sequence_for<InputOps...> each{};

public:
    static constexpr int inputs = sizeof...(InputOps);
    static constexpr int width = Middle::out_channels == 0 ? Output::in_channels : Middle::out_channels;
    static constexpr int out_channels = Output::out_channels;

    /// What the inputs come to, in the order of the ops, for an image of this extent.
    template <class Backbone>
    static std::array<Extent, std::size_t(inputs)> input_extents(Extent image) {
        const auto stages = Backbone::stage_shapes({1, Backbone::in_channels, image.height, image.width});
        auto stage = stages.end();
        const auto extent = [](const Shape& s) { return Extent{static_cast<int>(s.h), static_cast<int>(s.w)}; };
        return {InputOps::output_extent(extent(*--stage))...};  // in this order: braces
    }

    EFFICIENTVIT_COLD static void describe(const Describer& d) {
        int i = 0;
        (InputOps::describe(d.at("input_ops").at(i++)), ...);
        Middle::describe(d.at("middle"));
        Output::describe(d.at("output_ops").at(0));
    }
    EFFICIENTVIT_COLD void pack(const Packer& p) {
        int i = 0;
        std::apply([&](auto&... op) { (op.pack(p.at("input_ops").at(i++)), ...); }, input_ops_);
        middle_.pack(p.at("middle"));
        output_.pack(p.at("output_ops").at(0));
    }

    /// The head on `backbone`'s stages of x. Each stage is added to the sum as soon as it is there, so that none need
    /// be kept.
    template <class Backbone>
    void run(Session& session, const Backbone& backbone, const FeatureMap& x, const FeatureMap& y) const {
        const Workspace::Frame frame(session.workspace);
        const Extent extent = input_extents<Backbone>(x.extent()).back();
        const FeatureMap sum = new_map(session, x.batch, width, extent, Middle::wanted_padding);
        backbone.run_stages(session, x, [&](int stage, const FeatureMap& map) {
            add_input(session, Backbone::stages - 1 - stage, map, sum, each);
        });
        const FeatureMap blocks = new_map(session, x.batch, width, extent, Output::wanted_padding);
        middle_.run(session, sum, blocks, nullptr);
        output_.run(session, blocks, y, nullptr);
    }

private:
    template <std::size_t... Is>
    void add_input(Session& session, int input, const FeatureMap& map, const FeatureMap& sum,
                   std::index_sequence<Is...>) const {
        // Stages come in turn, so that the last op is the first to write; the others end in an interpolation, which
        // may add to where it writes.
        const FeatureMap* const added = input == inputs - 1 ? nullptr : &sum;
        ((int(Is) == input ? std::get<Is>(input_ops_).run(session, map, sum, added) : void()), ...);
    }

    std::tuple<InputOps...> input_ops_;
    Middle middle_;
    Output output_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

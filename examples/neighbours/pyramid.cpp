// SPDX-License-Identifier: Apache-2.0
//
// A feature pyramid for a detector: channels and strides of the stages are constants of the backbone's type, so a neck
// is written once for all backbones, and one that does not fit does not compile. The neck is the plain FPN (Lin et al.,
// arXiv 1612.03144): a 1x1 convolution of each stage, and from the coarsest on, the coarser map doubled and added.
#include <efficientvit/efficientvit.hpp>

#include <array>
#include <cstdio>
#include <string>
#include <tuple>
#include <utility>

#include "check.hpp"

namespace ev = efficientvit;
using neighbours::check;

/// Adds `coarse`, each pixel repeated in both directions, to `fine`. Odd sizes: the last row and column repeat less.
void add_doubled(const ev::Tensor& coarse, ev::Tensor& fine) {
    for (Eigen::Index n = 0; n < fine.dimension(0); ++n) {
        for (Eigen::Index c = 0; c < fine.dimension(1); ++c) {
            for (Eigen::Index y = 0; y < fine.dimension(2); ++y) {
                for (Eigen::Index x = 0; x < fine.dimension(3); ++x) fine(n, c, y, x) += coarse(n, c, y / 2, x / 2);
            }
        }
    }
}

/// The levels FirstStage to the backbone's last, each with Channels channels.
template <class Backbone, int FirstStage, int Channels>
class FeaturePyramid {
    static_assert(FirstStage >= 0 && FirstStage < Backbone::stages, "FeaturePyramid: the backbone has no such stage");

public:
    static constexpr int levels = Backbone::stages - FirstStage;

    /// Pixels of the image between two places of level I: where an anchor stands is known at compile time.
    template <int I>
    static constexpr int stride = Backbone::template stage_stride<FirstStage + I>;

    /// The convolution of level I: from as many channels as that stage has.
    template <int I>
    using Lateral = ev::ConvLayer<ev::ConvConfig{.in_channels = Backbone::template stage_channels<FirstStage + I>,
                                                 .out_channels = Channels,
                                                 .kernel_size = 1,
                                                 .use_bias = true,
                                                 .norm = ev::Norm::none,
                                                 .act_func = ev::Activation::none}>;

    /// weights: lateral.<level>.conv.weight and .bias. Throws ev::WeightsError.
    void load_state_dict(const ev::StateDict& weights) {
        each([&](auto level) {
            const std::string prefix = "lateral." + std::to_string(level.value) + ".";
            std::get<level.value>(laterals_).load_state_dict(weights, {.prefix = prefix});
        });
    }

    /// The finest level first; level I is (N, Channels, ceil(H / stride<I>), ceil(W / stride<I>)).
    void forward(const typename Backbone::Features& features, std::array<ev::Tensor, std::size_t{levels}>& out,
                 ev::Context& context) const {
        each([&](auto level) {
            constexpr int i = level.value;
            std::get<i>(laterals_).forward(features.template stage<FirstStage + i>(), std::get<i>(out), context);
        });
        for (std::size_t i = levels - 1; i > 0; --i) add_doubled(out[i], out[i - 1]);
    }

private:
    template <class F>
    static void each(const F& f) {
        [&]<int... I>(std::integer_sequence<int, I...>) { (f(std::integral_constant<int, I>{}), ...); }
        (std::make_integer_sequence<int, levels>{});
    }
    template <class>
    struct LateralsOf;
    template <int... I>
    struct LateralsOf<std::integer_sequence<int, I...>> {
        using type = std::tuple<Lateral<I>...>;
    };

    typename LateralsOf<std::make_integer_sequence<int, levels>>::type laterals_;
};

using Backbone = ev::BackboneB0;
using Pyramid = FeaturePyramid<Backbone, 2, 32>;

// A detector's anchors and heads can be sized from these.
static_assert(Pyramid::levels == 3);
static_assert(Pyramid::stride<0> == 8 && Pyramid::stride<1> == 16 && Pyramid::stride<2> == 32);
static_assert(Pyramid::Lateral<0>::in_channels == 32 && Pyramid::Lateral<2>::in_channels == 128);
static_assert(FeaturePyramid<ev::BackboneB3, 2, 256>::Lateral<0>::in_channels == 128);

int main() {
    Backbone backbone;
    backbone.load_state_dict(neighbours::some_weights<Backbone>());
    Pyramid pyramid;
    ev::StateDict weights;
    const auto add = [&](const std::string& prefix, const ev::StateDict& part) {
        for (const auto& [name, entry] : part) weights.insert(prefix + name, entry.shape, ev::to_float(entry));
    };
    add("lateral.0.", neighbours::some_weights<Pyramid::Lateral<0>>());
    add("lateral.1.", neighbours::some_weights<Pyramid::Lateral<1>>());
    add("lateral.2.", neighbours::some_weights<Pyramid::Lateral<2>>());
    pyramid.load_state_dict(weights);

    ev::Context context;
    Backbone::Features features;  // both keep their memory from frame to frame
    std::array<ev::Tensor, std::size_t{Pyramid::levels}> levels;
    ev::Tensor image(1, 3, 200, 300);  // sides that 32 does not divide, too
    image.setRandom();
    backbone.forward(image, features, context);
    pyramid.forward(features, levels, context);

    const int strides[] = {Pyramid::stride<0>, Pyramid::stride<1>, Pyramid::stride<2>};
    for (std::size_t i = 0; i < levels.size(); ++i) {
        const auto& level = levels[i];
        check(level.dimension(1) == 32, "every level has the neck's channels");
        check(level.dimension(2) == (200 + strides[i] - 1) / strides[i],
              "rows are the image's by the stride, rounded up");
        check(level.dimension(3) == (300 + strides[i] - 1) / strides[i], "columns likewise");
        std::printf("stride %d: %td channels of %td x %td\n", strides[i], level.dimension(1), level.dimension(2),
                    level.dimension(3));
    }
}

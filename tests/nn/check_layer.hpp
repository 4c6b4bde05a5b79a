// SPDX-License-Identifier: Apache-2.0
//
// One call to compare a layer with its reference: on every ISA, for 1, 2 and 3 threads, in all kinds of sizes.
#pragma once

#include "../isas.hpp"
#include "../support.hpp"

/// From one pixel up: rows, columns, odd and even, a batch.
inline const std::vector<ev::Shape>& usual_sizes() {
    static const std::vector<ev::Shape> sizes{{1, 0, 1, 1}, {1, 0, 1, 7}, {1, 0, 9, 1},
                                              {1, 0, 2, 2}, {2, 0, 5, 6}, {1, 0, 13, 18}};
    return sizes;
}

/// expected(x, weights) gives the reference's answer. `sizes` say N, H and W; channels are the layer's, or what is
/// given where it takes any. The names and shapes that the layer asks for must be those that the reference reads.
template <class Layer, class Expected>
void check_layer(const Expected& expected, const std::vector<ev::Shape>& sizes = usual_sizes(),
                 const std::string& what = {}) {
    const int channels = Layer::in_channels;
    std::vector<Layer> layers;
    for (const ev::Isa isa : isas()) layers.push_back(golden_layer<Layer>(isa));
    for (ev::Shape size : sizes) {
        if (channels != 0) size.c = channels;
        reference::Weights::Asked asked;
        const reference::Map answer = expected(to_map(golden_input(size)), reference::Weights::golden(&asked));
        EXPECT_EQ(lines(Layer::parameters()), lines(asked)) << what;
        EXPECT_EQ(Layer::output_shape(size), (ev::Shape{answer.n, answer.c, answer.h, answer.w}))
            << what << " on " << to_text(size);
        for (const Layer& layer : layers) {
            // golden_values.hpp keeps values at about the size of 1.
            check_forward(layer, size, answer, what + " " + std::string(ev::isa_name(layer.isa())), 0.25);
        }
        if (testing::Test::HasFailure()) return;  // one size tells enough
    }
}

/// Arbitrary numbers at compile time, for networks that nobody chose.
class Dice {
public:
    constexpr explicit Dice(int seed) : state_(static_cast<std::uint64_t>(seed) * 0x9e3779b97f4a7c15u + 99) {}
    constexpr int below(int end) {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return static_cast<int>((z ^ z >> 31) >> 33) % end;
    }
    template <class T>
    constexpr T pick(std::initializer_list<T> list) {
        return list.begin()[below(static_cast<int>(list.size()))];
    }
    constexpr int channels() { return pick({1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48}); }
    constexpr bool coin() { return below(2) == 0; }
    constexpr ev::Norm norm() { return below(3) > 0 ? ev::Norm::bn2d : ev::Norm::none; }
    constexpr ev::Activation act() {
        return pick({ev::Activation::none, ev::Activation::relu, ev::Activation::relu6, ev::Activation::hswish,
                     ev::Activation::silu, ev::Activation::gelu});
    }

private:
    std::uint64_t state_;
};

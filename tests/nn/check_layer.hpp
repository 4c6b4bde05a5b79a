// SPDX-License-Identifier: Apache-2.0
//
// One call to compare a layer with its reference: on every ISA, for 1, 2 and 3 threads, in all kinds of sizes.
#pragma once

#include "../isas.hpp"
#include "../support.hpp"
#include "reference_of.hpp"

/// From one pixel up: rows, columns, odd and even, a batch.
inline const std::vector<ev::Shape>& usual_sizes() {
    static const std::vector<ev::Shape> sizes{{1, 0, 1, 1}, {1, 0, 1, 7}, {1, 0, 9, 1},
                                              {1, 0, 2, 2}, {2, 0, 5, 6}, {1, 0, 13, 18}};
    return sizes;
}

/// A layer whose type is forgotten: tests of many types compile in a fraction of the time.
class AnyLayer {
public:
    virtual ~AnyLayer() = default;
    virtual std::vector<ev::Parameter> parameters() const = 0;
    virtual void load(const ev::StateDict& weights, ev::Isa isa) = 0;
    virtual ev::Shape output_shape(const ev::Shape& shape) const = 0;
    virtual void forward(const ev::ConstTensorView& x, const ev::TensorView& y, ev::Context& context) const = 0;
};

template <class Layer>
class AnyLayerOf final : public AnyLayer {
public:
    std::vector<ev::Parameter> parameters() const override { return Layer::parameters(); }
    void load(const ev::StateDict& weights, ev::Isa isa) override { layer_.load_state_dict(weights, {.isa = isa}); }
    ev::Shape output_shape(const ev::Shape& shape) const override { return Layer::output_shape(shape); }
    void forward(const ev::ConstTensorView& x, const ev::TensorView& y, ev::Context& context) const override {
        layer_.forward(x, y, context);
    }

private:
    Layer layer_;
};

/// expected(x, weights) gives the reference's answer. `sizes` say N, H and W; `channels` are the layer's, or 0 where it
/// takes any number and `sizes` say it. The names and shapes that the layer asks for must be those that the reference
/// reads. Each size is run on every ISA with 1, 2 and 3 threads.
inline void check_layer(AnyLayer& layer, int channels, const reference::Layer& expected,
                        const std::vector<ev::Shape>& sizes, const std::string& what) {
    const ev::StateDict weights = golden_weights(layer.parameters());
    for (const ev::Isa isa : isas()) {
        layer.load(weights, isa);
        for (ev::Shape size : sizes) {
            if (channels != 0) size.c = channels;
            const std::string where = what + " on " + to_text(size) + ", " + std::string(ev::isa_name(isa));
            const ev::Tensor x = golden_input(size);
            reference::Weights::Asked asked;
            const reference::Map answer = expected(to_map(x), reference::Weights::golden(&asked));
            EXPECT_EQ(lines(layer.parameters()), lines(asked)) << where;
            ASSERT_EQ(layer.output_shape(size), (ev::Shape{answer.n, answer.c, answer.h, answer.w})) << where;
            ev::Tensor first;
            for (const int threads : {1, 2, 3}) {
                ev::Context context({.threads = threads});
                ev::Tensor y(answer.n, answer.c, answer.h, answer.w);
                layer.forward(ev::view(x), ev::view(y), context);
                if (threads == 1) {
                    // golden_values.hpp keeps values at about the size of 1.
                    ASSERT_LE(relative_error(y, answer, 0.25), bound) << where;
                    first = y;
                }
                ASSERT_TRUE(same_bits(y, first)) << where << ", " << threads << " threads";
            }
        }
    }
}

template <class Layer>
void check_layer(const reference::Layer& expected, const std::vector<ev::Shape>& sizes = usual_sizes(),
                 const std::string& what = {}) {
    AnyLayerOf<Layer> layer;
    check_layer(layer, Layer::in_channels, expected, sizes, what);
}

/// The same for a layer whose reference follows from its type.
template <class Layer>
void check_layer(const std::string& what, const std::vector<ev::Shape>& sizes = usual_sizes()) {
    check_layer<Layer>(reference::reference_of(static_cast<const Layer*>(nullptr)), sizes, what);
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

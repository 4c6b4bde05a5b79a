// SPDX-License-Identifier: Apache-2.0
//
// Table::linear_attention and Table::quadratic_attention against naive loops, for dims around the blocks' edges and
// pixels around those of tiles and partial sums.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

#include <algorithm>

namespace {

struct Case {
    int dim = 16;
    int pixels = 1;
    int block = 16;
    Guard guard = Guard::behind;

    friend std::ostream& operator<<(std::ostream& out, const Case& c) {
        return out << "dim " << c.dim << ", pixels " << c.pixels << ", block " << c.block << ", guard "
                   << (c.guard == Guard::before ? "before" : "behind");
    }
};

/// [pixel][channel]
using Matrix = std::vector<std::vector<Bounded>>;

class Attention : public IsaTest {
protected:
    struct Inputs {
        Layout at;
        GuardedBuffer<float> q, k, v;
    };

    /// q and k as they come out of a relu: half of them are zero. Some pixels attend to nothing.
    static Inputs inputs(const Case& c, Random& random) {
        const int blocks = (c.dim + c.block - 1) / c.block;
        const Layout at{c.block, Index{c.pixels} * c.block + 24, Index{c.pixels} * c.block};
        const std::size_t size = floats_of(at, blocks, 1, c.pixels);
        Inputs in{at, {size, c.guard}, {size, c.guard}, {size, c.guard}};
        for (int p = 0; p < c.pixels; ++p) {
            const bool silent = random.below(8) == 0;
            for (int d = 0; d < c.dim; ++d) {
                in.q[at.at(d, 0, p)] = silent ? 0.0f : std::max(0.0f, random.value(3));
                in.k[at.at(d, 0, p)] = std::max(0.0f, random.value(3));
                in.v[at.at(d, 0, p)] = random.value(3);
            }
        }
        return in;
    }

    static Matrix linear(const Case& c, const Inputs& in, float eps) {
        Matrix out(static_cast<std::size_t>(c.pixels), std::vector<Bounded>(static_cast<std::size_t>(c.dim)));
        std::vector<std::vector<Bounded>> vk(static_cast<std::size_t>(c.dim) + 1);  // the last row: of ones
        for (int d = 0; d <= c.dim; ++d) {
            for (int e = 0; e < c.dim; ++e) {
                Sum sum;
                for (int p = 0; p < c.pixels; ++p) {
                    sum.add(d < c.dim ? in.v[in.at.at(d, 0, p)] : 1, in.k[in.at.at(e, 0, p)]);
                }
                vk[static_cast<std::size_t>(d)].push_back(sum.result());
            }
        }
        for (int p = 0; p < c.pixels; ++p) {
            const auto row = [&](int d) {
                Sum sum;
                for (int e = 0; e < c.dim; ++e) {
                    sum.add(vk[static_cast<std::size_t>(d)][static_cast<std::size_t>(e)], in.q[in.at.at(e, 0, p)]);
                }
                return sum.result();
            };
            const Bounded divisor = add(row(c.dim), {double{eps}});
            for (int d = 0; d < c.dim; ++d) {
                out[static_cast<std::size_t>(p)][static_cast<std::size_t>(d)] = divide(row(d), divisor);
            }
        }
        return out;
    }

    static Matrix quadratic(const Case& c, const Inputs& in, float eps) {
        Matrix out(static_cast<std::size_t>(c.pixels), std::vector<Bounded>(static_cast<std::size_t>(c.dim)));
        for (int p = 0; p < c.pixels; ++p) {
            std::vector<Bounded> scores;
            Sum total;
            for (int i = 0; i < c.pixels; ++i) {
                Sum dot;
                for (int e = 0; e < c.dim; ++e) dot.add(in.q[in.at.at(e, 0, p)], in.k[in.at.at(e, 0, i)]);
                scores.push_back(dot.result());
                total.add(scores.back(), 1);
            }
            const Bounded divisor = add(total.result(), {double{eps}});
            for (int d = 0; d < c.dim; ++d) {
                Sum sum;
                for (int i = 0; i < c.pixels; ++i) {
                    sum.add(divide(scores[static_cast<std::size_t>(i)], divisor), in.v[in.at.at(d, 0, i)]);
                }
                out[static_cast<std::size_t>(p)][static_cast<std::size_t>(d)] = sum.result();
            }
        }
        return out;
    }

    void run(const Case& c, bool is_linear, std::uint64_t seed, float eps = 1e-15f) const {
        Random random(seed);
        const Inputs in = inputs(c, random);
        const Matrix expected = is_linear ? linear(c, in, eps) : quadratic(c, in, eps);
        const int blocks = (c.dim + c.block - 1) / c.block;
        const Layout y_at{c.block, Index{c.pixels} * c.block + 8, Index{c.pixels} * c.block};
        Output y(floats_of(y_at, blocks, 1, c.pixels), c.guard);
        for (int p = 0; p < c.pixels; ++p) {
            for (int d = 0; d < blocks * c.block; ++d) {
                y.expect(y_at.at(d, 0, p), d < c.dim
                                               ? expected[static_cast<std::size_t>(p)][static_cast<std::size_t>(d)]
                                               : Bounded{});  // empty lanes hold zeros
            }
        }
        GuardedBuffer<float> scratch(static_cast<std::size_t>(kernels::attention_scratch(c.dim, c.block, c.pixels)),
                                     c.guard);
        std::fill(scratch.begin(), scratch.end(), std::numeric_limits<float>::quiet_NaN());

        kernels::Attention a;
        a.q = in.q.data();
        a.k = in.k.data();
        a.v = in.v.data();
        a.block_stride = in.at.block_stride;
        a.y = y.data();
        a.y_block_stride = y_at.block_stride;
        a.pixels = c.pixels;
        a.dim = c.dim;
        a.block = c.block;
        a.eps = eps;
        a.scratch = scratch.data();
        const kernels::Table& table = table_of(GetParam());
        (is_linear ? table.linear_attention : table.quadratic_attention)(a);
        ASSERT_TRUE(y.check()) << (is_linear ? "linear: " : "quadratic: ") << c;
    }
};

TEST_P(Attention, EveryDim) {
    std::uint64_t seed = 0;
    for (const int block : {8, 16}) {
        for (const int dim : {1, 2, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 48}) {
            for (const int pixels : {1, 2, 3, 13, 14, 15, 29, 40}) {
                for (const bool is_linear : {true, false}) {
                    run({dim, pixels, block, pixels % 2 == 0 ? Guard::before : Guard::behind}, is_linear, ++seed);
                    if (HasFatalFailure()) return;
                }
            }
        }
    }
}

TEST_P(Attention, EveryNumberOfPixels) {
    std::uint64_t seed = 1000;
    for (const int block : {8, 16}) {
        for (int pixels = 1; pixels <= 35; ++pixels) {
            for (const bool is_linear : {true, false}) {
                run({16, pixels, block, pixels % 2 == 0 ? Guard::before : Guard::behind}, is_linear, ++seed);
                if (HasFatalFailure()) return;
            }
        }
        for (const int pixels : {63, 64, 65, 127, 128, 129, 196, 255, 256, 257, 400}) {
            run({block + 1, pixels, block, Guard::behind}, true, ++seed);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(Attention, EpsIsAddedToTheSum) {
    for (const bool is_linear : {true, false}) {
        run({8, 12, 8, Guard::behind}, is_linear, 3, 20.0f);
        if (HasFatalFailure()) return;
    }
}

/// Where nothing is attended to the sum is zero, and so is the answer: 0 / eps.
TEST_P(Attention, OfNothingIsZero) {
    constexpr int dim = 16, pixels = 20;
    const std::vector<float> zeros(dim * pixels);
    std::vector<float> v(dim * pixels, 2.0f), scratch(std::size_t(kernels::attention_scratch(dim, dim, pixels)));
    for (const bool is_linear : {true, false}) {
        std::vector<float> y(dim * pixels, 7.0f);
        kernels::Attention a;
        a.q = a.k = zeros.data();
        a.v = v.data();
        a.y = y.data();
        a.pixels = pixels;
        a.scratch = scratch.data();
        const kernels::Table& table = table_of(GetParam());
        (is_linear ? table.linear_attention : table.quadratic_attention)(a);
        EXPECT_EQ(y, zeros) << is_linear;
    }
}

EFFICIENTVIT_ON_EVERY_ISA(Attention);

}  // namespace

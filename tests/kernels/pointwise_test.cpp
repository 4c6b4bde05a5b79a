// SPDX-License-Identifier: Apache-2.0
//
// Table::pointwise against naive loops: every number of pixels around the tiles' edges, channels around the blocks'.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

#include <algorithm>

namespace {

/// Beyond twice the largest tile of any ISA (14 pixels).
constexpr int most_pixels = 31;
constexpr int channel_counts[] = {1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48};

struct Case {
    int pixels = 1;
    int y_width = 1;
    int channels = 16;
    int x_block = 16;
    int y_block = 16;
    int y_blocks = 1;
    Act act = Act::none;
    bool residual = false;
    Guard guard = Guard::behind;

    friend std::ostream& operator<<(std::ostream& out, const Case& c) {
        return out << "pixels " << c.pixels << ", y_width " << c.y_width << ", channels " << c.channels << ", x_block "
                   << c.x_block << ", y_block " << c.y_block << ", y_blocks " << c.y_blocks << ", act "
                   << static_cast<int>(c.act) << ", residual " << c.residual << ", guard "
                   << (c.guard == Guard::before ? "before" : "behind");
    }
};

class Pointwise : public IsaTest {
protected:
    const kernels::Table& table() const { return table_of(GetParam()); }

    void run(const Case& c, std::uint64_t seed) const {
        Random random(seed);
        const int rows = c.pixels / c.y_width;
        const int x_blocks = (c.channels + c.x_block - 1) / c.x_block;
        // Gaps everywhere that the structure allows them, all of different sizes.
        const Layout x_at{c.x_block, Index{c.pixels} * c.x_block + 24, Index{c.pixels} * c.x_block};
        const Index row = Index{c.y_width} * c.y_block;
        const Layout y_at{c.y_block, (row + 40) * rows + 16, row + 40};
        const Layout r_at{c.y_block, (row + 16) * rows + 8, row + 16};

        GuardedBuffer<float> x(floats_of(x_at, x_blocks, 1, c.pixels), c.guard);
        std::fill(x.begin(), x.end(), std::numeric_limits<float>::quiet_NaN());  // between and beyond the channels
        for (int k = 0; k < c.channels; ++k) {
            for (int p = 0; p < c.pixels; ++p) x[x_at.at(k, 0, p)] = random.value(2);
        }
        const int lanes = c.y_blocks * c.y_block;
        GuardedBuffer<float> weights(static_cast<std::size_t>(lanes * c.channels), c.guard);
        GuardedBuffer<float> bias(static_cast<std::size_t>(lanes), c.guard);
        GuardedBuffer<float> residual(floats_of(r_at, c.y_blocks, rows, c.y_width), c.guard);
        random.fill(weights);
        random.fill(bias, 4);
        random.fill(residual, 4);
        Output y(floats_of(y_at, c.y_blocks, rows, c.y_width), c.guard);

        for (int o = 0; o < lanes; ++o) {
            for (int p = 0; p < c.pixels; ++p) {
                Sum sum;
                sum.add(bias[o], 1);
                for (int k = 0; k < c.channels; ++k) {
                    const int w = (o / c.y_block * c.channels + k) * c.y_block + o % c.y_block;
                    sum.add(x[x_at.at(k, 0, p)], weights[w]);
                }
                const int r = p / c.y_width, column = p % c.y_width;
                Bounded value = activate(sum.result(), c.act);
                if (c.residual) value = add(value, {residual[r_at.at(o, r, column)]});
                y.expect(y_at.at(o, r, column), value);
            }
        }

        kernels::Pointwise a;
        a.x = x.data();
        a.x_block_stride = x_at.block_stride;
        a.x_block = c.x_block;
        a.channels = c.channels;
        a.weights = weights.data();
        a.bias = bias.data();
        a.y = y.data();
        a.y_block_stride = y_at.block_stride;
        a.y_row_stride = y_at.row_stride;
        a.y_block = c.y_block;
        a.y_blocks = c.y_blocks;
        a.y_width = c.y_width;
        a.pixels = c.pixels;
        a.act = c.act;
        if (c.residual) {
            a.residual = residual.data();
            a.residual_block_stride = r_at.block_stride;
            a.residual_row_stride = r_at.row_stride;
        }
        table().pointwise(a);
        ASSERT_TRUE(y.check()) << c;
    }
};

/// One of the ways to cut the pixels into equal rows.
int width_for(int pixels, Random& random) {
    int width = 1 + random.below(pixels);
    while (pixels % width != 0) ++width;
    return width;
}

TEST_P(Pointwise, EveryTileAndChannelCount) {
    Random random(1);
    std::uint64_t seed = 0;
    for (const int x_block : {8, 16}) {
        for (const int y_block : {8, 16}) {
            for (const int channels : channel_counts) {
                for (int pixels = 1; pixels <= most_pixels; ++pixels) {
                    Case c{.pixels = pixels, .channels = channels, .x_block = x_block, .y_block = y_block};
                    c.y_width = width_for(pixels, random);
                    c.y_blocks = 1 + random.below(3);
                    c.act = random.pick(
                        {Act::none, Act::relu, Act::relu6, Act::hswish, Act::hswish_x6, Act::silu, Act::gelu});
                    c.residual = random.below(2) == 0;
                    c.guard = random.pick({Guard::before, Guard::behind});
                    run(c, ++seed);
                    if (HasFatalFailure()) return;
                }
            }
        }
    }
}

TEST_P(Pointwise, EveryActivationWithEveryEnding) {
    std::uint64_t seed = 1000;
    for (const int y_block : {8, 16}) {
        for (const Act act : all_acts) {
            for (const bool residual : {false, true}) {
                for (const Guard guard : {Guard::before, Guard::behind}) {
                    for (const int width : {1, 3, 5, 6, 10, 15, 30}) {
                        Case c{.pixels = 30, .y_width = width, .channels = 19, .y_block = y_block, .y_blocks = 2};
                        c.act = act;
                        c.residual = residual;
                        c.guard = guard;
                        run(c, ++seed);
                        if (HasFatalFailure()) return;
                    }
                }
            }
        }
    }
}

/// Two blocks and an odd one behind them, with what is fetched ahead.
TEST_P(Pointwise, EveryTileOfThreeBlocks) {
    Random random(2);
    std::uint64_t seed = 2000;
    for (const int y_block : {8, 16}) {
        for (int pixels = 1; pixels <= most_pixels; ++pixels) {
            Case c{.pixels = pixels, .channels = 8 + random.below(17), .y_block = y_block, .y_blocks = 3};
            c.y_width = width_for(pixels, random);
            c.guard = random.pick({Guard::before, Guard::behind});
            run(c, ++seed);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(Pointwise, LongSums) {
    Case c{.pixels = 9, .y_width = 9, .channels = 515};
    run(c, 3000);
}

TEST_P(Pointwise, NoPixelsNoBlocksNothingWritten) {
    float y = 7;
    const float none[16] = {};
    kernels::Pointwise a;
    a.x = a.weights = a.bias = none;
    a.channels = 1;
    a.y = &y;
    a.y_width = 1;
    a.y_blocks = 1;
    a.pixels = 0;
    table().pointwise(a);
    a.pixels = 1;
    a.y_blocks = 0;
    table().pointwise(a);
    EXPECT_EQ(y, 7);
}

/// However the pixels are cut into tiles, and whatever lies beside them, each comes out the same to the last bit: that
/// is what lets any number of threads and any batch give equal results.
TEST_P(Pointwise, APixelDoesNotDependOnItsTile) {
    constexpr int channels = 37, x_blocks = 3, y_blocks = 2, block = 16;
    Random random(4);
    std::vector<float> x(x_blocks * most_pixels * block), weights(y_blocks * channels * block), bias(y_blocks * block);
    random.fill(x);
    random.fill(weights);
    random.fill(bias);
    const auto run_part = [&](int first, int pixels, Act act) {
        std::vector<float> y(static_cast<std::size_t>(y_blocks * pixels * block));
        kernels::Pointwise a;
        a.x = x.data() + first * block;
        a.x_block_stride = most_pixels * block;
        a.channels = channels;
        a.weights = weights.data();
        a.bias = bias.data();
        a.y = y.data();
        a.y_block_stride = Index{pixels} * block;
        a.y_row_stride = Index{pixels} * block;
        a.y_blocks = y_blocks;
        a.y_width = a.pixels = pixels;
        a.act = act;
        table().pointwise(a);
        return y;
    };
    for (const Act act : all_acts) {
        const std::vector<float> whole = run_part(0, most_pixels, act);
        for (int pixels = 1; pixels < most_pixels; ++pixels) {
            const int first = most_pixels - pixels;
            const std::vector<float> part = run_part(first, pixels, act);
            for (int b = 0; b < y_blocks; ++b) {
                ASSERT_TRUE(std::equal(part.begin() + b * pixels * block, part.begin() + (b + 1) * pixels * block,
                                       whole.begin() + (b * most_pixels + first) * block))
                    << pixels << " pixels, act " << static_cast<int>(act);
            }
        }
    }
}

/// Channels in slices, each on top of what those before came to, are the same to the last bit as all at once.
TEST_P(Pointwise, SlicesOfTheChannelsAreAllOfThem) {
    constexpr int channels = 53, x_blocks = 4, y_blocks = 3, pixels = 17, width = 17, block = 16;
    Random random(5);
    for (const int y_block : {8, 16}) {
        std::vector<float> x(x_blocks * pixels * block), bias(static_cast<std::size_t>(y_blocks * y_block));
        std::vector<float> weights(static_cast<std::size_t>(y_blocks * channels * y_block));
        const auto size = static_cast<std::size_t>(y_blocks * pixels * y_block);
        std::vector<float> residual(size), whole(size), sliced(size);
        for (std::vector<float>* values : {&x, &bias, &weights, &residual}) random.fill(*values);
        kernels::Pointwise a;
        a.x_block_stride = pixels * block;
        a.y_block_stride = a.residual_block_stride = Index{pixels} * y_block;
        a.y_row_stride = a.residual_row_stride = Index{width} * y_block;
        a.y_block = y_block;
        a.y_blocks = y_blocks;
        a.y_width = width;
        a.pixels = pixels;
        const auto run_slice = [&](int begin, int end, std::vector<float>& y) {
            kernels::Pointwise slice = a;
            slice.x = x.data() + begin / block * a.x_block_stride;
            slice.channels = end - begin;
            slice.weights = weights.data() + begin * y_block;
            slice.weights_block_stride = Index{channels} * y_block;
            slice.bias = begin == 0 ? bias.data() : nullptr;
            slice.y = y.data();
            slice.act = end == channels ? Act::gelu : Act::none;
            slice.residual = end == channels ? residual.data() : nullptr;
            table().pointwise(slice);
        };
        run_slice(0, channels, whole);
        run_slice(0, 32, sliced);
        run_slice(32, 48, sliced);
        run_slice(48, channels, sliced);
        EXPECT_EQ(whole, sliced) << "y_block " << y_block;
    }
}

EFFICIENTVIT_ON_EVERY_ISA(Pointwise);

}  // namespace

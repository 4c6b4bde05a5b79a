// SPDX-License-Identifier: Apache-2.0
//
// Table::dense and Table::grouped against naive loops: every width around the tiles' edges, planar and blocked inputs,
// rows in the padding, groups that fill whole blocks and groups that do not.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

#include <algorithm>

namespace {

struct Case {
    int y_width = 1;
    int rows = 1;
    int channels = 16;  // input channels of a group
    int groups = 1;
    int group_out = 16;  // output channels of a group
    int x_block = 16;
    int y_block = 16;
    int kernel_size = 3;
    int stride = 1;
    int dilation = 1;
    Act act = Act::none;
    bool residual = false;
    unsigned missing_rows = 0;  // bit ky: that row lies in the padding
    Guard guard = Guard::behind;

    friend std::ostream& operator<<(std::ostream& out, const Case& c) {
        return out << "y_width " << c.y_width << ", rows " << c.rows << ", channels " << c.channels << ", groups "
                   << c.groups << ", group_out " << c.group_out << ", x_block " << c.x_block << ", y_block "
                   << c.y_block << ", kernel_size " << c.kernel_size << ", stride " << c.stride << ", dilation "
                   << c.dilation << ", act " << static_cast<int>(c.act) << ", residual " << c.residual
                   << ", missing rows " << c.missing_rows << ", guard "
                   << (c.guard == Guard::before ? "before" : "behind");
    }
};

/// Any convolution of some output rows, each with input rows of its own, by its definition, against the dense or the
/// grouped kernel.
class DenseTest : public IsaTest {
protected:
    const kernels::Table& table() const { return table_of(GetParam()); }

    void run(const Case& c, bool grouped, std::uint64_t seed) const {
        Random random(seed);
        const int width = (c.y_width - 1) * c.stride + (c.kernel_size - 1) * c.dilation + 1;
        const int in_channels = c.channels * c.groups, out_channels = c.group_out * c.groups;
        const int x_blocks = (in_channels + c.x_block - 1) / c.x_block;
        const int y_blocks = (out_channels + c.y_block - 1) / c.y_block;
        const int in_rows = c.rows * c.kernel_size;
        const Layout x_at{c.x_block, (Index{width} * c.x_block + 8) * in_rows + 16, Index{width} * c.x_block + 8};
        GuardedBuffer<float> x(floats_of(x_at, x_blocks, in_rows, width), c.guard);
        std::fill(x.begin(), x.end(), std::numeric_limits<float>::quiet_NaN());
        for (int i = 0; i < x_blocks * c.x_block; ++i) {
            for (int row = 0; row < in_rows; ++row) {
                for (int column = 0; column < width; ++column) {
                    x[x_at.at(i, row, column)] = i < in_channels ? random.value(2) : 0.0f;
                }
            }
        }
        GuardedBuffer<const float*> rows(static_cast<std::size_t>(in_rows), c.guard);
        // Of the first and the last output row some input rows lie in the padding.
        const auto missing = [&](int r, int ky) {
            return (r == 0 || r == c.rows - 1) && (c.missing_rows >> ky & 1) != 0;
        };
        for (int i = 0; i < in_rows; ++i) {
            if (!missing(i / c.kernel_size, i % c.kernel_size)) rows[i] = x.data() + i * x_at.row_stride;
        }

        // Weights as PyTorch has them, [out][in of the group][ky][kx], then packed.
        const int taps = c.kernel_size * c.kernel_size;
        std::vector<float> plain(static_cast<std::size_t>(out_channels * c.channels * taps));
        random.fill(plain);
        const auto weight = [&](int o, int i, int tap) {
            return o < out_channels ? plain[static_cast<std::size_t>((o * c.channels + i) * taps + tap)] : 0.0f;
        };
        GuardedBuffer<float> weights(static_cast<std::size_t>(y_blocks * c.y_block * c.channels * taps), c.guard);
        GuardedBuffer<int> lane_channels(static_cast<std::size_t>(y_blocks * c.y_block * c.channels), c.guard);
        Index packed = 0;
        for (int b = 0; b < y_blocks; ++b) {
            const int step = grouped ? 1 : c.x_block;  // channels that lie inside a tap
            for (int first = 0; first < c.channels; first += step) {
                for (int tap = 0; tap < taps; ++tap) {
                    for (int i = first; i < std::min(first + step, c.channels); ++i) {
                        for (int lane = 0; lane < c.y_block; ++lane, ++packed) {
                            const int o = b * c.y_block + lane;
                            weights[packed] = weight(o, i, tap);
                            const int group = o < out_channels ? o / c.group_out : 0;
                            lane_channels[(Index{b} * c.channels + i) * c.y_block + lane] = group * c.channels + i;
                        }
                    }
                }
            }
        }
        GuardedBuffer<float> bias(static_cast<std::size_t>(y_blocks * c.y_block), c.guard);
        random.fill(bias, 2);
        const Index y_row = Index{c.y_width} * c.y_block + 24, r_row = Index{c.y_width} * c.y_block + 40;
        const Layout y_at{c.y_block, y_row * c.rows + 16, y_row}, r_at{c.y_block, r_row * c.rows + 8, r_row};
        Output y(floats_of(y_at, y_blocks, c.rows, c.y_width), c.guard);
        GuardedBuffer<float> residual(floats_of(r_at, y_blocks, c.rows, c.y_width), c.guard);
        random.fill(residual, 4);

        for (int o = 0; o < y_blocks * c.y_block; ++o) {
            for (int at = 0; at < c.rows * c.y_width; ++at) {
                const int r = at / c.y_width, column = at % c.y_width;
                Sum sum;
                sum.add(bias[o], 1);
                for (int i = 0; i < c.channels && o < out_channels; ++i) {
                    for (int tap = 0; tap < taps; ++tap) {
                        const int ky = tap / c.kernel_size, kx = tap % c.kernel_size;
                        if (missing(r, ky)) continue;
                        const int channel = o / c.group_out * c.channels + i;
                        sum.add(x[x_at.at(channel, r * c.kernel_size + ky, column * c.stride + kx * c.dilation)],
                                weight(o, i, tap));
                    }
                }
                Bounded value = activate(sum.result(), c.act);
                if (c.residual) value = add(value, {residual[r_at.at(o, r, column)]});
                y.expect(y_at.at(o, r, column), value);
            }
        }

        kernels::Dense a;
        a.rows = rows.data();
        a.x_block_stride = x_at.block_stride;
        a.x_block = c.x_block;
        a.channels = c.channels;
        a.weights = weights.data();
        a.bias = bias.data();
        a.lane_channels = grouped ? lane_channels.data() : nullptr;
        a.y = y.data();
        a.y_block_stride = y_at.block_stride;
        a.y_row_stride = y_at.row_stride;
        a.y_block = c.y_block;
        a.y_rows = c.rows;
        a.y_blocks = y_blocks;
        a.y_blocks_per_group = y_blocks / (grouped ? 1 : c.groups);
        a.y_width = c.y_width;
        a.kernel_size = c.kernel_size;
        a.stride = c.stride;
        a.dilation = c.dilation;
        a.act = c.act;
        if (c.residual) {
            a.residual = residual.data();
            a.residual_block_stride = r_at.block_stride;
            a.residual_row_stride = r_at.row_stride;
        }
        grouped ? ::grouped(table(), a) : ::dense(table(), a);
        ASSERT_TRUE(y.check()) << (grouped ? "grouped: " : "dense: ") << c;
    }

    /// What EveryWidth leaves to chance.
    static void vary(Case& c, Random& random) {
        c.act = random.pick({Act::none, Act::relu, Act::relu6, Act::hswish, Act::hswish_x6, Act::silu, Act::gelu});
        c.residual = random.below(2) == 0;
        c.guard = random.pick({Guard::before, Guard::behind});
        c.rows = 1 + random.below(3);
        if (random.below(3) == 0) c.missing_rows = static_cast<unsigned>(random.below(1 << c.kernel_size));
    }
};

class Dense : public DenseTest {};

TEST_P(Dense, EveryWidth) {
    Random random(1);
    std::uint64_t seed = 0;
    for (const int x_block : {1, 8, 16}) {
        for (const int y_block : {8, 16}) {
            for (const int kernel_size : {1, 3, 5}) {
                for (const int stride : {1, 2}) {
                    for (int width = 1; width <= 45; ++width) {  // beyond three of the largest tile
                        Case c{.y_width = width, .x_block = x_block, .y_block = y_block};
                        c.kernel_size = kernel_size;
                        c.stride = stride;
                        c.channels = x_block == 1 ? 1 + random.below(4) : 3 + random.below(20);
                        c.group_out = 1 + random.below(3 * y_block);
                        vary(c, random);
                        run(c, false, ++seed);
                        if (HasFatalFailure()) return;
                    }
                }
            }
        }
    }
}

TEST_P(Dense, EveryChannelCount) {
    Random random(2);
    std::uint64_t seed = 1000;
    for (const int x_block : {8, 16}) {
        for (const int channels : {1, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48}) {
            for (const int out : {1, 7, 8, 9, 15, 16, 17, 33}) {
                for (const int dilation : {1, 2}) {
                    Case c{.y_width = 1 + random.below(11), .channels = channels, .group_out = out, .x_block = x_block};
                    c.y_block = random.pick({8, 16});
                    c.dilation = dilation;
                    c.stride = 1 + random.below(2);
                    vary(c, random);
                    run(c, false, ++seed);
                    if (HasFatalFailure()) return;
                }
            }
        }
    }
}

TEST_P(Dense, LargeKernelsAndDilations) {
    Random random(3);
    std::uint64_t seed = 2000;
    for (const int x_block : {1, 8, 16}) {
        for (const int kernel_size : {5, 7}) {
            for (const int dilation : {1, 2, 3}) {
                for (const int width : {1, 7, 8, 13}) {
                    Case c{.y_width = width, .x_block = x_block, .kernel_size = kernel_size, .dilation = dilation};
                    c.channels = x_block == 1 ? 3 : 11;
                    c.stride = 1 + random.below(2);
                    vary(c, random);
                    run(c, false, ++seed);
                    if (HasFatalFailure()) return;
                }
            }
        }
    }
}

TEST_P(Dense, GroupsOfWholeBlocks) {
    Random random(4);
    std::uint64_t seed = 3000;
    for (const int block : {8, 16}) {
        for (const int groups : {2, 3, 5}) {
            for (const int in_blocks : {1, 2}) {
                for (const int out_blocks : {1, 3}) {
                    for (const int kernel_size : {1, 3}) {
                        Case c{.y_width = 1 + random.below(19), .channels = in_blocks * block, .groups = groups};
                        c.group_out = out_blocks * block;
                        c.x_block = c.y_block = block;
                        c.kernel_size = kernel_size;
                        vary(c, random);
                        run(c, false, ++seed);
                        if (HasFatalFailure()) return;
                    }
                }
            }
        }
    }
}

TEST_P(Dense, APixelDoesNotDependOnItsTile) {
    constexpr int width = 45, channels = 20, block = 16, kernel_size = 3;
    constexpr int in_width = width + kernel_size - 1;
    Random random(5);
    std::vector<float> x(2 * kernel_size * in_width * block), weights(channels * 9 * block), bias(block);
    random.fill(x);
    random.fill(weights);
    random.fill(bias);
    const auto run_part = [&](int first, int columns) {
        std::vector<float> y(static_cast<std::size_t>(columns * block));
        const float* rows[kernel_size];
        for (int ky = 0; ky < kernel_size; ++ky) rows[ky] = x.data() + (ky * in_width + first) * block;
        kernels::Dense a;
        a.rows = rows;
        a.x_block_stride = kernel_size * in_width * block;
        a.channels = channels;
        a.weights = weights.data();
        a.bias = bias.data();
        a.y = y.data();
        a.y_blocks = a.y_blocks_per_group = 1;
        a.y_width = columns;
        dense(table(), a);
        return y;
    };
    const std::vector<float> whole = run_part(0, width);
    for (int columns = 1; columns < width; ++columns) {
        const std::vector<float> part = run_part(width - columns, columns);
        ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + (width - columns) * block)) << columns;
    }
}

class Grouped : public DenseTest {};

TEST_P(Grouped, EveryKindOfGroup) {
    Random random(6);
    std::uint64_t seed = 4000;
    for (const int block : {8, 16}) {
        for (const int groups : {1, 2, 3, 5, 16}) {
            for (const int channels : {1, 2, 3, 7, 8, 9, 17}) {
                for (const int out : {1, 2, 5, 8, 9}) {
                    Case c{.y_width = 1 + random.below(6), .channels = channels, .groups = groups, .group_out = out};
                    c.x_block = block;
                    c.y_block = random.pick({8, 16});
                    c.kernel_size = random.pick({1, 3});
                    c.stride = 1 + random.below(2);
                    c.dilation = 1 + random.below(2);
                    vary(c, random);
                    run(c, true, ++seed);
                    if (HasFatalFailure()) return;
                }
            }
        }
    }
}

TEST_P(Grouped, LargeKernels) {
    Random random(7);
    for (const int kernel_size : {5, 7}) {
        Case c{.y_width = 5, .channels = 3, .groups = 4, .group_out = 5, .kernel_size = kernel_size, .dilation = 2};
        vary(c, random);
        run(c, true, 5000);
        if (HasFatalFailure()) return;
    }
}

EFFICIENTVIT_ON_EVERY_ISA(Dense);
EFFICIENTVIT_ON_EVERY_ISA(Grouped);

}  // namespace

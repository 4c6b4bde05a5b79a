// SPDX-License-Identifier: Apache-2.0
//
// kernels::winograd against the convolution by its definition: maps smaller than a tile and around its edges,
// rectangles of tiles within a map, channels that fill no block. The bound on errors is that of the transforms'
// absolute values. Weights of floats and of bytes; products of floats and of bf16.
#include "byte_weights.hpp"
#include "table.hpp"

#include <algorithm>
#include <array>

namespace {

using kernels::Winograd;
constexpr int points = Winograd::points, outputs = Winograd::outputs, block = Winograd::block;

struct Case {
    int height = 8, width = 8;
    int channels = 16, out_channels = 16;
    // Tiles; of all there are where `rows` is 0.
    int first_row = 0, rows = 0, first_column = 0, columns = 0;
    Act act = Act::none;
    bool residual = false;
    Guard guard = Guard::behind;

    friend std::ostream& operator<<(std::ostream& out, const Case& c) {
        return out << c.height << " x " << c.width << ", channels " << c.channels << ", out_channels " << c.out_channels
                   << ", tiles " << c.first_row << " + " << c.rows << ", " << c.first_column << " + " << c.columns
                   << ", act " << static_cast<int>(c.act) << ", residual " << c.residual << ", guard "
                   << (c.guard == Guard::before ? "before" : "behind");
    }
};

/// The matrices of F(4x4, 3x3) as the paper has them, from the points.
struct Matrices {
    double inputs[points][points] = {};  // B^T
    double weights[points][3] = {};      // G
    double outs[outputs][points] = {};   // A^T

    Matrices() {
        constexpr double a = kernels::WinogradPoints::a, b = kernels::WinogradPoints::b;
        const double at[points - 1] = {0, a, -a, b, -b};
        for (int i = 0; i < points; ++i) {
            // The product of x minus each other point; of all for the one at infinity.
            std::array<double, points> polynomial{1};
            double scale = 1;
            for (int j = 0; j < points - 1; ++j) {
                if (i == j) continue;
                for (int k = points - 1; k > 0; --k)
                    polynomial[std::size_t(k)] = polynomial[std::size_t(k - 1)] - at[j] * polynomial[std::size_t(k)];
                polynomial[0] *= -at[j];
                if (i < points - 1) scale *= at[i] - at[j];
            }
            std::copy(polynomial.begin(), polynomial.end(), inputs[i]);
            for (int k = 0; k < 3; ++k) weights[i][k] = i < points - 1 ? std::pow(at[i], k) / scale : k == 2;
            for (int k = 0; k < outputs; ++k) outs[k][i] = i < points - 1 ? std::pow(at[i], k) : k == outputs - 1;
        }
    }
};

/// to[i][j] = sum of |or not| left[i][k] * from[k][l] * left[j][l].
template <std::size_t To, std::size_t From>
std::vector<double> both_sides(const double (&left)[To][From], const std::vector<double>& from, bool absolute) {
    std::vector<double> to(To * To);
    const auto sign = [&](double x) { return absolute ? std::abs(x) : x; };
    for (std::size_t i = 0; i < To * To; ++i) {
        for (std::size_t k = 0; k < From * From; ++k) {
            to[i] += sign(left[i / To][k / From]) * sign(left[i % To][k % From]) * sign(from[k]);
        }
    }
    return to;
}

class WinogradTest : public testing::TestWithParam<WinogradWay> {
protected:
    void run(Case c, std::uint64_t seed) const {
        static const Matrices m;
        const bool bytes = kernels::has_bytes(GetParam().weights),
                   bf16 = GetParam().products == kernels::Operands::bf16;
        SCOPED_TRACE(testing::Message() << c << ", " << GetParam().name);
        const int all_rows = (c.height + outputs - 1) / outputs, all_columns = (c.width + outputs - 1) / outputs;
        if (c.rows == 0) c.rows = all_rows, c.columns = all_columns;
        Random random(seed);
        const int in_blocks = (c.channels + block - 1) / block, out_blocks = (c.out_channels + block - 1) / block;
        const int lanes = out_blocks * block;

        const Index x_row = Index{c.width + 2} * block + 8;
        const Layout x_at{block, x_row * c.height + 16, x_row};
        GuardedBuffer<float> x(floats_of(x_at, in_blocks, c.height, c.width + 2), c.guard);
        std::fill(x.begin(), x.end(), std::numeric_limits<float>::quiet_NaN());
        for (int i = 0; i < in_blocks * block; ++i) {
            for (int row = 0; row < c.height; ++row) {
                for (int column = 0; column < c.width + 2; ++column) {
                    const bool inside = i < c.channels && column > 0 && column <= c.width;
                    x[x_at.at(i, row, column)] = inside ? random.value(2) : 0.0f;
                }
            }
        }
        const auto input = [&](int channel, int row, int column) {
            const bool inside = row >= 0 && row < c.height && column >= 0 && column < c.width;
            return inside ? double{x[x_at.at(channel, row, column + 1)]} : 0.0;
        };

        std::vector<float> plain(std::size_t(lanes * c.channels * 9));
        for (std::size_t i = 0; i < plain.size(); ++i) {
            plain[i] = i < std::size_t(c.out_channels * c.channels * 9) ? random.value() : 0.0f;
        }
        ByteWeights of_bytes(random, c.channels, 9, lanes, block, c.guard);
        for (int i = 0; bytes && i < lanes * c.channels * 9; ++i) {
            const int o = i / 9 / c.channels, channel = i / 9 % c.channels, tap = i % 9;
            plain[std::size_t(i)] = of_bytes.scale(o) * float(of_bytes.byte(o, channel, tap));
        }
        const auto weight = [&](int o, int i) {
            const auto* const from = &plain[std::size_t((o * c.channels + i) * 9)];
            return std::vector<double>(from, from + 9);
        };
        GuardedBuffer<float> weights(std::size_t(Winograd::planes * lanes * c.channels), c.guard);
        for (int o = 0; o < lanes; ++o) {
            const int pair = o / block / 2 * 2, together = std::min(2, out_blocks - pair);
            for (int i = 0; i < c.channels; ++i) {
                const std::vector<double> u = both_sides(m.weights, weight(o, i), false);
                for (int p = 0; p < Winograd::planes; ++p) {
                    const Index panel = Index{pair} * Winograd::planes + Index{p} * together + (o / block - pair);
                    weights[(panel * c.channels + i) * block + o % block] = static_cast<float>(u[std::size_t(p)]);
                }
            }
        }
        GuardedBuffer<float> bias(std::size_t(lanes), c.guard);
        random.fill(bias, 2);

        const int row_end = std::min(outputs * (c.first_row + c.rows), c.height);
        const int column_end = std::min(outputs * (c.first_column + c.columns), c.width);
        const int first_row = outputs * c.first_row, first_column = outputs * c.first_column;
        const int y_rows = row_end - first_row, y_width = column_end - first_column;
        const Index y_row = Index{y_width} * block + 24, r_row = Index{y_width} * block + 40;
        const Layout y_at{block, y_row * y_rows + 16, y_row}, r_at{block, r_row * y_rows + 8, r_row};
        Output y(floats_of(y_at, out_blocks, y_rows, y_width), c.guard);
        GuardedBuffer<float> residual(floats_of(r_at, out_blocks, y_rows, y_width), c.guard);
        random.fill(residual, 4);

        for (int tile = 0; tile < c.rows * c.columns; ++tile) {
            const int top = first_row + outputs * (tile / c.columns),
                      left = first_column + outputs * (tile % c.columns);
            std::vector<std::vector<double>> sizes;  // of transformed inputs
            for (int i = 0; i < c.channels; ++i) {
                std::vector<double> d;
                for (int k = 0; k < points * points; ++k)
                    d.push_back(input(i, top + k / points - 1, left + k % points - 1));
                sizes.push_back(both_sides(m.inputs, d, true));
            }
            for (int o = 0; o < lanes; ++o) {
                std::vector<double> sums(std::size_t(points * points));
                for (int i = 0; i < c.channels; ++i) {
                    const std::vector<double> u = both_sides(m.weights, weight(o, i), true);
                    for (std::size_t p = 0; p < sums.size(); ++p) sums[p] += u[p] * sizes[std::size_t(i)][p];
                }
                const std::vector<double> size = both_sides(m.outs, sums, true);
                for (int at = 0; at < outputs * outputs; ++at) {
                    const int row = top + at / outputs, column = left + at % outputs;
                    if (row >= row_end || column >= column_end) continue;
                    double sum = double{bias[o]};
                    for (int i = 0; i < c.channels; ++i) {
                        const std::vector<double> w = weight(o, i);
                        for (int tap = 0; tap < 9; ++tap) {
                            sum += w[std::size_t(tap)] * input(i, row + tap / 3 - 1, column + tap % 3 - 1);
                        }
                    }
                    // Transforms have four operations a side at most, each of two roundings in plain C++, and those of
                    // bytes to weights as many. What is bf16 was rounded to 8 bits on both sides.
                    const double roundings = gamma(c.channels + (bytes ? 60 : 40)) + (bf16 ? 0x1.02p-8 : 0.0);
                    const double error = roundings * (size[std::size_t(at)] + std::abs(double{bias[o]}));
                    Bounded value = activate({sum, error}, c.act);
                    const int r = row - first_row, q = column - first_column;
                    if (c.residual) value = add(value, {residual[r_at.at(o, r, q)]});
                    y.expect(y_at.at(o, r, q), value);
                }
            }
        }

        GuardedBuffer<float> memory(
            std::size_t(kernels::winograd_floats(GetParam().weights, c.channels, c.rows * c.columns)), c.guard);
        std::fill(memory.begin(), memory.end(), std::numeric_limits<float>::quiet_NaN());
        Winograd a;
        a.x = x.data() + block;
        a.x_block_stride = x_at.block_stride;
        a.x_row_stride = x_at.row_stride;
        a.channels = c.channels;
        a.height = c.height;
        a.width = c.width;
        a.first_row = c.first_row;
        a.rows = c.rows;
        a.first_column = c.first_column;
        a.columns = c.columns;
        a.weights = bytes ? of_bytes.words.data() : weights.data();
        a.bias = bias.data();
        a.y = y.data();
        a.y_block_stride = y_at.block_stride;
        a.y_row_stride = y_at.row_stride;
        a.y_blocks = out_blocks;
        if (c.residual) a.residual = residual.data();
        a.residual_block_stride = r_at.block_stride;
        a.residual_row_stride = r_at.row_stride;
        a.act = c.act;
        a.memory = memory.data();
        GetParam().run(a);
        ASSERT_TRUE(y.check());
    }
};

TEST_P(WinogradTest, AllSizesAroundATile) {
    std::uint64_t seed = 0;
    for (int height = 1; height <= 9; ++height) {
        for (int width = 1; width <= 9; ++width) {
            for (const Guard guard : {Guard::before, Guard::behind}) {
                run({.height = height, .width = width, .channels = 2, .guard = guard}, ++seed);
            }
        }
    }
}

TEST_P(WinogradTest, AllChannels) {
    std::uint64_t seed = 1000;
    for (const int channels : {1, 15, 16, 17, 31, 32, 48, 70, 131}) {
        for (const int out_channels : {1, 16, 17, 32, 33, 48, 80}) {
            run({.height = 5, .width = 6, .channels = channels, .out_channels = out_channels}, ++seed);
        }
    }
}

TEST_P(WinogradTest, ActivationsAndResiduals) {
    std::uint64_t seed = 2000;
    for (const Act act : all_acts) {
        for (const bool residual : {false, true}) {
            for (const int width : {8, 9}) {
                run({.height = 7, .width = width, .channels = 5, .out_channels = 20, .act = act, .residual = residual},
                    ++seed);
            }
        }
    }
}

TEST_P(WinogradTest, RectanglesOfAMap) {
    std::uint64_t seed = 3000;
    for (const auto& [first_row, rows] : {std::pair{0, 1}, std::pair{1, 2}, std::pair{3, 1}, std::pair{0, 4}}) {
        for (const auto& [first_column, columns] : {std::pair{0, 1}, std::pair{1, 3}, std::pair{4, 1}}) {
            for (const Guard guard : {Guard::before, Guard::behind}) {
                run({.height = 14,
                     .width = 19,
                     .channels = 3,
                     .first_row = first_row,
                     .rows = rows,
                     .first_column = first_column,
                     .columns = columns,
                     .act = Act::relu,
                     .residual = true,
                     .guard = guard},
                    ++seed);
            }
        }
    }
}

/// Any of these together, and more tiles than a tile of products has pixels.
TEST_P(WinogradTest, Random) {
    for (std::uint64_t seed = 4000; seed < 4040; ++seed) {
        Random random(seed);
        Case c;
        c.height = 1 + random.below(30);
        c.width = 1 + random.below(40);
        c.channels = 1 + random.below(24);
        c.out_channels = 1 + random.below(20);
        c.act = random.pick({Act::none, Act::relu6, Act::hswish_x6, Act::gelu});
        c.residual = random.below(2) == 1;
        c.guard = random.below(2) == 1 ? Guard::before : Guard::behind;
        run(c, seed);
    }
}

std::string name_of(const testing::TestParamInfo<WinogradWay>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Way, WinogradTest, testing::ValuesIn(ways_of_winograd()), name_of);

}  // namespace

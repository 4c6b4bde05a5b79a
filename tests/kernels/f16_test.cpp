// SPDX-License-Identifier: Apache-2.0
//
// Kernels whose operands are IEEE halves, against naive loops in double: plain C++, and Arm's FP16 where this CPU has
// it.
#include "operand_maps.hpp"
#include "table.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace {

using kernels::Operands;
constexpr Operands f16 = Operands::f16;
constexpr int line = kernels::line_words(f16), head = kernels::line_head(f16), group = kernels::group_channels(f16);

double widened(std::uint16_t half) {
    const int exponent = half >> 10 & 31, fraction = half & 0x3ff;
    const double size = exponent == 31  ? (fraction == 0 ? std::numeric_limits<double>::infinity() : std::nan(""))
                        : exponent == 0 ? std::ldexp(fraction, -24)
                                        : std::ldexp(1024 + fraction, exponent - 25);
    return (half & 0x8000) != 0 ? -size : size;
}

/// A half of a size from 2^-15 to 2 (or denormal, or zero).
std::uint16_t random_half(Random& random) {
    const int exponent = random.below(8) == 0 ? random.below(16) : 10 + random.below(6);
    return static_cast<std::uint16_t>(random.below(2) << 15 | exponent << 10 | random.below(1024));
}

class F16 : public testing::TestWithParam<const kernels::Table*> {
protected:
    const kernels::Table& table() const { return *GetParam(); }
    /// Of the sums of 32 products: Arm's are halves.
    double group_unit() const { return table().isa == efficientvit::Isa::scalar ? unit : 0x1p-11; }
};

std::string name_of(const testing::TestParamInfo<const kernels::Table*>& info) {
    return std::string(efficientvit::isa_name(info.param->isa));
}

/// Lines of random halves and scales, [group][pixel][line].
struct Lines {
    GuardedBuffer<float> words;
    Index stride;

    Lines(Random& random, int channels, Index pixels, Guard guard)
        : words(static_cast<std::size_t>(kernels::rounded_words(f16, channels, pixels)), guard), stride(pixels * line) {
        for (Index at = 0; at < static_cast<Index>(words.size()); at += line) {
            words[at] = std::ldexp(1.0f, random.below(12) - 6);
            std::uint16_t halves[group];
            for (std::uint16_t& h : halves) h = random_half(random);
            std::memcpy(&words[at + head], halves, sizeof(halves));
        }
    }
    double scale(int channel, Index pixel) const { return double{words[channel / group * stride + pixel * line]}; }
    double at(int channel, Index pixel) const {
        std::uint16_t half;
        std::memcpy(&half,
                    reinterpret_cast<const char*>(words.data() + channel / group * stride + pixel * line + head) +
                        2 * (channel % group),
                    sizeof(half));
        return widened(half);
    }
};

/// Weights [y block][group][tap][channel][lane] of halves, whole eights of channels; those beyond the last are zero.
class Weights {
public:
    Weights(Random& random, int channels, int taps, int lanes, int y_block, Guard guard)
        : words(static_cast<std::size_t>(kernels::weight_words(f16, channels) * taps * lanes), guard),
          channels_(channels),
          taps_(taps),
          halves_(static_cast<std::size_t>(lanes * channels * taps)) {
        for (std::uint16_t& h : halves_) h = random_half(random);
        char* to = reinterpret_cast<char*>(words.data());
        for (int first_lane = 0; first_lane < lanes; first_lane += y_block) {
            for (int first = 0; first < channels; first += group) {
                const int end = first + (std::min(group, channels - first) + 7) / 8 * 8;
                for (int tap = 0; tap < taps; ++tap) {
                    for (int c = first; c < end; ++c) {
                        for (int o = first_lane; o < first_lane + y_block; ++o, to += 2) {
                            const std::uint16_t h = c < channels ? half(o, c, tap) : std::uint16_t{0};
                            std::memcpy(to, &h, 2);
                        }
                    }
                }
            }
        }
        EXPECT_EQ(to, reinterpret_cast<char*>(words.data() + words.size()));
    }
    /// Adds the products of a pixel's channels at a tap, summed in groups by numbers of this unit in the last place.
    void add(Sum& sum, const Lines& x, Index pixel, int o, int tap, double group_unit) const {
        for (int first = 0; first < channels_; first += group) {
            double value = 0, size = 0;
            for (int c = first; c < std::min(first + group, channels_); ++c) {
                const double product = x.at(c, pixel) * widened(half(o, c, tap));
                value += product;
                size += std::abs(product);
            }
            const double lost = group_unit == unit ? smallest : 0x1p-25;  // by denormal sums
            const double factor = (group + 1) * group_unit / (1 - (group + 1) * group_unit);
            sum.add(Bounded{value, factor * size + group * lost}, x.scale(first, pixel));
        }
    }
    GuardedBuffer<float> words;

private:
    std::uint16_t half(int o, int channel, int tap) const {
        return halves_[static_cast<std::size_t>((o * channels_ + channel) * taps_ + tap)];
    }
    int channels_, taps_;
    std::vector<std::uint16_t> halves_;
};

TEST_P(F16, RoundsByThePowerOfTwoOfTheLargest) {
    Random random(1);
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float size : {1e-44f, 1e-38f, 1e-20f, 1e-3f, 1.0f, 3e4f, 7e4f, 1e20f, 3.4e38f}) {
        for (const int block : {8, 16}) {
            const int blocks = 1 + random.below(4), pixels = 6;
            const Index block_stride = Index{pixels} * block;
            std::vector<float> x(static_cast<std::size_t>(blocks * block_stride));
            for (float& v : x) v = random.below(9) == 0 ? 0.0f : random.value(size);
            for (int lane = 0; lane < block; ++lane) x[static_cast<std::size_t>(lane)] = 0.0f;  // pixel 0 of block 0
            x[static_cast<std::size_t>(1 * block)] = infinity;                                  // of pixel 1
            x[static_cast<std::size_t>(2 * block + 1)] = std::numeric_limits<float>::quiet_NaN();
            const int groups = kernels::group_count(f16, blocks * block);
            std::vector<float> y(static_cast<std::size_t>(groups * pixels * line));
            kernels::Round a;
            a.x = x.data();
            a.x_block_stride = block_stride;
            a.x_row_stride = Index{pixels} * block;
            a.x_block = block;
            a.x_blocks = blocks;
            a.width = pixels;
            a.y = y.data();
            a.y_group_stride = Index{pixels} * line;
            table().round(a);
            for (int p = 0; p < pixels; ++p) {
                for (int c = 0; c < blocks * block; ++c) {
                    const float* const at = y.data() + (c / group * pixels + p) * line;
                    const double from =
                        double{x[static_cast<std::size_t>(c / block * block_stride + p * block + c % block)]};
                    std::uint16_t half;
                    std::memcpy(&half, reinterpret_cast<const char*>(at + head) + 2 * (c % group), sizeof(half));
                    const double found = double{at[0]} * widened(half);
                    if (std::isnan(from)) {
                        EXPECT_TRUE(std::isnan(found));
                    } else if (c < group && (p == 1 || p == 2)) {  // beside what is not finite: as a half alone
                        if (std::abs(from) < 65520)
                            EXPECT_NEAR(found, from, std::max(0x1p-11 * std::abs(from), 0x1p-25));
                        else
                            EXPECT_EQ(found, std::copysign(double{infinity}, from));
                    } else {
                        EXPECT_LT(std::abs(widened(half)), 4) << size;
                        EXPECT_NEAR(found, from, std::max(0x1p-11 * std::abs(from), 0x1p-25 * double{at[0]})) << size;
                    }
                }
            }
        }
    }
}

TEST_P(F16, PointwiseOfEveryTileAndChannelCount) {
    Random random(2);
    for (const int y_block : {8, 16}) {
        for (const int channels : {1, 7, 8, 16, 24, 31, 32, 33, 48, 65, 96}) {
            for (int pixels = 1; pixels <= 23; ++pixels) {
                const Guard guard = random.below(2) == 0 ? Guard::before : Guard::behind;
                int width = 1 + random.below(pixels);
                while (pixels % width != 0) ++width;
                const int rows = pixels / width, y_blocks = 1 + random.below(3), lanes = y_blocks * y_block;
                const Lines x(random, channels, pixels, guard);
                const Weights weights(random, channels, 1, lanes, y_block, guard);
                GuardedBuffer<float> bias(static_cast<std::size_t>(lanes), guard);
                random.fill(bias, 4);
                const Index row = Index{width} * y_block;
                const Layout y_at{y_block, (row + 40) * rows + 16, row + 40};
                Output y(floats_of(y_at, y_blocks, rows, width), guard);
                kernels::Pointwise a;
                a.x = x.words.data();
                set_maps(a, x.stride, channels, weights, bias, y, y_at, y_blocks);
                a.y_width = width;
                a.pixels = pixels;
                a.act = random.below(2) == 0 ? Act::none : Act::relu;
                for (int o = 0; o < lanes; ++o) {
                    for (int p = 0; p < pixels; ++p) {
                        Sum sum;
                        sum.add(bias[o], 1);
                        weights.add(sum, x, p, o, 0, group_unit());
                        y.expect(y_at.at(o, p / width, p % width), activate(sum.result(), a.act));
                    }
                }
                table().pointwise(a);
                ASSERT_TRUE(y.check()) << "channels " << channels << ", pixels " << pixels << ", width " << width
                                       << ", y_block " << y_block << ", y_blocks " << y_blocks;
            }
        }
    }
}

TEST_P(F16, DenseOfEveryStrideAndWidth) {
    Random random(3);
    for (const int y_block : {8, 16}) {
        for (const int channels : {8, 9, 32, 40, 64}) {
            for (int y_width = 1; y_width <= 12; ++y_width) {
                const int kernel_size = 1 + 2 * random.below(2), stride = 1 + random.below(2);
                const int dilation = 1 + random.below(2), y_rows = 1 + random.below(2);
                const int x_width = (y_width - 1) * stride + (kernel_size - 1) * dilation + 1;
                const int x_height = (y_rows - 1) * stride + (kernel_size - 1) * dilation + 1;
                const int y_blocks = 1 + random.below(2), lanes = y_blocks * y_block, taps = kernel_size * kernel_size;
                const Guard guard = Guard::before;
                const Lines x(random, channels, Index{x_width} * x_height + 30, guard);
                const Weights weights(random, channels, taps, lanes, y_block, guard);
                GuardedBuffer<float> bias(static_cast<std::size_t>(lanes), guard);
                random.fill(bias, 4);
                const Layout y_at{y_block, Index{y_width} * y_block * y_rows, Index{y_width} * y_block};
                Output y(floats_of(y_at, y_blocks, y_rows, y_width), guard);
                const int missing = random.below(x_height + 1);  // this row is padding
                const std::vector<const float*> rows =
                    rows_of_taps(x.words.data(), Index{x_width} * line, y_rows, kernel_size, stride, dilation, missing);
                kernels::Dense a;
                a.rows = rows.data();
                set_maps(a, x.stride, channels, weights, bias, y, y_at, y_blocks);
                a.y_blocks_per_group = y_blocks;
                a.y_rows = y_rows;
                a.y_width = y_width;
                a.kernel_size = kernel_size;
                a.stride = stride;
                a.dilation = dilation;
                for (int o = 0; o < lanes; ++o) {
                    for (int r = 0; r < y_rows; ++r) {
                        for (int column = 0; column < y_width; ++column) {
                            Sum sum;
                            sum.add(bias[o], 1);
                            for (int tap = 0; tap < taps; ++tap) {
                                const int in = r * stride + tap / kernel_size * dilation;
                                const int at = column * stride + tap % kernel_size * dilation;
                                if (in != missing) {
                                    weights.add(sum, x, Index{in} * x_width + at, o, tap, group_unit());
                                }
                            }
                            y.expect(y_at.at(o, r, column), sum.result());
                        }
                    }
                }
                table().dense(a);
                ASSERT_TRUE(y.check()) << "channels " << channels << ", kernel_size " << kernel_size << ", stride "
                                       << stride << ", dilation " << dilation << ", y_width " << y_width;
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Tables, F16, testing::ValuesIn(tables_of_f16()), name_of);

}  // namespace

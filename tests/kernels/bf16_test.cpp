// SPDX-License-Identifier: Apache-2.0
//
// Kernels whose operands are bf16 numbers, against naive loops: every unit that this CPU has, and widened weights on
// every instruction set.
#include "operand_maps.hpp"
#include "table.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace {

using kernels::Operands;

std::uint16_t bf16_bits(float x) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    if (std::isnan(x)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
    const std::uint32_t below = bits & 0xffff, half = 0x8000;
    const std::uint32_t up = below > half || (below == half && (bits >> 16 & 1) != 0) ? 1 : 0;
    return static_cast<std::uint16_t>((bits >> 16) + up);
}
float widened(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
float rounded(float x) { return widened(bf16_bits(x)); }
float word(float even, float odd) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bf16_bits(odd)) << 16 | bf16_bits(even));
}

class Bf16 : public testing::TestWithParam<const kernels::Table*> {
protected:
    const kernels::Table& table() const { return *GetParam(); }
    bool rounds() const { return table().operands == Operands::bf16; }
    /// silu and gelu beside bf16 inputs may be as rough as that.
    Bounded activated(const Bounded& x, Act act) const {
        Bounded y = activate(x, act);
        if (rounds() && (act == Act::silu || act == Act::gelu)) y.error += 0x1p-12 * std::abs(y.value) + 1e-30;
        return y;
    }
};

std::string name_of(const testing::TestParamInfo<const kernels::Table*>& info) {
    std::string name = std::string(efficientvit::isa_name(info.param->isa)) + "_" + info.param->products;
    std::erase_if(name, [](unsigned char c) { return std::isalnum(c) == 0 && c != '_'; });
    return name;
}

/// A map of channels in blocks, whose values are bf16 numbers, and the same as the table's kernels read it.
struct Input {
    Layout layout;
    std::vector<float> values;
    GuardedBuffer<float> words;
    Index word_stride = 0;

    Input(const kernels::Table& table, Random& random, int channels, int block, Index pixels, Guard guard) {
        const int blocks = (channels + block - 1) / block;
        layout = {block, pixels * block, pixels * block};
        values.assign(static_cast<std::size_t>(blocks * layout.block_stride), 0.0f);
        for (int c = 0; c < channels; ++c) {
            for (Index p = 0; p < pixels; ++p) {
                values[static_cast<std::size_t>(layout.at(c, 0, p))] = rounded(random.value(2));
            }
        }
        if (table.operands != Operands::bf16) {
            words = GuardedBuffer<float>(values.size(), guard);
            std::copy(values.begin(), values.end(), words.begin());
            word_stride = layout.block_stride;
            return;
        }
        word_stride = pixels * kernels::group_words(Operands::bf16);
        words = GuardedBuffer<float>(static_cast<std::size_t>(kernels::rounded_words(Operands::bf16, channels, pixels)),
                                     guard);
        std::fill(words.begin(), words.end(), std::numeric_limits<float>::quiet_NaN());
        kernels::Round round;
        round.x = values.data();
        round.x_block_stride = layout.block_stride;
        round.x_block = block;
        round.x_blocks = blocks;
        round.width = static_cast<int>(pixels);
        round.y = words.data();
        round.y_group_stride = word_stride;
        table.round(round);
    }
    float at(int channel, Index pixel) const { return values[static_cast<std::size_t>(layout.at(channel, 0, pixel))]; }
};

/// Weights [y block][input block][tap][channel][lane], as packed for the table.
class Weights {
public:
    Weights(const kernels::Table& table, Random& random, int channels, int x_block, int taps, int lanes, int y_block,
            Guard guard)
        : channels_(channels), taps_(taps), values_(static_cast<std::size_t>(lanes * channels * taps)) {
        for (float& v : values_) v = rounded(random.value(1));
        const int group = table.operands == Operands::bf16 ? kernels::group_channels(Operands::bf16) : x_block;
        words = GuardedBuffer<float>(
            static_cast<std::size_t>(kernels::weight_words(table.operands, channels) * taps * lanes), guard);
        Index to = 0;
        for (int first_lane = 0; first_lane < lanes; first_lane += y_block) {
            for (int first = 0; first < channels; first += group) {
                const int end = table.operands == Operands::bf16 ? first + group : std::min(first + group, channels);
                for (int tap = 0; tap < taps; ++tap) {
                    for (int c = first; c < end; c += 2) {
                        for (int o = first_lane; o < first_lane + y_block; ++o) {
                            words[to++] = word(at(o, c, tap), at(o, c + 1, tap));
                        }
                    }
                }
            }
        }
        EXPECT_EQ(static_cast<std::size_t>(to), words.size());
    }
    float at(int o, int channel, int tap) const {
        return channel >= channels_ ? 0.0f : values_[static_cast<std::size_t>((o * channels_ + channel) * taps_ + tap)];
    }
    GuardedBuffer<float> words;

private:
    int channels_, taps_;
    std::vector<float> values_;
};

TEST_P(Bf16, RoundsToNearestEvenAndKeepsNaN) {
    if (!rounds()) return;  // inputs stay float
    const float special[] = {0.0f,
                             -0.0f,
                             1.0f,
                             1.00390625f,
                             1.01171875f,
                             1.003907f,
                             3.3895314e38f,
                             3.4e38f,
                             std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN(),
                             std::bit_cast<float>(0x7f800001u),
                             std::numeric_limits<float>::min()};
    Random random(1);
    for (const int block : {8, 16}) {
        for (const int blocks : {1, 2, 3, 4, 5}) {
            const int rows = 3, width = 5, gap = 16;
            const Layout at{block, (width * block + gap) * rows, width * block + gap};
            std::vector<float> x(static_cast<std::size_t>(at.block_stride * blocks));
            for (float& v : x)
                v = random.below(4) == 0 ? special[random.below(int(std::size(special)))] : random.value(1e3f);
            const int groups = kernels::group_count(Operands::bf16, blocks * block);
            const Index stride = rows * width * kernels::group_words(Operands::bf16);
            std::vector<float> y(static_cast<std::size_t>(stride * groups), std::numeric_limits<float>::quiet_NaN());
            kernels::Round a;
            a.x = x.data();
            a.x_block_stride = at.block_stride;
            a.x_row_stride = at.row_stride;
            a.x_block = block;
            a.x_blocks = blocks;
            a.rows = rows;
            a.width = width;
            a.y = y.data();
            a.y_group_stride = stride;
            table().round(a);
            for (int lane = 0; lane < groups * kernels::group_channels(Operands::bf16); ++lane) {
                for (int p = 0; p < rows * width; ++p) {
                    const Index word_at = lane / 32 * stride + p * kernels::group_words(Operands::bf16) + lane % 32 / 2;
                    std::uint16_t found[2];
                    std::memcpy(found, y.data() + word_at, sizeof(found));
                    const float from =
                        lane < blocks * block ? x[static_cast<std::size_t>(at.at(lane, p / width, p % width))] : 0.0f;
                    if (std::isnan(from)) {
                        EXPECT_TRUE(std::isnan(widened(found[lane % 2])));
                    } else {
                        EXPECT_EQ(found[lane % 2], bf16_bits(from)) << from << ", lane " << lane << ", pixel " << p;
                    }
                }
            }
        }
    }
}

TEST_P(Bf16, PointwiseOfEveryTileAndChannelCount) {
    Random random(2);
    for (const int y_block : {8, 16}) {
        for (const int channels : {1, 2, 7, 8, 9, 16, 24, 31, 32, 33, 48, 64, 65, 96}) {
            for (int pixels = 1; pixels <= 67; pixels += pixels < 36 ? 1 : 5) {
                const int x_block = channels % 16 >= 1 && channels % 16 <= 8 ? 8 : 16;
                const Guard guard = random.below(2) == 0 ? Guard::before : Guard::behind;
                int width = 1 + random.below(pixels);
                while (pixels % width != 0) ++width;
                const int rows = pixels / width, y_blocks = 1 + random.below(5), lanes = y_blocks * y_block;
                const Input x(table(), random, channels, x_block, pixels, guard);
                const Weights weights(table(), random, channels, x_block, 1, lanes, y_block, guard);
                GuardedBuffer<float> bias(static_cast<std::size_t>(lanes), guard);
                random.fill(bias, 4);
                const Index row = Index{width} * y_block;
                const Layout y_at{y_block, (row + 40) * rows + 16, row + 40};
                const Layout r_at{y_block, (row + 16) * rows + 8, row + 16};
                GuardedBuffer<float> residual(floats_of(r_at, y_blocks, rows, width), guard);
                random.fill(residual, 4);
                Output y(floats_of(y_at, y_blocks, rows, width), guard);

                kernels::Pointwise a;
                a.x = x.words.data();
                a.x_block = x.layout.block;
                set_maps(a, x.word_stride, channels, weights, bias, y, y_at, y_blocks);
                a.y_width = width;
                a.pixels = pixels;
                a.act = all_acts[random.below(int(std::size(all_acts)))];
                const bool adds = random.below(2) == 0;
                if (adds) {
                    a.residual = residual.data();
                    a.residual_block_stride = r_at.block_stride;
                    a.residual_row_stride = r_at.row_stride;
                }
                for (int o = 0; o < lanes; ++o) {
                    for (int p = 0; p < pixels; ++p) {
                        Sum sum;
                        sum.add(bias[o], 1);
                        for (int c = 0; c < channels; ++c) sum.add(x.at(c, p), weights.at(o, c, 0));
                        Bounded value = activated(sum.result(), a.act);
                        if (adds) value = add(value, {residual[r_at.at(o, p / width, p % width)]});
                        y.expect(y_at.at(o, p / width, p % width), value);
                    }
                }
                table().pointwise(a);
                ASSERT_TRUE(y.check()) << "channels " << channels << ", pixels " << pixels << ", width " << width
                                       << ", y_block " << y_block << ", y_blocks " << y_blocks << ", act "
                                       << static_cast<int>(a.act);
            }
        }
    }
}

TEST_P(Bf16, DenseOfEveryKernelStrideAndWidth) {
    Random random(3);
    for (const int y_block : {8, 16}) {
        for (const int channels : {8, 9, 16, 32, 40, 64}) {
            for (const int kernel_size : {1, 3, 5}) {
                for (int y_width = 1; y_width <= 36; y_width += y_width < 18 ? 1 : 6) {
                    const int x_block = channels % 16 >= 1 && channels % 16 <= 8 ? 8 : 16;
                    const int stride = 1 + random.below(2), dilation = 1 + random.below(2),
                              y_rows = 1 + random.below(3);
                    const int x_width = (y_width - 1) * stride + (kernel_size - 1) * dilation + 1;
                    const int x_height = (y_rows - 1) * stride + (kernel_size - 1) * dilation + 1;
                    const int y_blocks = 1 + random.below(3), lanes = y_blocks * y_block,
                              taps = kernel_size * kernel_size;
                    const Guard guard = Guard::before;
                    // Strides of two let tiles look 30 pixels beyond the last.
                    const Input x(table(), random, channels, x_block, Index{x_width} * x_height + 30, guard);
                    const Weights weights(table(), random, channels, x_block, taps, lanes, y_block, guard);
                    GuardedBuffer<float> bias(static_cast<std::size_t>(lanes), guard);
                    random.fill(bias, 4);
                    const Index row = Index{y_width} * y_block;
                    const Layout y_at{y_block, (row + 8) * y_rows + 16, row + 8};
                    Output y(floats_of(y_at, y_blocks, y_rows, y_width), guard);
                    const int missing = random.below(x_height + 1);  // this row is padding
                    const int pixel_words = rounds() ? kernels::group_words(Operands::bf16) : x_block;
                    const std::vector<const float*> rows = rows_of_taps(x.words.data(), Index{x_width} * pixel_words,
                                                                        y_rows, kernel_size, stride, dilation, missing);
                    kernels::Dense a;
                    a.rows = rows.data();
                    a.x_block = x.layout.block;
                    set_maps(a, x.word_stride, channels, weights, bias, y, y_at, y_blocks);
                    a.y_blocks_per_group = y_blocks;
                    a.y_rows = y_rows;
                    a.y_width = y_width;
                    a.kernel_size = kernel_size;
                    a.stride = stride;
                    a.dilation = dilation;
                    a.act = all_acts[random.below(int(std::size(all_acts)))];
                    for (int o = 0; o < lanes; ++o) {
                        for (int r = 0; r < y_rows; ++r) {
                            for (int column = 0; column < y_width; ++column) {
                                Sum sum;
                                sum.add(bias[o], 1);
                                for (int tap = 0; tap < taps; ++tap) {
                                    const int in = r * stride + tap / kernel_size * dilation;
                                    const int at = column * stride + tap % kernel_size * dilation;
                                    if (in == missing) continue;
                                    for (int c = 0; c < channels; ++c) {
                                        sum.add(x.at(c, Index{in} * x_width + at), weights.at(o, c, tap));
                                    }
                                }
                                y.expect(y_at.at(o, r, column), activated(sum.result(), a.act));
                            }
                        }
                    }
                    table().dense(a);
                    ASSERT_TRUE(y.check()) << "channels " << channels << ", kernel_size " << kernel_size << ", stride "
                                           << stride << ", dilation " << dilation << ", y_width " << y_width
                                           << ", y_rows " << y_rows << ", y_block " << y_block;
                }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Tables, Bf16, testing::ValuesIn(tables_of_bf16()), name_of);

}  // namespace

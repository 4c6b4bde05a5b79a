// SPDX-License-Identifier: Apache-2.0
//
// Kernels whose operands are bytes, against naive loops: every unit that this CPU has, and every instruction set
// without one.
#include "byte_weights.hpp"
#include "operand_maps.hpp"
#include "table.hpp"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

namespace {

using kernels::Operands;
constexpr Operands int8 = Operands::int8;
constexpr int head = kernels::line_head(int8), group = kernels::group_channels(int8);

/// Byte c of a line in the form that `operands` has.
int byte_of(Operands operands, const float* line, int c) {
    const auto* const bytes = reinterpret_cast<const unsigned char*>(line + head);
    if (operands == Operands::int8) return bytes[c];
    std::uint16_t wide;
    std::memcpy(&wide, bytes + c % 2 * 4 * kernels::group_words(Operands::int8_wide) + c / 2 * 2, sizeof(wide));
    return wide;
}

class Int8 : public testing::TestWithParam<const kernels::Table*> {
protected:
    const kernels::Table& table() const { return *GetParam(); }
    Operands operands() const { return table().operands; }
};

/// silu and gelu beside rounded inputs may be as rough as that: by parabolas (isa/avx512_rough.hpp), and else.
double rare_error(const kernels::Table& table, Act act, double y) {
    const bool parabolas = std::strstr(table.products, "AVX512_VNNI") != nullptr && act == Act::gelu;
    return parabolas ? 3.5e-4 : 0x1p-12 * std::abs(y) + 1e-30;
}
Bounded activated(const kernels::Table& table, const Bounded& x, Act act) {
    Bounded y = activate(x, act);
    if (act == Act::silu || act == Act::gelu) y.error += rare_error(table, act, y.value);
    return y;
}

std::string name_of(const testing::TestParamInfo<const kernels::Table*>& info) {
    std::string name = std::string(efficientvit::isa_name(info.param->isa)) + "_" + info.param->products;
    std::erase_if(name, [](unsigned char c) { return std::isalnum(c) == 0 && c != '_'; });
    return name;
}

/// Lines of random bytes, scales and offsets, [group][pixel][line].
struct Lines {
    Operands operands;
    Index line, stride;
    GuardedBuffer<float> words;

    /// `plain`: bytes stand for themselves, and half of them are extreme.
    Lines(Operands of, Random& random, int channels, Index pixels, Guard guard, bool plain = false)
        : operands(of),
          line(kernels::line_words(of)),
          stride(pixels * line),
          words(static_cast<std::size_t>(kernels::rounded_words(of, channels, pixels)), guard) {
        std::vector<unsigned char> bytes(words.size() * 4);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            const bool upper = of == Operands::int8_wide && i % 2 == 1;  // half of an integer
            const int value = plain && random.below(2) == 0 ? 255 : random.below(256);
            bytes[i] = static_cast<unsigned char>(upper ? 0 : value);
        }
        std::memcpy(words.data(), bytes.data(), bytes.size());
        for (Index at = 0; at < static_cast<Index>(words.size()); at += line) {
            words[at] = plain ? 1.0f : std::abs(random.value(0.02f));
            words[at + 1] = plain ? 0.0f : random.value(2);
        }
    }
    const float* of(int channel, Index pixel) const { return words.data() + channel / group * stride + pixel * line; }
    float scale(int channel, Index pixel) const { return of(channel, pixel)[0]; }
    float offset(int channel, Index pixel) const { return of(channel, pixel)[1]; }
    int byte(int channel, Index pixel) const { return byte_of(operands, of(channel, pixel), channel % group); }
};

/// Adds the products of a pixel's channels at a tap.
void add_products(Sum& sum, const ByteWeights& w, const Lines& x, Index pixel, int o, int tap) {
    for (int first = 0; first < w.channels(); first += group) {
        Index products = 0, weights = 0;
        for (int c = first; c < std::min(first + group, w.channels()); ++c) {
            products += x.byte(c, pixel) * w.byte(o, c, tap);
            weights += w.byte(o, c, tap);
        }
        const double s = double{w.scale(o)};
        const auto factor = [&](Index n) { return multiply(Bounded{static_cast<double>(n)}, s); };
        sum.add(factor(products), double{x.scale(first, pixel)});
        sum.add(factor(weights), double{x.offset(first, pixel)});
    }
}

TEST_P(Int8, SpreadsBytesFromTheLeastToTheLargest) {
    Random random(1);
    const float special[] = {0.0f, -0.0f, 1e-40f, 3e38f, -3e38f, 1e-5f, 1.0f};
    for (const int block : {8, 16}) {
        for (int blocks = 1; blocks <= 272 / block; ++blocks) {
            const int rows = 3, width = blocks % 2 == 0 ? 5 : 13;
            const int gap = blocks % 3 == 0 ? 0 : 16;  // none: all rows are one
            const Layout at{block, (width * block + gap) * rows, width * block + gap};
            std::vector<float> x(static_cast<std::size_t>(at.block_stride * blocks));
            for (int p = 0; p < rows * width; ++p) {
                const float size = std::ldexp(1.0f, random.below(60) - 30), shift = random.value(size);
                const int kind = random.below(4);  // of the pixel: two of ordinary numbers, one constant, one special
                for (int c = 0; c < blocks * block; ++c) {
                    x[static_cast<std::size_t>(at.at(c, p / width, p % width))] =
                        kind == 0   ? special[random.below(int(std::size(special)))]
                        : kind == 1 ? size
                                    : shift + random.value(size);
                }
            }
            const int groups = kernels::group_count(int8, blocks * block);
            const int line = kernels::line_words(operands()), scalar_line = kernels::line_words(int8);
            const Index stride = Index{rows} * width * line, scalar_stride = Index{rows} * width * scalar_line;
            std::vector<float> y(static_cast<std::size_t>(stride * groups), -1.0f);
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
            std::vector<float> scalar(static_cast<std::size_t>(scalar_stride * groups), -1.0f);
            a.y = scalar.data();
            a.y_group_stride = scalar_stride;
            tables_of_int8().front()->round(a);
            for (int p = 0; p < rows * width; ++p) {
                for (int first = 0; first < blocks * block; first += group) {
                    const int end = std::min(first + group, blocks * block);
                    const float* const found = y.data() + first / group * stride + Index{p} * line;
                    const float* const wanted = scalar.data() + first / group * scalar_stride + Index{p} * scalar_line;
                    const auto value = [&](int c) {
                        return x[static_cast<std::size_t>(at.at(c, p / width, p % width))];
                    };
                    float low = value(first), high = low;
                    for (int c = first; c < end; ++c) low = std::min(low, value(c)), high = std::max(high, value(c));
                    EXPECT_EQ(found[1], low);
                    const double range = double{high} - double{low};
                    EXPECT_NEAR(found[0], range / 255, range * 1e-8 + std::abs(low) * 1e-9 + 1e-40);
                    for (int c = first; c < end; ++c) {
                        const int byte = byte_of(operands(), found, c - first);
                        const double error = double{found[0]} * byte + double{low} - double{value(c)};
                        ASSERT_LE(std::abs(error), range / 510 * 1.001 + std::abs(low) * 1e-7 + 1e-35)
                            << "block " << block << ", blocks " << blocks << ", channel " << c;
                        EXPECT_EQ(byte, byte_of(int8, wanted, c - first));  // on every instruction set
                    }
                    EXPECT_EQ(std::memcmp(found, wanted, head * sizeof(float)), 0);
                }
            }
        }
    }
}

TEST_P(Int8, MarksPixelsWithNaN) {
    const int line = kernels::line_words(operands());
    constexpr float infinity = std::numeric_limits<float>::infinity();
    for (const int width : {1, 2, 4, 7}) {
        for (int channel = 0; channel < group; ++channel) {
            const int broken = channel % width;
            std::vector<float> x(static_cast<std::size_t>(group * width), 1.0f);
            std::vector<float> y(static_cast<std::size_t>(width * line));
            const auto at = [&](int c, int pixel) -> float& {
                return x[static_cast<std::size_t>((c / 16 * width + pixel) * 16 + c % 16)];
            };
            at(channel, broken) = std::numeric_limits<float>::quiet_NaN();
            // Infinities of two pixels are no NaN of a third.
            if (width > 3) at(channel, (broken + 1) % width) = infinity, at(channel, (broken + 2) % width) = -infinity;
            kernels::Round a;
            a.x = x.data();
            a.x_block_stride = 16 * width;
            a.x_blocks = group / 16;
            a.width = width;
            a.y = y.data();
            table().round(a);
            for (int p = 0; p < width; ++p) {
                const float scale = y[static_cast<std::size_t>(p * line)];
                if (p == broken) {
                    EXPECT_TRUE(std::isnan(scale)) << channel;
                } else if (width <= 3 || p == (broken + 3) % width) {
                    EXPECT_EQ(scale, 0.0f) << channel;
                } else {
                    EXPECT_FALSE(std::isnan(scale)) << channel;
                }
            }
        }
    }
}

TEST_P(Int8, LinesOfSeveralColumnsAreThoseOfTheirChannels) {
    Random random(5);
    const int line = kernels::line_words(operands()), rows = 3;
    for (const int block : {8, 16}) {
        for (const int blocks : {1, 2, 3}) {
            for (const int columns : {3, 5}) {
                for (int width = 1; width <= 21; width += 4) {
                    const int stride = 1 + random.below(2), lanes = blocks * columns * block;
                    const int row = (width - 1) * stride + columns;
                    const Layout at{block, Index{row} * block * rows, Index{row} * block};
                    GuardedBuffer<float> x(static_cast<std::size_t>(at.block_stride * blocks), Guard::behind);
                    random.fill(x, 3);
                    // The same with the columns as blocks of a pixel.
                    const Layout wide{block, Index{width} * block * rows, Index{width} * block};
                    std::vector<float> joined(static_cast<std::size_t>(wide.block_stride * blocks * columns));
                    for (int c = 0; c < lanes; ++c) {
                        const int channel = c % (blocks * block), column = c / (blocks * block);
                        for (int i = 0; i < rows * width; ++i) {
                            joined[static_cast<std::size_t>(wide.at(c, i / width, i % width))] =
                                x[at.at(channel, i / width, i % width * stride + column)];
                        }
                    }
                    const auto lines_of = [&](const float* from, const Layout& layout, int x_blocks, int line_columns) {
                        const Index group_stride = Index{rows} * width * line;
                        std::vector<float> y(
                            static_cast<std::size_t>(group_stride * kernels::group_count(int8, lanes)));
                        kernels::Round a;
                        a.x = from;
                        a.x_block_stride = layout.block_stride;
                        a.x_row_stride = layout.row_stride;
                        a.x_block = block;
                        a.x_blocks = x_blocks;
                        a.rows = rows;
                        a.width = width;
                        a.y = y.data();
                        a.y_group_stride = group_stride;
                        a.line_columns = line_columns;
                        a.line_stride = line_columns > 1 ? stride : 1;
                        table().round(a);
                        std::vector<int> found;  // heads' bits, and bytes that stand for something
                        for (Index p = 0; p < rows * width; ++p) {
                            for (int c = 0; c < lanes; ++c) {
                                const float* const at_group = y.data() + c / group * group_stride + p * line;
                                found.push_back(byte_of(operands(), at_group, c % group));
                                if (c % group >= head) continue;
                                found.push_back(std::bit_cast<int>(at_group[c % group]));
                            }
                        }
                        return found;
                    };
                    EXPECT_EQ(lines_of(x.data(), at, blocks, columns),
                              lines_of(joined.data(), wide, blocks * columns, 1))
                        << "block " << block << ", blocks " << blocks << ", columns " << columns << ", width " << width;
                }
            }
        }
    }
}

TEST_P(Int8, SumsOfProductsAreExact) {
    Random random(4);
    for (const int channels : {1, 3, 4, 17, 32, 63, 64, 65, 127, 128}) {
        const int pixels = 33, y_block = 16, y_blocks = 3, lanes = y_blocks * y_block;
        const Lines x(operands(), random, channels, pixels, Guard::before, true);
        const ByteWeights weights(random, channels, 1, lanes, y_block, Guard::before, true);
        GuardedBuffer<float> bias(static_cast<std::size_t>(lanes), Guard::before);
        const Layout y_at{y_block, Index{pixels} * y_block, Index{pixels} * y_block};
        Output y(floats_of(y_at, y_blocks, 1, pixels), Guard::before);
        kernels::Pointwise a;
        a.x = x.words.data();
        set_maps(a, x.stride, channels, weights, bias, y, y_at, y_blocks);
        a.y_width = a.pixels = pixels;
        std::fill(bias.data(), bias.data() + bias.size(), 0.0f);
        table().pointwise(a);
        for (int o = 0; o < lanes; ++o) {
            for (int p = 0; p < pixels; ++p) {
                int sum = 0;
                for (int c = 0; c < channels; ++c) sum += x.byte(c, p) * weights.byte(o, c, 0);
                ASSERT_EQ(y.data()[y_at.at(o, 0, p)], static_cast<float>(sum)) << channels << " channels, output " << o;
            }
        }
    }
}

TEST_P(Int8, PointwiseOfEveryTileAndChannelCount) {
    Random random(2);
    for (const int y_block : {8, 16}) {
        for (const int channels : {1, 2, 7, 8, 16, 31, 32, 48, 63, 64, 65, 96, 127, 128, 129, 200, 290}) {
            for (int pixels = 1; pixels <= 39; pixels += pixels < 18 ? 1 : 5) {
                const Guard guard = random.below(2) == 0 ? Guard::before : Guard::behind;
                int width = 1 + random.below(pixels);
                while (pixels % width != 0) ++width;
                const int rows = pixels / width, y_blocks = 1 + random.below(5), lanes = y_blocks * y_block;
                const Lines x(operands(), random, channels, pixels, guard);
                const ByteWeights weights(random, channels, 1, lanes, y_block, guard);
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
                set_maps(a, x.stride, channels, weights, bias, y, y_at, y_blocks);
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
                        add_products(sum, weights, x, p, o, 0);
                        Bounded value = activated(table(), sum.result(), a.act);
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

/// A dense convolution of `channels`, of all columns that a line has.
void check_dense(const kernels::Table& table, Random& random, int y_block, int channels, int kernel_size,
                 int line_columns, int y_width) {
    const bool joined = line_columns > 1;
    const int columns = kernel_size / line_columns, taps = kernel_size * columns;
    const int stride = 1 + random.below(2), dilation = joined ? 1 : 1 + random.below(2), y_rows = 1 + random.below(3);
    const int line_stride = joined ? 1 : stride;
    const int x_width = (y_width - 1) * line_stride + (columns - 1) * dilation + 1;
    const int x_height = (y_rows - 1) * stride + (kernel_size - 1) * dilation + 1;
    const int y_blocks = 1 + random.below(3), lanes = y_blocks * y_block;
    const Lines x(table.operands, random, channels, Index{x_width} * x_height + 30, Guard::before);
    const ByteWeights weights(random, channels, taps, lanes, y_block, Guard::before);
    GuardedBuffer<float> bias(static_cast<std::size_t>(lanes), Guard::before);
    random.fill(bias, 4);
    const Index row = Index{y_width} * y_block;
    const Layout y_at{y_block, (row + 8) * y_rows + 16, row + 8};
    Output y(floats_of(y_at, y_blocks, y_rows, y_width), Guard::before);
    const int missing = random.below(x_height + 1);  // this row is padding
    const std::vector<const float*> rows =
        rows_of_taps(x.words.data(), x_width * x.line, y_rows, kernel_size, stride, dilation, missing);
    kernels::Dense a;
    a.rows = rows.data();
    set_maps(a, x.stride, channels, weights, bias, y, y_at, y_blocks);
    a.y_blocks_per_group = y_blocks;
    a.y_rows = y_rows;
    a.y_width = y_width;
    a.kernel_size = kernel_size;
    a.stride = line_stride;
    a.dilation = dilation;
    a.line_columns = line_columns;
    a.act = all_acts[random.below(int(std::size(all_acts)))];
    for (int o = 0; o < lanes; ++o) {
        for (int r = 0; r < y_rows; ++r) {
            for (int column = 0; column < y_width; ++column) {
                Sum sum;
                sum.add(bias[o], 1);
                for (int tap = 0; tap < taps; ++tap) {
                    const int in = r * stride + tap / columns * dilation;
                    const int at = column * line_stride + tap % columns * dilation;
                    if (in != missing) add_products(sum, weights, x, Index{in} * x_width + at, o, tap);
                }
                y.expect(y_at.at(o, r, column), activated(table, sum.result(), a.act));
            }
        }
    }
    table.dense(a);
    ASSERT_TRUE(y.check()) << "channels " << channels << ", kernel_size " << kernel_size << ", line_columns "
                           << line_columns << ", stride " << stride << ", dilation " << dilation << ", y_width "
                           << y_width << ", y_rows " << y_rows << ", y_block " << y_block;
}

/// Over the whole range of inputs, which come as biases of outputs without weights.
TEST_P(Int8, GeluIsNearItsDefinition) {
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> inputs{0.0f, -0.0f, 1e-30f, -1e-30f, 1e30f, -1e30f, inf, nan};
    for (int i = -12000; i <= 12000; ++i) inputs.push_back(static_cast<float>(i) * 1e-3f);
    while (inputs.size() % 16 != 0) inputs.push_back(0.0f);
    Random random(9);
    std::vector<float> words(static_cast<std::size_t>(kernels::panel_words(operands(), 4) * 16), 0.0f);
    const Lines x(operands(), random, 4, 1, Guard::behind);
    for (std::size_t first = 0; first < inputs.size(); first += 16) {
        float y[16];
        kernels::Pointwise a;
        a.x = x.words.data();
        a.x_block_stride = x.stride;
        a.channels = 4;
        a.weights = words.data();
        a.bias = inputs.data() + first;
        a.y = y;
        a.y_row_stride = 16;
        a.y_blocks = 1;
        a.y_width = 1;
        a.pixels = 1;
        a.act = Act::gelu;
        table().pointwise(a);
        for (int i = 0; i < 16; ++i) {
            const float in = inputs[first + static_cast<std::size_t>(i)];
            if (std::isnan(in) || std::isinf(in)) {
                EXPECT_EQ(std::isnan(y[i]), std::isnan(in)) << in;
                EXPECT_EQ(std::isinf(y[i]), std::isinf(in)) << in;
                continue;
            }
            const double v = double{in};
            const double wanted =
                0.5 * v * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
            EXPECT_NEAR(double{y[i]}, wanted, rare_error(table(), Act::gelu, wanted) + 1e-6 * std::abs(v)) << in;
        }
    }
}

TEST_P(Int8, DenseOfEveryKernelStrideAndWidth) {
    Random random(3);
    for (const int y_block : {8, 16}) {
        for (const int channels : {8, 30, 64, 72, 136}) {
            for (const int kernel_size : {1, 3, 5}) {
                for (int y_width = 1; y_width <= 24; y_width += y_width < 10 ? 1 : 7) {
                    check_dense(table(), random, y_block, channels, kernel_size, 1, y_width);
                }
            }
        }
    }
}

TEST_P(Int8, DenseOfLinesThatHaveAllColumns) {
    Random random(6);
    for (const int in_channels : {8, 16, 32, 40, 64}) {
        for (int y_width = 1; y_width <= 24; y_width += y_width < 10 ? 1 : 7) {
            check_dense(table(), random, 16, 3 * in_channels, 3, 3, y_width);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Tables, Int8, testing::ValuesIn(tables_of_int8()), name_of);

}  // namespace

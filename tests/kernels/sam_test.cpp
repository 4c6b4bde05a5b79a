// SPDX-License-Identifier: Apache-2.0
//
// The kernels of SAM's decoder against naive loops in double, for sizes around every tile, with memory that must not be
// touched beside what they read and write.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

class SamKernels : public IsaTest {
protected:
    const kernels::Table& table() const { return table_of(GetParam()); }

    /// Lanes beyond the last channel are zeros.
    static void clear_lanes(GuardedBuffer<float>& x, int channels, Index block_stride, int pixels) {
        const int blocks = (channels + 15) / 16;
        for (int p = 0; p < pixels; ++p) {
            for (int lane = channels - (blocks - 1) * 16; lane < 16; ++lane)
                x[(blocks - 1) * block_stride + p * 16 + lane] = 0;
        }
    }
};

double gelu_by_definition(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

TEST_P(SamKernels, LayerNorm) {
    Random random(1);
    for (const int channels : {1, 4, 8, 16, 17, 40, 64, 256}) {
        for (const int pixels : {1, 3, 4, 5, 9}) {
            for (int variant = 0; variant < 8; ++variant) {
                const bool gelu = (variant & 1) != 0, in_place = (variant & 2) != 0;
                const Guard guard = (variant & 4) != 0 ? Guard::before : Guard::behind;
                const int blocks = (channels + 15) / 16;
                const Index stride = Index{pixels} * 16;
                const auto size = static_cast<std::size_t>(blocks * stride);
                GuardedBuffer<float> x(size, guard), weight(static_cast<std::size_t>(blocks * 16), guard),
                    bias(static_cast<std::size_t>(blocks * 16), guard);
                random.fill(x, 3);
                for (float& value : x) value += 1;
                random.fill(weight, 2);
                random.fill(bias, 1);
                clear_lanes(x, channels, stride, pixels);
                clear_lanes(weight, channels, 16, 1);
                clear_lanes(bias, channels, 16, 1);
                Output y(size, guard);
                for (int p = 0; p < pixels; ++p) {
                    const auto value = [&](int c) { return double{x[c / 16 * stride + p * 16 + c % 16]}; };
                    double mean = 0, variance = 0;
                    for (int c = 0; c < channels; ++c) mean += value(c) / channels;
                    for (int c = 0; c < channels; ++c) variance += (value(c) - mean) * (value(c) - mean) / channels;
                    for (int c = 0; c < blocks * 16; ++c) {
                        const double wide = 1 / std::sqrt(variance + double{1e-6f});
                        double out = c < channels ? (value(c) - mean) * wide * double{weight[c]} + double{bias[c]} : 0;
                        if (gelu) out = gelu_by_definition(out);
                        // One channel has no variance: what is left of x - mean is multiplied by a thousand.
                        const double error = channels == 1 ? 1e-3 : 8e-6;
                        y.expect(c / 16 * stride + p * 16 + c % 16, {out, error});
                    }
                }
                kernels::LayerNorm a;
                a.x = x.data();
                if (in_place) {
                    std::copy_n(x.data(), size, y.data());
                    a.x = y.data();
                }
                a.y = y.data();
                a.x_block_stride = a.y_block_stride = stride;
                a.channels = channels;
                a.pixels = pixels;
                a.weight = weight.data();
                a.bias = bias.data();
                a.gelu = gelu;
                ::layer_norm(table(), a);
                ASSERT_TRUE(y.check()) << channels << " channels, " << pixels << " pixels, variant " << variant;
            }
        }
    }
}

TEST_P(SamKernels, SoftmaxOverPixels) {
    Random random(2);
    for (const int pixels : {1, 2, 3, 4, 5, 7, 8, 30}) {
        for (const int blocks : {1, 3}) {
            for (const float size : {1.0f, 300.0f}) {
                const Index stride = Index{pixels} * 16;
                const auto count = static_cast<std::size_t>(blocks * stride);
                const auto lanes = static_cast<std::size_t>(blocks * 16);
                GuardedBuffer<float> x(count, Guard::behind);
                random.fill(x, size);
                Output y(count, Guard::behind), largest(lanes, Guard::behind), sums(lanes, Guard::behind);
                for (int lane = 0; lane < blocks * 16; ++lane) {
                    const auto at = [&](int p) { return lane / 16 * stride + p * 16 + lane % 16; };
                    double most = -INFINITY, sum = 0;
                    for (int p = 0; p < pixels; ++p) most = std::max(most, double{x[at(p)]});
                    for (int p = 0; p < pixels; ++p) {
                        const double power = std::exp(double{x[at(p)]} - most);
                        y.expect(at(p), {power, 4e-7 + 1e-37});
                        sum += power;
                    }
                    largest.expect(lane, {most, 0});
                    sums.expect(lane, {sum, 1e-6 * sum});
                }
                std::copy_n(x.data(), count, y.data());
                kernels::SoftmaxPixels a;
                a.scores = y.data();
                a.block_stride = stride;
                a.blocks = blocks;
                a.pixels = pixels;
                a.largest = largest.data();
                a.sums = sums.data();
                ::softmax_pixels(table(), a);
                ASSERT_TRUE(y.check()) << pixels << " pixels, scores to " << size;
                ASSERT_TRUE(largest.check());
                ASSERT_TRUE(sums.check());
            }
        }
    }
}

TEST_P(SamKernels, SoftmaxOverTokens) {
    Random random(3);
    for (const int heads : {8, 16, 24}) {
        for (const int tokens : {1, 2, 5, 7, 8}) {
            for (const int pixels : {1, 5}) {
                const int rows = tokens * heads, blocks = (rows + 15) / 16;
                const Index stride = Index{pixels} * 16;
                const auto count = static_cast<std::size_t>(blocks * stride);
                GuardedBuffer<float> x(count, Guard::behind);
                random.fill(x, 20);
                Output y(count, Guard::behind);
                const auto at = [&](int row, int p) { return row / 16 * stride + p * 16 + row % 16; };
                for (int row = 0; row < blocks * 16; ++row) {
                    for (int p = 0; p < pixels; ++p) {
                        double most = -INFINITY, sum = 0;
                        for (int r = row % heads; r < rows; r += heads) most = std::max(most, double{x[at(r, p)]});
                        for (int r = row % heads; r < rows; r += heads) sum += std::exp(double{x[at(r, p)]} - most);
                        const double value = std::exp(double{x[at(row, p)]} - most) / sum;
                        // Rows beyond the last are left as they are.
                        y.expect(at(row, p), row < rows ? Bounded{value, 1e-6} : Bounded{x[at(row, p)], 0});
                    }
                }
                std::copy_n(x.data(), count, y.data());
                kernels::SoftmaxTokens a;
                a.scores = y.data();
                a.block_stride = stride;
                a.pixels = pixels;
                a.tokens = tokens;
                a.heads = heads;
                ::softmax_tokens(table(), a);
                ASSERT_TRUE(y.check()) << tokens << " tokens, " << heads << " heads, " << pixels << " pixels";
            }
        }
    }
}

TEST_P(SamKernels, WeightedSums) {
    Random random(4);
    for (const int rows : {1, 3, 4, 7, 8, 15, 16, 17, 56}) {
        for (const int pixels : {1, 2, 9}) {
            for (const int blocks : {1, 2}) {
                const Index stride = Index{pixels} * 16;
                const int row_blocks = (rows + 15) / 16;
                GuardedBuffer<float> w(static_cast<std::size_t>(row_blocks * stride), Guard::behind);
                GuardedBuffer<float> x(static_cast<std::size_t>(blocks * stride), Guard::behind);
                random.fill(w);
                random.fill(x);
                Output y(static_cast<std::size_t>(blocks * rows * 16), Guard::behind);
                for (int row = 0; row < rows; ++row) {
                    for (int c = 0; c < blocks * 16; ++c) {
                        Sum sum;
                        for (int p = 0; p < pixels; ++p) {
                            sum.add(w[row / 16 * stride + p * 16 + row % 16], x[c / 16 * stride + p * 16 + c % 16]);
                        }
                        y.expect((c / 16 * rows + row) * 16 + c % 16, sum.result());
                    }
                }
                kernels::WeightedSums a;
                a.weights = w.data();
                a.weights_block_stride = stride;
                a.rows = rows;
                a.x = x.data();
                a.x_block_stride = stride;
                a.x_blocks = blocks;
                a.pixels = pixels;
                a.y = y.data();
                a.y_block_stride = Index{rows} * 16;
                ::weighted_sums(table(), a);
                ASSERT_TRUE(y.check()) << rows << " rows, " << pixels << " pixels";
            }
        }
    }
}

TEST_P(SamKernels, MaskProduct) {
    Random random(5);
    for (const int pixels : {1, 3, 4, 8, 15, 16, 17, 37}) {
        for (const int masks : {1, 3}) {
            for (const int blocks : {1, 2}) {
                for (const int y_stride : {1, 4}) {
                    const Index stride = Index{pixels} * 16;
                    const auto count = static_cast<std::size_t>(blocks * stride);
                    GuardedBuffer<float> x(count, Guard::behind), before(count, Guard::behind);
                    GuardedBuffer<float> hyper(static_cast<std::size_t>(masks * blocks * 16), Guard::behind);
                    random.fill(x, 4);
                    random.fill(hyper, 1);
                    std::copy_n(x.data(), count, before.data());
                    const Index plane = Index{pixels} * y_stride;
                    Output y(static_cast<std::size_t>((masks - 1) * plane + (pixels - 1) * y_stride + 1),
                             Guard::behind);
                    for (int mask = 0; mask < masks; ++mask) {
                        for (int p = 0; p < pixels; ++p) {
                            Sum sum;
                            for (int c = 0; c < blocks * 16; ++c) {
                                const double gelu =
                                    gelu_by_definition(double{before[c / 16 * stride + p * 16 + c % 16]});
                                sum.add({gelu, 1e-6}, hyper[(mask * blocks + c / 16) * 16 + c % 16]);
                            }
                            y.expect(mask * plane + p * y_stride, sum.result());
                        }
                    }
                    kernels::MaskProduct a;
                    a.x = x.data();
                    a.x_block_stride = stride;
                    a.x_blocks = blocks;
                    a.pixels = pixels;
                    a.hyper = hyper.data();
                    a.masks = masks;
                    a.y = y.data();
                    a.y_mask_stride = plane;
                    a.y_stride = y_stride;
                    ::mask_product(table(), a);
                    ASSERT_TRUE(y.check()) << pixels << " pixels, " << masks << " masks";
                }
            }
        }
    }
}

/// gelu over the range of float: infinities and NaN as in PyTorch, but for -infinity, where that has NaN.
TEST_P(SamKernels, GeluOfAnything) {
    const float inf = INFINITY;
    const std::vector<float> values{0,     -0.0f, 1e-30f, -1e-30f, 0.5f,   -0.5f, 1,    -1,    3,      -3,  5.5f,
                                    -5.5f, 13.9f, -13.9f, 14.1f,   -14.1f, 100,   -100, 3e38f, -3e38f, inf, NAN};
    for (const float value : values) {
        // As the bias of a norm without variance, which is exact.
        std::vector<float> x(16, 0.0f), weight(16, 0.0f), bias(16, value), y(16);
        kernels::LayerNorm a;
        a.x = x.data();
        a.y = y.data();
        a.channels = 16;
        a.pixels = 1;
        a.weight = weight.data();
        a.bias = bias.data();
        a.gelu = true;
        ::layer_norm(table(), a);
        if (std::isnan(value)) {
            EXPECT_TRUE(std::isnan(y[3]));
        } else if (std::isinf(value)) {
            EXPECT_EQ(y[3], value);
        } else {
            EXPECT_NEAR(double{y[3]}, gelu_by_definition(value), 2e-7 * std::max(1.0, std::abs(double{value})))
                << value;
        }
    }
}

EFFICIENTVIT_ON_EVERY_ISA(SamKernels);

}  // namespace

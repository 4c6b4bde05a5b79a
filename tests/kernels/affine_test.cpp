// SPDX-License-Identifier: Apache-2.0
//
// Table::affine against naive loops, and through it the activations: how exact they are over the whole range of
// float, and what becomes of infinities and NaN.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

#include <algorithm>
#include <map>

namespace {

class Affine : public IsaTest {
protected:
    const kernels::Table& table() const { return table_of(GetParam()); }
};

TEST_P(Affine, EveryCombination) {
    Random random(1);
    for (const int block : {8, 16}) {
        for (int pixels = 1; pixels <= 9; ++pixels) {
            for (const Act act : all_acts) {
                for (int variant = 0; variant < 16; ++variant) {
                    const bool scaled = (variant & 1) != 0, added = (variant & 2) != 0, in_place = (variant & 4) != 0;
                    const Guard guard = (variant & 8) != 0 ? Guard::before : Guard::behind;
                    const auto size = static_cast<std::size_t>(pixels * block);
                    GuardedBuffer<float> x(size, guard), residual(size, guard);
                    GuardedBuffer<float> scale(static_cast<std::size_t>(block), guard);
                    GuardedBuffer<float> shift(static_cast<std::size_t>(block), guard);
                    random.fill(x, 4);
                    random.fill(residual, 4);
                    random.fill(scale, 2);
                    random.fill(shift, 2);
                    Output y(size, guard);
                    for (int i = 0; i < pixels * block; ++i) {
                        Sum sum;
                        sum.add(x[i], scaled ? scale[i % block] : 1);
                        if (scaled) sum.add(shift[i % block], 1);
                        Bounded value = activate(scaled ? sum.result() : Bounded{x[i]}, act);
                        if (added) value = add(value, {residual[i]});
                        y.expect(i, value);
                    }
                    kernels::Affine a;
                    a.x = x.data();
                    a.scale = scaled ? scale.data() : nullptr;
                    a.shift = scaled ? shift.data() : nullptr;
                    a.residual = added ? residual.data() : nullptr;
                    a.y = y.data();
                    a.pixels = pixels;
                    a.block = block;
                    a.act = act;
                    if (in_place) {
                        std::copy_n(x.data(), size, y.data());
                        a.x = y.data();
                    }
                    table().affine(a);
                    ASSERT_TRUE(y.check()) << "pixels " << pixels << ", block " << block << ", act "
                                           << static_cast<int>(act) << ", variant " << variant;
                }
            }
        }
    }
}

TEST_P(Affine, RowsWithGapsBetweenThem) {
    Random random(2);
    for (const int block : {8, 16}) {
        constexpr int rows = 3, pixels = 5, gap = 24;
        const int row = pixels * block;
        GuardedBuffer<float> x(static_cast<std::size_t>(rows * (row + gap) - gap), Guard::behind);
        random.fill(x, 4);
        Output y(static_cast<std::size_t>(rows * row), Guard::behind);
        for (int i = 0; i < rows * row; ++i) {
            y.expect(i, activate(Bounded{x[i / row * (row + gap) + i % row]}, Act::relu));
        }
        kernels::Affine a;
        a.x = x.data();
        a.x_row_stride = row + gap;
        a.rows = rows;
        a.y = y.data();
        a.pixels = pixels;
        a.block = block;
        a.act = Act::relu;
        table().affine(a);
        ASSERT_TRUE(y.check()) << "block " << block;
    }
}

class Activations : public IsaTest {
protected:
    /// act of every value, by way of affine.
    std::vector<float> of(std::vector<float> x, Act act) const {
        const std::size_t count = x.size();
        x.resize((count + 7) / 8 * 8);
        std::vector<float> y(x.size());
        kernels::Affine a;
        a.x = x.data();
        a.y = y.data();
        a.pixels = static_cast<int>(x.size() / 8);
        a.block = 8;
        a.act = act;
        table_of(GetParam()).affine(a);
        y.resize(count);
        return y;
    }
    float of(float x, Act act) const { return of(std::vector<float>{x}, act)[0]; }
};

/// Floats of every sign and size: each power of two, with some mantissas.
std::vector<float> all_sizes() {
    std::vector<float> out{0.0f, -0.0f};
    for (int exponent = -149; exponent <= 127; ++exponent) {
        for (const float mantissa : {1.0f, 1.25f, 1.6180340f, 1.9999999f}) {
            out.push_back(std::ldexp(mantissa, exponent));
            out.push_back(-std::ldexp(mantissa, exponent));
        }
    }
    return out;
}

TEST_P(Activations, AreExactToAFewUnitsOverTheWholeRange) {
    std::vector<float> x = all_sizes();
    for (int i = -100000; i <= 100000; ++i) x.push_back(static_cast<float>(i) * 1e-3f);
    for (const Act act : all_acts) {
        const std::vector<float> y = of(x, act);
        for (std::size_t i = 0; i < x.size(); ++i) {
            const Bounded expected = activate(Bounded{x[i]}, act);
            if (std::abs(expected.value) > double{std::numeric_limits<float>::max()}) continue;
            ASSERT_LE(std::abs(double{y[i]} - expected.value), expected.error)
                << "act " << static_cast<int>(act) << " of " << x[i] << " is " << y[i] << ", expected "
                << expected.value;
        }
    }
}

/// The exponential inside silu alone: 1 / silu(x) = (1 + e^-x) / x.
TEST_P(Activations, TheExponentialIsExactToThreeUnits) {
    double worst = 0;
    for (int i = 0; i <= 88000; ++i) {
        const float x = -static_cast<float>(i) * 1e-3f - 1e-3f;
        const double expected = activate(double{x}, Act::silu);
        const double relative = std::abs(double{of(x, Act::silu)} - expected) / std::abs(expected);
        worst = std::max(worst, relative);
        ASSERT_LE(relative, gamma(6)) << x;
    }
    RecordProperty("worst_in_units_of_2^-24", std::to_string(worst / unit));
}

TEST_P(Activations, OfLargeValuesAreTheValueOrZero) {
    for (const float large : {20.0f, 90.0f, 1e3f, 1e6f, 3e12f, 1e19f, 1e30f, 3e38f}) {
        for (const Act act : {Act::none, Act::relu, Act::hswish, Act::silu, Act::gelu}) {
            EXPECT_EQ(of(large, act), large) << "act " << static_cast<int>(act);
        }
        EXPECT_EQ(of(large, Act::relu6), 6.0f);
        EXPECT_EQ(of(-large, Act::relu), 0.0f);
        EXPECT_EQ(of(-large, Act::relu6), 0.0f);
        EXPECT_EQ(of(-large, Act::hswish), 0.0f) << -large;
        EXPECT_EQ(of(-large, Act::hswish_x6), 0.0f) << -large;
        EXPECT_LE(std::abs(of(-large, Act::silu)), large <= 20 ? 5e-8f : 1e-35f) << -large;
        EXPECT_LE(std::abs(of(-large, Act::gelu)), 1e-35f) << -large;
    }
    EXPECT_EQ(of(1e37f, Act::hswish_x6), 6e37f);
}

/// As in PyTorch, where hardswish, silu and gelu of -inf are -inf * 0.
TEST_P(Activations, OfInfinitiesAndNaN) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const std::map<Act, float> of_inf{{Act::none, inf},      {Act::relu, inf}, {Act::relu6, 6.0f}, {Act::hswish, inf},
                                      {Act::hswish_x6, inf}, {Act::silu, inf}, {Act::gelu, inf}};
    const std::map<Act, float> of_minus_inf{{Act::none, -inf},  {Act::relu, 0.0f},     {Act::relu6, 0.0f},
                                            {Act::hswish, nan}, {Act::hswish_x6, nan}, {Act::silu, nan},
                                            {Act::gelu, nan}};
    for (const Act act : all_acts) {
        EXPECT_TRUE(std::isnan(of(nan, act))) << static_cast<int>(act);
        EXPECT_TRUE(std::isnan(of(-nan, act))) << static_cast<int>(act);
        EXPECT_EQ(of(inf, act), of_inf.at(act)) << static_cast<int>(act);
        const float expected = of_minus_inf.at(act), found = of(-inf, act);
        EXPECT_TRUE(std::isnan(expected) ? std::isnan(found) : found == expected)
            << static_cast<int>(act) << ": " << found << ", expected " << expected;
    }
}

/// NaN and infinities come through every kernel's own epilogue, and stay in their pixel.
TEST_P(Activations, NaNComesThroughEveryKernel) {
    constexpr int block = 16, pixels = 9, poisoned = 4;
    const kernels::Table& table = table_of(GetParam());
    for (const float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        std::vector<float> x(pixels * block, 0.5f), ones(block * block, 1.0f), bias(block);
        for (int lane = 0; lane < block; ++lane) x[std::size_t{poisoned * block} + std::size_t(lane)] = poison;
        for (const Act act : all_acts) {
            std::vector<float> y(pixels * block);
            const auto expect = [&](const std::vector<float>& found, const char* what, Act then) {
                for (int p = 0; p < pixels; ++p) {
                    const float value = found[static_cast<std::size_t>(p * block + 3)];
                    if (p != poisoned) {
                        EXPECT_TRUE(std::isfinite(value))
                            << what << ", act " << static_cast<int>(act) << ", pixel " << p;
                    } else {
                        const double expected = activate(activate(double{poison}, act), then);
                        EXPECT_TRUE(std::isnan(expected) ? std::isnan(value) : double{value} == expected)
                            << what << ", act " << static_cast<int>(act) << ": " << value << ", expected " << expected;
                    }
                }
            };
            kernels::Pointwise p;
            p.x = x.data();
            p.channels = block;
            p.weights = ones.data();
            p.bias = bias.data();
            p.y = y.data();
            p.y_blocks = 1;
            p.y_width = p.pixels = pixels;
            p.y_row_stride = pixels * block;
            p.act = act;
            table.pointwise(p);
            expect(y, "pointwise", Act::none);

            const float* rows[1] = {x.data()};
            kernels::Depthwise d;
            d.rows = rows;
            d.weights = ones.data();
            d.bias = bias.data();
            d.y = y.data();
            d.y_rows = 1;
            d.y_width = pixels;
            d.kernel_size = 1;
            d.act = act;
            table.depthwise(d);
            expect(y, "depthwise", Act::none);

            kernels::Dense dense;
            dense.rows = rows;
            dense.channels = block;
            dense.weights = ones.data();
            dense.bias = bias.data();
            dense.y = y.data();
            dense.y_blocks = dense.y_blocks_per_group = 1;
            dense.y_width = pixels;
            dense.kernel_size = 1;
            dense.act = act;
            ::dense(table, dense);
            expect(y, "dense", Act::none);
        }
    }
}

EFFICIENTVIT_ON_EVERY_ISA(Affine);
EFFICIENTVIT_ON_EVERY_ISA(Activations);

}  // namespace

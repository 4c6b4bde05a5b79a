// SPDX-License-Identifier: Apache-2.0
//
// Table::depthwise against naive loops: every width around the tiles' edges, all kernel sizes, strides and dilations.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

#include <algorithm>

namespace {

struct Case {
    int y_width = 1;
    int y_rows = 1;
    int block = 16;
    int kernel_size = 3;
    int stride = 1;
    int dilation = 1;
    Act act = Act::none;
    Guard guard = Guard::behind;

    friend std::ostream& operator<<(std::ostream& out, const Case& c) {
        return out << "y_width " << c.y_width << ", y_rows " << c.y_rows << ", block " << c.block << ", kernel_size "
                   << c.kernel_size << ", stride " << c.stride << ", dilation " << c.dilation << ", act "
                   << static_cast<int>(c.act) << ", guard " << (c.guard == Guard::before ? "before" : "behind");
    }
};

class Depthwise : public IsaTest {
protected:
    const kernels::Table& table() const { return table_of(GetParam()); }

    void run(const Case& c, std::uint64_t seed) const {
        Random random(seed);
        const int width = (c.y_width - 1) * c.stride + (c.kernel_size - 1) * c.dilation + 1;
        const int height = (c.y_rows - 1) * c.stride + (c.kernel_size - 1) * c.dilation + 1;
        // Every input row has guarded memory of its own; rows that no tap touches do not exist.
        std::vector<GuardedBuffer<float>> x(static_cast<std::size_t>(height));
        GuardedBuffer<const float*> rows(static_cast<std::size_t>(height), c.guard);
        for (int r = 0; r < c.y_rows; ++r) {
            for (int ky = 0; ky < c.kernel_size; ++ky) {
                const int in = r * c.stride + ky * c.dilation;
                if (rows[in] != nullptr) continue;
                GuardedBuffer<float>& row = x[static_cast<std::size_t>(in)];
                row = GuardedBuffer<float>(static_cast<std::size_t>(width * c.block), c.guard);
                random.fill(row, 2);
                rows[in] = row.data();
            }
        }
        const int taps = c.kernel_size * c.kernel_size;
        GuardedBuffer<float> weights(static_cast<std::size_t>(taps * c.block), c.guard);
        GuardedBuffer<float> bias(static_cast<std::size_t>(c.block), c.guard);
        random.fill(weights);
        random.fill(bias, 2);
        const Layout y_at{c.block, 0, Index{c.y_width} * c.block + 24};
        Output y(floats_of(y_at, 1, c.y_rows, c.y_width), c.guard);
        for (int r = 0; r < c.y_rows; ++r) {
            for (int column = 0; column < c.y_width; ++column) {
                for (int lane = 0; lane < c.block; ++lane) {
                    Sum sum;
                    sum.add(bias[lane], 1);
                    for (int ky = 0; ky < c.kernel_size; ++ky) {
                        for (int kx = 0; kx < c.kernel_size; ++kx) {
                            const float* row = rows[r * c.stride + ky * c.dilation];
                            sum.add(row[(column * c.stride + kx * c.dilation) * c.block + lane],
                                    weights[(ky * c.kernel_size + kx) * c.block + lane]);
                        }
                    }
                    y.expect(y_at.at(lane, r, column), activate(sum.result(), c.act));
                }
            }
        }

        kernels::Depthwise a;
        a.rows = rows.data();
        a.weights = weights.data();
        a.bias = bias.data();
        a.y = y.data();
        a.y_row_stride = y_at.row_stride;
        a.y_rows = c.y_rows;
        a.y_width = c.y_width;
        a.block = c.block;
        a.kernel_size = c.kernel_size;
        a.stride = c.stride;
        a.dilation = c.dilation;
        a.act = c.act;
        table().depthwise(a);
        ASSERT_TRUE(y.check()) << c;
    }
};

TEST_P(Depthwise, EveryWidthAndKernel) {
    Random random(1);
    std::uint64_t seed = 0;
    std::vector<int> widths;
    for (int w = 1; w <= 33; ++w) widths.push_back(w);  // beyond twice the widest tile of 14
    for (const int w : {41, 42, 43, 56}) widths.push_back(w);
    for (const int block : {8, 16}) {
        for (const int kernel_size : {1, 3, 5, 7}) {
            for (const int stride : {1, 2}) {
                for (const int width : widths) {
                    Case c{.y_width = width, .block = block, .kernel_size = kernel_size, .stride = stride};
                    c.y_rows = 1 + random.below(5);
                    c.act = random.pick({Act::none, Act::relu, Act::hswish_x6});
                    c.guard = random.pick({Guard::before, Guard::behind});
                    run(c, ++seed);
                    if (HasFatalFailure()) return;
                }
            }
        }
    }
}

TEST_P(Depthwise, Dilation) {
    std::uint64_t seed = 1000;
    for (const int block : {8, 16}) {
        for (const int kernel_size : {1, 3, 5}) {
            for (const int stride : {1, 2}) {
                for (const int dilation : {2, 3}) {
                    for (const int width : {1, 2, 7, 8, 9, 17}) {
                        for (const int y_rows : {1, 3}) {
                            const Guard guard = width % 2 == 0 ? Guard::before : Guard::behind;
                            run({width, y_rows, block, kernel_size, stride, dilation, Act::none, guard}, ++seed);
                            if (HasFatalFailure()) return;
                        }
                    }
                }
            }
        }
    }
}

TEST_P(Depthwise, EveryActivationAndNumberOfRows) {
    std::uint64_t seed = 2000;
    for (const int block : {8, 16}) {
        for (const int kernel_size : {3, 5, 7}) {
            for (const Act act : all_acts) {
                for (int y_rows = 1; y_rows <= 5; ++y_rows) {
                    for (const Guard guard : {Guard::before, Guard::behind}) {
                        run({11, y_rows, block, kernel_size, 1 + y_rows % 2, 1, act, guard}, ++seed);
                        if (HasFatalFailure()) return;
                    }
                }
            }
        }
    }
}

/// Results do not depend on how a map was cut into rows and columns.
TEST_P(Depthwise, APixelDoesNotDependOnItsTile) {
    constexpr int width = 29, height = 6, block = 16;
    for (const int kernel_size : {3, 5, 7}) {
        for (const int stride : {1, 2}) {
            Random random(7);
            const int in_width = (width - 1) * stride + kernel_size, in_height = (height - 1) * stride + kernel_size;
            std::vector<float> x(static_cast<std::size_t>(in_width * in_height * block)), bias(block);
            std::vector<float> weights(static_cast<std::size_t>(kernel_size * kernel_size * block));
            random.fill(x);
            random.fill(weights);
            random.fill(bias);
            const auto run_part = [&](int first_row, int rows, int first_column, int columns) {
                std::vector<float> y(static_cast<std::size_t>(rows * columns * block));
                std::vector<const float*> pointers;
                for (int i = first_row * stride; i < in_height; ++i) {
                    pointers.push_back(x.data() + (i * in_width + first_column * stride) * block);
                }
                kernels::Depthwise a;
                a.rows = pointers.data();
                a.weights = weights.data();
                a.bias = bias.data();
                a.y = y.data();
                a.y_row_stride = Index{columns} * block;
                a.y_rows = rows;
                a.y_width = columns;
                a.kernel_size = kernel_size;
                a.stride = stride;
                a.act = Act::hswish_x6;
                table().depthwise(a);
                return y;
            };
            const std::vector<float> whole = run_part(0, height, 0, width);
            for (int columns = 1; columns < width; columns += 3) {
                const int rows = 1 + columns % height, first_row = height - rows, first_column = width - columns;
                const std::vector<float> part = run_part(first_row, rows, first_column, columns);
                for (int r = 0; r < rows; ++r) {
                    ASSERT_TRUE(std::equal(part.begin() + r * columns * block, part.begin() + (r + 1) * columns * block,
                                           whole.begin() + ((first_row + r) * width + first_column) * block))
                        << rows << " rows, " << columns << " columns, kernel " << kernel_size << ", stride " << stride;
                }
            }
        }
    }
}

EFFICIENTVIT_ON_EVERY_ISA(Depthwise);

}  // namespace

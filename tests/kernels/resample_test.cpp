// SPDX-License-Identifier: Apache-2.0
//
// Table::resample against naive loops: any taps and weights, with and without a residual, also in place.
#include "../isas.hpp"
#include "bounded.hpp"
#include "table.hpp"

#include <algorithm>
#include <vector>

namespace {

class Resample : public IsaTest {};

TEST_P(Resample, EveryCombination) {
    Random random(1);
    for (const int block : {8, 16}) {
        for (const int x_width : {1, 2, 3, 7, 12}) {
            for (const int y_width : {1, 2, 5, 8, 17}) {
                for (int variant = 0; variant < 8; ++variant) {
                    const bool added = (variant & 1) != 0, in_place = (variant & 2) != 0;
                    const Guard guard = (variant & 4) != 0 ? Guard::before : Guard::behind;
                    const auto in_size = static_cast<std::size_t>(x_width * block);
                    const auto out_size = static_cast<std::size_t>(y_width * block);
                    GuardedBuffer<float> row0(in_size, guard), row1(in_size, guard), row3(in_size, guard);
                    GuardedBuffer<float> row_weights(4, guard), mixed(in_size, guard), residual(out_size, guard);
                    GuardedBuffer<float> column_weights(static_cast<std::size_t>(4 * y_width), guard);
                    GuardedBuffer<int> taps(static_cast<std::size_t>(4 * y_width), guard);
                    for (auto* buffer : {&row0, &row1, &row3, &residual}) random.fill(*buffer, 4);
                    random.fill(row_weights, 2);
                    random.fill(column_weights, 2);
                    for (int i = 0; i < 4 * y_width; ++i) taps[i] = (i * 7 + variant) % x_width;
                    // A row beyond the edge repeats the one beside it.
                    const float* const rows[4] = {row0.data(), row1.data(), row1.data(), row3.data()};

                    Output y(out_size, guard);
                    for (int i = 0; i < y_width * block; ++i) {
                        Sum sum;
                        for (int t = 0; t < 4; ++t) {
                            Sum column;
                            const int at = taps[i / block * 4 + t] * block + i % block;
                            for (int r = 0; r < 4; ++r) column.add(rows[r][at], row_weights[r]);
                            sum.add(column.result(), column_weights[i / block * 4 + t]);
                        }
                        y.expect(i, added ? add(sum.result(), {residual[i]}) : sum.result());
                    }
                    kernels::Resample a;
                    a.rows = rows;
                    a.row_weights = row_weights.data();
                    a.column_taps = taps.data();
                    a.column_weights = column_weights.data();
                    a.mixed = mixed.data();
                    a.y = y.data();
                    a.x_width = x_width;
                    a.y_width = y_width;
                    a.block = block;
                    if (added) a.residual = residual.data();
                    if (added && in_place) {
                        std::copy_n(residual.data(), out_size, y.data());
                        a.residual = y.data();
                    }
                    ::resample(table_of(GetParam()), a);
                    ASSERT_TRUE(y.check())
                        << x_width << " to " << y_width << ", block " << block << ", variant " << variant;
                }
            }
        }
    }
}

EFFICIENTVIT_ON_EVERY_ISA(Resample);

}  // namespace

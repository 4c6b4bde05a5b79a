// SPDX-License-Identifier: Apache-2.0
//
// What tests of kernels with other operands than float tell Pointwise and Dense alike: bf16_test, int8_test, f16_test.
#pragma once

#include "bounded.hpp"

#include <vector>

/// `weights` has its packed words as GuardedBuffer<float> words.
template <class Args, class Weights>
void set_maps(Args& a, Index x_block_stride, int channels, const Weights& weights, const GuardedBuffer<float>& bias,
              Output& y, const Layout& y_at, int y_blocks) {
    a.x_block_stride = x_block_stride;
    a.channels = channels;
    a.weights = weights.words.data();
    a.bias = bias.data();
    a.y = y.data();
    a.y_block_stride = y_at.block_stride;
    a.y_row_stride = y_at.row_stride;
    a.y_block = y_at.block;
    a.y_blocks = y_blocks;
}

/// Where the taps of each output row read: rows of x, which are `words` apart. The one called `missing` is padding.
inline std::vector<const float*> rows_of_taps(const float* x, Index words, int y_rows, int kernel_size, int stride,
                                              int dilation, int missing) {
    std::vector<const float*> rows;
    for (int r = 0; r < y_rows; ++r) {
        for (int ky = 0; ky < kernel_size; ++ky) {
            const int in = r * stride + ky * dilation;
            rows.push_back(in == missing ? nullptr : x + in * words);
        }
    }
    return rows;
}

// SPDX-License-Identifier: Apache-2.0
//
// What the kernels of SAM's prompt encoder and mask decoder are told, as args.hpp has it for the others: tokens and
// places of an image attend to each other. A token or a place is a pixel of a map in blocks of 16 channels,
// [block][pixel][16]; `x_block_stride` and so on are the distances of these blocks in floats.
#pragma once

#include <efficientvit/kernels/args.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {

/// y = (x - mean) / sqrt(variance + eps) * weight + bias over the channels of each pixel, then perhaps gelu by erf. y
/// may be x. Lanes of x beyond the last channel are zeros, and so are those of weight and bias.
struct LayerNorm {
    const float* x = nullptr;
    Index x_block_stride = 0;
    float* y = nullptr;
    Index y_block_stride = 0;
    int channels = 0;
    int pixels = 0;
    const float* weight = nullptr;  // [blocks][16]
    const float* bias = nullptr;    // [blocks][16]
    float eps = 1e-6f;
    bool gelu = false;
};

/// Each lane's softmax over the pixels, left unfinished: scores become exp(score - largest) of these pixels, so that
/// runs of pixels can be put together.
struct SoftmaxPixels {
    float* scores = nullptr;  // [blocks][pixel][16]
    Index block_stride = 0;
    int blocks = 0;
    int pixels = 0;
    float* largest = nullptr;  // [blocks][16], of these pixels
    float* sums = nullptr;     // [blocks][16], of what the scores became
};

/// Each pixel's softmax over `tokens` rows for each of `heads` heads, in place: row token * heads + head lies in lane
/// row % 16 of block row / 16. heads is a multiple of 8.
struct SoftmaxTokens {
    float* scores = nullptr;
    Index block_stride = 0;
    int pixels = 0;
    int tokens = 0;
    int heads = 8;
};

/// y[x_block][row][lane] = the sum over the pixels of weights[row][pixel] * x[x_block][pixel][lane].
struct WeightedSums {
    const float* weights = nullptr;  // row lies in lane row % 16 of block row / 16
    Index weights_block_stride = 0;
    int rows = 0;
    const float* x = nullptr;
    Index x_block_stride = 0;
    int x_blocks = 0;
    int pixels = 0;
    float* y = nullptr;
    Index y_block_stride = 0;
};

/// y[mask][pixel * y_stride] = the dot product of gelu(x[pixel]) and hyper[mask]. x becomes its gelu (by erf).
struct MaskProduct {
    float* x = nullptr;
    Index x_block_stride = 0;
    int x_blocks = 0;
    int pixels = 0;
    const float* hyper = nullptr;  // [masks][x_blocks][16]
    int masks = 0;
    float* y = nullptr;
    Index y_mask_stride = 0;
    int y_stride = 1;
};

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

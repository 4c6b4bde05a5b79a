// SPDX-License-Identifier: Apache-2.0
//
// What the kernel of Winograd's convolution is told, as args.hpp has it for the others, and the numbers that inputs,
// weights and sums are transformed with.
//
// F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308): a tile of 6x6 inputs, two columns and rows of which belong to its
// neighbours too, becomes 36 numbers; each is multiplied by one number of the transformed kernel and summed over the
// input channels; the 36 sums become 4x4 outputs. So an output takes 36 / 16 products for each channel in place of 9.
#pragma once

#include <efficientvit/kernels/args.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {

/// 3x3 convolution with stride 1 and padding 1 of whole blocks of 16 channels, for a rectangle of tiles:
///   y = act(bias + weights * x) + residual
/// Tiles are counted from row 0 and column 0 of the map, so that no output depends on how a map is cut. x has a column
/// of zeros on each side.
struct Winograd {
    static constexpr int outputs = 4;                  // rows and columns of a tile's outputs
    static constexpr int taps = 3;                     // of the kernel
    static constexpr int points = outputs + taps - 1;  // of a tile's inputs
    static constexpr int planes = points * points;     // products of a tile and a pair of channels
    static constexpr int block = 16;                   // channels
    static constexpr int blocks = 2;                   // of outputs that are computed together
    static constexpr int scratch = 3 * planes * block + blocks * block;

    const float* x = nullptr;  // row 0, column 0
    Index x_block_stride = 0;
    Index x_row_stride = 0;
    int channels = 0;
    int height = 0;  // of x and of the whole output
    int width = 0;
    int first_row = 0;  // tiles
    int rows = 0;
    int first_column = 0;
    int columns = 0;
    // In floats [y_blocks / 2][plane][1 or 2 blocks][channel][block], U = G w G^T. In int8 those of Dense, which are
    // transformed as they are needed: two blocks of outputs, anew for each rectangle.
    const float* weights = nullptr;
    const float* bias = nullptr;  // [y_blocks][block]
    float* y = nullptr;           // the first output of the first tile
    Index y_block_stride = 0;
    Index y_row_stride = 0;
    int y_blocks = 0;
    const float* residual = nullptr;  // of the first output too; may be absent
    Index residual_block_stride = 0;
    Index residual_row_stride = 0;
    Act act = Act::none;
    float* memory = nullptr;  // winograd_floats()
};

/// The points that the polynomials are evaluated at are 0, -a, a, -b, b and infinity. Of a few pairs that were tried
/// this one gives the smallest errors, half of those of 1 and 2.
struct WinogradPoints {
    static constexpr double a = 2.0 / 3.0, b = 1.5;
};

/// From one block of tiles to the next: an odd number of cache lines, so that blocks do not meet in the same sets.
constexpr Index winograd_block_stride(int tiles) { return (Index{tiles} | 1) * Winograd::block; }
/// From one plane to the next, likewise.
constexpr Index winograd_plane_stride(int blocks, int tiles) {
    return (blocks * (Index{tiles} | 1) | 1) * Winograd::block;
}
/// From one plane of two blocks' transformed weights to the next, likewise. bf16 takes a group of channels at least.
constexpr Index winograd_weights_stride(int channels) {
    return (Index{Winograd::blocks} * (channels < Winograd::block ? Winograd::block : channels) + 1) * Winograd::block;
}
/// Floats of memory for so many tiles: transformed inputs, the sums of two blocks, scratch, and the transformed weights
/// of two blocks where weights are bytes.
constexpr Index winograd_floats(Operands operands, int channels, int tiles) {
    const int in_blocks = (channels + Winograd::block - 1) / Winograd::block;
    return Winograd::planes *
               (winograd_plane_stride(in_blocks, tiles) + winograd_plane_stride(Winograd::blocks, tiles)) +
           Winograd::scratch + (has_bytes(operands) ? Winograd::planes * winograd_weights_stride(channels) : 0);
}

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

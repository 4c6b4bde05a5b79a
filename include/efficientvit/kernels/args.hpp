// SPDX-License-Identifier: Apache-2.0
//
// What kernels are told: plain structs of pointers and ints. No tensor type, no ownership.
//
// A feature map inside the library is blocked: channels in blocks of B = 8 or 16, the block outermost, so that
// element (channel, row, column) lies at block * block_stride + row * row_stride + column * B + channel % B. Strides
// count floats. Lanes beyond the last channel exist and hold zeros. B = 1 is plain NCHW.
#pragma once

#include <efficientvit/kernels/cpu.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {

using Index = std::int64_t;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Activation functions. hswish_x6 is x * relu6(x + 3), without the division by 6: whoever packs the next weights
/// multiplies these by 1/6 and saves an instruction a vector here. gelu is the tanh form.
enum class Act : int { none, relu, relu6, hswish, hswish_x6, silu, gelu };

/// Whether an activation is taken as a tile is written. The others have a pass of their own over what the tiles have
/// written: they take longer than that, or, like an hswish that could not leave its division to the next weights, are
/// too rare to be worth the code.
constexpr bool in_epilogue(Act act) { return act != Act::silu && act != Act::gelu && act != Act::hswish; }

/// What a pointwise or dense convolution multiplies; results are float in any case. A word is four bytes: a float, a
/// pair of bfloat16 numbers, or four bytes, the first channel's the lowest. Where a word is more than a number, weights
/// are [y_blocks][word][y_block].
enum class Operands : int {
    f32,
    bf16_weights,  ///< inputs are float, weights are widened as they are read
    bf16,          ///< inputs are bf16 too, as Round writes them
    int8,          ///< inputs are unsigned bytes, as Round writes them, weights signed bytes
    int8_wide,     ///< the same numbers, inputs as 16 bits each: where no instruction multiplies bytes
    f16            ///< both are IEEE halves, inputs as Round writes them
};

/// Whether weights are bytes.
constexpr bool has_bytes(Operands operands) { return operands == Operands::int8 || operands == Operands::int8_wide; }

/// Whether inputs are multiplied as Round writes them: by groups of channels, of each of which a pixel has a line.
constexpr bool rounds(Operands operands) {
    return operands == Operands::bf16 || has_bytes(operands) || operands == Operands::f16;
}

/// Channels of a group, and words for them. Each group of bytes ends with its sums made floats: on a Zen 4 two products
/// for each, where those of 64 channels are 16, of 128 channels 32.
constexpr int group_channels(Operands operands) { return has_bytes(operands) ? 128 : 32; }
constexpr int group_words(Operands operands) { return group_channels(operands) / (has_bytes(operands) ? 4 : 2); }
constexpr int group_count(Operands operands, Index channels) {
    return static_cast<int>((channels + group_channels(operands) - 1) / group_channels(operands));
}

/// A line in int8 begins with two floats: byte q stands for line[0] * q + line[1]. In f16 with one: half h stands for
/// line[0] * h. In int8_wide a word of bytes is two words of 16-bit integers: bytes 0 and 2 in the first group_words
/// behind the head, bytes 1 and 3 in as many behind these.
constexpr int line_head(Operands operands) { return has_bytes(operands) ? 2 : operands == Operands::f16 ? 1 : 0; }
constexpr int line_words(Operands operands) {
    return line_head(operands) + (operands == Operands::int8_wide ? 2 : 1) * group_words(operands);
}

/// Words of weights for `channels` channels of an input.
constexpr int operand_words(Operands operands, int channels) {
    switch (operands) {
        case Operands::bf16:
            return (channels + 1) / 2;
        case Operands::int8:
        case Operands::int8_wide:
            return (channels + 3) / 4;
        case Operands::f16:
            return (channels + 7) / 8 * 4;
        default:
            break;
    }
    return channels;
}

/// Words of weights that each output channel has for `channels` inputs of one tap. For bf16 inputs they are whole
/// groups. In int8 each group of a tap begins with a row of its own: the sum of its bytes, an integer. In f16 eight
/// channels at a time are [channel][y_block] halves.
constexpr Index weight_words(Operands operands, Index channels) {
    switch (operands) {
        case Operands::bf16_weights:
            return (channels + 1) / 2;
        case Operands::bf16:
            return Index{group_words(operands)} * group_count(operands, channels);
        case Operands::int8:
        case Operands::int8_wide:
            return (channels + 3) / 4 + group_count(operands, channels);
        case Operands::f16:
            return (channels + 7) / 8 * 4;
        case Operands::f32:
            break;
    }
    return channels;
}

/// The same for all taps and a whole block of outputs: behind all others int8 has a row of floats, what an output's
/// bytes are to be multiplied by.
constexpr Index panel_words(Operands operands, Index channels, int taps = 1) {
    return weight_words(operands, channels) * taps + (has_bytes(operands) ? 1 : 0);
}

/// f16: the largest weight. A line's numbers are less than 4, so that 32 products, which are summed in halves, stay
/// below the largest half, 65504.
constexpr float largest_f16_weight = 511.0f;

/// Words that `pixels` pixels take as lines. Kernels read up to 15 pixels beyond the last of every group.
constexpr Index rounded_words(Operands operands, int channels, Index pixels) {
    return (group_count(operands, channels) * pixels + 15) * line_words(operands);
}

/// Brings act(x), for `rows` rows of `width` pixels, into the table's operands, without gaps between rows: y is
/// [group][pixel][line_words].
///
/// bf16: rounded to nearest, ties to even; NaN stays NaN. What a group has beyond the last block becomes zero.
///
/// int8: the bytes 0 to 255 of a line are spread evenly from the least to the largest number of the pixel's group, and
/// numbers are rounded to the nearest. Bytes beyond the last block are unspecified. Where a number is NaN, so is the
/// line's first float. A line may have the channels of several neighbouring pixels, one behind the other.
///
/// f16: the numbers of a line are divided by its scale, the power of two that brings the largest of them to 1 or more,
/// but less than 2 (4 where the largest is 2^127 or more), and rounded to the nearest half, ties to even. Where a
/// number is not finite the scale is 1: it stays what it is, and others beyond 65504 become infinite. Halves beyond the
/// last block are unspecified.
struct Round {
    const float* x = nullptr;
    Index x_block_stride = 0;
    Index x_row_stride = 0;
    int x_block = 16;
    int x_blocks = 0;
    int rows = 1;
    int width = 0;
    float* y = nullptr;
    Index y_group_stride = 0;
    Act act = Act::none;   // of those that are not taken in an epilogue
    int line_columns = 1;  // int8: pixels that a line has
    int line_stride = 1;   // pixels from one line's first to the next one's
};

/// 1x1 convolution over a run of pixels, all output blocks:
///   y[pixel] = act(bias + weights * x[pixel]) + residual[pixel]
/// x is contiguous over the run; y, residual may be rows of y_width pixels with gaps between them.
struct Pointwise {
    const float* x = nullptr;  // where rounds(): [group][pixel][line_words], and x_block_stride is the groups'
    Index x_block_stride = 0;
    int x_block = 16;  // 8 or 16
    int channels = 0;
    const float* weights = nullptr;  // [y_blocks][channels][y_block]
    Index weights_block_stride = 0;  // 0: panel_words * y_block, no gaps
    const float* bias = nullptr;     // [y_blocks][y_block]; absent: sums go on from what y holds; never where rounds()
    float* y = nullptr;
    Index y_block_stride = 0;
    Index y_row_stride = 0;
    int y_block = 16;
    int y_blocks = 0;
    int y_width = 0;
    int pixels = 0;
    const float* residual = nullptr;  // blocks of y_block, rows of y_width; may be absent
    Index residual_block_stride = 0;
    Index residual_row_stride = 0;
    Act act = Act::none;
    const float* next = nullptr;  // weights that are wanted after this call, fetched into the cache meanwhile
    Index next_words = 0;
};

/// Depthwise convolution of one block of channels, y_rows rows of y_width columns.
/// rows[r * stride + ky * dilation] points to the first tap of output row r for kernel row ky.
struct Depthwise {
    const float* const* rows = nullptr;
    const float* weights = nullptr;  // [kernel_size][kernel_size][block]
    const float* bias = nullptr;     // [block]
    float* y = nullptr;
    Index y_row_stride = 0;
    int y_rows = 0;
    int y_width = 0;
    int block = 16;
    int kernel_size = 3;
    int stride = 1;
    int dilation = 1;
    Act act = Act::none;
};

/// 3x3 convolution with stride 2 and padding 1 of an NCHW image, one output row of y_width columns, all output blocks.
struct Stem {
    static constexpr int most_channels = 4;

    const float* rows[3] = {};  // column 0 of the three input rows in the first plane; null beyond the image
    Index x_plane_stride = 0;
    int x_width = 0;
    int channels = 0;                // at most most_channels
    const float* weights = nullptr;  // [y_blocks][channel][ky][kx][y_block]
    const float* bias = nullptr;     // [y_blocks][y_block]
    float* y = nullptr;
    Index y_block_stride = 0;
    int y_block = 16;
    int y_blocks = 0;
    int y_width = 0;
    Act act = Act::none;
};

/// Dense or grouped convolution, y_rows output rows of y_width columns, all output blocks.
/// rows[r * kernel_size + ky] points to the first tap of column 0 in the first input block; null where the row lies in
/// the padding. Where rounds(), a block is a group of channels, and there are no groups of the other kind. Where lines
/// have all the columns of a kernel row, there is one for each output column, and stride is that of lines, 1.
struct Dense {
    const float* const* rows = nullptr;
    Index x_block_stride = 0;
    int x_block = 16;                    // 1, 8 or 16
    int channels = 0;                    // input channels of one group; of all columns that a line has
    const float* weights = nullptr;      // [y_blocks][input block][ky][kx][channel in block][y_block]
    const float* bias = nullptr;         // [y_blocks][y_block]
    const int* lane_channels = nullptr;  // Grouped only: [y_blocks][channels][y_block], the input channel of a lane
    float* y = nullptr;
    Index y_block_stride = 0;
    Index y_row_stride = 0;
    int y_block = 16;
    int y_blocks = 0;
    int y_blocks_per_group = 0;
    int y_rows = 1;
    int y_width = 0;
    int kernel_size = 3;
    int stride = 1;
    int dilation = 1;
    int line_columns = 1;  // Round's: 1, or kernel_size
    const float* residual = nullptr;
    Index residual_block_stride = 0;
    Index residual_row_stride = 0;
    Act act = Act::none;
};

/// y = act(x * scale + shift) + residual for one block of channels. scale and shift may be absent; y and residual have
/// no gaps between rows.
struct Affine {
    const float* x = nullptr;
    Index x_row_stride = 0;
    int rows = 1;
    const float* scale = nullptr;
    const float* shift = nullptr;
    const float* residual = nullptr;
    float* y = nullptr;
    int pixels = 0;  // a row
    int block = 16;
    Act act = Act::none;
};

/// Expand 1x1, depthwise, project 1x1 over a band of rows, without the expanded map ever existing as a whole.
/// Without expand_weights the depthwise convolution reads x itself, which then has `padding` zero columns on each
/// side. Without y the projection is left out and the depthwise output stays in `middle`.
struct InvertedBottleneck {
    const float* x = nullptr;  // row 0, column 0
    Index x_block_stride = 0;
    Index x_row_stride = 0;
    int x_block = 16;
    int in_channels = 0;
    int in_height = 0;
    int in_width = 0;

    const float* expand_weights = nullptr;
    const float* expand_bias = nullptr;
    Act expand_act = Act::none;

    const float* depth_weights = nullptr;  // [mid block][ky][kx][mid_block]
    const float* depth_bias = nullptr;
    Act depth_act = Act::none;
    int kernel_size = 3;
    int stride = 1;
    int padding = 1;
    int mid_channels = 0;
    int mid_block = 16;
    int first_mid_block = 0;  // blocks [first, last) are computed
    int last_mid_block = 0;
    int slice_blocks = 0;  // as many are projected at a time, on top of those before; even, 0: all

    const float* project_weights = nullptr;
    const float* project_bias = nullptr;
    Act project_act = Act::none;
    float* y = nullptr;  // row 0 of the output map
    Index y_block_stride = 0;
    Index y_row_stride = 0;
    int y_block = 16;
    int y_blocks = 0;
    int out_width = 0;
    const float* residual = nullptr;
    Index residual_block_stride = 0;
    Index residual_row_stride = 0;

    int first_row = 0;  // output rows [first, last)
    int last_row = 0;
    int step_rows = 2;  // output rows from one expansion to the next

    float* ring = nullptr;  // [ring_blocks][ring_rows][in_width + 2 padding][mid_block]
    Index ring_block_stride = 0;
    int ring_blocks = 0;  // 2: blocks take turns, for when all rows fit at once; else as many as are computed
    int ring_rows = 0;
    float* middle = nullptr;  // [mid block of a slice][step_rows * out_width][mid_block]
    Index middle_block_stride = 0;
    // Where rounds(): x and the depthwise output as lines, for the rows of a step; `middle` then has room for the
    // blocks of one group, and the projection reads `rounded_middle`.
    float* rounded_x = nullptr;
    Index rounded_x_stride = 0;
    float* rounded_middle = nullptr;
    Index rounded_middle_stride = 0;
    const float* zero_row = nullptr;       // in_width + 2 padding pixels of zeros
    const float** row_pointers = nullptr;  // room for (step_rows - 1) * stride + kernel_size
};

/// ReLU attention of one head in its linear form. q, k (already through relu) and v are maps of `dim` channels,
/// each in its own blocks of `block` lanes: [block][pixels][lane]. y[d] = (v k^T) q [d] / (sum(k)^T q + eps).
struct Attention {
    const float* q = nullptr;
    const float* k = nullptr;
    const float* v = nullptr;
    Index block_stride = 0;
    float* y = nullptr;
    Index y_block_stride = 0;
    int pixels = 0;
    int dim = 16;
    int block = 16;
    float eps = 1e-15f;
    float* scratch = nullptr;  // attention_scratch(dim, block, pixels) floats
};

/// Floats that Attention needs as scratch: v k^T by output block, the column sums of k, a bias of zeros and
/// denominators; for the quadratic form one column of scores.
constexpr Index attention_scratch(int dim, int block, int pixels) {
    const Index lanes = Index{(dim + block - 1) / block} * block;
    return lanes * dim + lanes + block + pixels + 16;
}

/// One output row of a separable resampling with four taps each way, for one block of channels:
///   y[column] = sum over t of column_weights[column][t] * mixed[column_taps[column][t]] + residual[column]
/// where mixed is the sum of the four rows by their weights. y may be residual.
struct Resample {
    const float* const* rows = nullptr;     // [4] input rows, column 0
    const float* row_weights = nullptr;     // [4]
    const int* column_taps = nullptr;       // [y_width][4] input columns
    const float* column_weights = nullptr;  // [y_width][4]
    float* mixed = nullptr;                 // x_width pixels of scratch
    const float* residual = nullptr;        // may be absent
    float* y = nullptr;
    int x_width = 0;
    int y_width = 0;
    int block = 16;
};

struct Winograd;  // winograd_args.hpp

/// The kernels of one instruction set that every network has. dense, grouped and resample are asked for by name where
/// they are needed (kernels.hpp), so that other programs are not compiled with them.
struct Table {
    Isa isa = Isa::scalar;
    Operands operands = Operands::f32;
    void (*pointwise)(const Pointwise&) = nullptr;
    void (*depthwise)(const Depthwise&) = nullptr;
    void (*stem)(const Stem&) = nullptr;
    void (*affine)(const Affine&) = nullptr;
    void (*inverted_bottleneck)(const InvertedBottleneck&) = nullptr;
    void (*linear_attention)(const Attention&) = nullptr;
    void (*quadratic_attention)(const Attention&) = nullptr;
    // What other operands than floats add (bf16.hpp).
    void (*dense)(const Dense&) = nullptr;
    void (*round)(const Round&) = nullptr;        // where rounds()
    const Table* floats = nullptr;                // the same instruction set's table of f32
    const char* products = "f32";                 // what multiplies, in words
    const Table* few = nullptr;                   // for layers of few channels, if it is another than this
    void (*winograd)(const Winograd&) = nullptr;  // with weights of bytes, where that is faster than dense
    int winograd_channels = 0;                    // and for so many input channels at least
};

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// The kernels of masks.hpp and segmentation.hpp, which work on rows of pixels, for the instruction sets that make a
// difference to them, chosen at run time as those of kernels/ are. Raw pointers and ints only, no std within the
// regions (see kernels/target.hpp).
#pragma once

#include <efficientvit/kernels/args.hpp>
#include <efficientvit/kernels/cpu.hpp>

#if defined(EFFICIENTVIT_X86)
#include <immintrin.h>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {

/// Up to eight neighbours of an output row that lie between the same two input columns.
struct UpsampleSpan {
    static constexpr int pixels = 8;
    int begin = 0, count = 0;       ///< the output columns
    int source = 0;                 ///< the first of the four input columns, plus 2: the blended row is padded
    float weights[4][pixels] = {};  ///< of those four, for each output column
};

/// One row of labels.
struct UpsampleArgmaxRow {
    const float* logits = nullptr;  ///< class planes, `plane` floats apart
    Index plane = 0;
    int classes = 0;     ///< 1 to 256
    int width = 0;       ///< of the input
    Index rows[4] = {};  ///< where the four input rows begin in a plane
    float row_weights[4] = {};
    const UpsampleSpan* span = nullptr;
    int spans = 0;
    float* blended = nullptr;         ///< scratch memory: classes * (width + 4)
    unsigned char* labels = nullptr;  ///< the output row
};

/// Bilinear interpolation along one axis: output i is input first[i] times weight0[i] plus input second[i] times
/// weight1[i]. Both indices never fall.
struct LinearTaps {
    const int* first = nullptr;
    const int* second = nullptr;
    const float* weight0 = nullptr;
    const float* weight1 = nullptr;
};

/// Columns [begin, end) of a row y, interpolated from a row x.
struct ExpandMaskRow {
    const float* x = nullptr;
    LinearTaps taps{};
    int begin = 0, end = 0;
    float* y = nullptr;
};

/// Columns [begin, end) of a row y between two rows.
struct MixMaskRows {
    const float* x0 = nullptr;
    const float* x1 = nullptr;
    float weight0 = 1, weight1 = 0;
    int begin = 0, end = 0;
    float* y = nullptr;
};

/// The same row as pixels of a mask, and counted. rows.y may be null.
struct ThresholdMaskRow {
    MixMaskRows rows{};
    float threshold = 0, high = 0, low = 0;
    unsigned char* pixels = nullptr;     ///< 1 where a value is above threshold
    unsigned char* columns = nullptr;    ///< or'd with these
    int area = 0, inner = 0, outer = 0;  ///< out: how many values are above threshold, high, low
};

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/kernels/target.hpp>

#if defined(__GNUC__) && (!defined(__i386__) || defined(__SSE__))  // without SSE there is no such type to return
#define EFFICIENTVIT_LANES 4
#else
#define EFFICIENTVIT_LANES 1
#endif
EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
namespace rows_by_4 {
#include <efficientvit/images/row_vectors.inl>
// Needs the types above.
#include <efficientvit/images/mask_rows.inl>
#include <efficientvit/images/upsample_argmax.inl>
}  // namespace rows_by_4
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE
#undef EFFICIENTVIT_LANES

#if defined(EFFICIENTVIT_X86) && defined(__GNUC__)
#define EFFICIENTVIT_LANES 8
EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX2
namespace kernels {
namespace rows_by_8 {
#include <efficientvit/images/row_vectors.inl>
// Needs the types above.
#include <efficientvit/images/mask_rows.inl>
#include <efficientvit/images/upsample_argmax.inl>
}  // namespace rows_by_8
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE
#undef EFFICIENTVIT_LANES
#define EFFICIENTVIT_LANES 16
EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX512
namespace kernels {
namespace rows_by_16 {
#include <efficientvit/images/row_vectors.inl>
// Needs the types above. A span of upsample_argmax.inl is eight pixels, so wider vectors would gain it nothing.
#include <efficientvit/images/mask_rows.inl>
}  // namespace rows_by_16
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE
#undef EFFICIENTVIT_LANES
#endif

#include <efficientvit/kernels/target_end.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {

/// What enlarges masks and labels on one instruction set.
struct RowKernels {
    void (*expand_mask)(const ExpandMaskRow&);
    void (*mix_masks)(const MixMaskRows&);
    void (*threshold_mask)(ThresholdMaskRow&);
    void (*upsample_argmax)(const UpsampleArgmaxRow&);
};

/// The kernels for `isa`.
inline RowKernels row_kernels([[maybe_unused]] Isa isa) {
#if defined(EFFICIENTVIT_X86) && defined(__GNUC__)
    if (isa == Isa::avx512) {
        return {rows_by_16::expand_mask_row, rows_by_16::mix_mask_rows, rows_by_16::threshold_mask_row,
                rows_by_8::upsample_argmax_row};
    }
    if (isa == Isa::avx2) {
        return {rows_by_8::expand_mask_row, rows_by_8::mix_mask_rows, rows_by_8::threshold_mask_row,
                rows_by_8::upsample_argmax_row};
    }
#endif
    return {rows_by_4::expand_mask_row, rows_by_4::mix_mask_rows, rows_by_4::threshold_mask_row,
            rows_by_4::upsample_argmax_row};
}

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

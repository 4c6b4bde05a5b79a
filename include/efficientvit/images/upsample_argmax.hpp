// SPDX-License-Identifier: Apache-2.0
//
// The kernel of segmentation.hpp, for the instruction sets that make a difference to it, chosen at run time as those of
// kernels/ are. Raw pointers and ints only, no std within the regions (see kernels/target.hpp).
#pragma once

#include <efficientvit/kernels/args.hpp>
#include <efficientvit/kernels/cpu.hpp>

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

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/kernels/target.hpp>

#define EFFICIENTVIT_LANES 4
EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {
namespace four_lanes {
#include <efficientvit/images/upsample_argmax.inl>
}  // namespace four_lanes
}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE
#undef EFFICIENTVIT_LANES

#if defined(EFFICIENTVIT_X86) && defined(__GNUC__)
#define EFFICIENTVIT_LANES 8
EFFICIENTVIT_BEGIN_NAMESPACE
EFFICIENTVIT_BEGIN_AVX2
namespace kernels {
namespace eight_lanes {
#include <efficientvit/images/upsample_argmax.inl>
}  // namespace eight_lanes
}  // namespace kernels
EFFICIENTVIT_END_TARGET
EFFICIENTVIT_END_NAMESPACE
#undef EFFICIENTVIT_LANES
#endif

#include <efficientvit/kernels/target_end.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace kernels {

/// The kernel for `isa`. A span is eight pixels, so wider vectors would gain nothing.
inline auto upsample_argmax_row([[maybe_unused]] Isa isa) -> void (*)(const UpsampleArgmaxRow&) {
#if defined(EFFICIENTVIT_X86) && defined(__GNUC__)
    if (isa == Isa::avx2 || isa == Isa::avx512) return eight_lanes::upsample_argmax_row;
#endif
    return four_lanes::upsample_argmax_row;
}

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Views of NCHW tensors that somebody else owns: a pointer and a shape. Without Eigen, whose tensors tensor.hpp turns
// into views.
//
// The letters, here and everywhere: N images in a batch, C channels, H rows, W columns.
#pragma once

#include <efficientvit/config.hpp>

#include <cstddef>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// Extents of an NCHW tensor.
struct Shape {
    std::ptrdiff_t n = 0;  ///< images
    std::ptrdiff_t c = 0;  ///< channels
    std::ptrdiff_t h = 0;  ///< rows
    std::ptrdiff_t w = 0;  ///< columns
    /// Whether all extents are equal.
    EFFICIENTVIT_ALWAYS_INLINE bool operator==(const Shape&) const = default;
};

/// A tensor that somebody else owns, to read from: a pointer to N*C*H*W floats, row-major, without gaps. Unlike Eigen's
/// types a view means the same in translation units built with different -m flags.
struct ConstTensorView {
    const float* data = nullptr;  ///< the first float
    Shape shape{};                ///< N, C, H, W
};

/// The same to write to.
struct TensorView {
    float* data = nullptr;  ///< the first float
    Shape shape{};          ///< N, C, H, W
    /// To read from.
    EFFICIENTVIT_ALWAYS_INLINE constexpr operator ConstTensorView() const { return {data, shape}; }
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

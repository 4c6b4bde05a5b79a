// SPDX-License-Identifier: Apache-2.0
//
// What is asked of a picture: points, boxes, masks of before.
#pragma once

#include <efficientvit/tensor.hpp>

#include <optional>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// A point of a prompt: x to the right, y down.
struct SamPoint {
    double x = 0;   ///< in pixels, from the left edge
    double y = 0;   ///< in pixels, from the upper edge
    int label = 1;  ///< 1: belongs to the object, 0: does not, -1: no point, stands for one that is missing
};

/// A box by its corners, upper left and lower right.
struct Box {
    double x0 = 0;  ///< left
    double y0 = 0;  ///< top
    double x1 = 0;  ///< right
    double y1 = 0;  ///< bottom
    /// Whether all corners are equal.
    bool operator==(const Box&) const = default;
};

/// What is asked of a picture, in its own pixels: points, a box, a mask of before, or some of these together.
struct SamPrompt {
    std::vector<SamPoint> points{};               ///< x, y, label 1 (object), 0 (background) or -1 (no point)
    std::optional<Box> box{};                     ///< around the object
    std::optional<ConstTensorView> mask_input{};  ///< a mask of an earlier prediction's low_res, (1, 1, 256, 256)
    bool multimask_output = true;                 ///< several masks, for an ambiguous prompt such as a point; else one
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

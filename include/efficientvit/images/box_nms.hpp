// SPDX-License-Identifier: Apache-2.0
//
// Non-maximum suppression: of boxes that overlap much, the one with the highest score.
#pragma once

#include <efficientvit/images/mask.hpp>
#include <efficientvit/runtime/float_environment.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Numbers of the boxes that stay, by falling score, as torchvision's nms: a box goes where its IoU with one that
/// stays and scores higher is above iou_threshold. An area is (x1 - x0) (y1 - y0). Of equal scores the earlier box
/// counts as higher; NaN is above all. Throws ShapeError where there are not as many scores.
inline std::vector<int> box_nms(std::span<const MaskBox> boxes, std::span<const float> scores, double iou_threshold) {
    if (boxes.size() != scores.size()) {
        throw ShapeError(detail::concat(
            {"box_nms: ", std::to_string(scores.size()), " scores for ", std::to_string(boxes.size()), " boxes"}));
    }
    std::vector<int> order(boxes.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        const float &x = scores[static_cast<std::size_t>(a)], &y = scores[static_cast<std::size_t>(b)];
        return detail::is_nan(y) ? false : detail::is_nan(x) || x > y;
    });
    // In float, as torchvision has it.
    struct Corners {
        float x0, y0, x1, y1, area;
    };
    std::vector<Corners> kept;
    std::vector<int> out;
    for (const int i : order) {
        const MaskBox& b = boxes[static_cast<std::size_t>(i)];
        Corners c{static_cast<float>(b.x0), static_cast<float>(b.y0), static_cast<float>(b.x1),
                  static_cast<float>(b.y1), 0};
        c.area = (c.x1 - c.x0) * (c.y1 - c.y0);
        const bool suppressed = std::any_of(kept.begin(), kept.end(), [&](const Corners& k) {
            const float width = std::max(0.0F, std::min(c.x1, k.x1) - std::max(c.x0, k.x0));
            const float height = std::max(0.0F, std::min(c.y1, k.y1) - std::max(c.y0, k.y0));
            const float common = width * height;
            return common / (k.area + c.area - common) > iou_threshold;  // false for 0 / 0
        });
        if (suppressed) continue;
        kept.push_back(c);
        out.push_back(i);
    }
    return out;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

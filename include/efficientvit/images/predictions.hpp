// SPDX-License-Identifier: Apache-2.0
//
// From a classifier's logits to probabilities, the largest first. Names of classes are in imagenet_classes.hpp.
#pragma once

#include <efficientvit/error.hpp>
#include <efficientvit/runtime/float_environment.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// A class and how likely it is.
struct Prediction {
    int index = 0;           ///< class
    double probability = 0;  ///< softmax over all classes
};

/// The k most probable classes of one image's logits, or all if there are fewer; of equal ones the first comes first.
/// Throws ShapeError if there are no logits, one is not a number, or the largest is an infinity.
inline std::vector<Prediction> top_k(std::span<const float> logits, int k) {
    if (logits.empty()) throw ShapeError("top_k: no logits");
    for (std::size_t i = 0; i < logits.size(); ++i) {
        if (detail::is_nan(logits[i]))
            throw ShapeError(detail::concat({"top_k: logit ", std::to_string(i), " is NaN"}));
    }
    const float largest = *std::max_element(logits.begin(), logits.end());
    if (!detail::is_finite(largest)) throw ShapeError("top_k: the largest logit is infinite");
    std::vector<int> all(logits.size());
    std::iota(all.begin(), all.end(), 0);
    std::vector<int> order(std::min(all.size(), static_cast<std::size_t>(std::max(k, 0))));
    std::partial_sort_copy(all.begin(), all.end(), order.begin(), order.end(), [&](int a, int b) {
        const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
        return x > y || (x == y && a < b);
    });
    return detail::with_float_defaults([&] {
        double sum = 0;
        for (const float logit : logits) sum += std::exp(double{logit} - largest);
        std::vector<Prediction> out;
        for (const int i : order) {
            out.push_back({i, std::exp(double{logits[static_cast<std::size_t>(i)]} - largest) / sum});
        }
        return out;
    });
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

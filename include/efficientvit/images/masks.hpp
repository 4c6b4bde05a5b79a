// SPDX-License-Identifier: Apache-2.0
//
// Masks of pictures, from a decoder's low-resolution logits.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/runtime/context.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Which pixels of a picture belong to something.
struct Mask {
    int width = 0;                     ///< columns
    int height = 0;                    ///< rows
    std::vector<std::uint8_t> pixels;  ///< 0 or 1, row by row

    /// Keeps memory where there is enough.
    void resize(ImageSize size) {
        width = size.width;
        height = size.height;
        pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    }
};

/// The way from a decoder's plane to the picture.
struct MaskGeometry {
    ImageSize low_res{256, 256};  ///< of the plane
    int frame = 1024;             ///< the square it is enlarged to
    ImageSize input{};            ///< the part of that which the picture covers
    ImageSize original{};         ///< the picture
};

inline void enlarge_mask(const float* low_res, const MaskGeometry& g, Mask& mask, float* logits, Context&) {
    const auto tap = [](int in, int out, int i, int& i0, int& i1, float& w) {
        const double at = std::max(0.0, (i + 0.5) * in / out - 0.5);
        i0 = static_cast<int>(at);
        i1 = std::min(i0 + 1, in - 1);
        w = static_cast<float>(at - i0);
    };
    std::vector<float> mid(static_cast<std::size_t>(g.input.width) * static_cast<std::size_t>(g.input.height));
    const auto resize = [&](const float* x, int xh, int xw, int stride, int fh, int fw, int yh, int yw, auto f) {
        for (int y = 0; y < yh; ++y) {
            int r0, r1;
            float v;
            tap(xh, fh, y, r0, r1, v);
            for (int c = 0; c < yw; ++c) {
                int c0, c1;
                float u;
                tap(xw, fw, c, c0, c1, u);
                const float top = (1 - u) * x[r0 * stride + c0] + u * x[r0 * stride + c1];
                const float bottom = (1 - u) * x[r1 * stride + c0] + u * x[r1 * stride + c1];
                f(y, c, (1 - v) * top + v * bottom);
            }
        }
    };
    resize(low_res, g.low_res.height, g.low_res.width, g.low_res.width, g.frame, g.frame, g.input.height, g.input.width,
           [&](int y, int x, float value) { mid[static_cast<std::size_t>(y * g.input.width + x)] = value; });
    resize(mid.data(), g.input.height, g.input.width, g.input.width, g.original.height, g.original.width,
           g.original.height, g.original.width, [&](int y, int x, float value) {
               const auto at = static_cast<std::size_t>(y * g.original.width + x);
               if (logits != nullptr) logits[at] = value;
               mask.pixels[at] = value > 0 ? 1 : 0;
           });
}

EFFICIENTVIT_END_NAMESPACE

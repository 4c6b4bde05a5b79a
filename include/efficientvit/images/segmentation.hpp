// SPDX-License-Identifier: Apache-2.0
//
// From a segmenter's logits to a label for each pixel of the picture, and pictures of it. Full-size logits, 1.26 GB for
// 150 classes at 1024 x 2048, never exist: each row is enlarged and reduced to its labels at once.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/images/row_kernels.hpp>
#include <efficientvit/runtime/context.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/tensor.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// The class of each pixel, row by row.
struct LabelMap {
    ImageSize size{};                  ///< rows and columns
    std::vector<std::uint8_t> labels;  ///< row by row

    /// The class of the pixel in row y, column x, which must be in the picture.
    std::uint8_t at(int y, int x) const {
        return labels[static_cast<std::size_t>(y) * static_cast<std::size_t>(size.width) + static_cast<std::size_t>(x)];
    }
    /// Whether size and labels are equal.
    bool operator==(const LabelMap&) const = default;
};

namespace detail {

/// Bicubic as F.interpolate does it (a = -0.75, align_corners=false), in PyTorch's float arithmetic: output i comes
/// from four inputs, floor - 1 to floor + 2.
struct CubicTap {
    int floor = 0;
    std::array<float, 4> weights{};

    CubicTap(int in, int out, int i) {
        const float scale = static_cast<float>(in) / static_cast<float>(out);
        const float at = scale * (static_cast<float>(i) + 0.5F) - 0.5F;
        const float below = std::floor(at);
        const float t = at - below;
        constexpr float a = -0.75F;
        const auto inner = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
        const auto outer = [](float x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
        floor = static_cast<int>(below);
        weights = {outer(t + 1), inner(t), inner(1 - t), outer(2 - t)};
    }
};

inline std::vector<kernels::UpsampleSpan> upsample_spans(int in, int out, int wanted) {
    std::vector<kernels::UpsampleSpan> spans;
    for (int x = 0; x < wanted; ++x) {
        const CubicTap tap(in, out, x);
        const int source = std::clamp(tap.floor + 1, 0, in);
        if (spans.empty() || spans.back().source != source || spans.back().count == kernels::UpsampleSpan::pixels) {
            spans.push_back({.begin = x, .source = source});
        }
        kernels::UpsampleSpan& span = spans.back();
        for (std::size_t k = 0; k < 4; ++k) span.weights[k][span.count] = tap.weights[k];
        ++span.count;
    }
    return spans;
}

}  // namespace detail

/// The classes of a picture's pixels: F.interpolate(logits, size=frame, mode="bicubic").argmax(1) but for ties, cut to
/// its upper left `size`. logits: (1, classes, h, w), at most 256 classes; of equal ones the first wins. A class that
/// is NaN never wins, but the first always does; torch.argmax takes the first NaN of any class. Scratch memory and
/// threads are the Context's. Throws ShapeError, ImageError.
template <class X>
void upsample_argmax(const X& logits, ImageSize frame, ImageSize size, LabelMap& map, Context& context) {
    const auto seen = view(logits);
    const ConstTensorView x{seen.data, seen.shape};
    detail::check_input(x, 0, "upsample_argmax");
    if (x.shape.n != 1 || x.shape.c > 256) {
        throw ShapeError(detail::concat({"upsample_argmax: the logits are ", detail::to_string(x.shape),
                                         ", expected one image and at most 256 classes"}));
    }
    detail::check_size(frame, "upsample_argmax");
    detail::check_size(size, "upsample_argmax");
    if (size.height > frame.height || size.width > frame.width) {
        throw ShapeError(detail::concat(
            {"upsample_argmax: wanted are ", detail::to_string(size), " pixels of only ", detail::to_string(frame)}));
    }
    map.size = size;
    map.labels.resize(static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width));

    const int height = static_cast<int>(x.shape.h), width = static_cast<int>(x.shape.w);
    const std::vector<kernels::UpsampleSpan> spans =
        detail::with_float_defaults([&] { return detail::upsample_spans(width, frame.width, size.width); });
    constexpr int band = 16;  // rows that a thread takes at once
    const kernels::Table& table = kernels::table(default_isa());
    const auto kernel = kernels::row_kernels(table.isa).upsample_argmax;
    context.run(table, [&](detail::Session& session) {
        const kernels::Index floats = kernels::Index{x.shape.c} * (kernels::Index{width} + 4);
        std::vector<float*> blended;
        for (int worker = 0; worker < session.workers(); ++worker) blended.push_back(session.workspace.take(floats));
        session.parallel((size.height + band - 1) / band, [&](int chunk, int worker) {
            kernels::UpsampleArgmaxRow row{.logits = x.data,
                                           .plane = kernels::Index{x.shape.h} * x.shape.w,
                                           .classes = static_cast<int>(x.shape.c),
                                           .width = width,
                                           .span = spans.data(),
                                           .spans = static_cast<int>(spans.size()),
                                           .blended = blended[static_cast<std::size_t>(worker)]};
            const int end = std::min((chunk + 1) * band, size.height);
            for (int y = chunk * band; y < end; ++y) {
                const detail::CubicTap tap(height, frame.height, y);
                for (int k = 0; k < 4; ++k) {
                    row.rows[k] = kernels::Index{std::clamp(tap.floor - 1 + k, 0, height - 1)} * width;
                    row.row_weights[k] = tap.weights[static_cast<std::size_t>(k)];
                }
                row.labels = map.labels.data() + static_cast<std::ptrdiff_t>(y) * size.width;
                kernel(row);
            }
        });
    });
}

/// The same for the whole frame, on the calling thread.
template <class X>
LabelMap upsample_argmax(const X& logits, ImageSize size) {
    LabelMap map;
    upsample_argmax(logits, size, size, map, detail::CallContext().get());
    return map;
}

/// Each label in its color; labels that the palette lacks are black. Throws ImageError for a size that is none,
/// ShapeError if there are not as many labels.
inline Image colorize(const LabelMap& map, std::span<const Rgb> palette) {
    Image out(map.size);
    if (map.labels.size() * Image::channels != out.bytes().size()) {
        throw ShapeError(detail::concat(
            {"colorize: ", std::to_string(map.labels.size()), " labels for ", detail::to_string(map.size), " pixels"}));
    }
    std::uint8_t* to = out.bytes().data();
    for (const std::uint8_t label : map.labels) {
        const Rgb color = label < palette.size() ? palette[label] : Rgb{};
        *to++ = color.red;
        *to++ = color.green;
        *to++ = color.blue;
    }
    return out;
}

/// The picture seen through its labels' colors, as the reference's demo draws it: opacity 0 is the picture alone.
/// Throws ShapeError if the sizes differ, ImageError for an empty picture or an opacity that is not 0 to 1.
inline Image overlay(const Image& image, const LabelMap& map, std::span<const Rgb> palette, double opacity = 0.5) {
    if (image.size() != map.size) {
        throw ShapeError(detail::concat({"overlay: the picture has ", detail::to_string(image.size()),
                                         " pixels, the labels ", detail::to_string(map.size)}));
    }
    if (detail::is_nan(opacity) || !(opacity >= 0 && opacity <= 1)) {
        throw ImageError(detail::concat({"overlay: opacity ", std::to_string(opacity), "; expected 0 to 1"}));
    }
    Image out = colorize(map, palette);
    const std::span<std::uint8_t> to = out.bytes();
    const std::span<const std::uint8_t> from = image.bytes();
    detail::with_float_defaults([&] {
        for (std::size_t i = 0; i < to.size(); ++i) {
            to[i] = static_cast<std::uint8_t>(to[i] * opacity + from[i] * (1 - opacity));
        }
    });
    return out;
}

/// How many pixels each class has; the length is 256.
inline std::vector<std::size_t> count_labels(const LabelMap& map) {
    std::vector<std::size_t> count(256);
    for (const std::uint8_t label : map.labels) ++count[label];
    return count;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

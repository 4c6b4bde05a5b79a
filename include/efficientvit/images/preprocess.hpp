// SPDX-License-Identifier: Apache-2.0
//
// From a picture to a network's input, for each task as its published accuracy was measured: what is resized by whose
// filter, what is cut, what is padded. Sizes and roundings are the reference's and timm's, to the pixel.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/images/resize.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/tensor.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Mean and standard deviation of red, green and blue, on the scale 0 to 1.
struct Normalization {
    std::array<double, 3> mean{0.485, 0.456, 0.406};  ///< red, green, blue; of values 0 to 1
    std::array<double, 3> std{0.229, 0.224, 0.225};   ///< likewise
};

namespace detail {

/// What each byte becomes, for each channel: (byte / 255 - mean) / std in PyTorch's float arithmetic.
using NormalizationTable = std::array<std::array<float, 256>, 3>;

inline NormalizationTable normalization_table(const Normalization& n) {
    return with_float_defaults([&] {
        NormalizationTable table;
        for (std::size_t c = 0; c < 3; ++c) {
            for (std::size_t byte = 0; byte < 256; ++byte) {
                table[c][byte] =
                    (static_cast<float>(byte) / 255.0F - static_cast<float>(n.mean[c])) / static_cast<float>(n.std[c]);
            }
        }
        return table;
    });
}

/// Writes the part of `image` that begins at (top, left) into the upper left of `out`; all else becomes `outside`, a
/// value for each channel. The part may reach beyond the picture.
inline void fill_input(const Image& image, int top, int left, ImageSize size, const NormalizationTable& table,
                       const std::array<float, 3>& outside, Tensor& out) {
    resize(out, {1, 3, size.height, size.width});
    const int begin = std::clamp(-left, 0, size.width), end = std::clamp(image.width() - left, begin, size.width);
    for (int y = 0; y < size.height; ++y) {
        const bool inside = y + top >= 0 && y + top < image.height();
        for (std::size_t c = 0; c < 3; ++c) {
            float* const to = out.data() + (static_cast<std::ptrdiff_t>(c) * size.height + y) * size.width;
            if (!inside) {
                std::fill_n(to, size.width, outside[c]);
                continue;
            }
            const std::uint8_t* const from = image.row(y + top) + c;
            const std::array<float, 256>& values = table[c];
            std::fill_n(to, begin, outside[c]);
            for (std::ptrdiff_t x = begin; x < end; ++x) to[x] = values[from[3 * (x + left)]];
            std::fill(to + end, to + size.width, outside[c]);
        }
    }
}

/// Throws ImageError, before anything is allocated, for an input that forward() would refuse.
inline void check_input_size(ImageSize size, const char* where) {
    check_size(size, where);
    if (!is_too_large({1, 3, size.height, size.width})) return;
    throw ImageError(
        concat({where, ": an input of ", to_string(size), " pixels (height x width); a network takes at most 2^28"}));
}

/// Where Python's round(), half to even, puts the edge of a cut in the middle.
inline int centered(int outer, int inner) {
    return with_float_defaults([&] { return static_cast<int>(std::nearbyint((outer - inner) / 2.0)); });
}

}  // namespace detail

/// The whole picture at its own size, normalized: (1, 3, H, W). Backbones take any size. Throws ImageError.
inline void preprocess_plain(const Image& image, const Normalization& normalization, Tensor& input) {
    detail::check_size(image.size(), "preprocess_plain");
    detail::check_input_size(image.size(), "preprocess_plain");
    detail::fill_input(image, 0, 0, image.size(), detail::normalization_table(normalization), {}, input);
}

// ---- Classification -------------------------------------------------------------------------------------------------

/// How a classifier sees pictures: the short side is resized to size / crop_ratio, and size x size cut from the middle.
struct ClsPreprocessing {
    int size = 224;            ///< rows and columns of the input
    double crop_ratio = 0.95;  ///< the input's share of the resized picture's side
    /// The reference rounds size / crop_ratio up (236 for 224), timm down (235).
    bool round_up = true;
    Normalization normalization{};  ///< what is subtracted and divided by
};

/// What belongs to a published classifier: a tag of timm's ("efficientvit_b1.r256_in1k", also without "timm/" before
/// it) or a name of the reference's ("efficientvit-b1-r256", "efficientvit-cls-b1", "efficientvit_b1_r256.pt"). The
/// size is behind the r, or 224. In timm b models at 224 keep .95 of the short side, all others all of it; the
/// reference's evaluation keeps .95 for b0 and b1, and all of it for b2, b3 and l. A name of neither: .95.
inline ClsPreprocessing cls_preprocessing(std::string_view name) {
    ClsPreprocessing out;
    // A size stands behind an 'r' that begins a word.
    for (std::size_t i = 1; i + 3 < name.size(); ++i) {
        const auto digit = [&](std::size_t at) { return at < name.size() && name[at] >= '0' && name[at] <= '9'; };
        if (name[i] != 'r' || std::string_view("-_.").find(name[i - 1]) == std::string_view::npos) continue;
        if (!digit(i + 1) || !digit(i + 2) || !digit(i + 3) || digit(i + 4)) continue;
        out.size = (name[i + 1] - '0') * 100 + (name[i + 2] - '0') * 10 + (name[i + 3] - '0');
    }
    if (name.find("_in1k") != std::string_view::npos) {
        out.round_up = false;
        const bool b = name.find("efficientvit_b") != std::string_view::npos;
        out.crop_ratio = b && out.size == 224 ? 0.95 : 1.0;
    } else {
        for (const std::string_view size : {"b2", "b3", "l1", "l2", "l3"}) {
            const std::size_t at = name.find(size);
            const auto apart = [&](std::size_t i) {
                return i >= name.size() || std::string_view("-_.").find(name[i]) != std::string_view::npos;
            };
            if (at != std::string_view::npos && (at == 0 || apart(at - 1)) && apart(at + 2)) out.crop_ratio = 1.0;
        }
    }
    return out;
}

/// The input (1, 3, size, size) of a classifier: Pillow's bicubic, centre crop, normalized, as torchvision's
/// Resize(interpolation=BICUBIC), CenterCrop, ToTensor and Normalize. Throws ImageError.
inline void preprocess_cls(const Image& image, const ClsPreprocessing& how, Tensor& input) {
    detail::check_size(image.size(), "preprocess_cls");
    if (how.size < 1 || detail::is_nan(how.crop_ratio) || !(how.crop_ratio > 0 && how.crop_ratio <= 1)) {
        throw ImageError(detail::concat({"preprocess_cls: size ", std::to_string(how.size), ", crop ratio ",
                                         std::to_string(how.crop_ratio), "; expected at least 1, and 0 to 1"}));
    }
    const ImageSize size = detail::with_float_defaults([&] {
        const double exact = how.size / how.crop_ratio;
        const int side = detail::checked_side(how.round_up ? std::ceil(exact) : std::floor(exact), "preprocess_cls");
        // As torchvision: the short side exactly, the long one truncated.
        const auto longer = [&](int a, int b) {
            return detail::checked_side(double{1} * side * a / b, "preprocess_cls");
        };
        return image.height() > image.width() ? ImageSize{longer(image.height(), image.width()), side}
                                              : ImageSize{side, longer(image.width(), image.height())};
    });
    detail::check_input_size({how.size, how.size}, "preprocess_cls");
    const ImageBox middle{.top = detail::centered(size.height, how.size),
                          .left = detail::centered(size.width, how.size),
                          .size = {how.size, how.size}};
    detail::fill_input(resize_pillow(image, size, PillowFilter::bicubic, middle), 0, 0, middle.size,
                       detail::normalization_table(how.normalization), {}, input);
}

// ---- Segmentation ---------------------------------------------------------------------------------------------------

/// The data sets of the published segmenters.
enum class SegDataset {
    cityscapes,  ///< 19 classes of streets
    ade20k       ///< 150 classes of scenes
};

/// What happens to a picture whose sides the head cannot add (those that 32 does not divide), and to any other.
enum class SegFit {
    /// Resized as the data set's evaluation does. Cityscapes: to 1024 x 2048, whatever its shape. ADE20K: the short
    /// side
    /// to 512, the other to the next multiple of 32 that keeps the picture's shape.
    resize,
    /// Kept at its own size; below and to the right, gray (the mean color) up to the next multiple of 32. For pictures
    /// that are about as large as those of the data set, such as 1080 x 1920 for Cityscapes.
    pad,
};

/// How preprocess_seg() makes an input of a picture.
struct SegPreprocessing {
    SegDataset dataset = SegDataset::cityscapes;  ///< whose evaluation is followed
    SegFit fit = SegFit::resize;                  ///< how sides come to multiples of 32
    Normalization normalization{};                ///< what is subtracted and divided by
};

/// A segmenter's input size for a picture of this size. Throws ImageError, also where the input had more than 2^28
/// pixels, which forward() refuses.
inline ImageSize seg_input_size(ImageSize image, const SegPreprocessing& how) {
    detail::check_size(image, "seg_input_size");
    const auto multiple = [](int n) { return (n + 31) / 32 * 32; };
    if (how.fit == SegFit::pad) {
        const ImageSize padded{multiple(image.height), multiple(image.width)};
        detail::check_input_size(padded, "seg_input_size");
        return padded;
    }
    if (how.dataset == SegDataset::cityscapes) return {1024, 2048};
    // As the reference's math.ceil(w / h * 512 / 32) * 32, in the same order of roundings.
    const auto other = [](int a, int b) {
        return detail::checked_side(std::ceil(double{1} * a / b * 512 / 32) * 32, "seg_input_size");
    };
    const ImageSize resized = detail::with_float_defaults([&] {
        return image.height < image.width ? ImageSize{512, other(image.width, image.height)}
                                          : ImageSize{other(image.height, image.width), 512};
    });
    detail::check_input_size(resized, "seg_input_size");
    return resized;
}

/// The input of a segmenter, (1, 3, h, w) with h and w from seg_input_size(): OpenCV's bicubic or padding, normalized.
/// Returns the size, in the picture's pixels, of what the input and so the logits cover: the picture itself, or with
/// its padding. upsample_argmax(logits, that, image.size(), …) takes it from there. Throws ImageError.
inline ImageSize preprocess_seg(const Image& image, const SegPreprocessing& how, Tensor& input) {
    const ImageSize size = seg_input_size(image.size(), how);
    const auto table = detail::normalization_table(how.normalization);
    if (how.fit == SegFit::pad) {
        detail::fill_input(image, 0, 0, size, table, {}, input);
        return size;
    }
    detail::fill_input(resize_opencv_cubic(image, size), 0, 0, size, table, {}, input);
    return image.size();
}

// ---- Segment anything -----------------------------------------------------------------------------------------------

/// How SAM's image encoders see pictures: 512 for l0, l1, l2; 1024 for xl0, xl1.
struct SamPreprocessing {
    int size = 512;  ///< rows and columns of the input
    /// What is subtracted and divided by: the reference's, of bytes.
    Normalization normalization{.mean = {123.675 / 255, 116.28 / 255, 103.53 / 255},
                                .std = {58.395 / 255, 57.12 / 255, 57.375 / 255}};
};

/// A point of a picture: x to the right, y down, from its upper left corner.
struct Point {
    double x = 0;  ///< pixels to the right
    double y = 0;  ///< pixels down
};

/// The size of a picture whose long side is resized to `side`. Throws ImageError.
inline ImageSize sam_resized(ImageSize image, int side) {
    detail::check_size(image, "sam_resized");
    return detail::with_float_defaults([&] {
        const double scale =
            double{1} * detail::checked_side(side, "sam_resized") / std::max(image.height, image.width);
        return ImageSize{std::max(static_cast<int>(image.height * scale + 0.5), 1),
                         std::max(static_cast<int>(image.width * scale + 0.5), 1)};
    });
}

/// The input (1, 3, size, size) of a SAM encoder: the long side resized by Pillow's bilinear, normalized, then zeros
/// below and to the right. Throws ImageError.
inline void preprocess_sam(const Image& image, const SamPreprocessing& how, Tensor& input) {
    detail::check_input_size({how.size, how.size}, "preprocess_sam");
    const Image resized = resize_pillow(image, sam_resized(image.size(), how.size), PillowFilter::bilinear);
    detail::fill_input(resized, 0, 0, {how.size, how.size}, detail::normalization_table(how.normalization), {}, input);
}

/// Where a point of the picture lies in the frame of prompts, whose long side is 1024 for every model, those that see
/// 512 included. The corners of a box are two points. Throws ImageError for a size that is none.
inline Point sam_prompt(Point point, ImageSize image) {
    const ImageSize frame = sam_resized(image, 1024);
    return detail::with_float_defaults([&] {
        return Point{point.x * (double{1} * frame.width / image.width),
                     point.y * (double{1} * frame.height / image.height)};
    });
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

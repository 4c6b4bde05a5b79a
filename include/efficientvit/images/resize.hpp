// SPDX-License-Identifier: Apache-2.0
//
// Pictures in other sizes, as Pillow and OpenCV make them: published accuracy was measured behind these two, and they
// differ. Written from their documented formulas; tests/images compares with the originals.
#pragma once

#include <efficientvit/images/image.hpp>
#include <efficientvit/kernels/kernels.hpp>
#include <efficientvit/runtime/float_environment.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Pillow's Image.BILINEAR and Image.BICUBIC (a = -0.5). Both average where a picture becomes smaller.
enum class PillowFilter {
    bilinear,  ///< a triangle, two pixels wide
    bicubic    ///< a = -0.5, four pixels wide
};

namespace detail {

/// How one axis is resized by Pillow, for some of its outputs: number i of them is the sum of weights[i * taps + k] *
/// input[first[i] + k], k < count[i].
struct PillowAxis {
    // Weights are integers of this many fractional bits: with 8 bits of the pixel and 2 spare they fill an int.
    static constexpr int fraction_bits = 32 - 8 - 2;

    int taps = 0;
    std::vector<int> first, count, weights;

    /// Outputs from `begin` on, `outputs` of the axis' `out`.
    PillowAxis(int in, int out, PillowFilter filter, int begin_output, int outputs) {
        const double scale = double{1} * in / out;
        const double stretch = std::max(scale, 1.0);  // the filter covers all input pixels, so nothing aliases
        const double support = (filter == PillowFilter::bilinear ? 1.0 : 2.0) * stretch;
        taps = static_cast<int>(std::min(2 * std::ceil(support) + 1, double{1} * in));
        if (in == out) taps = 1;  // nothing changes, as Pillow leaves such a pass out
        weights.assign(static_cast<std::size_t>(outputs) * static_cast<std::size_t>(taps), 0);
        std::vector<double> exact(static_cast<std::size_t>(taps));
        for (int i = 0; i < outputs; ++i) {
            if (in == out) {
                weights[static_cast<std::size_t>(i)] = 1 << fraction_bits;
                first.push_back(begin_output + i);
                count.push_back(1);
                continue;
            }
            const double center = (begin_output + i + 0.5) * scale;
            const int begin = std::max(static_cast<int>(center - support + 0.5), 0);
            const int end = std::min(static_cast<int>(center + support + 0.5), in);
            double sum = 0;
            for (int k = 0; k < end - begin; ++k) {
                const double w = value(filter, (k + begin - center + 0.5) * (1 / stretch));
                exact[static_cast<std::size_t>(k)] = w;
                sum += w;
            }
            int* const to = weights.data() + std::ptrdiff_t{i} * taps;
            for (int k = 0; k < end - begin; ++k) {
                const double w = exact[static_cast<std::size_t>(k)] * (1 / sum) * (1 << fraction_bits);
                to[k] = static_cast<int>(w < 0 ? w - 0.5 : w + 0.5);
            }
            first.push_back(begin);
            count.push_back(end - begin);
        }
    }

    /// The inputs that are wanted: from begin() to before end().
    int begin() const { return *std::min_element(first.begin(), first.end()); }
    int end() const {
        int last = 0;
        for (std::size_t i = 0; i < first.size(); ++i) last = std::max(last, first[i] + count[i]);
        return last;
    }
    /// Counts inputs from `begin` on, where no others are kept.
    void count_from(int begin) {
        for (int& at : first) at -= begin;
    }

    static double value(PillowFilter filter, double x) {
        x = std::abs(x);
        if (filter == PillowFilter::bilinear) return x < 1 ? 1 - x : 0;
        constexpr double a = -0.5;
        if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    }

    static constexpr int half = 1 << (fraction_bits - 1);
    static std::uint8_t to_byte(int sum) { return static_cast<std::uint8_t>(std::clamp(sum >> fraction_bits, 0, 255)); }
};

inline PillowAxis pillow_axis(int in, int out, PillowFilter filter, int begin, int outputs) {
    return with_float_defaults([&] { return PillowAxis(in, out, filter, begin, outputs); });
}

inline void pillow_row(const PillowAxis& axis, const std::uint8_t* in, std::uint8_t* out) {
    const int* weights = axis.weights.data();
    for (std::size_t i = 0; i < axis.first.size(); ++i, weights += axis.taps, out += 3) {
        const std::uint8_t* p = in + std::ptrdiff_t{3} * axis.first[i];
        int red = PillowAxis::half, green = red, blue = red;
        for (int k = 0; k < axis.count[i]; ++k, p += 3) {
            red += p[0] * weights[k];
            green += p[1] * weights[k];
            blue += p[2] * weights[k];
        }
        out[0] = PillowAxis::to_byte(red);
        out[1] = PillowAxis::to_byte(green);
        out[2] = PillowAxis::to_byte(blue);
    }
}

/// `bytes` bytes of row i of the output from rows first[i] … of the input, which are `stride` bytes apart.
inline void pillow_column(const PillowAxis& axis, int i, const std::uint8_t* in, std::ptrdiff_t stride,
                          std::ptrdiff_t bytes, std::uint8_t* out) {
    const int* const weights = axis.weights.data() + std::ptrdiff_t{i} * axis.taps;
    const int count = axis.count[static_cast<std::size_t>(i)];
    constexpr std::ptrdiff_t together = 12;  // sums that the compiler keeps in registers
    for (std::ptrdiff_t x = 0; x < bytes; x += together) {
        const int columns = static_cast<int>(std::min(together, bytes - x));
        std::array<int, together> sums;
        sums.fill(PillowAxis::half);
        for (int k = 0; k < count; ++k) {
            const std::uint8_t* const p = in + stride * k + x;
            if (columns == together) {
                for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += p[j] * weights[k];
            } else {
                for (int j = 0; j < columns; ++j) sums[static_cast<std::size_t>(j)] += p[j] * weights[k];
            }
        }
        for (int j = 0; j < columns; ++j) out[x + j] = PillowAxis::to_byte(sums[static_cast<std::size_t>(j)]);
    }
}

/// Where an axis of OpenCV's INTER_CUBIC looks for output i: four inputs from first[i] on, which may lie outside.
struct CubicAxis {
    std::vector<int> first;
    std::vector<std::array<float, 4>> weights;  // integers: 2048 times the weight

    CubicAxis(int in, int out) {
        const double scale = double{1} * in / out;
        first.reserve(static_cast<std::size_t>(out));
        weights.reserve(static_cast<std::size_t>(out));
        for (int i = 0; i < out; ++i) {
            const float at = static_cast<float>((i + 0.5) * scale - 0.5);
            const float floor = std::floor(at);
            const float t = at - floor;
            constexpr float a = -0.75F;
            const auto inner = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
            const float outer = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
            const float w1 = inner(t), w2 = inner(1 - t);
            // Beyond 2^24 a float may be rounded to behind the last input.
            first.push_back(std::clamp(static_cast<int>(floor), -1, in - 1) - 1);
            weights.push_back({fixed(outer), fixed(w1), fixed(w2), fixed(1 - outer - w1 - w2)});
        }
    }
    static float fixed(float weight) { return std::nearbyint(weight * 2048.0F); }
};

/// Four floats a pixel, the last unused, so that a pixel is a vector on every CPU.
using CubicPixel = kernels::scalar::Float4;

/// One input row, resized across. Sums are integers below 2^24, so floats hold them exactly. `padded` has room for the
/// row with two pixels more on either side.
inline void cubic_row(const CubicAxis& axis, const std::uint8_t* in, int width, float* padded, float* out) {
    for (int x = -2; x < width + 2; ++x) {
        const std::uint8_t* const p = in + std::ptrdiff_t{3} * std::clamp(x, 0, width - 1);
        float* const to = padded + std::ptrdiff_t{4} * (x + 2);
        for (int c = 0; c < 3; ++c) to[c] = static_cast<float>(p[c]);
    }
    for (std::size_t i = 0; i < axis.first.size(); ++i, out += 4) {
        const float* const p = padded + std::ptrdiff_t{4} * (axis.first[i] + 2);
        const std::array<float, 4>& w = axis.weights[i];
        CubicPixel sum = CubicPixel::mul(CubicPixel::load(p), CubicPixel::set(w[0]));
        for (int k = 1; k < 4; ++k) {
            sum = CubicPixel::fma(CubicPixel::load(p + 4 * k), CubicPixel::set(w[static_cast<std::size_t>(k)]), sum);
        }
        sum.store(out);
    }
}

/// One output row from four that cubic_row() made.
inline void cubic_column(const std::array<const float*, 4>& rows, const std::array<float, 4>& weights, int width,
                         std::uint8_t* out) {
    std::array<CubicPixel, 4> w;
    for (std::size_t k = 0; k < 4; ++k) w[k] = CubicPixel::set(weights[k] / (2048.0F * 2048.0F));
    // Added to a number in [0, 255], 2^23 leaves it in the lowest byte, rounded to nearest.
    const CubicPixel none = CubicPixel::set(0), most = CubicPixel::set(255), shift = CubicPixel::set(8388608.0F);
    for (std::ptrdiff_t x = 0; x < width; ++x, out += 3) {
        CubicPixel sum = CubicPixel::mul(CubicPixel::load(rows[0] + 4 * x), w[0]);
        for (std::size_t k = 1; k < 4; ++k) sum = CubicPixel::fma(CubicPixel::load(rows[k] + 4 * x), w[k], sum);
        std::array<float, 4> pixel;
        CubicPixel::add(CubicPixel::min(most, CubicPixel::max(none, sum)), shift).store(pixel.data());
        std::array<std::uint32_t, 4> bits;
        std::memcpy(bits.data(), pixel.data(), sizeof(bits));
        for (std::size_t c = 0; c < 3; ++c) out[c] = static_cast<std::uint8_t>(bits[c]);
    }
}

}  // namespace detail

/// A part of a picture.
struct ImageBox {
    int top = 0;       ///< the first row
    int left = 0;      ///< the first column
    ImageSize size{};  ///< rows and columns
};

/// A part of what resize_pillow(image, size, filter) gives, the same bytes, computed alone: neither the whole, which
/// may be larger than any picture, nor what only the rest needs. Throws ImageError for an empty picture or part, for a
/// side beyond 2^29, and for a part that reaches beyond the whole.
inline Image resize_pillow(const Image& image, ImageSize size, PillowFilter filter, const ImageBox& box) {
    detail::check_size(image.size(), "resize_pillow");
    detail::check_size({size.height, 1}, "resize_pillow");
    detail::check_size({1, size.width}, "resize_pillow");
    detail::check_size(box.size, "resize_pillow");
    if (box.top < 0 || box.left < 0 || box.size.height > size.height - box.top ||
        box.size.width > size.width - box.left) {
        throw ImageError(detail::concat({"resize_pillow: a part of ", detail::to_string(box.size),
                                         " pixels reaches beyond a picture of ", detail::to_string(size)}));
    }
    auto across = detail::pillow_axis(image.width(), size.width, filter, box.left, box.size.width);
    auto down = detail::pillow_axis(image.height(), size.height, filter, box.top, box.size.height);
    constexpr std::ptrdiff_t pixel = Image::channels;
    Image out(box.size);
    const int rows_lost = image.height() - size.height, columns_lost = image.width() - size.width;
    if (rows_lost > 0 && rows_lost > 2 * std::ptrdiff_t{columns_lost}) {
        const int left = across.begin();
        Image middle({box.size.height, across.end() - left});
        for (int y = 0; y < middle.height(); ++y) {
            const std::uint8_t* const from = image.row(down.first[static_cast<std::size_t>(y)]) + pixel * left;
            detail::pillow_column(down, y, from, pixel * image.width(), pixel * middle.width(), middle.row(y));
        }
        across.count_from(left);
        for (int y = 0; y < out.height(); ++y) detail::pillow_row(across, middle.row(y), out.row(y));
    } else {
        const int top = down.begin();
        Image middle({down.end() - top, box.size.width});
        for (int y = 0; y < middle.height(); ++y) detail::pillow_row(across, image.row(top + y), middle.row(y));
        down.count_from(top);
        for (int y = 0; y < out.height(); ++y) {
            const std::uint8_t* const from = middle.row(down.first[static_cast<std::size_t>(y)]);
            detail::pillow_column(down, y, from, pixel * out.width(), pixel * out.width(), out.row(y));
        }
    }
    return out;
}

/// As Pillow's image.resize((width, height), filter) of an RGB picture, its 8-bit arithmetic in two passes included:
/// the same bytes as Pillow 13. Earlier ones always went across first, which makes a difference only where far more
/// rows than columns are lost. Throws ImageError for an empty picture or size.
inline Image resize_pillow(const Image& image, ImageSize size, PillowFilter filter) {
    detail::check_size(size, "resize_pillow");
    return resize_pillow(image, size, filter, {.size = size});
}

/// As OpenCV's cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) of an 8-bit picture (a = -0.75, no
/// averaging where it becomes smaller), within one grey level. Throws ImageError for an empty picture or size.
inline Image resize_opencv_cubic(const Image& image, ImageSize size) {
    detail::check_size(image.size(), "resize_opencv_cubic");
    detail::check_size(size, "resize_opencv_cubic");
    if (image.size() == size) return image;
    return detail::with_float_defaults([&] {
        const detail::CubicAxis across(image.width(), size.width), down(image.height(), size.height);
        Image out(size);
        const std::size_t row_floats = std::size_t{4} * static_cast<std::size_t>(size.width);
        std::vector<float> padded(std::size_t{4} * (static_cast<std::size_t>(image.width()) + 4));
        // The last four input rows that were asked for: row y lies in slot y mod 4.
        std::vector<float> ring(4 * row_floats);
        std::array<int, 4> held{-1, -1, -1, -1};
        for (int y = 0; y < size.height; ++y) {
            std::array<const float*, 4> rows;
            for (std::size_t k = 0; k < 4; ++k) {
                const int wanted = down.first[static_cast<std::size_t>(y)] + static_cast<int>(k);
                const int source = std::clamp(wanted, 0, image.height() - 1);
                const std::size_t slot = static_cast<std::size_t>(source) % 4;
                float* const row = ring.data() + slot * row_floats;
                if (held[slot] != source) {
                    detail::cubic_row(across, image.row(source), image.width(), padded.data(), row);
                    held[slot] = source;
                }
                rows[k] = row;
            }
            detail::cubic_column(rows, down.weights[static_cast<std::size_t>(y)], size.width, out.row(y));
        }
        return out;
    });
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Masks of pictures, made from a decoder's low-resolution logits as the reference's postprocess_masks makes them: two
// bilinear interpolations one after the other, to the square frame of prompts and from the part of it that the picture
// covers to the picture's size. Rows are made, thresholded and counted one by one: no map of floats has either size.
#pragma once

#include <efficientvit/images/mask.hpp>
#include <efficientvit/images/row_kernels.hpp>
#include <efficientvit/runtime/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <utility>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// The way from a decoder's plane to the picture.
struct MaskGeometry {
    ImageSize low_res{256, 256};  ///< of the plane
    int frame = 1024;             ///< the square that it is enlarged to
    ImageSize input{};            ///< the part of that which the picture covers, at the upper left
    ImageSize original{};         ///< the picture
};

/// Where a logit begins to belong to a mask, and how much it is moved to see whether that matters.
struct MaskThresholds {
    float threshold = 0;  ///< logits above it are set
    float offset = 1;     ///< of stability: counted are logits above threshold + offset and threshold - offset
};

/// What there is to know about a mask, counted while it was made.
struct MaskStatistics {
    std::int64_t area = 0;   ///< pixels above the threshold
    std::int64_t inner = 0;  ///< above threshold + offset
    std::int64_t outer = 0;  ///< above threshold - offset
    MaskBox box{};           ///< around the set pixels

    /// The IoU of the masks at the two moved thresholds, as the reference's calculate_stability_score: NaN where both
    /// are empty.
    float stability_score() const {
        return outer == 0 ? std::numeric_limits<float>::quiet_NaN()
                          : static_cast<float>(inner) / static_cast<float>(outer);
    }
};

namespace detail {

/// What F.interpolate(mode="bilinear", align_corners=False) reads for the first outputs of `out` from `in` inputs.
/// Places are computed in double: float, which the reference has, is off by up to 6e-5 pixels of a frame of 1024.
inline kernels::LinearTaps linear_taps(Workspace& workspace, int in, int out, int wanted) {
    const kernels::Index n = wanted;
    int *const first = workspace.take_ints(n), *const second = workspace.take_ints(n);
    float *const weight0 = workspace.take(n), *const weight1 = workspace.take(n);
    if (workspace.measuring()) return {};
    const double scale = double{1} * in / out;
    for (int i = 0; i < wanted; ++i) {
        const double at = in == out ? i : std::max(0.0, scale * (i + 0.5) - 0.5);
        first[i] = std::min(static_cast<int>(at), in - 1);
        second[i] = in == out ? first[i] : std::min(first[i] + 1, in - 1);
        const double weight = std::min(at - first[i], 1.0);
        weight0[i] = static_cast<float>(1 - weight);
        weight1[i] = static_cast<float>(weight);
    }
    return {first, second, weight0, weight1};
}

/// A part of an axis, [begin, end).
struct Range {
    int begin = 0, end = 0;
    bool empty() const { return begin >= end; }
};

/// The outputs that read any of the inputs in a range.
inline Range outputs_of(const kernels::LinearTaps& taps, int outputs, Range inputs) {
    if (inputs.empty()) return {};
    return {static_cast<int>(std::lower_bound(taps.second, taps.second + outputs, inputs.begin) - taps.second),
            static_cast<int>(std::lower_bound(taps.first, taps.first + outputs, inputs.end) - taps.first)};
}

/// The inputs that the outputs in a range, which is not empty, read.
inline Range inputs_of(const kernels::LinearTaps& taps, Range outputs) {
    return {taps.first[outputs.begin], taps.second[outputs.end - 1] + 1};
}

/// Enlarges planes of one geometry. Its tables lie in a Workspace and are only read afterwards: threads share them,
/// each with scratch memory of its own.
class MaskEnlarger {
public:
    MaskEnlarger(Workspace& workspace, const MaskGeometry& geometry, Isa isa)
        : geometry_(geometry), kernels_(kernels::row_kernels(isa)) {
        const MaskGeometry& g = geometry;
        low_rows_ = linear_taps(workspace, g.low_res.height, g.frame, g.input.height);
        low_columns_ = linear_taps(workspace, g.low_res.width, g.frame, g.input.width);
        rows_ = linear_taps(workspace, g.input.height, g.original.height, g.original.height);
        columns_ = linear_taps(workspace, g.input.width, g.original.width, g.original.width);
    }

    /// Floats of scratch memory that a call needs.
    std::size_t scratch_floats() const {
        return 3 * static_cast<std::size_t>(geometry_.input.width) + 3 * static_cast<std::size_t>(width());
    }

    /// A part of the mask.
    struct Part {
        Range rows, columns;
    };

    /// All of it.
    Part whole() const { return {{0, geometry_.original.height}, {0, width()}}; }

    /// The part that a plane may set or count anything in. Outside of it all is so far below the lowest threshold that
    /// no rounding brings an interpolated value above.
    Part active(const float* low_res, const MaskThresholds& t) const {
        const float lowest = std::min({t.threshold, t.threshold - t.offset, t.threshold + t.offset});
        const float limit = lowest - 1e-5F * std::max({1.0F, lowest, -lowest});
        Range rows{geometry_.low_res.height, 0}, columns{geometry_.low_res.width, 0};
        for (int y = 0; y < geometry_.low_res.height; ++y) {
            const float* const row = low_res + std::ptrdiff_t{y} * geometry_.low_res.width;
            int x0 = 0, x1 = geometry_.low_res.width;
            while (x0 < x1 && row[x0] < limit) ++x0;  // NaN is active
            if (x0 == x1) continue;
            while (row[x1 - 1] < limit) --x1;
            rows = {std::min(rows.begin, y), y + 1};
            columns = {std::min(columns.begin, x0), std::max(columns.end, x1)};
        }
        const Part out{
            outputs_of(rows_, geometry_.original.height, outputs_of(low_rows_, geometry_.input.height, rows)),
            outputs_of(columns_, width(), outputs_of(low_columns_, geometry_.input.width, columns))};
        return out.rows.empty() || out.columns.empty() ? Part{} : out;
    }

    /// Rows [begin, end) of the mask, computed within `part` and 0 outside, and what is counted in them; boxes are in
    /// the whole mask's coordinates. `pixels` and `logits`, which may be null, are whole planes of the picture's size;
    /// logits are written within `part` alone.
    MaskStatistics run(const float* low_res, const MaskThresholds& thresholds, const Part& part, Range rows,
                       std::uint8_t* pixels, float* logits, float* scratch) const {
        Range made{std::max(rows.begin, part.rows.begin), std::min(rows.end, part.rows.end)};
        if (made.empty()) made = {rows.begin, rows.begin};
        clear(pixels, rows, made, part.columns);
        MaskStatistics out;
        if (!made.empty()) make_rows(low_res, thresholds, made, part.columns, pixels, logits, scratch, out);
        return out;
    }

private:
    int width() const { return geometry_.original.width; }

    /// Zeros in all_rows but for (rows, columns).
    void clear(std::uint8_t* pixels, Range all_rows, Range rows, Range columns) const {
        const auto fill = [&](int y, int begin, int end) {
            std::fill(pixels + std::ptrdiff_t{y} * width() + begin, pixels + std::ptrdiff_t{y} * width() + end,
                      std::uint8_t{0});
        };
        for (int y = all_rows.begin; y < all_rows.end; ++y) {
            if (y < rows.begin || y >= rows.end) {
                fill(y, 0, width());
            } else {
                fill(y, 0, columns.begin);
                fill(y, columns.end, width());
            }
        }
    }

    void make_rows(const float* low_res, const MaskThresholds& t, Range rows, Range columns, std::uint8_t* pixels,
                   float* logits, float* scratch, MaskStatistics& out) const {
        const Range middle = inputs_of(columns_, columns);  // the columns that count in the frame
        const int input_width = geometry_.input.width;
        float* const low[2] = {scratch, scratch + input_width};  // rows of the plane, as wide as the input
        float* const mixed = low[1] + input_width;               // a row of the input
        float* const wide[2] = {mixed + input_width, mixed + input_width + width()};  // as wide as the picture
        auto* const set_columns = reinterpret_cast<unsigned char*>(wide[1] + width());
        std::fill_n(set_columns, width(), static_cast<unsigned char>(0));
        int low_row[2] = {-1, -1}, wide_row[2] = {-1, -1};

        const auto expand_low = [&](int row) {  // into low[row % 2]
            if (std::exchange(low_row[row & 1], row) == row) return;
            kernels_.expand_mask({low_res + std::ptrdiff_t{row} * geometry_.low_res.width, low_columns_, middle.begin,
                                  middle.end, low[row & 1]});
        };
        const auto expand_input = [&](int row) {  // into wide[row % 2]
            if (std::exchange(wide_row[row & 1], row) == row) return;
            const int first = low_rows_.first[row], second = low_rows_.second[row];
            expand_low(first);
            expand_low(second);
            kernels_.mix_masks({low[first & 1], low[second & 1], low_rows_.weight0[row], low_rows_.weight1[row],
                                middle.begin, middle.end, mixed});
            kernels_.expand_mask({mixed, columns_, columns.begin, columns.end, wide[row & 1]});
        };
        out.box.y0 = -1;
        for (int y = rows.begin; y < rows.end; ++y) {
            const int first = rows_.first[y], second = rows_.second[y];
            expand_input(first);
            expand_input(second);
            const std::ptrdiff_t at = std::ptrdiff_t{y} * width();
            kernels::ThresholdMaskRow row{
                .rows = {wide[first & 1], wide[second & 1], rows_.weight0[y], rows_.weight1[y], columns.begin,
                         columns.end, logits == nullptr ? nullptr : logits + at},
                .threshold = t.threshold,
                .high = t.threshold + t.offset,
                .low = t.threshold - t.offset,
                .pixels = pixels + at,
                .columns = set_columns};
            kernels_.threshold_mask(row);
            out.area += row.area;
            out.inner += row.inner;
            out.outer += row.outer;
            if (row.area == 0) continue;
            if (out.box.y0 < 0) out.box.y0 = y;
            out.box.y1 = y;
        }
        if (out.area == 0) {
            out.box = {};
            return;
        }
        out.box.x0 = static_cast<int>(std::find(set_columns, set_columns + width(), 1) - set_columns);
        out.box.x1 = width() - 1;
        while (set_columns[out.box.x1] == 0) --out.box.x1;
    }

    MaskGeometry geometry_;
    kernels::RowKernels kernels_;
    kernels::LinearTaps low_rows_, low_columns_, rows_, columns_;
};

/// Counts of two parts of a mask, as of the whole.
inline void add(MaskStatistics& to, const MaskStatistics& part) {
    if (part.area > 0) {
        const MaskBox &a = to.box, &b = part.box;
        to.box = to.area == 0
                     ? b
                     : MaskBox{std::min(a.x0, b.x0), std::min(a.y0, b.y0), std::max(a.x1, b.x1), std::max(a.y1, b.y1)};
    }
    to.area += part.area;
    to.inner += part.inner;
    to.outer += part.outer;
}

EFFICIENTVIT_COLD inline void check_geometry(const MaskGeometry& g) {
    check_size(g.low_res, "enlarge_mask: low_res");
    check_size({g.frame, g.frame}, "enlarge_mask: frame");
    check_size(g.input, "enlarge_mask: input");
    check_size(g.original, "enlarge_mask: original");
    if (g.input.height <= g.frame && g.input.width <= g.frame) return;
    throw ImageError(concat({"enlarge_mask: the picture covers ", to_string(g.input), ", expected at most the frame, ",
                             to_string(ImageSize{g.frame, g.frame})}));
}

}  // namespace detail

/// The mask of one plane of low-resolution logits, geometry.low_res rows and columns, and what is counted on the way.
/// `logits`, geometry.original of them, may be null. Rows are shared out among the Context's threads, whose scratch
/// memory is used; results do not depend on how many there are. Throws ImageError for sizes that are none.
inline MaskStatistics enlarge_mask(const float* low_res, const MaskGeometry& geometry, Mask& mask, float* logits,
                                   Context& context, const MaskThresholds& thresholds = {}) {
    detail::check_geometry(geometry);
    mask.resize(geometry.original);
    constexpr int band = 64;  // rows that a thread makes at once; each band begins with up to four rows of its own
    const int bands = (geometry.original.height + band - 1) / band;
    MaskStatistics out;
    const kernels::Table& table = kernels::table(default_isa());
    context.run(table, [&](detail::Session& session) {
        const detail::MaskEnlarger enlarger(session.workspace, geometry, table.isa);
        const kernels::Index floats = (static_cast<kernels::Index>(enlarger.scratch_floats()) + 15) / 16 * 16;
        float* const scratch = session.workspace.take(floats * session.workers());
        constexpr kernels::Index each = (sizeof(MaskStatistics) + sizeof(float) - 1) / sizeof(float);
        float* const room = session.workspace.take(each * bands);
        if (session.measuring()) return;
        const auto part = logits == nullptr ? enlarger.active(low_res, thresholds) : enlarger.whole();
        auto* const parts = new (room) MaskStatistics[static_cast<std::size_t>(bands)];
        session.parallel(bands, [&](int i, int worker) {
            parts[i] =
                enlarger.run(low_res, thresholds, part, {i * band, std::min((i + 1) * band, geometry.original.height)},
                             mask.pixels.data(), logits, scratch + floats * worker);
        });
        for (int i = 0; i < bands; ++i) detail::add(out, parts[i]);
    });
    return out;
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// The automatic mask generator of Segment Anything (SamAutomaticMaskGenerator of the reference): a grid of points is
// asked for masks, and those that are good, stable and no duplicates stay. Optional, not part of efficientvit.hpp. A
// mask that will not stay costs little: it is not upscaled where its predicted IoU is too low, and is counted, not
// kept, as its rows are made.
#pragma once

#include <efficientvit/images/box_nms.hpp>
#include <efficientvit/images/mask_regions.hpp>
#include <efficientvit/images/mask_rle.hpp>
#include <efficientvit/models/mask_filter.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// The form of a record's mask.
enum class MaskOutput {
    binary_mask,       ///< MaskRecord::segmentation
    uncompressed_rle,  ///< MaskRecord::rle
    coco_rle           ///< MaskRecord::coco_rle
};

/// Arguments of the mask generator, named as in the reference.
struct MaskGeneratorOptions {
    int points_per_side = 32;                  ///< of a square grid over the picture, unless there are point_grids
    int points_per_batch = 64;                 ///< points that are shared out among the Context's threads at a time
    double pred_iou_thresh = 0.88;             ///< a mask's predicted IoU must be above; 0 and less: all are
    double stability_score_thresh = 0.95;      ///< a mask's stability must be at least this; 0 and less: all are
    double stability_score_offset = 1.0;       ///< how much thresholds are moved to measure it
    double box_nms_thresh = 0.7;               ///< IoU of boxes above which the worse mask of a crop is a duplicate
    int crop_n_layers = 0;                     ///< layers of crops; layer i has 2^i by 2^i of them
    double crop_nms_thresh = 0.7;              ///< the same between crops; of duplicates that of the smaller crop stays
    double crop_overlap_ratio = 512.0 / 1500;  ///< how much crops of the first layer overlap, of the short side
    int crop_n_points_downscale_factor = 1;    ///< in layer i there are points_per_side / factor^i points a side
    /// Points of one's own for the picture and each layer of crops, x and y from 0 to 1, instead of square grids.
    std::vector<std::vector<Point>> point_grids{};
    int min_mask_region_area = 0;                      ///< holes and islands of fewer pixels are removed
    MaskOutput output_mode = MaskOutput::binary_mask;  ///< what a record has for a mask
    /// Told after each batch how many of all points are done, on the calling thread; what it throws ends the generator.
    std::function<void(std::size_t done, std::size_t all)> progress{};
};

/// A mask that was found, as in the reference.
struct MaskRecord {
    Mask segmentation;              ///< with MaskOutput::binary_mask, else empty
    MaskRle rle;                    ///< with MaskOutput::uncompressed_rle, else empty
    std::string coco_rle;           ///< with MaskOutput::coco_rle, else empty
    std::int64_t area = 0;          ///< pixels that are set
    std::array<int, 4> bbox{};      ///< x, y, width, height; the width is that of the last column less the first
    float predicted_iou = 0;        ///< how good the model thinks the mask is
    Point point_coords{};           ///< the point that was asked, in the picture's pixels
    float stability_score = 0;      ///< IoU of the masks at moved thresholds
    std::array<int, 4> crop_box{};  ///< of the crop that it was found in: x, y, width, height
};

namespace detail {

EFFICIENTVIT_COLD inline void check(const MaskGeneratorOptions& o) {
    const auto fail = [](std::string_view name, double found, std::string_view expected) {
        throw ConfigError(concat({"generate_masks: ", name, " is ", number_text(found), ", expected ", expected}));
    };
    if (o.points_per_batch < 1) fail("points_per_batch", o.points_per_batch, "1 or more");
    if (o.crop_n_layers < 0 || o.crop_n_layers > 8) fail("crop_n_layers", o.crop_n_layers, "0 to 8");
    if (is_nan(o.crop_overlap_ratio) || !(o.crop_overlap_ratio >= 0 && o.crop_overlap_ratio < 1)) {
        fail("crop_overlap_ratio", o.crop_overlap_ratio, "0 to less than 1");
    }
    if (o.crop_n_points_downscale_factor < 1) {
        fail("crop_n_points_downscale_factor", o.crop_n_points_downscale_factor, "1 or more");
    }
    for (const auto& [name, value] : {std::pair{"pred_iou_thresh", o.pred_iou_thresh},
                                      {"stability_score_thresh", o.stability_score_thresh},
                                      {"stability_score_offset", o.stability_score_offset},
                                      {"box_nms_thresh", o.box_nms_thresh},
                                      {"crop_nms_thresh", o.crop_nms_thresh}}) {
        if (!is_finite(value)) fail(name, value, "a number");
    }
    if (o.point_grids.empty()) {
        if (o.points_per_side < 1 || o.points_per_side > 4096) {
            fail("points_per_side", o.points_per_side, "1 to 4096");
        }
        if (o.points_per_side / std::pow(o.crop_n_points_downscale_factor, o.crop_n_layers) < 1) {
            fail("points_per_side", o.points_per_side, "one point or more in the last layer of crops");
        }
    } else if (o.point_grids.size() != static_cast<std::size_t>(o.crop_n_layers) + 1) {
        fail("the number of point_grids", static_cast<double>(o.point_grids.size()), "crop_n_layers + 1");
    }
    for (const std::vector<Point>& grid : o.point_grids) {
        for (const Point& p : grid) {
            if (is_nan(p.x) || !(p.x >= 0 && p.x <= 1)) fail("x of a point in point_grids", p.x, "0 to 1");
            if (is_nan(p.y) || !(p.y >= 0 && p.y <= 1)) fail("y of a point in point_grids", p.y, "0 to 1");
        }
    }
}

/// The points of each layer, from 0 to 1.
inline std::vector<std::vector<Point>> point_grids(const MaskGeneratorOptions& o) {
    if (!o.point_grids.empty()) return o.point_grids;
    std::vector<std::vector<Point>> grids;
    for (int layer = 0; layer <= o.crop_n_layers; ++layer) {
        grids.push_back(
            sam_point_grid(static_cast<int>(o.points_per_side / std::pow(o.crop_n_points_downscale_factor, layer))));
    }
    return grids;
}

/// Those of `numbers`, in that order.
inline std::vector<FoundMask> chosen(std::vector<FoundMask>& found, const std::vector<int>& numbers) {
    std::vector<FoundMask> out;
    for (const int i : numbers) out.push_back(std::move(found[static_cast<std::size_t>(i)]));
    return out;
}

/// Without duplicates, by falling score.
template <class Score>
std::vector<FoundMask> without_duplicates(std::vector<FoundMask>& found, double iou_threshold, const Score& score) {
    std::vector<MaskBox> boxes;
    std::vector<float> scores;
    for (const FoundMask& mask : found) {
        boxes.push_back(mask.box);
        scores.push_back(score(mask));
    }
    return chosen(found, box_nms(boxes, scores, iou_threshold));
}

/// The masks of one crop, in the picture's coordinates. `report` is told of each batch.
template <class Predictor, class Report>
std::vector<FoundMask> masks_of_crop(Predictor& predictor, const Image& image, const SamCrop& crop,
                                     const std::vector<Point>& grid, const MaskGeneratorOptions& o, Context& context,
                                     const Report& report) {
    const ImageSize size = crop.size();
    if (size == image.size()) {
        predictor.set_image(image, context);
    } else {
        predictor.set_image(cut(image, crop), context);
    }
    MaskFilter filter({o.pred_iou_thresh, o.stability_score_thresh, o.stability_score_offset}, crop, image.size(),
                      {predictor.low_res_size(), predictor.frame_size(), predictor.input_size(), size});
    std::vector<FoundMask> found;
    const auto batch = static_cast<std::size_t>(o.points_per_batch);
    for (std::size_t begin = 0; begin < grid.size(); begin += batch) {
        const std::size_t count = std::min(batch, grid.size() - begin);
        std::vector<SamPrompt> prompts(count);
        std::vector<Point> points(count);
        for (std::size_t i = 0; i < count; ++i) {
            const double x = grid[begin + i].x * size.width, y = grid[begin + i].y * size.height;
            prompts[i].points = {{x, y, 1}};
            points[i] = {x + crop.x0, y + crop.y0};
        }
        filter.begin(std::move(points));
        predictor.decode(prompts, filter, context);
        filter.end(found);
        report(count);
    }
    std::vector<FoundMask> out =
        without_duplicates(found, o.box_nms_thresh, [](const FoundMask& mask) { return mask.predicted_iou; });
    for (FoundMask& mask : out) {
        mask.box = {mask.box.x0 + crop.x0, mask.box.y0 + crop.y0, mask.box.x1 + crop.x0, mask.box.y1 + crop.y0};
    }
    return out;
}

/// Without holes and islands of fewer than `area` pixels, and without what became a duplicate: masks that were not
/// changed are preferred, and come first.
inline std::vector<FoundMask> without_small_regions(std::vector<FoundMask>& found, ImageSize size, int area,
                                                    double iou_threshold) {
    for (FoundMask& mask : found) {
        Mask pixels = decode_rle(from_coco_string(mask.coco_rle, size));
        const bool filled = remove_small_regions(pixels, area, SmallRegions::holes);
        mask.changed = remove_small_regions(pixels, area, SmallRegions::islands) || filled;
        if (!mask.changed) continue;
        mask.coco_rle = to_coco_string(encode_rle(pixels));
        mask.box = mask_box(pixels);
    }
    return without_duplicates(found, iou_threshold, [](const FoundMask& mask) { return mask.changed ? 0.0F : 1.0F; });
}

inline MaskRecord record_of(FoundMask& mask, ImageSize size, MaskOutput output) {
    MaskRecord out;
    MaskRle rle = from_coco_string(mask.coco_rle, size);
    out.area = rle.area();
    out.bbox = {mask.box.x0, mask.box.y0, mask.box.x1 - mask.box.x0, mask.box.y1 - mask.box.y0};
    out.predicted_iou = mask.predicted_iou;
    out.point_coords = mask.point;
    out.stability_score = mask.stability_score;
    out.crop_box = {mask.crop.x0, mask.crop.y0, mask.crop.x1 - mask.crop.x0, mask.crop.y1 - mask.crop.y0};
    if (output == MaskOutput::binary_mask) {
        out.segmentation = decode_rle(rle);
    } else if (output == MaskOutput::coco_rle) {
        out.coco_rle = std::move(mask.coco_rle);
    } else {
        out.rle = std::move(rle);
    }
    return out;
}

}  // namespace detail

/// Masks of everything in a picture, in the reference's order: by falling predicted IoU; with crops those of smaller
/// crops first; with min_mask_region_area those that it did not change first. `predictor`, a SamPredictor, loses its
/// picture. Prompts are shared out among the Context's threads; results do not depend on how many there are. Throws
/// ConfigError for an option that makes no sense, ImageError for a picture without pixels, WeightsError where the
/// network's answers are not finite numbers.
template <class Predictor>
std::vector<MaskRecord> generate_masks(Predictor& predictor, const Image& image, const MaskGeneratorOptions& options,
                                       Context& context) {
    detail::check(options);
    detail::check_size(image.size(), "generate_masks");
    const std::vector<detail::SamCrop> crops = detail::with_float_defaults(
        [&] { return detail::sam_crops(image.size(), options.crop_n_layers, options.crop_overlap_ratio); });
    const std::vector<std::vector<Point>> grids =
        detail::with_float_defaults([&] { return detail::point_grids(options); });
    std::size_t done = 0, all = 0;
    for (const detail::SamCrop& crop : crops) all += grids[static_cast<std::size_t>(crop.layer)].size();
    const auto report = [&](std::size_t count) {
        done += count;
        if (options.progress) options.progress(done, all);
    };

    std::vector<detail::FoundMask> found;
    for (const detail::SamCrop& crop : crops) {
        std::vector<detail::FoundMask> of_crop = detail::masks_of_crop(
            predictor, image, crop, grids[static_cast<std::size_t>(crop.layer)], options, context, report);
        std::move(of_crop.begin(), of_crop.end(), std::back_inserter(found));
    }
    predictor.reset();
    if (crops.size() > 1) {
        found = detail::without_duplicates(found, options.crop_nms_thresh, [](const detail::FoundMask& mask) {
            return 1 / (static_cast<float>(mask.crop.size().width) * static_cast<float>(mask.crop.size().height));
        });
    }
    if (options.min_mask_region_area > 0) {
        found = detail::without_small_regions(found, image.size(), options.min_mask_region_area,
                                              std::max(options.box_nms_thresh, options.crop_nms_thresh));
    }
    std::vector<MaskRecord> records;
    for (detail::FoundMask& mask : found) records.push_back(detail::record_of(mask, image.size(), options.output_mode));
    return records;
}

/// The same with a Context of the calling thread's.
template <class Predictor>
std::vector<MaskRecord> generate_masks(Predictor& predictor, const Image& image,
                                       const MaskGeneratorOptions& options = {}) {
    return generate_masks(predictor, image, options, detail::CallContext().get());
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

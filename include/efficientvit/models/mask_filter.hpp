// SPDX-License-Identifier: Apache-2.0
//
// What mask_generator.hpp is made of: crops, grids of points, and the sink that sees every mask and keeps few.
#pragma once

#include <efficientvit/images/mask_rle.hpp>
#include <efficientvit/images/masks.hpp>
#include <efficientvit/models/sam_predictor.hpp>
#include <efficientvit/runtime/platform.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// A part of the picture and the layer that it belongs to: columns [x0, x1), rows [y0, y1).
struct SamCrop {
    int x0 = 0, y0 = 0, x1 = 0, y1 = 0, layer = 0;
    ImageSize size() const { return {y1 - y0, x1 - x0}; }
    bool operator==(const SamCrop&) const = default;
};

/// The whole picture, then the crops of each layer, column after column. Crops that lie outside a very small picture
/// are left out.
inline std::vector<SamCrop> sam_crops(ImageSize image, int layers, double overlap_ratio) {
    std::vector<SamCrop> crops{{0, 0, image.width, image.height, 0}};
    for (int layer = 1; layer <= layers; ++layer) {
        const int side = 1 << layer;
        const int overlap = static_cast<int>(overlap_ratio * std::min(image.height, image.width) * (2.0 / side));
        const auto length = [&](int whole) {
            return static_cast<int>((std::int64_t{overlap} * (side - 1) + whole + side - 1) / side);
        };
        const int width = length(image.width), height = length(image.height);
        for (int i = 0; i < side; ++i) {
            for (int j = 0; j < side; ++j) {
                const int x0 = (width - overlap) * i, y0 = (height - overlap) * j;
                const SamCrop crop{x0, y0, std::min(x0 + width, image.width), std::min(y0 + height, image.height),
                                   layer};
                if (crop.x0 < crop.x1 && crop.y0 < crop.y1) crops.push_back(crop);
            }
        }
    }
    return crops;
}

/// `side` by `side` points, row after row, in the middle of as many cells of the unit square.
inline std::vector<Point> sam_point_grid(int side) {
    const double first = 1 / (2.0 * side), step = side == 1 ? 0 : ((1 - first) - first) / (side - 1);
    const auto at = [&](int i) { return i == side - 1 && side > 1 ? 1 - first : first + i * step; };
    std::vector<Point> points;
    for (int y = 0; y < side; ++y) {
        for (int x = 0; x < side; ++x) points.push_back({at(x), at(y)});
    }
    return points;
}

/// The part of a picture that a crop sees.
inline Image cut(const Image& image, const SamCrop& crop) {
    Image out(crop.size());
    const auto bytes = static_cast<std::size_t>(crop.x1 - crop.x0) * Image::channels;
    for (int y = crop.y0; y < crop.y1; ++y) {
        std::copy_n(image.row(y) + std::ptrdiff_t{Image::channels} * crop.x0, bytes, out.row(y - crop.y0));
    }
    return out;
}

/// Whether a box, in the crop's coordinates, ends at an edge of the crop that is no edge of the picture: its object
/// probably goes on beyond.
inline bool near_crop_edge(const MaskBox& box, const SamCrop& crop, ImageSize image) {
    constexpr int tolerance = 20;  // pixels
    const auto cut_off = [](int at, int crop_edge, int image_edge) {
        return std::abs(at - crop_edge) <= tolerance && std::abs(at - image_edge) > tolerance;
    };
    return cut_off(box.x0 + crop.x0, crop.x0, 0) || cut_off(box.y0 + crop.y0, crop.y0, 0) ||
           cut_off(box.x1 + crop.x0, crop.x1, image.width) || cut_off(box.y1 + crop.y0, crop.y1, image.height);
}

/// What a mask must have: 0 and less, and any will do.
struct MaskLimits {
    double predicted_iou = 0;  ///< more than this
    double stability = 0;      ///< at least this
    double offset = 1;         ///< that stability is measured with
};

/// A mask on its way to a record.
struct FoundMask {
    std::string coco_rle;  ///< in the picture; most are duplicates, which takes all of them to know: the smallest form
    MaskBox box;           ///< in the crop, later in the picture
    float predicted_iou = 0, stability_score = 0;
    Point point;  ///< in the picture
    SamCrop crop;
    bool changed = false;  ///< small regions were removed from it
};

/// Takes the masks of a batch of points on several threads and keeps what passes.
class MaskFilter final : public MaskSink {
public:
    MaskFilter(const MaskLimits& limits, const SamCrop& crop, ImageSize image, const MaskGeometry& geometry)
        : limits_(limits), crop_(crop), image_(image), geometry_(geometry) {
        Workspace counting;
        const MaskEnlarger unused(counting, geometry, isa_);
        memory_ = AlignedBuffer<float>(static_cast<std::uint64_t>(counting.peak()));
        Workspace workspace(memory_);
        with_float_defaults([&] { enlarger_ = std::make_unique<MaskEnlarger>(workspace, geometry_, isa_); });
    }

    /// Begins a batch: point i of it in the picture.
    void begin(std::vector<Point> points) {
        points_ = std::move(points);
        found_.assign(points_.size(), {});
    }

    bool wants_masks(int, std::span<const float> iou) noexcept override {
        return std::any_of(iou.begin(), iou.end(), [&](float value) { return good(value); });
    }

    void take_masks(int i, std::span<const float> iou, const float* low_res) noexcept override {
        try {
            std::unique_ptr<Room> room = take_room();
            const std::ptrdiff_t plane = std::ptrdiff_t{geometry_.low_res.height} * geometry_.low_res.width;
            for (std::size_t k = 0; k < iou.size(); ++k) {
                if (good(iou[k]))
                    examine(static_cast<std::size_t>(i), iou[k], low_res + std::ptrdiff_t(k) * plane, *room);
            }
            const Lock lock(mutex_);
            rooms_.push_back(std::move(room));
        } catch (...) {
            const Lock lock(mutex_);
            if (error_ == nullptr) error_ = std::current_exception();
        }
    }

    /// What the batch gave, in the order of its points. Throws what a thread could not.
    void end(std::vector<FoundMask>& to) {
        if (error_ != nullptr) std::rethrow_exception(error_);
        for (std::vector<FoundMask>& of_point : found_) {
            std::move(of_point.begin(), of_point.end(), std::back_inserter(to));
        }
    }

private:
    /// What a thread works in.
    struct Room {
        Mask mask;
        std::vector<float> scratch;
    };

    bool good(float iou) const { return limits_.predicted_iou <= 0 || iou > static_cast<float>(limits_.predicted_iou); }

    std::unique_ptr<Room> take_room() {
        const Lock lock(mutex_);
        if (rooms_.empty()) {
            auto room = std::make_unique<Room>();
            room->mask.resize(geometry_.original);
            room->scratch.resize(enlarger_->scratch_floats());
            return room;
        }
        std::unique_ptr<Room> room = std::move(rooms_.back());
        rooms_.pop_back();
        return room;
    }

    void examine(std::size_t point, float iou, const float* low_res, Room& room) {
        const MaskThresholds thresholds{0, static_cast<float>(limits_.offset)};
        const MaskStatistics s =
            enlarger_->run(low_res, thresholds, enlarger_->active(low_res, thresholds), {0, geometry_.original.height},
                           room.mask.pixels.data(), nullptr, room.scratch.data());
        const float stability = s.stability_score();
        if (limits_.stability > 0 && (s.outer == 0 || !(stability >= static_cast<float>(limits_.stability)))) {
            return;
        }
        if (near_crop_edge(s.box, crop_, image_)) return;
        std::string rle = to_coco_string(encode_rle(room.mask, image_, crop_.x0, crop_.y0));
        rle.shrink_to_fit();
        found_[point].push_back({std::move(rle), s.box, iou, stability, points_[point], crop_, false});
    }

    MaskLimits limits_;
    SamCrop crop_;
    ImageSize image_;
    MaskGeometry geometry_;
    Isa isa_ = default_isa();
    AlignedBuffer<float> memory_;
    std::unique_ptr<MaskEnlarger> enlarger_;
    std::vector<Point> points_;
    std::vector<std::vector<FoundMask>> found_;
    Mutex mutex_;
    std::vector<std::unique_ptr<Room>> rooms_;
    std::exception_ptr error_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

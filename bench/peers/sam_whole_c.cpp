// SPDX-License-Identifier: Apache-2.0
//
// A whole SAM behind a C interface, for sam_worker.py: a picture, then points, or everything. Not an API to build on.
#include <efficientvit/models/mask_generator.hpp>
#include <efficientvit/models/sam_predictor.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../../examples/segment_anything/shapes_sam.hpp"
#include "guarded.hpp"

namespace ev = efficientvit;

namespace {

struct Whole {
    std::unique_ptr<ev::AnySam> sam;
    std::unique_ptr<ev::SamPredictor> predictor;
    ev::Context context;
    std::vector<ev::MaskRecord> records;

    explicit Whole(int threads) : context({.threads = threads}) {}
};

ev::Image image_of(const unsigned char* rgb, int height, int width) {
    ev::Image image({height, width});
    std::copy_n(rgb, image.bytes().size(), image.bytes().data());
    return image;
}

}  // namespace

#define EVW_API extern "C" __attribute__((visibility("default")))

/// Why the last call on this thread returned -1 or null.
EVW_API const char* evw_error() { return last_error.c_str(); }

/// Loads safetensors of a whole "sam_l0" or "shapes". bf16: 1 for bfloat16.
EVW_API void* evw_open(const char* weights, const char* name, int threads, int bf16) {
    std::unique_ptr<Whole> whole;
    guarded([&] {
        auto loading = std::make_unique<Whole>(threads);
        if (std::string_view(name) == "shapes") {
            loading->sam = std::make_unique<ev::AnySamOf<examples::ShapesSam>>(name);
        } else {
            loading->sam = std::make_unique<ev::AnySamOf<ev::SamL0>>(name);
        }
        ev::LoadOptions options;
        if (bf16 != 0) options.precision = ev::Precision::bf16;
        loading->sam->load_state_dict(ev::load_safetensors(weights), options);
        loading->predictor = std::make_unique<ev::SamPredictor>(*loading->sam);
        whole = std::move(loading);
    });
    return whole.release();
}

EVW_API void evw_close(void* whole) { delete static_cast<Whole*>(whole); }

/// rgb: height x width x 3 bytes.
EVW_API int evw_set_image(void* whole, const unsigned char* rgb, int height, int width) {
    return guarded([&] {
        Whole& w = *static_cast<Whole*>(whole);
        w.predictor->set_image(image_of(rgb, height, width), w.context);
    });
}

/// Three masks (3 x height x width bytes, 0 or 1) and their predicted IoUs for a point of the object.
EVW_API int evw_point(void* whole, double x, double y, unsigned char* masks, float* ious) {
    return guarded([&] {
        Whole& w = *static_cast<Whole*>(whole);
        const ev::SamPrediction p = w.predictor->predict({.points = {{x, y}}}, {}, w.context);
        for (const ev::Mask& mask : p.masks) masks = std::copy(mask.pixels.begin(), mask.pixels.end(), masks);
        std::copy(p.iou.begin(), p.iou.end(), ious);
    });
}

/// Everything in a picture, one byte for each pixel of a mask. Returns how many records there are, which stay until the
/// next call, or -1.
EVW_API int evw_generate(void* whole, const unsigned char* rgb, int height, int width, int points_per_side,
                         double pred_iou_thresh, double stability_score_thresh, double box_nms_thresh,
                         double crop_nms_thresh, int crop_n_layers) {
    int count = -1;
    guarded([&] {
        Whole& w = *static_cast<Whole*>(whole);
        w.records.clear();
        w.records = ev::generate_masks(*w.predictor, image_of(rgb, height, width),
                                       {.points_per_side = points_per_side,
                                        .pred_iou_thresh = pred_iou_thresh,
                                        .stability_score_thresh = stability_score_thresh,
                                        .box_nms_thresh = box_nms_thresh,
                                        .crop_n_layers = crop_n_layers,
                                        .crop_nms_thresh = crop_nms_thresh},
                                       w.context);
        count = static_cast<int>(w.records.size());
    });
    return count;
}

/// Record i: its mask (height x width bytes), and x, y, predicted IoU and stability.
EVW_API void evw_record(const void* whole, int i, unsigned char* mask, double* values) {
    const ev::MaskRecord& r = static_cast<const Whole*>(whole)->records[static_cast<std::size_t>(i)];
    std::copy(r.segmentation.pixels.begin(), r.segmentation.pixels.end(), mask);
    for (const double value : {r.point_coords.x, r.point_coords.y, double{r.predicted_iou}, double{r.stability_score}})
        *values++ = value;
}

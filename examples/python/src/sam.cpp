// SPDX-License-Identifier: Apache-2.0
//
// Sam, its predictor and its mask generator, for Python. A predictor never changes: who sets a picture makes a new one,
// so threads that still ask the old one are safe.
#include <efficientvit/models/mask_generator.hpp>

#include <nanobind/stl/function.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common.hpp"

namespace python {

namespace {

/// What one call uses.
struct Call {
    explicit Call(const ev::ContextOptions& options) : context(options) {}
    ev::Context context;
    std::vector<ev::SamPrediction> answers{};
};
using Lease = ev::detail::CallPool<Call>::Lease;

class Sam {
public:
    Sam(const ev::StateDict& weights, std::string name, int threads, const ev::LoadOptions& options)
        : calls_([context = context_options(threads)] { return std::make_unique<Call>(context); }) {
        const ReleasedGil released;
        if (name.empty()) name = ev::compiled::identified(weights, options.prefix);
        sam_ = ev::compiled::make_sam(name);
        sam_->load_state_dict(weights, options);
    }
    const ev::AnySam& sam() const { return *sam_; }
    ev::detail::CallPool<Call>& calls() const { return calls_; }

private:
    std::unique_ptr<ev::AnySam> sam_;
    mutable ev::detail::CallPool<Call> calls_;
};

/// A picture that is encoded.
class EncodedImage {
public:
    EncodedImage(std::shared_ptr<const Sam> sam, const ev::Image& image)
        : sam_(std::move(sam)), predictor_(sam_->sam()) {
        const Lease lease(sam_->calls());
        predictor_.set_image(image, lease->context);
    }
    EncodedImage(std::shared_ptr<const Sam> sam, const ev::ConstTensorView& embedding, ev::ImageSize size)
        : sam_(std::move(sam)), predictor_(sam_->sam()) {
        const Lease lease(sam_->calls());
        predictor_.set_embedding(embedding, size, lease->context);
    }
    const Sam& sam() const { return *sam_; }
    const ev::SamPredictor& predictor() const { return predictor_; }

private:
    std::shared_ptr<const Sam> sam_;
    ev::SamPredictor predictor_;
};

/// Prompts as arrays: points (B, N, 3) of x, y, label; boxes (B, 4); masks (B, 1, 256, 256); each perhaps None.
struct Prompts {
    std::vector<ev::SamPrompt> prompts;

    Prompts(nb::handle points, nb::handle boxes, nb::handle masks, bool multimask_output) {
        std::optional<std::size_t> count;  // 0 are as good as any number
        const auto room = [&](std::size_t found, const char* name) {
            if (count && *count != found) {
                throw ev::ShapeError(std::string(name) + " has " + std::to_string(found) + " prompts, expected " +
                                     std::to_string(*count) + " as the others");
            }
            count = found;
            prompts.resize(found, {.multimask_output = multimask_output});
        };
        if (!points.is_none()) take_points(points, room);
        if (!boxes.is_none()) take_boxes(boxes, room);
        if (!masks.is_none()) take_masks(masks, room);
        if (!count) prompts.resize(1, {.multimask_output = multimask_output});
    }

private:
    using Doubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;

    template <class Room>
    void take_points(nb::handle points, const Room& room) {
        const Doubles array = nb::cast<Doubles>(points, false);
        room(array.shape(0), "point_coords");
        const double* p = array.data();
        for (ev::SamPrompt& prompt : prompts) {
            for (std::size_t i = 0; i < array.shape(1); ++i, p += 3) {
                prompt.points.push_back({p[0], p[1], static_cast<int>(p[2])});
            }
        }
    }
    template <class Room>
    void take_boxes(nb::handle boxes, const Room& room) {
        const Doubles array = nb::cast<Doubles>(boxes, false);
        room(array.shape(0), "boxes");
        const double* b = array.data();
        for (ev::SamPrompt& prompt : prompts) {
            prompt.box = ev::Box{b[0], b[1], b[2], b[3]};
            b += 4;
        }
    }
    template <class Room>
    void take_masks(nb::handle masks, const Room& room) {
        masks_ = floats_of(masks, 4, "mask_input");
        room(masks_.shape(0), "mask_input");
        ev::ConstTensorView one = view_of(masks_);
        one.shape.n = 1;
        for (ev::SamPrompt& prompt : prompts) {
            prompt.mask_input = one;
            one.data += one.shape.c * one.shape.h * one.shape.w;
        }
    }

    Input<float> masks_;  // the caller's or a copy, which the prompts point to
};

nb::tuple predict(const EncodedImage& encoded, nb::handle points, nb::handle boxes, nb::handle masks,
                  bool multimask_output, bool return_logits) {
    const Prompts asked(points, boxes, masks, multimask_output);
    const Lease lease(encoded.sam().calls());
    std::vector<ev::SamPrediction>& answers = lease->answers;
    answers.resize(asked.prompts.size());
    if (!answers.empty()) {
        const ReleasedGil released;
        encoded.predictor().predict(asked.prompts, answers, {.return_logits = return_logits}, lease->context);
    }
    const ev::ImageSize size = encoded.predictor().original_size(), low = encoded.predictor().low_res_size();
    const auto n = static_cast<std::ptrdiff_t>(answers.size());
    const std::size_t of_none = multimask_output ? 3 : 1;
    const auto c = static_cast<std::ptrdiff_t>(answers.empty() ? of_none : answers.front().iou.size());
    const NewArray<float> iou({n, c}), low_res({n, c, low.height, low.width});
    float *to_iou = iou.data, *to_low = low_res.data;
    for (const ev::SamPrediction& answer : answers) {
        to_iou = std::copy(answer.iou.begin(), answer.iou.end(), to_iou);
        to_low = std::copy_n(answer.low_res.data(), answer.low_res.size(), to_low);
    }
    if (return_logits) {
        const NewArray<float> logits({n, c, size.height, size.width});
        float* to = logits.data;
        for (const ev::SamPrediction& answer : answers)
            to = std::copy_n(answer.logits.data(), answer.logits.size(), to);
        return nb::make_tuple(logits.array, iou.array, low_res.array);
    }
    const NewArray<bool> found({n, c, size.height, size.width});
    bool* to = found.data;
    for (const ev::SamPrediction& answer : answers) {
        for (const ev::Mask& mask : answer.masks) to = std::copy(mask.pixels.begin(), mask.pixels.end(), to);
    }
    return nb::make_tuple(found.array, iou.array, low_res.array);
}

// ---- The mask generator ---------------------------------------------------------------------------------------------

ev::MaskGeneratorOptions generator_options(const nb::dict& from) {
    ev::MaskGeneratorOptions out;
    const auto take = [&](const char* name, auto& to) {
        if (!from.contains(name)) return;
        const nb::object value = from[name];
        if (!nb::try_cast(value, to)) {
            throw_type_error("generate_masks: " + std::string(name) + " cannot be a " + class_of(value));
        }
    };
    take("points_per_side", out.points_per_side);
    take("points_per_batch", out.points_per_batch);
    take("pred_iou_thresh", out.pred_iou_thresh);
    take("stability_score_thresh", out.stability_score_thresh);
    take("stability_score_offset", out.stability_score_offset);
    take("box_nms_thresh", out.box_nms_thresh);
    take("crop_n_layers", out.crop_n_layers);
    take("crop_nms_thresh", out.crop_nms_thresh);
    take("crop_overlap_ratio", out.crop_overlap_ratio);
    take("crop_n_points_downscale_factor", out.crop_n_points_downscale_factor);
    take("min_mask_region_area", out.min_mask_region_area);
    std::vector<std::vector<std::vector<double>>> grids;
    take("point_grids", grids);
    for (const auto& grid : grids) {
        std::vector<ev::Point>& points = out.point_grids.emplace_back();
        for (const std::vector<double>& point : grid) {
            if (point.size() != 2) throw ev::ShapeError("a point of point_grids has not two coordinates");
            points.push_back({point[0], point[1]});
        }
    }
    std::string mode = "binary_mask";
    take("output_mode", mode);
    if (mode == "uncompressed_rle") {
        out.output_mode = ev::MaskOutput::uncompressed_rle;
    } else if (mode == "coco_rle") {
        out.output_mode = ev::MaskOutput::coco_rle;
    } else if (mode != "binary_mask") {
        throw ev::ConfigError("output_mode is '" + mode + "', expected binary_mask, uncompressed_rle or coco_rle");
    }
    return out;
}

nb::object segmentation_of(const ev::MaskRecord& record, ev::MaskOutput mode, ev::ImageSize size) {
    if (mode == ev::MaskOutput::binary_mask) {
        const NewArray<bool> mask({size.height, size.width});
        std::copy(record.segmentation.pixels.begin(), record.segmentation.pixels.end(), mask.data);
        return mask.array;
    }
    nb::dict rle;
    nb::list extents;
    extents.append(size.height);
    extents.append(size.width);
    rle["size"] = extents;
    if (mode == ev::MaskOutput::coco_rle) {
        rle["counts"] = record.coco_rle;
    } else {
        nb::list counts;
        for (const auto count : record.rle.counts) counts.append(count);
        rle["counts"] = counts;
    }
    return rle;
}

nb::list generate_masks(const Sam& sam, nb::handle picture, const nb::dict& options) {
    const ev::Image image = image_of(picture);
    ev::MaskGeneratorOptions how = generator_options(options);
    std::vector<ev::MaskRecord> records;
    {
        ReleasedGil released;
        how.progress = [&](std::size_t, std::size_t) { released.check_signals(); };
        ev::SamPredictor predictor(sam.sam());
        const Lease lease(sam.calls());
        records = ev::generate_masks(predictor, image, how, lease->context);
    }
    const auto box = [](const std::array<int, 4>& b) {
        nb::list out;
        for (const int value : b) out.append(value);
        return out;
    };
    nb::list out;
    for (const ev::MaskRecord& record : records) {
        nb::dict d;
        d["segmentation"] = segmentation_of(record, how.output_mode, image.size());
        d["area"] = record.area;
        d["bbox"] = box(record.bbox);
        d["predicted_iou"] = record.predicted_iou;
        nb::list point, points;
        point.append(record.point_coords.x);
        point.append(record.point_coords.y);
        points.append(point);
        d["point_coords"] = points;
        d["stability_score"] = record.stability_score;
        d["crop_box"] = box(record.crop_box);
        out.append(d);
    }
    return out;
}

}  // namespace

void bind_sam(nb::module_& m) {
    nb::class_<Sam> c(m, "Sam",
                      "A whole EfficientViT-SAM with its weights, for SamPredictor and SamAutomaticMaskGenerator. "
                      "load_sam() makes one.");
    bind_load(c);
    c.def_prop_ro(
         "name", [](const Sam& s) { return s.sam().name(); }, "\"sam_l0\", ...")
        .def_prop_ro(
            "image_size", [](const Sam& s) { return s.sam().image_size(); },
            "Rows and columns of the image encoder's input.")
        .def_prop_ro(
            "isa", [](const Sam& s) { return std::string(ev::isa_name(s.sam().isa())); },
            "The instruction set that the weights are packed for.")
        .def_prop_ro(
            "precision", [](const Sam& s) { return std::string(s.sam().precision()); }, "What multiplies.")
        .def("__repr__", [](const Sam& s) {
            return "<efficientvit_cpu.Sam " + s.sam().name() + ", " + std::string(s.sam().precision()) + ", " +
                   std::string(ev::isa_name(s.sam().isa())) + ">";
        });

    nb::class_<EncodedImage>(m, "EncodedImage", "A picture that a Sam has encoded; SamPredictor holds one.")
        .def_static(
            "of_image",
            [](const std::shared_ptr<const Sam>& sam, nb::handle picture) {  // whose last owner needs the GIL
                const ev::Image image = image_of(picture);
                const ReleasedGil released;
                return std::make_shared<EncodedImage>(sam, image);
            },
            "sam"_a, "image"_a,
            "Encodes a picture: one of PIL, or an array (H, W, 3) or (H, W) of uint8.\n\nRaises ImageError, "
            "ShapeError, "
            "TypeError.")
        .def_static(
            "of_embedding",
            [](const std::shared_ptr<const Sam>& sam, nb::handle embedding, int height, int width) {
                const Input<float> array = floats_of(embedding, 4, "embedding");
                const ReleasedGil released;
                return std::make_shared<EncodedImage>(sam, view_of(array), ev::ImageSize{height, width});
            },
            "sam"_a, "embedding"_a, "height"_a, "width"_a,
            "Takes what embedding() gave for a picture of this size.\n\nRaises ShapeError, ImageError, TypeError.")
        .def(
            "embedding",
            [](const EncodedImage& e) {
                const ev::Tensor& from = e.predictor().get_embedding();
                const NewArray<float> to({from.dimension(0), from.dimension(1), from.dimension(2), from.dimension(3)});
                std::copy_n(from.data(), from.size(), to.data);
                return to.array;
            },
            nb::sig("def embedding(self) -> numpy.typing.NDArray[numpy.float32]"),
            "The image encoder's output, (1, 256, 64, 64).")
        .def_prop_ro(
            "original_size",
            [](const EncodedImage& e) {
                const ev::ImageSize size = e.predictor().original_size();
                return nb::make_tuple(size.height, size.width);
            },
            nb::sig("def original_size(self) -> tuple[int, int]"), "The picture's rows and columns.")
        .def_prop_ro(
            "input_size",
            [](const EncodedImage& e) {
                const ev::ImageSize size = e.predictor().input_size();
                return nb::make_tuple(size.height, size.width);
            },
            nb::sig("def input_size(self) -> tuple[int, int]"),
            "The picture's rows and columns in the frame of prompts, whose long side is 1024.")
        .def(
            "predict", &predict, "points"_a.none(), "boxes"_a.none(), "masks"_a.none(), "multimask_output"_a,
            "return_logits"_a,
            nb::sig(
                "def predict(self, points: typing.Any, boxes: typing.Any, masks: typing.Any, multimask_output: bool, "
                "return_logits: bool) -> tuple[numpy.typing.NDArray[typing.Any], "
                "numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32]]"),
            "Masks (B, C, H, W), predicted IoU (B, C) and logits (B, C, 256, 256) for B prompts: points (B, N, 3) of "
            "x, "
            "y and label, boxes (B, 4), both float64, masks (B, 1, 256, 256); each may be None.\n\nRaises PromptError, "
            "ShapeError, TypeError.");

    m.def("generate_masks", &generate_masks, "sam"_a, "image"_a, "options"_a,
          nb::sig("def generate_masks(sam: Sam, image: typing.Any, options: dict[str, typing.Any]) -> list[dict[str, "
                  "typing.Any]]"),
          "Masks of everything in a picture; SamAutomaticMaskGenerator calls it.");
}

}  // namespace python

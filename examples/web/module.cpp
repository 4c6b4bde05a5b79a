// SPDX-License-Identifier: Apache-2.0
//
// The functions that JavaScript calls (efficientvit.js): over numbers and addresses, each of which returns 0 or null
// where it fails, with the message at ev_error(). One thread.
#include "networks.hpp"

#if EFFICIENTVIT_WEB_NETWORKS >= 2
#include <efficientvit/images/imagenet_classes.hpp>
#include <efficientvit/images/seg_classes.hpp>
#endif
#include <efficientvit/images/predictions.hpp>
#include <efficientvit/models/pictures.hpp>
#include <efficientvit/weights/load_weights.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <span>
#include <string>

#define EXPORT(name) extern "C" __attribute__((export_name(#name)))

namespace {

namespace ev = efficientvit;

std::string error, text;

template <class Body>
auto guarded(const Body& body) -> decltype(body()) {
    try {
        error.clear();
        return body();
    } catch (const std::bad_alloc&) {
        error = "out of memory: a page has at most 4 GB";
    } catch (const std::exception& e) {
        error = e.what();
    }
    return {};
}

/// A network and what its last call gave.
struct Session {
    web::Network network;
    ev::Context context;
    ev::Tensor input, logits;
    ev::NamedTensors outputs;
    ev::LabelMap labels;
#if EFFICIENTVIT_WEB_NETWORKS >= 1
    std::optional<ev::SamPredictor> predictor;
    ev::SamPrediction prediction;
#endif

    ev::AnyModel& model() {
        if (network.model == nullptr) throw ev::ConfigError("a SAM answers prompts: setImage and predict");
        return *network.model;
    }
#if EFFICIENTVIT_WEB_NETWORKS >= 1
    ev::SamPredictor& sam() {
        if (!predictor) throw ev::ConfigError("this network is no SAM");
        return *predictor;
    }
#endif
};

ev::Image image_of(const std::uint8_t* rgba, int width, int height) {
    ev::Image image(ev::ImageSize{height, width});
    std::uint8_t* to = image.bytes().data();
    for (std::size_t i = 0; i < image.bytes().size(); i += 3, rgba += 4)
        std::copy_n(rgba, 3, to + static_cast<std::ptrdiff_t>(i));
    return image;
}

/// As the network's published accuracy was measured; streets at their own size, which is large enough for a page.
ev::PictureOptions picture_options(const ev::ModelInfo& info) {
    const bool whole = info.name.find("cityscapes") != std::string::npos;
    return {.fit = whole ? ev::PictureFit::whole : ev::PictureFit::published};
}

const ev::Tensor& output(const Session& s, int i) {
    if (i < 0 || static_cast<std::size_t>(i) >= s.outputs.size()) throw ev::Error("no such output");
    return (s.outputs.begin() + i)->tensor;
}

}  // namespace

EXPORT(ev_alloc) void* ev_alloc(std::size_t bytes) { return std::malloc(std::max<std::size_t>(bytes, 1)); }
EXPORT(ev_free) void ev_free(void* memory) { std::free(memory); }
EXPORT(ev_error) const char* ev_error() { return error.c_str(); }

/// A Session, from the bytes of safetensors or a PyTorch checkpoint, which may go afterwards. name: "" for what the
/// weights look like; precision: 0 float, 1 bf16_weights, 2 int8.
EXPORT(ev_load) Session* ev_load(const std::byte* bytes, std::size_t size, const char* name, int precision) {
    return guarded([&]() -> Session* {
        const ev::StateDict weights =
            ev::parse_weights_borrowed({bytes, size}, "weights", {.skip_extra_entries = true});
        ev::LoadOptions options;
        if (precision == 1) options.precision = ev::Precision::bf16_weights;
        if (precision == 2) options.precision = ev::Precision::int8;
        auto session = std::make_unique<Session>();
        session->network = web::load(name, weights, options);
#if EFFICIENTVIT_WEB_NETWORKS >= 1
        if (session->network.sam != nullptr) session->predictor.emplace(*session->network.sam);
#endif
        return session.release();
    });
}
EXPORT(ev_delete) void ev_delete(Session* s) { delete s; }

/// What it is, as JSON.
EXPORT(ev_info) const char* ev_info(Session* s) {
    return guarded([&]() -> const char* {
        const auto number = [](double x) { return std::to_string(x); };
        if (s->network.sam != nullptr) {
            const std::string side = std::to_string(s->network.sam->image_size());
            text = "{\"name\": \"" + s->network.sam->name() +
                   "\", \"task\": \"sam\", \"nClasses\": 0, \"height\": " + side + ", \"width\": " + side +
                   ", \"isa\": \"" + std::string(ev::isa_name(s->network.sam->isa()));
        } else {
            const ev::ModelInfo& i = s->model().info();
            text = "{\"name\": \"" + i.name + "\", \"task\": \"" + std::string(ev::task_name(i.task)) +
                   "\", \"nClasses\": " + std::to_string(i.n_classes) + ", \"height\": " + std::to_string(i.height) +
                   ", \"width\": " + std::to_string(i.width) + ", \"mean\": [" + number(i.mean[0]) + ", " +
                   number(i.mean[1]) + ", " + number(i.mean[2]) + "], \"std\": [" + number(i.std[0]) + ", " +
                   number(i.std[1]) + ", " + number(i.std[2]) + "], \"isa\": \"" +
                   std::string(ev::isa_name(s->model().isa()));
        }
        text += "\"}";
        return text.c_str();
    });
}

/// All outputs of a picture, preprocessed as the network wants it.
EXPORT(ev_run_image) int ev_run_image(Session* s, const std::uint8_t* rgba, int width, int height) {
    return guarded([&] {
        const ev::ModelInfo& info = s->model().info();
        ev::preprocess_picture(info, image_of(rgba, width, height), picture_options(info), s->input);
        s->model().forward(s->input, s->outputs, s->context);
        return 1;
    });
}
/// All outputs of a tensor (n, c, h, w).
EXPORT(ev_run_tensor) int ev_run_tensor(Session* s, const float* x, int n, int c, int h, int w) {
    return guarded([&] {
        s->model().forward(ev::ConstTensorView{x, {n, c, h, w}}, s->outputs, s->context);
        return 1;
    });
}
EXPORT(ev_outputs) int ev_outputs(Session* s) { return static_cast<int>(s->outputs.size()); }
EXPORT(ev_output_name) const char* ev_output_name(Session* s, int i) {
    return guarded([&] {
        output(*s, i);
        return (s->outputs.begin() + i)->name.c_str();
    });
}
/// shape: four numbers.
EXPORT(ev_output) const float* ev_output(Session* s, int i, int* shape) {
    return guarded([&] {
        const ev::Tensor& tensor = output(*s, i);
        for (int d = 0; d < 4; ++d) shape[d] = static_cast<int>(tensor.dimension(static_cast<std::size_t>(d)));
        return tensor.data();
    });
}

/// What class i is called, "" where nobody knows: ImageNet's, Cityscapes' and ADE20K's, in a module of all networks.
EXPORT(ev_class_name) const char* ev_class_name(Session* s, int i) {
    text.clear();
#if EFFICIENTVIT_WEB_NETWORKS >= 2
    if (s->network.model != nullptr && i >= 0) {
        const auto at = static_cast<std::size_t>(i);
        const ev::ModelInfo& info = s->network.model->info();
        const auto name_in = [&](const auto& classes) { return at < classes.size() ? classes[at].name : ""; };
        if (info.task == ev::Task::classification && info.n_classes == 1000 && at < 1000) {
            text = ev::imagenet_classes[at];
        } else if (info.name.find("cityscapes") != std::string::npos) {
            text = name_in(ev::cityscapes_classes);
        } else if (info.name.find("ade20k") != std::string::npos) {
            text = name_in(ev::ade20k_classes);
        }
    }
#else
    (void)s;
    (void)i;
#endif
    return text.c_str();
}

/// The k likeliest classes of the last run: `to` gets a class and its probability k times. Returns how many there are.
EXPORT(ev_top_k) int ev_top_k(Session* s, int k, double* to) {
    return guarded([&] {
        const ev::Tensor& logits = output(*s, 0);
        const std::vector<ev::Prediction> top =
            ev::top_k({logits.data(), static_cast<std::size_t>(logits.dimension(1))}, k);
        for (const ev::Prediction& p : top) {
            *to++ = p.index;
            *to++ = p.probability;
        }
        return static_cast<int>(top.size());
    });
}

/// A class for each pixel of a picture, row by row, which ev_free() is not for.
EXPORT(ev_segment)
const std::uint8_t* ev_segment(Session* s, const std::uint8_t* rgba, int width, int height) {
    return guarded([&]() -> const std::uint8_t* {
        ev::segment_picture(s->model(), image_of(rgba, width, height), picture_options(s->model().info()), s->input,
                            s->logits, s->labels, s->context);
        return s->labels.labels.data();
    });
}

#if EFFICIENTVIT_WEB_NETWORKS >= 1
EXPORT(ev_sam_set_image) int ev_sam_set_image(Session* s, const std::uint8_t* rgba, int width, int height) {
    return guarded([&] {
        s->sam().set_image(image_of(rgba, width, height), s->context);
        return 1;
    });
}
/// points: x, y, label for each; box: x0, y0, x1, y1 or null. Returns the number of masks.
EXPORT(ev_sam_predict) int ev_sam_predict(Session* s, const double* points, int count, const double* box, int many) {
    return guarded([&] {
        ev::SamPrompt prompt{.multimask_output = many != 0};
        for (int i = 0; i < count; ++i, points += 3) {
            prompt.points.push_back({points[0], points[1], static_cast<int>(points[2])});
        }
        if (box != nullptr) prompt.box = ev::Box{box[0], box[1], box[2], box[3]};
        s->sam().predict(prompt, s->prediction, {}, s->context);
        return static_cast<int>(s->prediction.masks.size());
    });
}
EXPORT(ev_sam_mask) const std::uint8_t* ev_sam_mask(Session* s, int i) {
    return s->prediction.masks.at(static_cast<std::size_t>(i)).pixels.data();
}
EXPORT(ev_sam_iou) float ev_sam_iou(Session* s, int i) { return s->prediction.iou.at(static_cast<std::size_t>(i)); }
#endif

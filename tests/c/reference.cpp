// SPDX-License-Identifier: Apache-2.0
//
// The files of c_test.c, in the folder argv[1]: weights, a picture, and what C++ gives for them.
#include <efficientvit/compiled/networks.hpp>
#include <efficientvit/models/mask_generator.hpp>
#include <efficientvit/models/pictures.hpp>
#include <efficientvit/weights/convert.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "../golden_values.hpp"

namespace ev = efficientvit;

namespace {

std::filesystem::path folder;

template <class T>
void write(const std::string& name, const T* data, std::ptrdiff_t count) {
    std::ofstream out(folder / name, std::ios::binary);
    out.exceptions(std::ios::failbit | std::ios::badbit);
    out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(count) * std::streamsize{sizeof(T)});
}
void write(const std::string& name, const ev::Tensor& tensor) { write(name + ".f32", tensor.data(), tensor.size()); }
template <class T>
void write(const std::string& name, const std::vector<T>& values) {
    write(name, values.data(), static_cast<std::ptrdiff_t>(values.size()));
}

/// A model with golden weights, which also go to <name>.safetensors.
template <class Model>
std::unique_ptr<Model> golden(std::unique_ptr<Model> model, const std::string& name, ev::DType dtype = ev::DType::f32) {
    ev::StateDict weights;
    for (const ev::Parameter& p : model->parameters()) weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    if (dtype != ev::DType::f32) weights = ev::converted(weights, dtype);
    ev::save_safetensors(folder / (name + ".safetensors"), weights);
    model->load_state_dict(weights);
    return model;
}

/// Smooth colors and an edge, 60 rows by 90 columns.
ev::Image picture() {
    ev::Image image({60, 90});
    for (int y = 0; y < 60; ++y) {
        for (int x = 0; x < 90; ++x) {
            const auto part = [](int value) { return static_cast<std::uint8_t>(value & 255); };
            image.set(y, x, {part(2 * x + (x > 40 ? 60 : 0)), part(3 * y), part(x + y)});
        }
    }
    return image;
}

void networks(const ev::Image& image) {
    const std::vector<float> input = golden_tensor("input", {1, 3, 64, 96});
    write("input.f32", input);
    const ev::ConstTensorView x{input.data(), {1, 3, 64, 96}};
    ev::Tensor seen;
    ev::Context context;

    const auto cls = golden(ev::compiled::make_model("cls_b0"), "cls_b0");
    for (const auto& [name, tensor] : cls->forward(x)) write(name, tensor);
    write("pre_logits", cls->forward_pre_logits(x, context));
    ev::preprocess_picture(cls->info(), image, {}, seen);
    write("cls_input", seen);

    const auto backbone = golden(ev::compiled::make_model("backbone_b0"), "backbone_b0");
    for (const auto& [name, tensor] : backbone->forward(x)) write(name, tensor);

    const auto seg = golden(ev::compiled::make_model("seg_b0_cityscapes"), "seg_b0");
    ev::Tensor logits;
    ev::LabelMap labels;
    ev::segment_picture(*seg, image, {.fit = ev::PictureFit::whole}, seen, logits, labels, context);
    write("seg_input", seen);
    write("labels.u8", labels.labels);
}

void segment_anything(const ev::Image& image) {
    const auto sam = golden(ev::compiled::make_sam("sam_l0"), "sam_l0", ev::DType::f16);
    ev::SamPredictor predictor(*sam);
    predictor.set_image(image);
    write("embedding", predictor.get_embedding());
    const auto answer = [&](const std::string& name, const ev::SamPrompt& prompt) {
        ev::SamPrediction out = predictor.predict(prompt, {.return_logits = true});
        std::vector<std::uint8_t> masks;
        for (const ev::Mask& mask : out.masks) masks.insert(masks.end(), mask.pixels.begin(), mask.pixels.end());
        write(name + "_masks.u8", masks);
        write(name + "_iou.f32", out.iou);
        write(name + "_low_res", out.low_res);
        write(name + "_logits", out.logits);
        return out;
    };
    const ev::SamPrediction first = answer("point", {.points = {{30, 20, 1}, {5, 50, 0}}});
    answer("box", {.points = {{30, 20, 1}},
                   .box = ev::Box{10, 12.5, 60, 40},
                   .mask_input = ev::ConstTensorView{first.low_res.data(), {1, 1, 256, 256}},
                   .multimask_output = false});
    ev::MaskGeneratorOptions options;
    options.points_per_side = 3;
    options.pred_iou_thresh = options.stability_score_thresh = 0;
    std::vector<std::uint8_t> masks;
    for (const ev::MaskRecord& record : ev::generate_masks(predictor, image, options)) {
        masks.insert(masks.end(), record.segmentation.pixels.begin(), record.segmentation.pixels.end());
    }
    write("everything.u8", masks);
}

}  // namespace

int main(int, char** argv) {
    folder = argv[1];
    std::filesystem::create_directories(folder);
    const ev::Image image = picture();
    write("picture.rgb", image.bytes().data(), static_cast<std::ptrdiff_t>(image.bytes().size()));
    networks(image);
    segment_anything(image);
}

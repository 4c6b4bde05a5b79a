// SPDX-License-Identifier: Apache-2.0
//
// The small SAM of train_shapes.py on drawings that training never saw: a click and a box for each shape, how well the
// masks fit, beside PyTorch's result, and a sheet of drawings, clicks and masks.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/mask_rle.hpp>
#include <efficientvit/models/sam_predictor.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "../common/program.hpp"
#include "coco.hpp"
#include "overlay.hpp"
#include "shapes_sam.hpp"

#ifndef EFFICIENTVIT_SHAPES_DIR
#define EFFICIENTVIT_SHAPES_DIR "examples/segment_anything"
#endif

namespace {

namespace fs = std::filesystem;
namespace ev = efficientvit;

double iou_of(const ev::Mask& a, const ev::Mask& b) {
    std::size_t both = 0, either = 0;
    for (std::size_t i = 0; i < a.pixels.size(); ++i) {
        both += a.pixels[i] != 0 && b.pixels[i] != 0 ? 1U : 0U;
        either += a.pixels[i] != 0 || b.pixels[i] != 0 ? 1U : 0U;
    }
    return either == 0 ? 0 : static_cast<double>(both) / static_cast<double>(either);
}

/// Of several masks that with the best predicted IoU.
ev::Mask best_of(ev::SamPrediction answer) {
    const auto best = std::max_element(answer.iou.begin(), answer.iou.end()) - answer.iou.begin();
    return std::move(answer.masks[static_cast<std::size_t>(best)]);
}

struct Means {
    double click = 0, box = 0;
    int shapes = 0;
};

constexpr int enlarged = 2, gap = 8;
constexpr std::size_t shown = 9;  // drawings on the sheet

/// Asks for each shape of a drawing; adds to `means`. Returns the drawing with the clicks, and beside it the masks.
ev::Image ask(ev::SamPredictor& predictor, const ev::Image& drawing, const nlohmann::json& objects, Means& means) {
    predictor.set_image(drawing);
    std::vector<ev::SamPrompt> clicks;
    std::vector<ev::MaskRle> masks;
    for (const nlohmann::json& object : objects) {
        const ev::Mask truth = ev::decode_rle({drawing.size(), object["truth"].get<std::vector<std::uint32_t>>()});
        clicks.push_back({.points = {{object["point"][0], object["point"][1], 1}}});
        const ev::Mask mask = best_of(predictor.predict(clicks.back()));
        masks.push_back(ev::encode_rle(mask));
        const nlohmann::json& b = object["box"];
        const ev::SamPrompt box{.box = ev::Box{b[0], b[1], b[2], b[3]}, .multimask_output = false};
        means.click += iou_of(mask, truth);
        means.box += iou_of(best_of(predictor.predict(box)), truth);
        ++means.shapes;
    }
    const ev::ImageSize size{drawing.height() * enlarged, drawing.width() * enlarged};
    const auto enlarge = [&](const ev::Image& image) {
        return ev::resize_pillow(image, size, ev::PillowFilter::bicubic);
    };
    ev::Image left = enlarge(drawing);
    for (const ev::SamPrompt& click : clicks) {
        const double x = click.points[0].x * enlarged, y = click.points[0].y * enlarged;
        examples::draw_disc(left, x, y, 6, {255, 255, 255});
        examples::draw_disc(left, x, y, 4, {30, 170, 60});
    }
    ev::Image out({size.height, 2 * size.width + gap / 2}, examples::paper);
    examples::paste(out, 0, 0, left);
    examples::paste(out, size.width + gap / 2, 0, enlarge(examples::overlay(drawing, masks, {})));
    return out;
}

/// Rows of three.
ev::Image sheet_of(const std::vector<ev::Image>& pictures) {
    constexpr int columns = 3, side = 128 * enlarged;
    const int rows = (static_cast<int>(pictures.size()) + columns - 1) / columns;
    const int width = 2 * side + gap / 2 + 2 * gap;
    ev::Image sheet({rows * (side + gap) + gap, columns * width + gap}, examples::paper);
    for (std::size_t i = 0; i < pictures.size(); ++i) {
        const int row = static_cast<int>(i) / columns, column = static_cast<int>(i) % columns;
        examples::paste(sheet, gap + column * width, gap + row * (side + gap), pictures[i]);
    }
    return sheet;
}

int run(const fs::path& folder, const fs::path& output) {
    examples::ShapesSam sam;
    sam.load_state_dict(ev::load_safetensors(folder / "shapes_sam.safetensors"));
    ev::SamPredictor predictor(sam);
    const nlohmann::json held_out = examples::read_json(folder / "held_out" / "drawings.json");
    Means means;
    std::vector<ev::Image> pictures;
    for (const nlohmann::json& drawing : held_out["drawings"]) {
        const ev::Image image = ev::read_image(folder / "held_out" / drawing["file"].get<std::string>());
        ev::Image picture = ask(predictor, image, drawing["objects"], means);
        if (pictures.size() < shown) pictures.push_back(std::move(picture));
    }
    means.click /= means.shapes;
    means.box /= means.shapes;
    ev::write_png(output, sheet_of(pictures));
    const double torch_click = held_out["torch"]["click"], torch_box = held_out["torch"]["box"];
    std::printf("mean IoU of %d shapes: %.4f for a click (PyTorch %.4f), %.4f for a box (PyTorch %.4f)\n%s\n",
                means.shapes, means.click, torch_click, means.box, torch_box, output.string().c_str());
    const bool good = means.click >= 0.9 && means.box >= 0.9;
    const bool equal = std::abs(means.click - torch_click) <= 0.002 && std::abs(means.box - torch_box) <= 0.002;
    return good && equal ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
    cxxopts::Options parser("shapes", "Asks a small SAM for the shapes of drawings, and draws its masks on a sheet.");
    const auto path = [](const char* standard) { return cxxopts::value<std::string>()->default_value(standard); };
    parser.add_options()  //
        ("folder", "has shapes_sam.safetensors and held_out, as train_shapes.py leaves them",
         path(EFFICIENTVIT_SHAPES_DIR), "FOLDER")                               //
        ("output", "PNG file to write, the sheet", path("shapes.png"), "FILE")  //
        ("help", "print this and stop");
    return examples::run_program("shapes", parser, argc, argv, [](const cxxopts::ParseResult& arguments) {
        return run(arguments["folder"].as<std::string>(), arguments["output"].as<std::string>());
    });
}

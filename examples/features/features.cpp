// SPDX-License-Identifier: Apache-2.0
//
// What a backbone sees in a picture: for each stage, the three directions in which its features differ most become red,
// green and blue.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/preprocess.hpp>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/drawing.hpp"
#include "../common/output_folder.hpp"
#include "../common/progress.hpp"
#include "principal_components.hpp"

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;

/// Each pixel a square, so that one sees how coarse the map is.
ev::Image enlarge(const ev::Image& map, ev::ImageSize size) {
    ev::Image out(size);
    for (int y = 0; y < size.height; ++y) {
        for (int x = 0; x < size.width; ++x) {
            out.set(y, x, map.at(y * map.height() / size.height, x * map.width() / size.width));
        }
    }
    return out;
}

struct Panel {
    std::string caption;
    ev::Image image;
};

/// Panels of one size, side by side in rows of three, with their captions over them, in as many lines as they take.
ev::Image draw_panels(const std::vector<Panel>& panels) {
    constexpr int gap = 12;
    const ev::ImageSize size = panels.front().image.size();
    const int width = std::max(size.width, 240);
    std::vector<std::vector<std::string>> captions;
    std::size_t lines = 1;
    for (const Panel& panel : panels) {
        captions.push_back(examples::wrapped(panel.caption, width));
        lines = std::max(lines, captions.back().size());
    }
    const int caption = static_cast<int>(lines) * examples::line_height + 6;
    const int columns = std::min<int>(3, static_cast<int>(panels.size()));
    const int rows = (static_cast<int>(panels.size()) + columns - 1) / columns;
    ev::Image out({gap + rows * (size.height + caption + gap), gap + columns * (width + gap)}, examples::paper);
    for (int i = 0; i < static_cast<int>(panels.size()); ++i) {
        const Panel& panel = panels[static_cast<std::size_t>(i)];
        const int left = gap + i % columns * (width + gap), top = gap + i / columns * (size.height + caption + gap);
        int y = top + 4;
        for (const std::string& line : captions[static_cast<std::size_t>(i)]) {
            examples::draw_text(out, left, y, line, examples::ink);
            y += examples::line_height;
        }
        examples::paste(out, left, top + caption, panel.image);
    }
    return out;
}

int features(const cxxopts::ParseResult& arguments) {
    const std::vector<fs::path> paths = examples::images_of(arguments);
    const ev::StateDict weights = examples::read_weights(arguments);
    const std::string asked = arguments["model"].as<std::string>();
    const std::string name = examples::backbone_name(asked.empty() ? examples::identify(weights) : asked);
    const auto model = examples::make_model(name, weights);
    const int side = arguments["size"].as<int>();
    if (side < 64 || side > 4096) throw examples::UsageError("--size must be 64 to 4096");

    ev::Context context = examples::context_of(arguments);
    const examples::OutputFolder folder(arguments["output"].as<std::string>(), paths);
    ev::Tensor input;
    ev::NamedTensors outputs;
    return examples::for_each_image(
        "features", paths, [&](const fs::path& path, const ev::Image& image, examples::Progress& progress) {
            const ev::Image seen = examples::thumbnail(image, {side, side});  // a backbone takes any shape
            ev::preprocess_plain(seen, {}, input);
            model->forward(input, outputs, context);

            const ev::ImageSize shown = examples::fitted(image.size(), {360, 360});
            std::vector<Panel> panels{{examples::shown(path.filename()), examples::thumbnail(image, {360, 360})}};
            for (const auto& [stage, tensor] : outputs) {
                examples::check_finite(tensor, "features");
                const examples::Components components = examples::principal_components(tensor);
                panels.push_back(
                    {stage + ": " + std::to_string(tensor.dimension(1)) + " channels of " +
                         std::to_string(tensor.dimension(2)) + " x " + std::to_string(tensor.dimension(3)) + ", " +
                         std::to_string(static_cast<int>(100 * components.explained)) + " % of what differs",
                     enlarge(components.image, shown)});
            }
            const fs::path file = folder.file(path, "_features.png");
            ev::write_png(file, draw_panels(panels));
            progress.hide();
            std::cout << examples::shown(file) << std::endl;
            progress.show();
        });
}

}  // namespace

int main(int argc, char** argv) {
    cxxopts::Options options("features",
                             "Draws what the stages of an EfficientViT backbone see in pictures: the first three\n"
                             "principal components of each stage's features, as red, green and blue. Weights of a\n"
                             "classifier, a segmenter or SAM will do. Writes NAME_features.png.\n");
    examples::add_common_options(options);
    options.add_options()                                                                                     //
        ("output", "folder to write to", cxxopts::value<std::string>()->default_value("features"), "FOLDER")  //
        ("size", "pixels of the long side that the network sees", cxxopts::value<int>()->default_value("512"), "N");
    return examples::run("features", options, argc, argv, features);
}

// SPDX-License-Identifier: Apache-2.0
//
// What each pixel shows: an overlay with a legend and a mask for every picture, by a segmenter for Cityscapes (streets)
// or ADE20K (all sorts of scenes).
#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/images/segmentation.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/drawing.hpp"
#include "../common/output_folder.hpp"
#include "../common/progress.hpp"
#include "../common/segmenters.hpp"

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;

struct Share {
    int label = 0;
    double part = 0;  // of the picture
};

/// The classes that are there, the largest first.
std::vector<Share> shares_of(const ev::LabelMap& map) {
    const std::vector<std::size_t> count = ev::count_labels(map);
    std::vector<Share> shares;
    for (int label = 0; label < static_cast<int>(count.size()); ++label) {
        const std::size_t pixels = count[static_cast<std::size_t>(label)];
        if (pixels != 0)
            shares.push_back({label, static_cast<double>(pixels) / static_cast<double>(map.labels.size())});
    }
    std::stable_sort(shares.begin(), shares.end(), [](const Share& a, const Share& b) { return a.part > b.part; });
    return shares;
}

std::string percent(double part) {
    char text[16];
    std::snprintf(text, sizeof(text), "%.1f %%", 100 * part);
    return text;
}

/// The picture with a list of its classes on the right, as many as fit.
ev::Image with_legend(const ev::Image& picture, const std::vector<Share>& shares,
                      std::span<const examples::SegClass> classes) {
    // Letters grow with the picture, so that they can be read on both.
    const int dot = std::max(1, picture.height() / 500);
    const int line = 18 * dot, margin = 10 * dot, box = 12 * dot, width = 180 * dot;
    ev::Image out({picture.height(), picture.width() + width}, examples::paper);
    examples::paste(out, 0, 0, picture);
    int y = margin;
    for (const Share& share : shares) {
        if (y + box > out.height()) break;
        const int x = picture.width() + margin;
        const examples::SegClass& of = classes[static_cast<std::size_t>(share.label)];
        const std::string part = percent(share.part);
        const int part_left = out.width() - margin - examples::text_width(part, dot);
        examples::fill(out, x, y, box, box, of.color);
        examples::draw_text(out, x + box + 6 * dot, y + 2 * dot, of.name, examples::ink, dot,
                            part_left - x - box - 12 * dot);
        examples::draw_text(out, part_left, y + 2 * dot, part, examples::faint, dot);
        y += line;
    }
    return out;
}

/// A strip a pixel wide would be enlarged to gigabytes. Throws std::runtime_error beyond 64 times as long as wide.
void check_shape(ev::ImageSize picture, const ev::SegPreprocessing& how) {
    const ev::ImageSize size = ev::seg_input_size(picture, how);
    if (how.fit == ev::SegFit::pad || std::int64_t{size.height} * size.width <= std::int64_t{1} << 24) return;
    throw std::runtime_error("too long and narrow: resized as the data set's evaluation does, it would have " +
                             std::to_string(size.height) + " x " + std::to_string(size.width) +
                             " pixels; --fit pad keeps its size");
}

int segment(const cxxopts::ParseResult& arguments) {
    const std::vector<fs::path> paths = examples::images_of(arguments);
    const ev::StateDict weights = examples::read_weights(arguments);
    const std::string asked = arguments["model"].as<std::string>();
    const std::string name = asked.empty() ? examples::identify(weights) : asked;
    const auto model = examples::make_model(name, weights);
    if (model->info().task != ev::Task::segmentation) {
        throw examples::UsageError(name + " is no segmenter; segment wants a seg_ model");
    }
    const std::vector<examples::SegClass> classes =
        examples::seg_classes(arguments["classes"].as<std::string>(), model->info());
    std::vector<ev::Rgb> colors;
    for (const examples::SegClass& c : classes) colors.push_back(c.color);

    const std::string fit = arguments["fit"].as<std::string>();
    if (fit != "resize" && fit != "pad") throw examples::UsageError("--fit must be resize or pad, not '" + fit + "'");
    const ev::SegPreprocessing how{.dataset = ev::dataset_of(model->info()),
                                   .fit = fit == "pad" ? ev::SegFit::pad : ev::SegFit::resize};
    const double opacity = arguments["opacity"].as<double>();
    if (!(opacity >= 0 && opacity <= 1)) throw examples::UsageError("--opacity must be 0 to 1");

    ev::Context context = examples::context_of(arguments);
    const examples::OutputFolder folder(arguments["output"].as<std::string>(), paths);
    ev::Tensor input;
    ev::NamedTensors outputs;
    ev::LabelMap labels;
    return examples::for_each_image(
        "segment", paths, [&](const fs::path& path, const ev::Image& image, examples::Progress& progress) {
            check_shape(image.size(), how);
            const ev::ImageSize frame = ev::preprocess_seg(image, how, input);
            model->forward(input, outputs, context);
            examples::check_finite(outputs["segout"], "logits");
            ev::upsample_argmax(outputs["segout"], frame, image.size(), labels, context);

            const std::vector<Share> shares = shares_of(labels);
            const ev::Image overlay = ev::overlay(image, labels, colors, opacity);
            ev::write_png(folder.file(path, "_overlay.png"), with_legend(overlay, shares, classes));
            ev::write_gray_png(folder.file(path, "_mask.png"), labels.size, labels.labels);

            progress.hide();
            std::cout << examples::shown(path.filename()) << ": ";
            for (std::size_t i = 0; i < std::min<std::size_t>(shares.size(), 5); ++i) {
                std::cout << (i == 0 ? "" : ", ") << classes[static_cast<std::size_t>(shares[i].label)].name << ' '
                          << percent(shares[i].part);
            }
            std::cout << " -> " << examples::shown(folder.file(path, "_overlay.png")) << std::endl;
            progress.show();
        });
}

}  // namespace

int main(int argc, char** argv) {
    cxxopts::Options options(
        "segment",
        "Says what each pixel of a picture shows, with an EfficientViT segmenter. Writes\n"
        "NAME_overlay.png with a legend and NAME_mask.png, whose gray values are class numbers.\n");
    examples::add_common_options(options);
    options.add_options()                                                                                      //
        ("output", "folder to write to", cxxopts::value<std::string>()->default_value("segmented"), "FOLDER")  //
        ("fit", "resize: to the size that the model was trained for; pad: at the picture's own size",
         cxxopts::value<std::string>()->default_value("resize"), "HOW")  //
        ("classes", "text file with a name a line, for a model of other classes than the data set's",
         cxxopts::value<std::string>()->default_value(""), "FILE")  //
        ("opacity", "of the colors over the picture", cxxopts::value<double>()->default_value("0.5"), "0..1");
    return examples::run("segment", options, argc, argv, segment);
}

// SPDX-License-Identifier: Apache-2.0
//
// What is on a picture: the most probable of ImageNet's classes, in the terminal and on a sheet.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/predictions.hpp>
#include <efficientvit/images/preprocess.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "../common/classifiers.hpp"
#include "../common/command_line.hpp"
#include "../common/drawing.hpp"
#include "../common/progress.hpp"

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;

constexpr std::size_t most_on_sheet = 60;

struct Result {
    std::string name;
    ev::Image thumbnail;
    std::vector<ev::Prediction> top;
};

using Names = std::vector<std::string>;

void print(const Result& result, const Names& names) {
    constexpr int width = 24;
    std::cout << result.name << '\n';
    for (const ev::Prediction& p : result.top) {
        const int filled = static_cast<int>(std::lround(p.probability * width));
        char percent[16];
        std::snprintf(percent, sizeof(percent), "%6.2f %%", 100 * p.probability);
        std::cout << "  " << percent << "  " << std::string(static_cast<std::size_t>(filled), '#')
                  << std::string(static_cast<std::size_t>(width - filled), '.') << "  "
                  << ev::detail::printable(names[static_cast<std::size_t>(p.index)]) << '\n';
    }
    std::cout << std::flush;
}

/// A card for each picture: itself, and beside it a bar and a name for each class.
ev::Image draw_sheet(const std::vector<Result>& results, const Names& names) {
    constexpr int side = 150, gap = 12, bars = 260, line = 26, bar_height = 5;
    constexpr int card_width = side + gap + bars, card_height = side + gap;
    const examples::Grid grid(static_cast<int>(results.size()), 0.5);
    ev::Image sheet({gap + grid.rows * (card_height + gap), gap + grid.columns * (card_width + 2 * gap)},
                    examples::paper);
    for (int i = 0; i < static_cast<int>(results.size()); ++i) {
        const Result& result = results[static_cast<std::size_t>(i)];
        const int left = gap + i % grid.columns * (card_width + 2 * gap),
                  top = gap + i / grid.columns * (card_height + gap);
        examples::paste(sheet, left + (side - result.thumbnail.width()) / 2,
                        top + (side - result.thumbnail.height()) / 2, result.thumbnail);
        const int x = left + side + gap;
        examples::draw_text(sheet, x, top, examples::shortened(result.name, bars), examples::faint);
        int y = top + 16;
        for (const ev::Prediction& p : result.top) {
            if (y + line > top + card_height) break;
            char percent[16];
            std::snprintf(percent, sizeof(percent), "%.1f %%", 100 * p.probability);
            const int room = bars - examples::text_width(percent) - gap;
            examples::draw_text(sheet, x, y, names[static_cast<std::size_t>(p.index)], examples::ink, 1, room);
            examples::draw_text(sheet, x + bars - examples::text_width(percent), y, percent, examples::ink);
            examples::fill(sheet, x, y + 12, bars, bar_height, {58, 62, 72});
            examples::fill(sheet, x, y + 12, static_cast<int>(std::lround(p.probability * bars)), bar_height,
                           examples::accent);
            y += line;
        }
    }
    return sheet;
}

int classify(const cxxopts::ParseResult& arguments) {
    const fs::path sheet = arguments["output"].as<std::string>();
    const std::vector<fs::path> paths = examples::images_of(arguments, sheet);
    const fs::path weights_path = examples::weights_of(arguments);
    const ev::StateDict weights = examples::read_weights(arguments);
    const std::string asked = arguments["model"].as<std::string>();
    const std::string name = asked.empty() ? examples::identify(weights) : asked;
    const auto model = examples::make_model(name, weights);
    if (model->info().task != ev::Task::classification) {
        throw examples::UsageError(name + " is no classifier; classify wants a cls_ model");
    }

    if (model->info().n_classes == 0) {
        throw examples::UsageError(examples::shown(weights_path) +
                                   ": these weights have no last layer (num_classes=0), so there are no classes; embed "
                                   "--features pre_logits writes what they give");
    }
    const ev::ClsPreprocessing how = examples::cls_preprocessing(arguments, asked, model->info(), weights);
    const Names names = examples::class_names(arguments, model->info().n_classes);
    const int k = arguments["top"].as<int>();
    if (k < 1) throw examples::UsageError("--top must be 1 or more");

    ev::Context context = examples::context_of(arguments);
    ev::Tensor input;
    ev::NamedTensors outputs;
    std::vector<Result> results;
    const int status = examples::for_each_image(
        "classify", paths, [&](const fs::path& path, const ev::Image& image, examples::Progress& progress) {
            ev::preprocess_cls(image, how, input);
            model->forward(input, outputs, context);
            const ev::Tensor& logits = outputs["logits"];
            examples::check_finite(logits, "logits");
            Result result{examples::shown(path.filename()),
                          {},
                          ev::top_k({logits.data(), static_cast<std::size_t>(logits.size())}, k)};
            progress.hide();
            print(result, names);
            progress.show();
            if (results.size() == most_on_sheet) return;
            result.thumbnail = examples::thumbnail(image, {150, 150});
            results.push_back(std::move(result));
        });

    if (sheet.empty() || results.empty()) return status;
    ev::write_png(sheet, draw_sheet(results, names));
    std::cout << "drawn: " << examples::shown(sheet)
              << (paths.size() > most_on_sheet ? " (the first " + std::to_string(most_on_sheet) + ")" : "") << '\n';
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    cxxopts::Options options("classify", "Names what is on pictures, with an EfficientViT classifier.\n");
    examples::add_common_options(options);
    examples::add_preprocessing_options(options);
    options.add_options()                                                                            //
        ("top", "classes to show for each picture", cxxopts::value<int>()->default_value("5"), "N")  //
        ("classes", "text file with a name a line, for a model of other classes than ImageNet's",
         cxxopts::value<std::string>()->default_value(""), "FILE")  //
        ("output", "PNG to draw: every picture with its classes; '' for none",
         cxxopts::value<std::string>()->default_value("classified.png"), "FILE");
    return examples::run("classify", options, argc, argv, classify);
}

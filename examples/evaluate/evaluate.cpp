// SPDX-License-Identifier: Apache-2.0
//
// How accurate weights are: top-1 and top-5 of a classifier, the mean IoU of a segmenter, on pictures that have labels.
// For published figures, for weights of one's own, and for what bfloat16 costs.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/images/segmentation.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../common/classifiers.hpp"
#include "../common/command_line.hpp"
#include "../common/precision.hpp"
#include "../common/progress.hpp"
#include "../common/segmenters.hpp"
#include "accuracy.hpp"
#include "label_files.hpp"
#include "mean_iou.hpp"

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;
using examples::UsageError;

/// Published figures are of pictures as their files store them, whichever way the camera was held.
constexpr ev::ReadOptions as_stored{.apply_orientation = false};

std::string decimals(double value, int places) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.*f", places, value);
    return text;
}

std::string share(std::size_t part, std::size_t all) {
    return decimals(100 * static_cast<double>(part) / static_cast<double>(all), 2) + " % (" + std::to_string(part) +
           " of " + std::to_string(all) + ")";
}

/// The one folder that the command line names, if it names one.
std::optional<fs::path> folder_of(const cxxopts::ParseResult& arguments) {
    const std::vector<std::string> paths = examples::paths_of(arguments);
    if (paths.empty()) return std::nullopt;
    if (paths.size() != 1) throw UsageError("expected one folder of pictures, found " + std::to_string(paths.size()));
    return paths.front();
}

/// What --list names, below the folder of the command line or that of the list.
fs::path list_root(const cxxopts::ParseResult& arguments, const fs::path& list) {
    return folder_of(arguments).value_or(list.parent_path());
}

std::vector<examples::LabelledPicture> labelled_pictures(const cxxopts::ParseResult& arguments, int classes) {
    const std::string names_path = arguments["classes"].as<std::string>();
    std::vector<std::string> names;
    if (!names_path.empty()) names = examples::read_names(names_path, classes);
    if (arguments.count("list") != 0) {
        const fs::path list = arguments["list"].as<std::string>();
        return examples::pictures_in_list(list, list_root(arguments, list), names, classes);
    }
    const std::optional<fs::path> folder = folder_of(arguments);
    if (!folder) throw UsageError("which pictures? Name a folder of folders, or say --list FILE; see --help");
    return examples::pictures_in_folders(*folder, names, classes);
}

int evaluate_classifier(const cxxopts::ParseResult& arguments, const ev::AnyModel& model, const std::string& asked,
                        const ev::StateDict& weights) {
    const int classes = model.info().n_classes;
    if (classes == 0) throw UsageError("these weights have no last layer (num_classes=0), so there are no classes");
    const ev::ClsPreprocessing how = examples::cls_preprocessing(arguments, asked, model.info(), weights);
    const std::vector<examples::LabelledPicture> pictures = labelled_pictures(arguments, classes);

    ev::Context context = examples::context_of(arguments);
    ev::Tensor input;
    ev::NamedTensors outputs;
    examples::Accuracy accuracy;
    examples::Progress progress(pictures.size());
    examples::PictureLog log("evaluate", pictures.size(), progress, as_stored);
    for (const examples::LabelledPicture& picture : pictures) {
        log.attempt(picture.path, [&](const ev::Image& image) {
            ev::preprocess_cls(image, how, input);
            model.forward(input, outputs, context);
            const ev::Tensor& logits = outputs["logits"];
            accuracy.add({logits.data(), static_cast<std::size_t>(logits.size())}, picture.label);
        });
        progress.step();
    }
    progress.hide();
    if (accuracy.pictures() != 0) {
        std::cout << how.size << " x " << how.size << " pixels, crop ratio " << decimals(how.crop_ratio, 3) << ", "
                  << classes << " classes\ntop-1 " << share(accuracy.top1(), accuracy.pictures()) << '\n';
        if (classes > 5) std::cout << "top-5 " << share(accuracy.top5(), accuracy.pictures()) << '\n';
    }
    return log.status();
}

void print(const examples::MeanIou& iou, const std::vector<examples::SegClass>& classes) {
    for (std::size_t i = 0; i < iou.classes(); ++i) {
        const std::optional<double> of = iou.iou(i);
        std::printf("%7s  %s\n", of ? decimals(100 * *of, 2).c_str() : "-",
                    ev::detail::printable(classes[i].name).c_str());
    }
    std::printf("mean IoU %s %% (of %zu classes", decimals(iou.percent(), 3).c_str(), iou.counted());
    if (iou.counted() != iou.classes()) std::printf("; the others are not in these pictures");
    std::printf("), right pixels %s %%\n", decimals(iou.pixel_accuracy(), 2).c_str());
    std::fflush(stdout);
}

int evaluate_segmenter(const cxxopts::ParseResult& arguments, const ev::AnyModel& model) {
    const std::vector<examples::SegClass> classes =
        examples::seg_classes(arguments["classes"].as<std::string>(), model.info());
    const int count = model.info().n_classes;
    if (count > 255) throw UsageError("expected a segmenter of at most 255 classes, found " + std::to_string(count));
    std::vector<examples::LabelledMap> pictures;
    if (arguments.count("list") != 0) {
        const fs::path list = arguments["list"].as<std::string>();
        pictures = examples::label_maps_in_list(list, list_root(arguments, list));
    } else {
        const std::optional<fs::path> folder = folder_of(arguments);
        if (!folder) throw UsageError("which pictures? Name a folder, or say --list FILE; see --help");
        pictures = examples::label_maps_beside(*folder, arguments["labels"].as<std::string>());
    }

    ev::Context context = examples::context_of(arguments);
    ev::Tensor input;
    ev::NamedTensors outputs;
    ev::LabelMap found;
    examples::MeanIou iou(count);
    examples::Progress progress(pictures.size());
    examples::PictureLog log("evaluate", pictures.size(), progress, as_stored);
    for (const examples::LabelledMap& picture : pictures) {
        log.attempt(picture.path, [&](const ev::Image& image) {
            const ev::LabelMap labels = examples::read_labels(
                picture.labels,
                examples::convention_of(arguments["convention"].as<std::string>(), picture.labels, count), count);
            ev::preprocess_seg(image, {.dataset = ev::dataset_of(model.info())}, input);
            model.forward(input, outputs, context);
            examples::check_finite(outputs["segout"], "logits");
            // At the size of the labels, as the reference, whatever the picture's is.
            ev::upsample_argmax(outputs["segout"], labels.size, labels.size, found, context);
            iou.add(found.labels, labels.labels);
        });
        progress.step();
    }
    progress.hide();
    if (iou.counted() != 0) print(iou, classes);
    return log.status();
}

int evaluate(const cxxopts::ParseResult& arguments) {
    const ev::StateDict weights = examples::read_weights(arguments);
    const std::string asked = arguments["model"].as<std::string>();
    const std::string name = asked.empty() ? examples::identify(weights) : asked;
    const ev::Precision precision = examples::precision_of(arguments);
    const auto model = examples::make_model(name, weights, {.precision = precision});
    switch (model->info().task) {
        case ev::Task::classification:
            return evaluate_classifier(arguments, *model, asked, weights);
        case ev::Task::segmentation:
            return evaluate_segmenter(arguments, *model);
        default:
            throw UsageError(name + " gives no classes; evaluate wants a cls_ or seg_ model");
    }
}

}  // namespace

int main(int argc, char** argv) {
    cxxopts::Options options(
        "evaluate",
        "Tells how accurate an EfficientViT classifier or segmenter is, on pictures with labels.\n"
        "A classifier: PATH is a folder with a folder of pictures for each class, in the order of their names (as\n"
        "torchvision's ImageFolder counts), called by numbers, or as --classes says; or --list FILE.\n"
        "A segmenter: PATH is a folder of pictures, folders in it included; labels are where Cityscapes (leftImg8bit,\n"
        "gtFine) and ADE20K (images, annotations) have them, or in --labels FOLDER.\n");
    examples::add_common_options(options);
    examples::add_preprocessing_options(options);
    examples::add_precision_option(options);
    options.add_options()  //
        ("list",
         "a file of lines 'picture label': a class's number or name, or the file of a label map; below PATH, or the "
         "list's folder",
         cxxopts::value<std::string>(), "FILE")  //
        ("classes", "text file with a name a line", cxxopts::value<std::string>()->default_value(""),
         "FILE")  //
        ("labels", "folder of label maps, called as the pictures", cxxopts::value<std::string>()->default_value(""),
         "FOLDER")  //
        ("convention",
         "of label maps: cityscapes (labelIds, others are ignored), ade20k (0 is ignored, 1 is class 0), plain (255 is "
         "ignored); else what number of classes and names of files tell",
         cxxopts::value<std::string>()->default_value(""), "NAME");
    return examples::run("evaluate", options, argc, argv, evaluate);
}

// SPDX-License-Identifier: Apache-2.0
//
// Features of many pictures as files for Python: SAM's image embeddings, or the last stage of a backbone. What is done
// already is not done again.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_npy.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/output_folder.hpp"
#include "../common/progress.hpp"

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;

using Metadata = ev::StateDict::Metadata;

/// What the embedding is of, so that a file can be told from another model's.
Metadata describe(const ev::AnyModel& model, const fs::path& weights, const std::string& output, int size) {
    return {{"model", model.info().name},
            {"weights", weights.filename().string()},
            {"output", output},
            {"input_size", std::to_string(size)}};
}

/// Whether `path` holds such an embedding already. Throws std::runtime_error if it holds another.
bool is_done(const fs::path& path, const Metadata& wanted) {
    if (!fs::exists(path)) return false;
    const ev::StateDict found = ev::load_safetensors(path);
    for (const char* const key : {"model", "weights", "output", "input_size"}) {
        const std::string& value = wanted.at(key);
        const auto at = found.metadata().find(key);
        const std::string was = at == found.metadata().end() ? "nothing" : at->second;
        if (was != value) {
            throw std::runtime_error(path.string() + ": is there already, of another run: its " + std::string(key) +
                                     " is " + was + ", now " + value + "; say --overwrite, or another --output");
        }
    }
    return true;
}

int embed(const cxxopts::ParseResult& arguments) {
    const std::vector<fs::path> paths = examples::images_of(arguments);
    const fs::path weights_path = examples::weights_of(arguments);
    const ev::StateDict weights = examples::read_weights(weights_path);
    std::string name = arguments["model"].as<std::string>();
    if (name.empty()) {
        name = examples::identify(weights, weights_path);
        if (!name.starts_with("sam_")) name = examples::backbone_name(name);
    }
    const auto model = examples::make_model(name, weights);
    const ev::Task task = model->info().task;
    if (task != ev::Task::backbone && task != ev::Task::image_encoder) {
        throw examples::UsageError(name + " gives no features; embed wants a backbone_ or sam_ model");
    }
    const bool sam = task == ev::Task::image_encoder;
    const int size = sam || arguments.count("size") == 0 ? model->info().height : arguments["size"].as<int>();
    if (size < 32 || size > 4096) throw examples::UsageError("--size must be 32 to 4096");
    const std::string output = sam ? "image_embeddings" : "stage_final";
    const std::string format = arguments["format"].as<std::string>();
    if (format != "both" && format != "safetensors" && format != "npy") {
        throw examples::UsageError("--format must be safetensors, npy or both, not '" + format + "'");
    }
    const bool overwrite = arguments.count("overwrite") != 0;
    const Metadata about = describe(*model, weights_path, output, size);

    ev::Context context = examples::context_of(arguments);
    const examples::OutputFolder folder(arguments["output"].as<std::string>(), paths);
    ev::Tensor input;
    ev::NamedTensors outputs;
    std::size_t done = 0, skipped = 0;
    // What is there already does not have to be read and decoded.
    std::vector<fs::path> left;
    for (const fs::path& path : paths) {
        const fs::path safetensors = folder.file(path, ".safetensors"), npy = folder.file(path, ".npy");
        const bool has_safetensors = format == "npy" || (!overwrite && is_done(safetensors, about));
        const bool has_npy = format == "safetensors" || (!overwrite && fs::exists(npy));
        if (has_safetensors && has_npy) {
            ++skipped;
        } else {
            left.push_back(path);
        }
    }

    const int status =
        examples::for_each_image("embed", left, [&](const fs::path& path, const ev::Image& image, examples::Progress&) {
            if (sam) {
                ev::preprocess_sam(image, {.size = size}, input);
            } else {
                ev::preprocess_cls(image, {.size = size, .crop_ratio = 1}, input);
            }
            model->forward(input, outputs, context);
            const ev::Tensor& features = outputs[output];
            // The NumPy file first: a picture is done when its safetensors file, which says of what, is there.
            if (format != "safetensors") ev::save_npy(folder.file(path, ".npy"), features);
            if (format != "npy") {
                ev::StateDict file;
                file.insert(
                    output,
                    {features.dimension(0), features.dimension(1), features.dimension(2), features.dimension(3)},
                    std::vector<float>(features.data(), features.data() + features.size()));
                file.metadata() = about;
                file.metadata()["image"] = path.filename().string();
                file.metadata()["image_height"] = std::to_string(image.height());
                file.metadata()["image_width"] = std::to_string(image.width());
                ev::save_safetensors(folder.file(path, ".safetensors"), file);
            }
            ++done;
        });
    std::cout << done << " embedded, " << skipped << " there already, in " << arguments["output"].as<std::string>()
              << '\n';
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    cxxopts::Options options(
        "embed",
        "Writes the features of pictures: SAM's image embeddings, or the last stage of a backbone, as\n"
        "NAME.safetensors (which also says of which model) and NAME.npy. Started again, it goes on where it was.\n");
    examples::add_common_options(options);
    options.add_options()                                                                                       //
        ("output", "folder to write to", cxxopts::value<std::string>()->default_value("embedded"), "FOLDER")    //
        ("format", "safetensors, npy or both", cxxopts::value<std::string>()->default_value("both"), "FORMAT")  //
        ("size", "rows and columns that a backbone sees, the middle of the picture; 224 if not said",
         cxxopts::value<int>(), "N")  //
        ("overwrite", "compute what is there already, too");
    return examples::run("embed", options, argc, argv, embed);
}

// SPDX-License-Identifier: Apache-2.0
//
// Masks of what is clicked on, of what is in a box, or of everything, by an EfficientViT-SAM. Pictures one by one or in
// folders; a run over a folder that was ended goes on where it was.

// A point's numbers are one value of --point, and commas in the names of pictures are theirs.
#define CXXOPTS_VECTOR_DELIMITER '\0'

#include <efficientvit/images/codec.hpp>
#include <efficientvit/models/mask_generator.hpp>
#include <efficientvit/models/sam_predictor.hpp>
#include <efficientvit/weights/replacement_file.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/output_folder.hpp"
#include "../common/progress.hpp"
#include "../common/sam_models.hpp"
#include "coco.hpp"
#include "embedding_cache.hpp"
#include "overlay.hpp"

namespace {

namespace fs = std::filesystem;
namespace ev = efficientvit;
using nlohmann::json;

/// The numbers of "12,34.5,1". Throws UsageError.
std::vector<double> numbers_of(const std::string& option, const std::string& text, std::size_t least,
                               std::size_t most) {
    std::vector<double> numbers;
    const char *at = text.data(), *const end = at + text.size();
    while (numbers.size() <= most) {
        double value = 0;
        const auto [next, error] = std::from_chars(at, end, value);
        if (error != std::errc()) break;
        numbers.push_back(value);
        at = next;
        if (at == end && numbers.size() >= least && numbers.size() <= most) return numbers;
        if (at == end || *at++ != ',') break;
    }
    throw examples::UsageError("--" + option + " is '" + text + "', expected " +
                               (most == 3 ? "X,Y or X,Y,LABEL" : "X0,Y0,X1,Y1") + " in pixels");
}

std::vector<std::string> points_of(const cxxopts::ParseResult& arguments) {
    if (arguments.count("point") == 0) return {};
    return arguments["point"].as<std::vector<std::string>>();
}

/// What the command line asks of a picture, or nothing.
std::optional<ev::SamPrompt> prompt_of(const std::vector<std::string>& points, const std::string& box) {
    ev::SamPrompt prompt;
    for (const std::string& text : points) {
        const std::vector<double> p = numbers_of("point", text, 2, 3);
        if (p.size() == 3 && p[2] != 0 && p[2] != 1)
            throw examples::UsageError("a label is 1 or 0, not in '" + text + "'");
        prompt.points.push_back({p[0], p[1], p.size() == 3 ? static_cast<int>(p[2]) : 1});
    }
    if (!box.empty()) {
        const std::vector<double> b = numbers_of("box", box, 4, 4);
        prompt.box = ev::Box{b[0], b[1], b[2], b[3]};
    }
    if (prompt.points.empty() && !prompt.box) return {};
    prompt.multimask_output = prompt.points.size() == 1 && !prompt.box;
    return prompt;
}

std::unique_ptr<ev::AnySam> load_sam(const cxxopts::ParseResult& arguments) {
    return examples::make_sam(arguments["model"].as<std::string>(), examples::read_weights(arguments));
}

void write_text(const fs::path& path, const std::string& text) {
    ev::detail::ReplacementFile file(path);
    file.write(std::as_bytes(std::span(text)));
    file.keep();
}

/// What is behind a picture's name in those of its masks: one is not numbered.
std::vector<std::string> mask_endings(std::size_t count) {
    if (count == 1) return {"_mask.png"};
    std::vector<std::string> endings;
    for (std::size_t i = 1; i <= count; ++i) endings.push_back("_mask_" + std::to_string(i) + ".png");
    return endings;
}

/// How many files of masks are there by what NAME.json says, whole or begun. Throws json::exception if it is neither.
std::size_t mask_count(const json& result) {
    if (result.contains("begun")) return result["begun"].get<std::size_t>();
    return result.at("made_with").contains("everything") ? 1 : result.at("annotations").size();
}

/// What is done for each picture, and where it is put.
class Program {
public:
    explicit Program(const cxxopts::ParseResult& arguments)
        : paths_(examples::images_of(arguments)),
          everything_(arguments.count("everything") != 0),
          prompt_(prompt_of(points_of(arguments), arguments["box"].as<std::string>())) {
        const bool from_file = arguments.count("prompts") != 0;
        if (int{everything_} + int{prompt_.has_value()} + int{from_file} != 1) {
            throw examples::UsageError("say what is wanted: --point and --box, or --everything, or --prompts FILE");
        }
        if (from_file) read_prompts(arguments["prompts"].as<std::string>());
        read_options(arguments);
        sam_ = load_sam(arguments);
        predictor_ = std::make_unique<ev::SamPredictor>(*sam_);
        const std::string weights = examples::fingerprint(examples::weights_of(arguments)) +
                                    arguments["entry"].as<std::string>() + arguments["prefix"].as<std::string>();
        made_with_ = {{"weights", weights}, {"model", sam_->name()}};
        if (everything_) {
            made_with_["everything"] = {options_.points_per_side, options_.pred_iou_thresh,
                                        options_.stability_score_thresh, options_.crop_n_layers,
                                        options_.min_mask_region_area};
        } else {
            made_with_["prompts"] = {from_file ? examples::fingerprint(arguments["prompts"].as<std::string>()) : "",
                                     points_of(arguments), arguments["box"].as<std::string>()};
        }
        cache_ = std::make_unique<examples::EmbeddingCache>(!everything_ && arguments.count("no-cache") == 0, weights);
        // Last: what failed before leaves none. annotations.json is that of all pictures.
        folder_.emplace(arguments["output"].as<std::string>(), paths_, std::set<std::string>{"annotations"});
    }

    int run(ev::Context& context) {
        std::vector<fs::path> left;
        for (const fs::path& path : paths_) {
            if (!is_done(path)) left.push_back(path);
        }
        if (left.size() < paths_.size()) {
            std::cerr << "segment_anything: " << paths_.size() - left.size() << " of " << paths_.size()
                      << " pictures are done already\n";
        }
        const int status = examples::for_each_image(
            "segment_anything", left, [&](const fs::path& path, const ev::Image& image, examples::Progress& progress) {
                const std::size_t masks =
                    everything_ ? find_everything(path, image, context) : answer(path, image, context);
                progress.hide();
                std::cout << examples::shown(path.filename()) << ": " << masks << (masks == 1 ? " mask" : " masks")
                          << " -> " << examples::shown(folder_->file(path, "_overlay.png")) << std::endl;
                progress.show();
            });
        write_annotations();
        return status;
    }

private:
    void read_options(const cxxopts::ParseResult& arguments) {
        const auto number = [&](const char* option, int least, int most) {
            const int value = arguments[option].as<int>();
            if (value >= least && value <= most) return value;
            throw examples::UsageError(std::string("--") + option + " is " + std::to_string(value) + ", expected " +
                                       std::to_string(least) + " to " + std::to_string(most));
        };
        options_.points_per_side = number("points-per-side", 1, 4096);
        options_.pred_iou_thresh = arguments["pred-iou"].as<double>();
        options_.stability_score_thresh = arguments["stability"].as<double>();
        options_.crop_n_layers = number("crop-layers", 0, 8);
        options_.min_mask_region_area = number("min-area", 0, std::numeric_limits<int>::max());
        options_.output_mode = ev::MaskOutput::coco_rle;
    }

    /// What is not about one of the pictures is named: most likely a misspelling.
    void read_prompts(const fs::path& path) {
        prompts_ = examples::read_prompts(path);
        for (const auto& [name, prompts] : prompts_) {
            const auto is_it = [&wanted = name](const fs::path& picture) {
                return examples::path_bytes(picture.filename()) == wanted;
            };
            if (std::none_of(paths_.begin(), paths_.end(), is_it)) {
                std::cerr << "segment_anything: " << examples::shown(path) << ": prompts for '"
                          << examples::one_line(name) << "', which is none of the pictures\n";
            }
        }
    }

    /// What a result is made of: weights, settings and the picture's bytes. Another picture may have the same name.
    json made_with(const fs::path& path) const {
        json all = made_with_;
        all["picture"] = examples::fingerprint(path);
        return all;
    }

    /// Whether a run with the same picture, weights and settings left its result, which is written last, and the
    /// pictures are still there that it wrote before.
    bool is_done(const fs::path& path) const {
        try {
            const fs::path file = folder_->file(path, ".json");
            if (!fs::exists(file)) return false;
            const json result = examples::read_json(file);
            if (result.value("made_with", json()) != made_with(path)) return false;
            std::vector<std::string> endings = mask_endings(mask_count(result));
            endings.push_back("_overlay.png");
            return std::all_of(endings.begin(), endings.end(), [&](const std::string& ending) {
                return fs::is_regular_file(folder_->file(path, ending));
            });
        } catch (const std::exception&) {
            return false;
        }
    }

    /// Before the first of a picture's `count` masks: those that NAME.json tells of an earlier run and that this one
    /// does not replace are removed, and NAME.json is no result until finish(). A run that ends between leaves nothing
    /// that could be taken for the earlier one's.
    void begin(const fs::path& path, std::size_t count) const {
        const fs::path file = folder_->file(path, ".json");
        std::vector<std::string> earlier;
        try {
            if (fs::exists(file)) earlier = mask_endings(mask_count(examples::read_json(file)));
        } catch (const std::exception&) {  // not of this program, or broken: nothing is known to be its own
        }
        const std::vector<std::string> now = mask_endings(count);
        for (const std::string& ending : earlier) {
            const fs::path mask = folder_->file(path, ending);
            std::error_code ignored;
            if (std::find(now.begin(), now.end(), ending) == now.end() && fs::is_regular_file(mask, ignored))
                fs::remove(mask, ignored);
        }
        write_text(file, json{{"begun", count}}.dump() + "\n");
    }

    std::size_t find_everything(const fs::path& path, const ev::Image& image, ev::Context& context) {
        const bool alone = paths_.size() == 1;
        std::optional<examples::Progress> bar;
        options_.progress = [&](std::size_t done, std::size_t all) {
            if (!alone) return;
            if (!bar) bar.emplace(all);
            bar->to(done);
        };
        std::vector<ev::MaskRecord> records = ev::generate_masks(*predictor_, image, options_, context);
        bar.reset();
        std::vector<ev::MaskRle> masks;
        for (const ev::MaskRecord& r : records) masks.push_back(ev::from_coco_string(r.coco_rle, image.size()));
        begin(path, 1);
        ev::write_gray_png(folder_->file(path, mask_endings(1)[0]), image.size(),
                           examples::numbered(masks, image.size()));
        finish(path, image, masks, records, {});
        return records.size();
    }

    std::size_t answer(const fs::path& path, const ev::Image& image, ev::Context& context) {
        std::vector<ev::SamPrompt> prompts;
        if (prompt_) prompts.push_back(*prompt_);
        const auto found = prompts_.find(examples::path_bytes(path.filename()));
        if (found != prompts_.end()) prompts = found->second;
        if (prompts.empty())
            std::cerr << "segment_anything: " << examples::shown(path) << ": no prompts for this picture\n";
        const ev::detail::PromptCheck check(image.size(), predictor_->low_res_size());
        for (std::size_t i = 0; i < prompts.size(); ++i) check(prompts[i], i, prompts.size());
        cache_->set_image(*predictor_, path, image, context);

        // So many at a time that their masks, three at most of a byte for each pixel, take some 256 MB.
        const std::size_t pixels = image.bytes().size() / ev::Image::channels;
        const std::size_t batch = std::clamp<std::size_t>((std::size_t{1} << 28) / (3 * pixels), 1, 64);
        std::vector<ev::SamPrediction> answers(std::min(batch, prompts.size()));
        std::vector<ev::MaskRle> masks;
        std::vector<ev::MaskRecord> records;
        const std::vector<std::string> endings = mask_endings(prompts.size());
        if (prompts.empty()) begin(path, 0);
        for (std::size_t at = 0; at < prompts.size(); at += batch) {
            const auto part = std::span(prompts).subspan(at, std::min(batch, prompts.size() - at));
            const auto room = std::span(answers).first(part.size());
            predictor_->predict(part, room, {}, context);
            if (at == 0) begin(path, prompts.size());  // prompts that fail leave an earlier result as it is
            for (ev::SamPrediction& answer : room) {
                const auto best = static_cast<std::size_t>(std::max_element(answer.iou.begin(), answer.iou.end()) -
                                                           answer.iou.begin());
                ev::Mask& mask = answer.masks[best];
                const fs::path file = folder_->file(path, endings[masks.size()]);
                masks.push_back(ev::encode_rle(mask));
                records.push_back(record_of(mask, masks.back(), answer.iou[best]));
                for (std::uint8_t& pixel : mask.pixels) pixel = static_cast<std::uint8_t>(pixel * 255);
                ev::write_gray_png(file, image.size(), mask.pixels);
            }
        }
        finish(path, image, masks, records, prompts);
        return masks.size();
    }

    static ev::MaskRecord record_of(const ev::Mask& mask, const ev::MaskRle& rle, float iou) {
        ev::MaskRecord record;
        const ev::MaskBox box = ev::mask_box(mask);
        record.coco_rle = ev::to_coco_string(rle);
        record.area = rle.area();
        record.bbox = {box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0};
        record.predicted_iou = iou;
        record.crop_box = {0, 0, mask.width, mask.height};
        return record;
    }

    /// The overlay, then the result, by which a later run knows that all is there.
    void finish(const fs::path& path, const ev::Image& image, const std::vector<ev::MaskRle>& masks,
                const std::vector<ev::MaskRecord>& records, const std::vector<ev::SamPrompt>& prompts) const {
        ev::write_png(folder_->file(path, "_overlay.png"), examples::overlay(image, masks, prompts));
        json annotations = json::array();
        for (std::size_t i = 0; i < records.size(); ++i) {
            json one = examples::annotation(records[i], image.size());
            if (!prompts.empty()) {  // what a prompt has no point or stability for
                one.erase("stability_score");
                one.erase("point_coords");
            }
            annotations.push_back(std::move(one));
        }
        const json result{{"image",
                           {{"file_name", examples::one_line(examples::path_bytes(path.filename()))},
                            {"width", image.width()},
                            {"height", image.height()}}},
                          {"annotations", std::move(annotations)},
                          {"made_with", made_with(path)}};
        write_text(folder_->file(path, ".json"), result.dump() + "\n");
    }

    /// All results in one file of COCO's form.
    void write_annotations() const {
        json all{{"images", json::array()},
                 {"annotations", json::array()},
                 {"categories", {{{"id", 1}, {"name", "object"}}}}};
        int image_id = 0, id = 0;
        for (const fs::path& path : paths_) {
            if (!is_done(path)) continue;
            json result = examples::read_json(folder_->file(path, ".json"));
            result["image"]["id"] = ++image_id;
            all["images"].push_back(result["image"]);
            for (json& one : result["annotations"]) {
                one["id"] = ++id;
                one["image_id"] = image_id;
                all["annotations"].push_back(one);
            }
        }
        write_text(folder_->folder() / "annotations.json", all.dump() + "\n");
    }

    std::vector<fs::path> paths_;
    bool everything_;
    std::optional<ev::SamPrompt> prompt_;
    std::map<std::string, std::vector<ev::SamPrompt>> prompts_;
    std::optional<examples::OutputFolder> folder_;
    ev::MaskGeneratorOptions options_;
    std::unique_ptr<ev::AnySam> sam_;
    json made_with_;
    std::unique_ptr<examples::EmbeddingCache> cache_;
    std::unique_ptr<ev::SamPredictor> predictor_;
};

}  // namespace

int main(int argc, char** argv) {
    cxxopts::Options options(
        "segment_anything",
        "Masks by an EfficientViT-SAM: of what is clicked on, of what is in a box, or of everything.\n"
        "Writes NAME_overlay.png, NAME_mask.png (with --everything its gray values are the masks'\n"
        "numbers), NAME.json and annotations.json (COCO). Started again, it goes on where it was.\n");
    examples::add_common_options(options);
    options.add_options()  //
        ("point", "a point of the object, or with label 0 of what is around it; more than one --point may be given",
         cxxopts::value<std::vector<std::string>>(), "X,Y[,LABEL]")                                          //
        ("box", "a box around the object", cxxopts::value<std::string>()->default_value(""), "X0,Y0,X1,Y1")  //
        ("prompts", R"(prompts of each picture: {"a.jpg": [{"points": [[x, y, label]], "box": [x0, y0, x1, y1]}]})",
         cxxopts::value<std::string>(), "JSON")  //
        ("everything", "masks of all there is")  //
        ("points-per-side", "with --everything: points that are asked", cxxopts::value<int>()->default_value("32"),
         "N")  //
        ("pred-iou", "with --everything: least predicted IoU", cxxopts::value<double>()->default_value("0.8"),
         "0..1")                                                                                                      //
        ("stability", "with --everything: least stability", cxxopts::value<double>()->default_value("0.85"), "0..1")  //
        ("crop-layers", "with --everything: layers of crops", cxxopts::value<int>()->default_value("0"), "N")         //
        ("min-area", "with --everything: pixels that a hole or an island must have",
         cxxopts::value<int>()->default_value("100"), "N")      //
        ("no-cache", "keep no embeddings beside the pictures")  //
        ("output", "folder to write to", cxxopts::value<std::string>()->default_value("segmented_anything"), "FOLDER");
    return examples::run("segment_anything", options, argc, argv, [](const cxxopts::ParseResult& arguments) {
        ev::Context context = examples::context_of(arguments);
        return Program(arguments).run(context);
    });
}

// SPDX-License-Identifier: Apache-2.0
//
// Every published network by name, for programs that choose at run time. Not part of efficientvit.hpp: a program that
// includes this compiles all of them. Whoever knows the network at compile time names its type instead.
#pragma once

#include <efficientvit/models/any_model_of.hpp>
#include <efficientvit/models/backbone.hpp>
#include <efficientvit/models/classifier.hpp>
#include <efficientvit/models/large_backbone.hpp>
#include <efficientvit/models/sam_image_encoder.hpp>
#include <efficientvit/models/segmenter.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// One line of the table of networks.
struct KnownModel {
    const char* name;
    Task task;
    int height, width;
    std::unique_ptr<AnyModel> (*make)(ModelInfo info);
    std::vector<Parameter> (*parameters)();
};

inline std::string identify(const StateDict& weights, std::string_view prefix);

/// A network of the table: when weights do not fit, it says whose they are.
template <class Network>
class NamedModel final : public AnyModelOf<Network> {
public:
    using AnyModelOf<Network>::AnyModelOf;

    EFFICIENTVIT_COLD LoadReport load_state_dict(const StateDict& weights, const LoadOptions& options = {}) override {
        try {
            return AnyModelOf<Network>::load_state_dict(weights, options);
        } catch (const WeightsError& error) {
            const std::string other = detail::identify(weights, options.prefix);
            if (other.empty() || other == this->info().name) throw;
            throw WeightsError(
                concat({"these look like the weights of ", other, ", not of ", this->info().name, ": ", error.what()}));
        }
    }
};

template <class Network>
EFFICIENTVIT_COLD std::unique_ptr<AnyModel> make_network(ModelInfo info) {
    return std::make_unique<NamedModel<Network>>(std::move(info));
}

template <class Network>
constexpr KnownModel known(const char* name, Task task, int height = 224, int width = 224) {
    return {name, task, height, width, make_network<Network>, Network::parameters};
}

/// The published networks. Backbones of L have the eps of the weights that there are for them: classifiers' for l1 to
/// l3, SAM's for the others.
EFFICIENTVIT_COLD inline std::span<const KnownModel> known_models() {
    using enum Task;
    static constexpr KnownModel models[] = {
        known<BackboneB0>("backbone_b0", backbone),
        known<BackboneB1>("backbone_b1", backbone),
        known<BackboneB2>("backbone_b2", backbone),
        known<BackboneB3>("backbone_b3", backbone),
        known<SamImageEncoderL0::Backbone>("backbone_l0", backbone),
        known<ClsL1<>::Backbone>("backbone_l1", backbone),
        known<ClsL2<>::Backbone>("backbone_l2", backbone),
        known<ClsL3<>::Backbone>("backbone_l3", backbone),
        known<SamImageEncoderXL0::Backbone>("backbone_xl0", backbone),
        known<SamImageEncoderXL1::Backbone>("backbone_xl1", backbone),
        known<ClsB0<>>("cls_b0", classification),
        known<ClsB1<>>("cls_b1", classification),
        known<ClsB2<>>("cls_b2", classification),
        known<ClsB3<>>("cls_b3", classification),
        known<ClsL1<>>("cls_l1", classification),
        known<ClsL2<>>("cls_l2", classification),
        known<ClsL3<>>("cls_l3", classification),
        known<SegB0Cityscapes<>>("seg_b0_cityscapes", segmentation, 1024, 2048),
        known<SegB1Cityscapes<>>("seg_b1_cityscapes", segmentation, 1024, 2048),
        known<SegB2Cityscapes<>>("seg_b2_cityscapes", segmentation, 1024, 2048),
        known<SegB3Cityscapes<>>("seg_b3_cityscapes", segmentation, 1024, 2048),
        known<SegL1Cityscapes<>>("seg_l1_cityscapes", segmentation, 1024, 2048),
        known<SegL2Cityscapes<>>("seg_l2_cityscapes", segmentation, 1024, 2048),
        known<SegB1ADE20K<>>("seg_b1_ade20k", segmentation, 512, 512),
        known<SegB2ADE20K<>>("seg_b2_ade20k", segmentation, 512, 512),
        known<SegB3ADE20K<>>("seg_b3_ade20k", segmentation, 512, 512),
        known<SegL1ADE20K<>>("seg_l1_ade20k", segmentation, 512, 512),
        known<SegL2ADE20K<>>("seg_l2_ade20k", segmentation, 512, 512),
        known<SamImageEncoderL0>("sam_l0", image_encoder, 512, 512),
        known<SamImageEncoderL1>("sam_l1", image_encoder, 512, 512),
        known<SamImageEncoderL2>("sam_l2", image_encoder, 512, 512),
        known<SamImageEncoderXL0>("sam_xl0", image_encoder, 1024, 1024),
        known<SamImageEncoderXL1>("sam_xl1", image_encoder, 1024, 1024),
    };
    return models;
}

/// A name as users have it, taken apart.
struct RequestedModel {
    std::string name;        ///< as in the table, if it is there
    int resolution = 0;      ///< of "…-r256"; 0: not said
    bool from_timm = false;  ///< whose weights are for another crop
};

/// "efficientvit-b1-r256" and "efficientvit_b1.r256_in1k" to cls_b1 and 256; "efficientvit-sam-xl1" to sam_xl1.
EFFICIENTVIT_COLD inline RequestedModel parse_model_name(std::string_view text) {
    RequestedModel out;
    for (const char c : text) out.name += c == '-' || c == '.' ? '_' : c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
    std::string_view rest = out.name;
    const bool published = cut_front(rest, "efficientvit_");
    const bool tagged = rest.ends_with("_in1k");
    if (tagged) rest.remove_suffix(5);
    const std::size_t tag = rest.rfind("_r");
    if (tag != std::string_view::npos && rest.size() == tag + 5) {
        int resolution = 0;
        for (const char c : rest.substr(tag + 2)) resolution = c < '0' || c > '9' ? -1000 : 10 * resolution + (c - '0');
        if (resolution > 0) {
            out.resolution = resolution;
            rest = rest.substr(0, tag);
        }
    }
    out.from_timm = tagged || (out.resolution == 0 && text.starts_with("efficientvit_") && rest.size() == 2);
    out.name = published && rest.find('_') == std::string_view::npos ? concat({"cls_", rest}) : std::string(rest);
    return out;
}

/// Levenshtein's distance: letters to insert, drop or change.
EFFICIENTVIT_COLD inline std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

[[noreturn]] EFFICIENTVIT_COLD inline void throw_unknown_model(std::string_view asked, std::string_view parsed) {
    std::vector<std::pair<std::size_t, const char*>> nearest;
    for (const KnownModel& model : known_models()) {
        const std::string_view name = model.name;
        const std::string_view without_task = name.substr(name.find('_') + 1);
        const bool part = name.find(parsed) != std::string_view::npos;  // "seg_b1": of which data set?
        const std::size_t distance = std::min(edit_distance(parsed, name), edit_distance(parsed, without_task));
        nearest.emplace_back(part ? 0 : distance, model.name);
    }
    std::stable_sort(nearest.begin(), nearest.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    throw ConfigError(concat({"there is no model ", in_quotes(asked), "; the nearest names are ", nearest[0].second,
                              ", ", nearest[1].second, " and ", nearest[2].second, ", model_names() has all ",
                              std::to_string(nearest.size())}));
}

EFFICIENTVIT_COLD inline std::string identify(const StateDict& weights, std::string_view prefix) {
    FileNames names(weights, prefix);
    std::string best;
    std::size_t most = 0;
    for (const KnownModel& model : known_models()) {
        const std::vector<Parameter> wanted = model.parameters();
        const NameRule rule = best_rule(names, wanted);
        std::size_t fitting = 0;
        for (const Parameter& parameter : wanted) {
            const FileNames::Tensor* const tensor = names.find(rule.in_file(parameter.name));
            if (tensor != nullptr && tensor->entry != nullptr && tensor->entry->shape == parameter.shape) ++fitting;
        }
        // A tensor that is not there speaks against a model as much as one that is there for it.
        const std::size_t missing = wanted.size() - fitting;
        if (fitting > missing && fitting - missing > most) {
            most = fitting - missing;
            best = model.name;
        }
    }
    return best;
}

/// What is said of weights that identify() does not know. Where a network stands below a prefix, it is named.
EFFICIENTVIT_COLD inline std::string unknown_weights(const StateDict& weights) {
    std::string text = concat(
        {weights.source(), weights.source().empty() ? "" : ": ", "these look like the weights of no known model"});
    int tried = 0;
    for (const std::string_view first : {"input_stem.op_list.0.conv.weight", "stages.0.op_list.0.conv.weight",
                                         "stem.in_conv.conv.weight", "stem_in_conv.conv.weight"}) {
        for (const auto& [name, entry] : weights) {
            if (!name.ends_with(first) || name.size() == first.size() || ++tried > 5) continue;
            std::string_view prefix = std::string_view(name).substr(0, name.size() - first.size());
            for (const std::string_view part : {"backbone.", "image_encoder."}) {  // of a whole model
                if (prefix.ends_with(part)) prefix.remove_suffix(part.size());
            }
            const std::string model = identify(weights, prefix);
            if (model.empty()) continue;
            return concat({text, "; below the prefix ", in_quotes(prefix), " they look like ", model, "'s"});
        }
    }
    return text;
}

/// As identify(), but throws WeightsError where the weights look like no model's.
EFFICIENTVIT_COLD inline std::string identified(const StateDict& weights, std::string_view prefix = {}) {
    std::string name = identify(weights, prefix);
    if (name.empty()) throw WeightsError(unknown_weights(weights));
    return name;
}

}  // namespace detail

/// The names that make_model() knows: "backbone_b0" to "backbone_b3", "backbone_l0" to "backbone_l3", "backbone_xl0",
/// "backbone_xl1"; "cls_b0" … "cls_l3"; "seg_b0_cityscapes" … "seg_l2_ade20k"; "sam_l0" … "sam_xl1".
inline std::vector<std::string> model_names() {
    std::vector<std::string> names;
    for (const detail::KnownModel& model : detail::known_models()) names.emplace_back(model.name);
    return names;
}

/// The known model whose names and shapes a state dict has, or most of them: a classifier with another number of
/// classes is still one. Empty where it looks like none. As in load_state_dict(), wrappers and timm's names are seen
/// through, and only names that begin with `prefix` are looked at.
inline std::string identify(const StateDict& weights, std::string_view prefix = {}) {
    return detail::identify(weights, prefix);
}

/// A published network, without weights yet. Takes the names of model_names(), and those that its weights are
/// published under: mit-han-lab's "efficientvit-b1-r288", "efficientvit-seg-l1-ade20k", "efficientvit-sam-xl1" with -
/// or _, timm's "efficientvit_l2.r288_in1k"; the resolution and, with timm's, the crop then go into info(). Throws
/// ConfigError for any other and names the nearest.
EFFICIENTVIT_COLD inline std::unique_ptr<AnyModel> make_model(std::string_view name) {
    const detail::RequestedModel asked = detail::parse_model_name(name);
    for (const detail::KnownModel& model : detail::known_models()) {
        if (asked.name != model.name || (asked.resolution != 0 && model.task != Task::classification)) continue;
        ModelInfo info{.name = model.name, .task = model.task, .height = model.height, .width = model.width};
        if (asked.resolution != 0) info.height = info.width = asked.resolution;
        if (model.task == Task::classification) {
            // timm's tags say 1.0 but for B at 224, the reference's evaluation 1.0 but for b0 and b1.
            const bool small = info.name == "cls_b0" || info.name == "cls_b1";
            const bool timm_b = info.height == 224 && info.name.find("_l") == std::string::npos;
            info.crop_ratio = (asked.from_timm ? timm_b : small) ? 0.95 : 1.0;
            info.round_up = !asked.from_timm;
        }
        return model.make(std::move(info));
    }
    detail::throw_unknown_model(name, asked.name);
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Which name of a file belongs to which name of a model: wrappers, naming conventions, and what a published
// file holds beside a backbone. Names only: shapes, dtypes and errors are load.hpp's.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/weights/int8_weights.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>
#include <efficientvit/weights/timm_names.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

enum class Naming { official, timm, timm_features };

/// The first component of a name, its dot included; the whole name if it has no dot.
inline std::string_view first_component(std::string_view name) {
    const std::size_t dot = name.find('.');
    return dot == std::string_view::npos ? name : name.substr(0, dot + 1);
}

/// A counter of batch norm or of torch.optim.swa_utils.AveragedModel, which training needs and nobody else.
inline bool is_counter(std::string_view name) {
    const std::string_view last = name.substr(name.rfind('.') + 1);  // all of it where there is no dot
    return last == "num_batches_tracked" || last == "n_averaged";
}

/// Without the components that DataParallel and torch.compile put in, wherever they stand. The reference has no
/// such name of its own.
EFFICIENTVIT_COLD inline std::string without_python_wrappers(std::string_view name) {
    std::string out;
    out.reserve(name.size());
    while (!name.empty()) {
        const std::string_view component = first_component(name);
        if (component != "module." && component != "_orig_mod.") out += component;
        name.remove_prefix(component.size());
    }
    return out;
}

/// The names of a file below an explicit prefix, without wrappers of Python's making, counters left out.
class FileNames {
public:
    struct Tensor {
        std::string_view name;  ///< in the file, the prefix included
        const Entry* entry;     ///< null: of elements that are not read, which `odd` tells
        std::string_view odd{};
        const Entry* scale = nullptr;  ///< of 8-bit integers, see int8_weights.hpp
        bool used = false;
    };
    using Map = std::map<std::string, Tensor, std::less<>>;

    EFFICIENTVIT_COLD FileNames(const StateDict& weights, std::string_view prefix) {
        for (const auto& [full_name, entry] : weights) {
            std::string_view name = full_name;
            if (!cut_front(name, prefix) || is_counter(name) || is_scale(name, entry)) continue;
            const Tensor tensor{full_name, &entry};
            // Two names that differ only in such wrappers: the later stays unused and is reported as unexpected.
            if (!tensors_.try_emplace(without_python_wrappers(name), tensor).second) doubles_.push_back(full_name);
        }
        for (const auto& [full_name, what] : weights.unreadable()) {
            std::string_view name = full_name;
            if (cut_front(name, prefix)) {
                tensors_.try_emplace(without_python_wrappers(name), Tensor{full_name, nullptr, what});
            }
        }
    }

    Tensor* find(std::string_view name) {
        const auto found = tensors_.find(name);
        return found == tensors_.end() ? nullptr : &found->second;
    }

    bool empty() const { return tensors_.empty(); }
    Map::const_iterator begin() const { return tensors_.begin(); }
    Map::const_iterator end() const { return tensors_.end(); }
    const std::vector<std::string_view>& doubles() const { return doubles_; }

private:
    /// Whether it is the scale of integers, to which it then belongs. They come before it in the order of names.
    bool is_scale(std::string_view name, const Entry& entry) {
        if (!name.ends_with(int8_scale_suffix) || !is_floating_point(entry.dtype)) return false;
        name.remove_suffix(int8_scale_suffix.size());
        Tensor* const integers = find(without_python_wrappers(name));
        if (integers == nullptr || integers->entry->dtype != DType::i8) return false;
        integers->scale = &entry;
        return true;
    }

    Map tensors_;
    std::vector<std::string_view> doubles_;
};

/// How the model's names are to be found in the file: `wrapper` + the name in the convention `naming`.
class NameRule {
public:
    NameRule() = default;
    NameRule(std::string wrapper, Naming naming, Family family)
        : wrapper_(std::move(wrapper)), naming_(naming), family_(family) {}

    const std::string& wrapper() const { return wrapper_; }
    Naming naming() const { return naming_; }

    /// The name in the file (without an explicit prefix); empty where the convention has none for it.
    EFFICIENTVIT_COLD std::string in_file(std::string_view official) const {
        std::string name = naming_ == Naming::official ? std::string(official) : timm_name(official, family_);
        if (naming_ == Naming::timm_features) name = timm_features_name(name);
        return name.empty() ? name : concat({wrapper_, name});
    }

private:
    std::string wrapper_;
    Naming naming_ = Naming::official;
    Family family_ = Family::b;
};

EFFICIENTVIT_COLD inline Family family_of(const std::vector<Parameter>& wanted) {
    // The stem of the L family is stage 0, and its first layer a plain convolution; in the B family that is a block.
    for (const Parameter& parameter : wanted) {
        std::string_view name = parameter.name;
        cut_front(name, "backbone.");
        if (name.starts_with("stages.0.op_list.0.conv.")) return Family::l;
    }
    return Family::b;
}

inline bool is_known_wrapper(std::string_view component) {
    for (const std::string_view known : {"model.", "net.", "network.", "encoder.", "image_encoder.", "prompt_encoder.",
                                         "mask_decoder.", "backbone."}) {
        if (component == known) return true;
    }
    return false;
}

/// The rule under which most of the wanted names are in the file; the shortest wrapper and the reference's own
/// convention where several find as many. The file's names are looked up among the wanted ones, not the other way
/// round: a file may be made to have thousands of wrappers, and the work grows with its names only.
EFFICIENTVIT_COLD inline NameRule best_rule(FileNames& names, const std::vector<Parameter>& wanted) {
    constexpr int deepest = 4;  // of known wrappers inside each other
    constexpr std::array<Naming, 3> namings{Naming::official, Naming::timm, Naming::timm_features};
    using Counts = std::array<std::size_t, namings.size()>;
    const Family family = family_of(wanted);
    for (const Naming naming : namings) {  // nearly every file: all names, without a wrapper
        const NameRule bare("", naming, family);
        const auto there = [&](const Parameter& parameter) {
            const std::string name = bare.in_file(parameter.name);
            return !name.empty() && names.find(name) != nullptr;
        };
        if (std::all_of(wanted.begin(), wanted.end(), there)) return bare;
    }
    std::map<std::string, Counts, std::less<>> expected;
    for (std::size_t i = 0; i < namings.size(); ++i) {
        const NameRule bare("", namings[i], family);
        for (const Parameter& parameter : wanted) {
            const std::string name = bare.in_file(parameter.name);
            if (!name.empty()) ++expected[name][i];
        }
    }
    std::map<std::string_view, Counts> found;  // by wrapper, "" for none
    for (const auto& [name, tensor] : names) {
        std::string_view rest = name;
        for (int depth = 0; depth <= deepest; ++depth) {
            if (const auto here = expected.find(rest); here != expected.end()) {
                Counts& counts = found[std::string_view(name).substr(0, name.size() - rest.size())];
                for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += here->second[i];
            }
            const std::string_view component = first_component(rest);
            if (!is_known_wrapper(component)) break;
            rest.remove_prefix(component.size());
        }
    }
    NameRule best;
    std::size_t most = 0;
    for (const auto& [wrapper, counts] : found) {
        for (std::size_t i = 0; i < counts.size(); ++i) {
            if (counts[i] > most || (counts[i] == most && most > 0 && wrapper.size() < best.wrapper().size())) {
                most = counts[i];
                best = NameRule(std::string(wrapper), namings[i], family);
            }
        }
    }
    return best;
}

/// Whether all wanted tensors are in the file by this rule, with their shapes.
EFFICIENTVIT_COLD inline bool all_fit(const StateDict& weights, const std::vector<Parameter>& wanted,
                                      const NameRule& rule) {
    return std::all_of(wanted.begin(), wanted.end(), [&](const Parameter& parameter) {
        const std::string name = rule.in_file(parameter.name);
        const Entry* const tensor = name.empty() ? nullptr : weights.find(name);
        if (!parameter.shape.empty() && parameter.shape.front() < 0) return true;  // of any size, and perhaps left out
        return tensor != nullptr && tensor->shape == parameter.shape;
    });
}

/// At most so many beginnings of names, each with its dot, below which all wanted tensors are, by any convention.
EFFICIENTVIT_COLD inline std::vector<std::string> fitting_prefixes(const StateDict& weights,
                                                                   const std::vector<Parameter>& wanted,
                                                                   std::size_t most) {
    std::vector<std::string> out;
    const Family family = family_of(wanted);
    for (const Naming naming : {Naming::official, Naming::timm, Naming::timm_features}) {
        const std::string first = NameRule("", naming, family).in_file(wanted.front().name);
        if (first.empty()) continue;
        for (const auto& [name, entry] : weights) {
            if (out.size() == most) return out;
            if (name.size() <= first.size() || !name.ends_with(first)) continue;
            std::string prefix = name.substr(0, name.size() - first.size());
            if (!prefix.ends_with('.') || std::find(out.begin(), out.end(), prefix) != out.end()) continue;
            if (all_fit(weights, wanted, NameRule(prefix, naming, family))) out.push_back(std::move(prefix));
        }
    }
    return out;
}

/// What a SAM's file holds beside one of its three parts, which stands below `wrapper`.
EFFICIENTVIT_COLD inline std::vector<std::string> beside_part_of_sam(std::string_view wrapper) {
    constexpr std::array<std::string_view, 5> all{"image_encoder.", "prompt_encoder.", "mask_decoder.", "pixel_mean",
                                                  "pixel_std"};
    std::vector<std::string> out;
    for (const std::string_view part : all) {
        if (!part.ends_with('.') || !wrapper.ends_with(part)) continue;
        wrapper.remove_suffix(part.size());
        for (const std::string_view other : all) {
            if (other != part) out.push_back(concat({wrapper, other}));
        }
        break;
    }
    return out;
}

/// The beginnings of names that a published model holds beside what is wanted, and that are passed over: the heads
/// beside a bare backbone, and the other parts of a SAM beside its image encoder, prompt encoder or mask decoder. Empty
/// for a layer, and for a model that has such a part itself.
EFFICIENTVIT_COLD inline std::vector<std::string> passed_over(const std::vector<Parameter>& wanted,
                                                              const NameRule& rule) {
    bool bare = !wanted.empty();
    bool neck = false;
    for (const Parameter& parameter : wanted) {
        if (!parameter.name.starts_with("input_stem.") && !parameter.name.starts_with("stages.")) bare = false;
        if (parameter.name.starts_with("neck.")) neck = true;
    }
    std::string_view outer = rule.wrapper();
    if (!bare && !neck && !outer.ends_with("prompt_encoder.") && !outer.ends_with("mask_decoder.")) return {};
    std::vector<std::string> out;
    const auto add = [&](std::initializer_list<std::string_view> words) {
        for (const std::string_view word : words) out.push_back(concat({outer, word}));
    };
    if (bare && rule.naming() != Naming::official) add({"head."});
    if (bare && outer.ends_with("backbone.")) {
        outer.remove_suffix(std::string_view("backbone.").size());
        add({"head.", "neck.", "norm."});
    }
    for (std::string& name : beside_part_of_sam(outer)) out.push_back(std::move(name));
    return out;
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// From a state dict to a model: the tensors that the model asks for are found and checked all together. Layers read
// them by weight_reader.hpp. Knows no layer; which names a file uses is name_matching.hpp's.
#pragma once

#include <efficientvit/compiled/door.hpp>
#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/kernels/precision.hpp>
#include <efficientvit/weights/int8_weights.hpp>
#include <efficientvit/weights/name_matching.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// How load_state_dict() reads.
struct LoadOptions {
    /// Only tensors whose names begin so are looked at, and the rest of the name is what counts. Taken as it
    /// stands, so it ends with a dot: "stages.0.op_list.1.main.".
    std::string prefix{};
    /// As in PyTorch: a tensor missing or unexpected is an error. A wrong shape or dtype is one in any case.
    bool strict = true;
    /// The instruction set to pack the weights for; the best that this CPU has where none is given.
    std::optional<Isa> isa{};
    /// What 1x1 and dense convolutions multiply, see kernels/precision.hpp.
    Precision precision{};
    /// Whether 3x3 convolutions with stride 1 of floats are Winograd's where that is faster
    /// (kernels/winograd_args.hpp). Their weights then take five times as much memory. In int8 on the CPUs that
    /// kernels/precision.hpp names, where weights take no more memory. EFFICIENTVIT_WINOGRAD=0 in the environment says
    /// no to all.
    bool winograd = true;
};

/// LoadOptions::winograd, unless the environment variable EFFICIENTVIT_WINOGRAD is 0. Throws ConfigError where that is
/// something else than 0 or 1.
EFFICIENTVIT_COLD inline bool winograd_wanted(const LoadOptions& options) {
    if (!options.winograd) return false;
    const char* const variable = std::getenv("EFFICIENTVIT_WINOGRAD");
    const std::string_view value = variable == nullptr ? "" : variable;
    if (!value.empty() && value != "0" && value != "1") {
        throw ConfigError(detail::concat({"EFFICIENTVIT_WINOGRAD is '", value, "', known are 0, 1"}));
    }
    return value != "0";
}

/// What load_state_dict() found, as PyTorch returns it; both empty under strict.
struct LoadReport {
    std::vector<std::string> missing;     ///< by the model's names
    std::vector<std::string> unexpected;  ///< by the file's names
};

/// The tensors of a state dict that a model wants, found and checked. Refers to the state dict, which must outlive
/// it.
class MatchedWeights {
public:
    /// Finds `wanted` (the reference's names) in `weights`, whatever wrapper and naming convention (reference,
    /// timm, timm features_only) these use. Throws one WeightsError that lists every tensor missing, unexpected, or
    /// of the wrong shape or dtype. `num_batches_tracked` is passed over; so are the known heads beside a bare
    /// backbone, and what no model can want (StateDict::unreadable()).
    EFFICIENTVIT_COLD MatchedWeights(const StateDict& weights, const std::vector<Parameter>& wanted,
                                     const LoadOptions& options = {}) {
#if defined(EFFICIENTVIT_COMPILED)
        detail::door().match(*this, weights, wanted, options);
#else
        match(weights, wanted, options);
#endif
    }

    /// The constructor's work.
    EFFICIENTVIT_COLD void match(const StateDict& weights, const std::vector<Parameter>& wanted,
                                 const LoadOptions& options) {
        detail::FileNames names(weights, options.prefix);
        const detail::NameRule rule = detail::best_rule(names, wanted);
        Problems problems;
        for (const Parameter& parameter : wanted) {
            const std::string in_file = rule.in_file(parameter.name);
            detail::FileNames::Tensor* tensor = in_file.empty() ? nullptr : names.find(in_file);
            if (tensor == nullptr && may_be_left_out(parameter) && open_tensors(names, rule, wanted) == 0) {
                found_.try_emplace(parameter.name, detail::FileNames::Tensor{{}, nullptr});
                continue;
            }
            if (tensor == nullptr) {
                report_.missing.push_back(parameter.name);
                problems.missing.add(detail::concat({options.prefix, in_file.empty() ? parameter.name : in_file}),
                                     parameter.name, ", shape ", detail::shape_text(parameter.shape));
                continue;
            }
            tensor->used = true;
            take(parameter, *tensor, problems);
        }
        const std::vector<std::string> heads = detail::passed_over(wanted, rule);
        for (const auto& [name, tensor] : names) {
            bool expected = tensor.used || tensor.entry == nullptr;
            for (const std::string& head : heads) expected = expected || name.starts_with(head);
            if (!expected) report_.unexpected.emplace_back(tensor.name);
        }
        for (const std::string_view name : names.doubles()) report_.unexpected.emplace_back(name);
        if (options.strict) {
            for (const std::string& name : report_.unexpected) {
                problems.unexpected.add(name, name, ", shape ", detail::shape_text(weights.at(name).shape));
            }
        } else {
            problems.missing = {};
        }
        if (problems.missing.count + problems.shapes.count + problems.dtypes.count + problems.unexpected.count > 0) {
            throw WeightsError(problems.message(weights, rule, wanted, options));
        }
    }

    /// The tensor that the reference calls so; null if it is missing (only without strict) or was not asked for.
    const Entry* find(std::string_view name) const {
        const auto found = found_.find(name);
        return found == found_.end() ? nullptr : found->second.entry;
    }

    /// The scales of that tensor, where it is of 8-bit integers.
    const Entry* find_scale(std::string_view name) const {
        const auto found = found_.find(name);
        return found == found_.end() ? nullptr : found->second.scale;
    }

    /// Whether the file leaves out all tensors with Parameter::any_or_none, and this is one.
    bool left_out(std::string_view name) const {
        const auto found = found_.find(name);
        return found != found_.end() && found->second.entry == nullptr;
    }

    /// What was loaded and what passed over.
    const LoadReport& report() const { return report_; }
    /// The same, which is gone here afterwards.
    LoadReport take_report() { return std::move(report_); }

    /// What Parameter::any was found to be; 0 where no tensor has it, or all that have it are left out.
    std::int64_t open_extent() const { return open_extent_; }

private:
    static bool is_open(const Parameter& parameter) { return !parameter.shape.empty() && parameter.shape.front() < 0; }
    static bool may_be_left_out(const Parameter& parameter) {
        return !parameter.shape.empty() && parameter.shape.front() == Parameter::any_or_none;
    }

    /// One kind of misfit: a line for each tensor.
    struct List {
        std::size_t count = 0;
        std::string lines;

        void add(std::string_view in_file, std::string_view official, std::string_view what, std::string_view value,
                 std::string_view then = {}, std::string_view second = {}) {
            ++count;
            lines += detail::concat({"\n  ", detail::printable(in_file)});
            if (in_file != official) lines += detail::concat({" (the model's ", official, ")"});
            lines += detail::concat({what, value, then, second});
        }
    };

    struct Problems {
        List missing;
        List shapes;
        List dtypes;
        List unexpected;

        EFFICIENTVIT_COLD std::string message(const StateDict& weights, const detail::NameRule& rule,
                                              const std::vector<Parameter>& wanted, const LoadOptions& options) const {
            const auto number = [](std::size_t n) { return std::to_string(n); };
            std::string out =
                detail::concat({weights.source().empty() ? "the state dict" : weights.source(),
                                " does not fit the model: of the model's ", number(wanted.size()), " tensors ",
                                number(missing.count), " missing, ", number(shapes.count), " of the wrong shape, ",
                                number(dtypes.count), " of the wrong dtype; of the file's ", number(weights.size()),
                                " tensors ", number(unexpected.count), " unexpected"});
            if (rule.naming() != detail::Naming::official) out += "\nits names were read as timm's";
            if (!rule.wrapper().empty()) {
                out += detail::concat({"\nthe model's names were found below ", detail::in_quotes(rule.wrapper())});
            }
            if (2 * (missing.count + shapes.count) > wanted.size()) out += hints(weights, wanted, options);
            if (missing.count + shapes.count + dtypes.count == 0) out += prefix_hint(weights, wanted, true);
            const auto section = [&out](std::string_view title, const List& list) {
                if (list.count > 0) out += detail::concat({"\n", title, ":", list.lines});
            };
            section("missing", missing);
            section("wrong shape", shapes);
            section("wrong dtype", dtypes);
            section("unexpected", unexpected);
            return out;
        }
    };

    /// Takes a tensor of the file that has the parameter's name, unless it is of another shape or dtype.
    EFFICIENTVIT_COLD void take(const Parameter& parameter, const detail::FileNames::Tensor& tensor,
                                Problems& problems) {
        constexpr std::string_view floats = ", expected F32, F16, BF16 or F64";
        if (tensor.entry == nullptr) {
            return problems.dtypes.add(tensor.name, parameter.name, ": found ", tensor.odd, floats);
        }
        const std::vector<std::int64_t> shape = expected_shape(parameter, *tensor.entry);
        const auto has_shape = [&](const Entry& entry, const std::vector<std::int64_t>& expected,
                                   std::string_view suffix) {
            if (entry.shape == expected) return true;
            problems.shapes.add(detail::concat({tensor.name, suffix}), detail::concat({parameter.name, suffix}),
                                ": found ", detail::shape_text(entry.shape), ", expected ",
                                detail::shape_text(expected));
            return false;
        };
        if (!has_shape(*tensor.entry, shape, "")) return;
        if (tensor.scale != nullptr) {
            if (!has_shape(*tensor.scale, detail::int8_scale_shape(shape), detail::int8_scale_suffix)) return;
        } else if (!is_floating_point(tensor.entry->dtype)) {
            return problems.dtypes.add(tensor.name, parameter.name, ": found ", dtype_name(tensor.entry->dtype),
                                       floats);
        }
        found_.try_emplace(parameter.name, tensor);
    }

    /// How many tensors of any size the file has.
    static int open_tensors(detail::FileNames& names, const detail::NameRule& rule,
                            const std::vector<Parameter>& wanted) {
        int count = 0;
        for (const Parameter& parameter : wanted) {
            if (is_open(parameter) && names.find(rule.in_file(parameter.name)) != nullptr) ++count;
        }
        return count;
    }

    /// The parameter's shape, any size in it settled by the first tensor that has it.
    std::vector<std::int64_t> expected_shape(const Parameter& parameter, const Entry& entry) {
        std::vector<std::int64_t> shape = parameter.shape;
        if (!is_open(parameter)) return shape;
        if (open_extent_ == 0 && entry.shape.size() == shape.size() && entry.shape.front() <= 1 << 20) {
            open_extent_ = entry.shape.front();
        }
        if (open_extent_ != 0) shape.front() = open_extent_;
        return shape;
    }

    /// Prefixes below which a file has the whole model, and nothing else where `alone` says so: a model within
    /// another's file, or a layer within a model's.
    EFFICIENTVIT_COLD static std::string prefix_hint(const StateDict& weights, const std::vector<Parameter>& wanted,
                                                     bool alone) {
        std::string prefixes;
        for (const std::string& prefix : detail::fitting_prefixes(weights, wanted, 5)) {
            const detail::FileNames below(weights, prefix);
            const auto count = static_cast<std::size_t>(std::distance(below.begin(), below.end()));
            if (alone && count + below.doubles().size() > wanted.size()) continue;
            prefixes += detail::concat({prefixes.empty() ? "" : ", ", detail::in_quotes(prefix)});
        }
        if (prefixes.empty()) return {};
        return detail::concat({"\nprefixes with which all names and shapes would fit: ", prefixes});
    }

    /// What may help somebody who has the wrong file or prefix.
    EFFICIENTVIT_COLD static std::string hints(const StateDict& weights, const std::vector<Parameter>& wanted,
                                               const LoadOptions& options) {
        std::string names;
        std::size_t shown = 0;
        std::size_t below_prefix = 0;
        for (const auto& [name, entry] : weights) {
            if (++shown <= 5) names += detail::concat({shown > 1 ? ", " : "", detail::in_quotes(name)});
            if (name.starts_with(options.prefix)) ++below_prefix;
        }
        std::string out;
        if (below_prefix == 0 && !options.prefix.empty()) {
            out += detail::concat({"\nno name begins with the prefix ", detail::in_quotes(options.prefix),
                                   options.prefix.ends_with('.') ? "" : ", which does not end with a dot"});
        }
        out += "\nthese look like the weights of another model, or a prefix is needed; the file's first names: ";
        out += weights.empty() ? "none" : names;
        return out + prefix_hint(weights, wanted, false);
    }

    detail::FileNames::Map found_;
    LoadReport report_;
    std::int64_t open_extent_ = 0;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Where this library and PyTorch part: runs a network beside the activations that dump_activations.py has stored, and
// names the first layer whose output is farther from them than its bound. Status 0: none is; 1: one is; 2: no answer.
#include <efficientvit/build_info.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/timm_names.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "../common/arguments.hpp"
#include "../common/models.hpp"
#include "parts.hpp"

namespace {

namespace ev = efficientvit;
using difference::Part;

/// The file: "input", "weights.<name in the state dict>", "activations.<name of the module>", "output".
class Dump {
public:
    explicit Dump(const std::string& path) : path_(path), tensors_(ev::load_safetensors(path)) {}

    ev::StateDict weights() const {
        ev::StateDict out;
        out.set_source(path_);
        for (const auto& [name, entry] : tensors_) {
            if (!name.starts_with("weights.")) continue;
            out.insert(name.substr(8), entry.dtype, entry.shape, entry.data, entry.owner);
        }
        return out;
    }

    /// What came out of the module that the reference calls so, whosever model it was.
    ev::Tensor activation(const std::string& name, ev::detail::Family family) const {
        for (const std::string& candidate : names(name, family)) {
            const std::string full = "activations." + candidate;
            if (tensors_.find(full) != nullptr) return tensor(full);
        }
        throw ev::WeightsError(path_ + " has no activation of " + name);
    }

    /// As NCHW; what has fewer axes has H = W = 1.
    ev::Tensor tensor(const std::string& name) const {
        const ev::Entry& entry = tensors_.at(name);
        std::vector<std::int64_t> shape = entry.shape;
        if (shape.size() < 2 || shape.size() > 4) throw ev::WeightsError(path_ + ": " + name + " is no batch of maps");
        shape.resize(4, 1);
        ev::Tensor out(shape[0], shape[1], shape[2], shape[3]);
        const std::vector<float> values = ev::to_float(entry);
        std::copy(values.begin(), values.end(), out.data());
        return out;
    }

private:
    /// What that module may be called in the reference's classifiers, its SAM, its bare backbones, timm's classifiers
    /// and timm's features_only models.
    static std::vector<std::string> names(std::string name, ev::detail::Family family) {
        if (!name.starts_with("head.") && !name.starts_with("backbone.")) name.insert(0, "backbone.");
        std::vector<std::string> out{name, "image_encoder." + name, name.substr(name.find('.') + 1)};
        const std::string timm = ev::detail::timm_name(name + ".", family);
        for (const std::string& below : {timm, ev::detail::timm_features_name(timm)}) {
            if (!below.empty()) out.push_back(below.substr(0, below.size() - 1));
        }
        // Behind the pool timm's head is one row of modules.
        if (name == "head.op_list.1") out.push_back("head.global_pool");
        if (name == "head.op_list.2") out.push_back("head.classifier.2");
        if (name == "head.op_list.3") out.push_back("head.classifier.4");
        return out;
    }

    std::string path_;
    ev::StateDict tensors_;
};

/// The tensors that `model` wants, by the reference's names.
ev::StateDict with_official_names(const ev::StateDict& weights, const ev::AnyModel& model) {
    ev::StateDict out;
    const std::vector<ev::Parameter> parameters = model.parameters();
    const ev::MatchedWeights matched(weights, parameters);
    for (const ev::Parameter& p : parameters) {
        const ev::Entry& entry = *matched.find(p.name);
        out.insert(p.name, entry.dtype, entry.shape, entry.data, entry.owner);
        if (const ev::Entry* const scale = matched.find_scale(p.name)) {
            out.insert(p.name + "_scale", scale->dtype, scale->shape, scale->data, scale->owner);
        }
    }
    return out;
}

/// Largest difference beside the largest value; infinite where shapes differ, or NaN and numbers.
double relative_difference(const ev::Tensor& found, const ev::Tensor& expected) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (found.dimensions() != expected.dimensions()) return infinity;
    double difference = 0, largest = 0;
    for (Eigen::Index i = 0; i < found.size(); ++i) {
        const double x = double{found.data()[i]}, y = double{expected.data()[i]};
        if (std::isfinite(y)) largest = std::max(largest, std::abs(y));
        if (x == y || (std::isnan(x) && std::isnan(y))) continue;
        difference = std::max(difference, std::isfinite(x - y) ? std::abs(x - y) : infinity);
    }
    return difference == 0 ? 0 : difference / largest;
}

/// The rows of the table, and the first that is beyond its bound.
class Table {
public:
    Table(double bound, double total_bound) : bounds_{bound, total_bound} {
        std::printf("%-46s %-16s %9s %9s\n", "", "output", "alone", "in a row");
    }

    /// Differences on the reference's own input and on what came out before; a negative one is not shown.
    void add(const std::string& name, const ev::Tensor& output, double alone, double in_a_row) {
        const auto& d = output.dimensions();
        const std::string shape =
            std::to_string(d[0]) + "x" + std::to_string(d[1]) + "x" + std::to_string(d[2]) + "x" + std::to_string(d[3]);
        std::printf("%-46s %-16s", name.c_str(), shape.c_str());
        bool beyond = false;
        for (std::size_t i = 0; i < 2; ++i) {
            const double difference = i == 0 ? alone : in_a_row;
            difference < 0 ? std::printf(" %9s", "") : std::printf(" %9.1e", difference);
            if (difference <= bounds_[i]) continue;
            beyond = true;
            if (first_.empty()) first_ = name + (i == 0 ? "" : ", though each layer alone is within its bound");
        }
        std::printf("%s\n", beyond ? "  BEYOND" : "");
    }

    const std::string& first() const { return first_; }

private:
    std::array<double, 2> bounds_;
    std::string first_;
};

int compare(const cxxopts::ParseResult& arguments) {
    if (arguments.count("dump") == 0) throw std::runtime_error("which dump? See --help");
    const auto text = [&](const char* name) { return arguments[name].as<std::string>(); };
    ev::LoadOptions options;
    for (const ev::Isa isa : {ev::Isa::scalar, ev::Isa::avx2, ev::Isa::avx512, ev::Isa::neon, ev::Isa::wasm}) {
        if (text("isa") == ev::isa_name(isa)) options.isa = isa;
    }
    if (!options.isa && !text("isa").empty()) throw std::runtime_error("--isa: scalar, avx2, avx512, neon or wasm");
    for (const ev::Precision& p : {ev::Precision::f32, ev::Precision::bf16_weights, ev::Precision::bf16,
                                   ev::Precision::int8, ev::Precision::f16}) {
        if (text("precision") == p.name()) options.precision = p;
    }
    if (text("precision") != options.precision.name()) {
        throw std::runtime_error("--precision: f32, bf16_weights, bf16, int8 or f16");
    }
    // Float sums in another order differ by up to 1e-6 in a layer, somewhat more where attention divides by small
    // numbers or an input of 1e4 products is summed; what is wrong in a layer shows from 1e-4 on. A bfloat16 number is
    // rounded by up to 4e-3.
    const bool f32 = options.precision == ev::Precision::f32;
    const auto bound_of = [&](const char* name, double usual) {
        return arguments.count(name) == 0 ? usual : arguments[name].as<double>();
    };
    const double bound = bound_of("bound", f32 ? 1e-5 : 2e-2), total = bound_of("total-bound", f32 ? 5e-5 : 5e-2);

    const Dump dump(text("dump"));
    const ev::StateDict file = dump.weights();
    const std::string asked = text("model");
    const auto model = examples::make_model(asked.empty() ? examples::identify(file) : asked, file, options);
    const std::string name = model->info().name;
    const ev::detail::Family family =
        name.find("_b") != std::string::npos ? ev::detail::Family::b : ev::detail::Family::l;
    const ev::StateDict weights = with_official_names(file, *model);
    const ev::Tensor input = dump.tensor("input");
    ev::Context context;

    std::printf("%s, %s, %s: a layer alone may differ by %.0e of the largest value, many in a row by %.0e\n\n",
                name.c_str(), std::string(options.precision.name()).c_str(),
                std::string(ev::isa_name(model->isa())).c_str(), bound, total);
    Table table(bound, total);
    std::array<ev::Tensor, 2> maps{input, input};
    std::vector<ev::Tensor> ends;  // of the stages
    for (const Part& part : difference::parts_of(name)) {
        options.prefix = part.name + ".";
        const std::array<ev::Tensor, 2> outputs = part.run(weights, options, maps, context);
        const ev::Tensor expected = dump.activation(part.name, family);
        table.add(part.name, outputs[0], relative_difference(outputs[0], expected),
                  relative_difference(outputs[1], expected));
        maps = {expected, outputs[1]};
        if (part.stage >= 0) {
            ends.resize(static_cast<std::size_t>(part.stage) + 1);
            ends.back() = expected;
        }
    }
    std::size_t stage = 0;
    for (const auto& [output, tensor] : model->forward(input, context)) {
        const ev::Task task = model->info().task;
        const ev::Tensor expected = task == ev::Task::backbone         ? ends.at(stage++)
                                    : task == ev::Task::classification ? maps[0]
                                                                       : dump.tensor("output");
        table.add("all at once: " + output, tensor, -1, relative_difference(tensor, expected));
    }
    std::printf("\n%s%s\n\n", table.first().empty() ? "No layer is beyond its bound." : "First beyond its bound: ",
                table.first().c_str());
    std::fflush(stdout);
    std::cout << ev::build_info() << std::flush;
    return table.first().empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        cxxopts::Options options(
            "first_difference",
            "Runs a network beside the activations that dump_activations.py has stored, and names\n"
            "the first layer that gives something else. Status 0: none does; 1: one does; 2: no\n"
            "answer.\n");
        options.add_options()                                                          //
            ("dump", "what dump_activations.py wrote", cxxopts::value<std::string>())  //
            ("model", "name of the model; without it, what the weights look like",
             cxxopts::value<std::string>()->default_value(""), "NAME")  //
            ("isa", "scalar, avx2, avx512, neon or wasm; without it, the best that is here",
             cxxopts::value<std::string>()->default_value(""), "NAME")  //
            ("precision", "f32, bf16_weights, bf16, int8 or f16", cxxopts::value<std::string>()->default_value("f32"),
             "NAME")                                                                                            //
            ("bound", "how far a layer alone may be, beside its largest value", cxxopts::value<double>(), "X")  //
            ("total-bound", "the same for all up to there in a row", cxxopts::value<double>(), "X")             //
            ("help", "print this and stop");
        options.parse_positional({"dump"});
        options.positional_help("DUMP.safetensors");
        const cxxopts::ParseResult arguments = options.parse(argc, argv);
        if (arguments.count("help") == 0) return compare(arguments);
        std::cout << options.help();
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "first_difference: " << error.what() << '\n';
        return 2;
    }
}

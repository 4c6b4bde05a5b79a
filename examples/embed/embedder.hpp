// SPDX-License-Identifier: Apache-2.0
//
// A picture to its features: which network gives them, how it sees the picture, and what is written of both.
#pragma once

#include <efficientvit/images/preprocess.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../common/classifiers.hpp"
#include "../common/command_line.hpp"
#include "../common/progress.hpp"
#include "provenance.hpp"

namespace examples {

/// A picture to its features.
class Embedder {
public:
    /// `contents` tells these weights from others, as contents_of() does.
    Embedder(const cxxopts::ParseResult& arguments, const ev::StateDict& weights, const std::string& contents,
             int processes_here)
        : context_(context(arguments, processes_here)) {
        const fs::path path = weights_of(arguments);
        const std::string asked = arguments["model"].as<std::string>();
        const std::string name = asked.empty() ? identify(weights) : asked;
        output_ = arguments["features"].as<std::string>();
        const bool encoder = asked.empty() && name.starts_with("sam_") && (output_.empty() || output_ == embeddings);
        const bool as_it_is = encoder || output_ == pre_logits || !asked.empty();
        model_ = make_model(as_it_is ? name : backbone_name(name), weights);
        const ev::ModelInfo& info = model_->info();
        if (output_.empty()) output_ = info.task == ev::Task::image_encoder ? embeddings : "stage_final";
        check_output(name);
        about_ = {{"model", info.name},
                  {"weights", one_line(path_bytes(path.filename()))},
                  {"weights_contents", contents},
                  {"output", output_}};
        if (output_ == pre_logits) {
            how_ = cls_preprocessing(arguments, asked, info, weights);
            about_["crop_ratio"] = std::to_string(how_.crop_ratio);
            about_["rounding"] = how_.round_up ? "up" : "down";  // of the resized picture's short side
        } else {
            how_ = {.size = info.height, .crop_ratio = 1};
            if (output_ != embeddings && arguments.count("size") != 0) how_.size = arguments["size"].as<int>();
        }
        if (how_.size < 32 || how_.size > 4096) throw UsageError("--size must be 32 to 4096");
        about_["input_size"] = std::to_string(how_.size);
    }

    /// What the features are called.
    const std::string& output() const { return output_; }
    /// What they are of, so that a file can be told from another model's.
    const Metadata& about() const { return about_; }

    /// (1, C, H, W), valid until the next call. Throws std::runtime_error where it is not finite numbers.
    const ev::Tensor& operator()(const ev::Image& image) {
        if (output_ == embeddings) {
            ev::preprocess_sam(image, {.size = how_.size}, input_);
            model_->forward(input_, outputs_, context_);
            std::swap(features_, outputs_.items().front().tensor);
        } else {
            ev::preprocess_cls(image, how_, input_);
            if (output_ == pre_logits) {
                model_->forward_pre_logits(input_, features_, context_);
            } else {
                model_->forward_stage(output_, input_, features_, context_);
            }
        }
        check_finite(features_, "features");
        return features_;
    }

private:
    static constexpr std::string_view embeddings = "image_embeddings", pre_logits = "pre_logits";

    /// Throws UsageError where the model does not give the features that are asked for.
    void check_output(const std::string& name) const {
        const ev::ModelInfo& info = model_->info();
        std::string names;
        for (const auto& output : model_->outputs({1, info.in_channels, info.height, info.width})) {
            if (info.task == ev::Task::classification) continue;  // logits are no features
            if (info.task == ev::Task::segmentation) continue;
            if (output.name == output_ || (info.task == ev::Task::backbone && output_ == "stage_final")) return;
            names += output.name + ", ";
        }
        if (info.task == ev::Task::classification && output_ == pre_logits) return;
        if (info.task == ev::Task::backbone) names += "stage_final, ";
        if (info.task == ev::Task::classification) names += "pre_logits, ";
        if (names.empty()) {
            throw UsageError(name + " gives no features; embed wants a backbone_, cls_ or sam_ model");
        }
        names.resize(names.size() - 2);
        throw UsageError("--features: " + info.name + " gives " + names + ", not '" + output_ + "'");
    }

    /// All cores of the machine, shared among its processes, unless --threads says otherwise.
    static ev::Context context(const cxxopts::ParseResult& arguments, int processes_here) {
        if (arguments.count("threads") != 0 || processes_here == 1) return context_of(arguments);
        return ev::Context({.threads = std::max(1, ev::available_threads() / processes_here)});
    }

    ev::Context context_;
    std::unique_ptr<ev::AnyModel> model_;
    ev::ClsPreprocessing how_;
    std::string output_;
    Metadata about_;
    ev::Tensor input_, features_;
    ev::NamedTensors outputs_;
};

}  // namespace examples

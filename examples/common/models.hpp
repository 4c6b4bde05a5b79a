// SPDX-License-Identifier: Apache-2.0
//
// Every network, chosen at run time, with weights from a file.
#pragma once

#include <efficientvit/models/any_model.hpp>

#include <filesystem>
#include <memory>
#include <string>

namespace examples {

namespace ev = efficientvit;

/// Reads safetensors, their index, and what PyTorch writes, whatever the file is called; of a checkpoint the entry, and
/// what is beside the weights is passed over. Throws ev::WeightsError.
ev::StateDict read_weights(const std::filesystem::path& path, const std::string& entry = {});

/// What stands below a prefix, without it. Throws ev::WeightsError where there is nothing.
ev::StateDict below_prefix(const ev::StateDict& weights, const std::string& prefix);

/// What the model that these weights belong to is called. Throws ev::WeightsError, which names their file, if they look
/// like none.
std::string identify(const ev::StateDict& weights);

/// ev::make_model(name) with these weights. Throws ev::ConfigError for a name that there is not, ev::WeightsError for
/// weights of another model.
std::unique_ptr<ev::AnyModel> make_model(const std::string& name, const ev::StateDict& weights,
                                         const ev::LoadOptions& options = {});

/// Whether these weights have timm's names: then they were trained on timm's preprocessing.
bool has_timm_names(const ev::StateDict& weights);

/// The backbone of a model: "backbone_b1" for "cls_b1", "efficientvit_b1.r224_in1k", "seg_b1_ade20k". Throws
/// ev::ConfigError for a name that there is not.
std::string backbone_name(const std::string& model);

/// All names, one a line.
std::string model_list();

}  // namespace examples

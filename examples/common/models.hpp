// SPDX-License-Identifier: Apache-2.0
//
// Every network, chosen at run time, with weights from a file: models.cpp compiles them once for all examples.
#pragma once

#include <efficientvit/models/any_model.hpp>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace examples {

namespace ev = efficientvit;

/// Reads safetensors, their index, and what PyTorch writes, whatever the file is called; of a checkpoint the entry, and
/// what is beside the weights is passed over. Throws ev::WeightsError.
ev::StateDict read_weights(const std::filesystem::path& path, const std::string& entry = {});

/// The same from a file's bytes, which may go afterwards.
ev::StateDict parse_weights(std::span<const std::byte> bytes, const std::filesystem::path& path,
                            const std::string& entry = {});

/// What the model that these weights belong to is called. Throws ev::WeightsError, which names `path`, if they look
/// like none.
std::string identify(const ev::StateDict& weights, const std::filesystem::path& path);

/// ev::make_model(name) with these weights. Throws ev::ConfigError for a name that there is not, ev::WeightsError for
/// weights of another model.
std::unique_ptr<ev::AnyModel> make_model(const std::string& name, const ev::StateDict& weights,
                                         const ev::LoadOptions& options = {});

/// The backbone of a model: "backbone_b1" for "cls_b1", "efficientvit_b1.r224_in1k", "seg_b1_ade20k". Throws
/// ev::ConfigError for a name that there is not.
std::string backbone_name(const std::string& model);

/// All names, one a line.
std::string model_list();

}  // namespace examples

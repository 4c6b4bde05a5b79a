// SPDX-License-Identifier: Apache-2.0
//
// The one file that knows all networks. It takes a minute to compile; the examples beside it take seconds.
#include "models.hpp"

#include <efficientvit/models/make_model.hpp>
#include <efficientvit/weights/load_weights.hpp>

#include <string_view>

namespace examples {

ev::StateDict read_weights(const std::filesystem::path& path, const std::string& entry) {
    return ev::load_weights(path, {.entry = entry, .skip_extra_entries = true});
}

ev::StateDict parse_weights(std::span<const std::byte> bytes, const std::filesystem::path& path,
                            const std::string& entry) {
    return ev::parse_weights(bytes, path.string(), {.entry = entry, .skip_extra_entries = true});
}

std::string identify(const ev::StateDict& weights, const std::filesystem::path& path) {
    std::string name = ev::identify(weights);
    if (name.empty()) throw ev::WeightsError(path.string() + ": these look like the weights of no known model");
    return name;
}

std::unique_ptr<ev::AnyModel> make_model(const std::string& name, const ev::StateDict& weights,
                                         const ev::LoadOptions& options) {
    std::unique_ptr<ev::AnyModel> model = ev::make_model(name);
    model->load_state_dict(weights, options);
    return model;
}

std::string backbone_name(const std::string& model) {
    const std::string name = ev::make_model(model)->info().name;  // as in model_names()
    std::string_view size = std::string_view(name).substr(name.find('_') + 1);
    return "backbone_" + std::string(size.substr(0, size.find('_')));
}

std::string model_list() {
    std::string list;
    for (const std::string& name : ev::model_names()) list += name + '\n';
    return list;
}

}  // namespace examples

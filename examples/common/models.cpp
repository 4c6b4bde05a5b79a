// SPDX-License-Identifier: Apache-2.0
//
// All networks, which efficientvit::compiled has, with weights from a file.
#include "models.hpp"
#include "sam_models.hpp"

#include <efficientvit/compiled/networks.hpp>
#include <efficientvit/weights/load_weights.hpp>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "../segment_anything/shapes_sam.hpp"

namespace examples {

ev::StateDict read_weights(const std::filesystem::path& path, const std::string& entry) {
    return ev::load_weights(path, {.entry = entry, .skip_extra_entries = true});
}

ev::StateDict below_prefix(const ev::StateDict& weights, const std::string& prefix) {
    ev::StateDict out;
    out.set_source(weights.source());
    for (const auto& [name, entry] : weights) {
        if (name.starts_with(prefix)) {
            out.insert(name.substr(prefix.size()), entry.dtype, entry.shape, entry.data, entry.owner);
        }
    }
    if (out.empty()) {
        throw ev::WeightsError("--prefix: no name of the weights begins with '" + prefix + "'; the first is '" +
                               (weights.empty() ? "" : ev::detail::printable(weights.begin()->first)) + "'");
    }
    return out;
}

std::string identify(const ev::StateDict& weights) { return ev::compiled::identified(weights); }

std::unique_ptr<ev::AnyModel> make_model(const std::string& name, const ev::StateDict& weights,
                                         const ev::LoadOptions& options) {
    std::unique_ptr<ev::AnyModel> model = ev::compiled::make_model(name);
    model->load_state_dict(weights, options);
    return model;
}

bool has_timm_names(const ev::StateDict& weights) {
    return std::any_of(weights.begin(), weights.end(),
                       [](const auto& tensor) { return tensor.first.find("stem.in_conv.") != std::string::npos; });
}

std::string backbone_name(const std::string& model) {
    const std::string name = ev::compiled::make_model(model)->info().name;  // as in model_names()
    std::string_view size = std::string_view(name).substr(name.find('_') + 1);
    return "backbone_" + std::string(size.substr(0, size.find('_')));
}

std::string model_list() {
    std::string list;
    for (std::size_t i = 0; const char* name = ev::compiled::model_name(i); ++i) list += std::string(name) + '\n';
    return list;
}

std::unique_ptr<ev::AnySam> make_sam(std::string name, const ev::StateDict& weights) {
    std::unique_ptr<ev::AnySam> sam;
    if (name == "shapes" || (name.empty() && is_shapes_sam(weights))) {
        sam = std::make_unique<ev::AnySamOf<ShapesSam>>("shapes");
    } else {
        if (name.empty()) name = identify(weights);
        sam = ev::compiled::make_sam(name);
    }
    sam->load_state_dict(weights);
    return sam;
}

}  // namespace examples

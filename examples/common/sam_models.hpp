// SPDX-License-Identifier: Apache-2.0
//
// Every SAM, chosen at run time, with weights from a file.
#pragma once

#include <efficientvit/models/any_sam.hpp>

#include <memory>
#include <string>

namespace examples {

namespace ev = efficientvit;

/// ev::make_sam(name) with these weights; "shapes" is the SAM of drawn shapes, and an empty name means what the weights
/// look like. Throws ev::Error for a name that is no SAM's, ev::WeightsError for weights of another model.
std::unique_ptr<ev::AnySam> make_sam(std::string name, const ev::StateDict& weights);

}  // namespace examples

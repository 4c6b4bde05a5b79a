// SPDX-License-Identifier: Apache-2.0
//
// All published networks as declarations: what make_model.hpp and make_sam.hpp define in every unit that includes them,
// for units that leave it to <efficientvit/compiled/models.cpp> and <efficientvit/compiled/sams.cpp>, compiled once in
// the program with the same flags. With CMake, efficientvit::compiled has both.
#pragma once

#include <efficientvit/models/any_model.hpp>
#include <efficientvit/models/any_sam.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace compiled {

/// Name `index` of efficientvit::model_names(); null behind the last.
const char* model_name(std::size_t index);
/// As efficientvit::make_model().
std::unique_ptr<AnyModel> make_model(std::string_view name);
/// As efficientvit::identify(). Throws WeightsError, which names the weights' source, where they look like no model's.
std::string identified(const StateDict& weights, std::string_view prefix = {});
/// As efficientvit::make_sam().
std::unique_ptr<AnySam> make_sam(std::string_view name);

}  // namespace compiled
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// Every published EfficientViT-SAM by name, for programs that choose at run time. A program that includes this compiles
// all of them. make_model("sam_l0") is the image encoder alone.
#pragma once

#include <efficientvit/models/any_sam.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// The names that make_sam() knows: "sam_l0", "sam_l1", "sam_l2", "sam_xl0", "sam_xl1".
EFFICIENTVIT_COLD inline std::vector<std::string> sam_names() {
    return {"sam_l0", "sam_l1", "sam_l2", "sam_xl0", "sam_xl1"};
}

/// The whole SAM of that name, without weights; the reference's names ("efficientvit-sam-l0", "efficientvit_sam_l0")
/// are known too. Throws ConfigError for an unknown name, listing those there are.
EFFICIENTVIT_COLD inline std::unique_ptr<AnySam> make_sam(std::string_view name) {
    std::string short_name(name);
    for (char& c : short_name) c = c == '-' ? '_' : c;
    constexpr std::string_view family = "efficientvit_";
    if (short_name.starts_with(family)) short_name.erase(0, family.size());
    if (short_name == "sam_l0") return std::make_unique<AnySamOf<SamL0>>(short_name);
    if (short_name == "sam_l1") return std::make_unique<AnySamOf<SamL1>>(short_name);
    if (short_name == "sam_l2") return std::make_unique<AnySamOf<SamL2>>(short_name);
    if (short_name == "sam_xl0") return std::make_unique<AnySamOf<SamXL0>>(short_name);
    if (short_name == "sam_xl1") return std::make_unique<AnySamOf<SamXL1>>(short_name);
    std::string all;
    for (const std::string& known : sam_names()) all += detail::concat({all.empty() ? "" : ", ", known});
    throw ConfigError(detail::concat({"make_sam: no SAM '", name, "'; there are ", all}));
}

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

// SPDX-License-Identifier: Apache-2.0
//
// --precision. Apart from command_line.hpp, since who includes it compiles the kernels of bfloat16.
#pragma once

#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/f16.hpp>
#include <efficientvit/kernels/int8.hpp>
#include <efficientvit/kernels/precision.hpp>

#include <string>

#include "command_line.hpp"

namespace examples {

inline void add_precision_option(cxxopts::Options& options) {
    options.add_options()  //
        ("precision", "number format of products: f32, bf16, bf16_weights, int8 or f16",
         cxxopts::value<std::string>()->default_value("f32"), "NAME");
}

/// What --precision names. Throws UsageError.
inline ev::Precision precision_of(const cxxopts::ParseResult& arguments) {
    const std::string name = arguments["precision"].as<std::string>();
    if (name == "f32") return ev::Precision::f32;
    if (name == "bf16") return ev::Precision::bf16;
    if (name == "bf16_weights") return ev::Precision::bf16_weights;
    if (name == "int8") return ev::Precision::int8;
    if (name == "f16") return ev::Precision::f16;
    throw UsageError("--precision must be f32, bf16, bf16_weights, int8 or f16, not '" + name + "'");
}

}  // namespace examples

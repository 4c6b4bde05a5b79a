// SPDX-License-Identifier: Apache-2.0
//
// Reads JSON as a stream of events, never as a tree. Not for users: safetensors.hpp is. Needs nlohmann/json.
#pragma once

#include <efficientvit/config.hpp>

#include <nlohmann/json.hpp>

#include <string_view>
#include <utility>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// What takes the events. One type for all readers, so that the parser is compiled once.
using JsonEvents = nlohmann::json::json_sax_t;

/// Reads `text`, and stops where an event returns false. json::sax_parse() is this and the readers of four binary
/// formats, which every program would carry: 67 KB of code, and a second of compile time.
EFFICIENTVIT_COLD inline void parse_json(std::string_view text, JsonEvents& events) {
    auto input = nlohmann::detail::input_adapter(text.begin(), text.end());
    nlohmann::detail::parser<nlohmann::json, decltype(input)>(std::move(input)).sax_parse(&events);
}

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

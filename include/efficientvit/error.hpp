// SPDX-License-Identifier: Apache-2.0
//
// The exceptions of the library, and how their messages are put together. All derive from efficientvit::Error; what()
// says what was found, what was expected and where.
#pragma once

#include <efficientvit/config.hpp>

#include <cstddef>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// Base of every exception that the library throws on purpose.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Weights that cannot be read (file, format, dtype) or do not fit the model (names, shapes), or a
/// forward before any were loaded.
class WeightsError : public Error {
public:
    using Error::Error;
};

/// A tensor or view whose shape does not fit: channels, an empty dimension, an output of another size.
class ShapeError : public Error {
public:
    using Error::Error;
};

/// A setting that this machine or build cannot honour, such as a forced ISA that the CPU lacks.
class ConfigError : public Error {
public:
    using Error::Error;
};

/// A prompt of SAM that says nothing or points out of the picture, or one before there is a picture.
class PromptError : public Error {
public:
    using Error::Error;
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// The parts in one string. One function for all messages: chains of + cost the user's compiler seconds.
EFFICIENTVIT_COLD inline std::string concat(std::initializer_list<std::string_view> parts) {
    std::size_t size = 0;
    for (const std::string_view part : parts) size += part.size();
    std::string out;
    out.reserve(size);
    for (const std::string_view part : parts) out += part;
    return out;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

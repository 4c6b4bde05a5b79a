// SPDX-License-Identifier: Apache-2.0
//
// The exceptions of the library. All derive from efficientvit::Error; what() says what was found, what
// was expected and where.
#pragma once

#include <efficientvit/config.hpp>

#include <stdexcept>
#include <string>

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

EFFICIENTVIT_END_PLAIN_NAMESPACE

// SPDX-License-Identifier: Apache-2.0
//
// cxxopts as every example wants it. Nobody includes cxxopts but by this header: its first inclusion decides.
#pragma once

#if defined(CXXOPTS_HPP_INCLUDED)
#error "cxxopts.hpp is included before common/arguments.hpp, which decides how it splits lists"
#endif

// Commas in the names of pictures are theirs: cxxopts would split them.
#define CXXOPTS_VECTOR_DELIMITER '\0'
#include <cxxopts.hpp>

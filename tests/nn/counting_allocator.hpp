// SPDX-License-Identifier: Apache-2.0
//
// How often memory has been allocated, in a program that links counting_allocator.cpp.
#pragma once

#include <cstddef>

/// Calls of operator new, malloc and their kin by all threads so far.
long allocations();

/// Whether malloc is among them: glibc's can be replaced, but not below a sanitizer's.
bool malloc_is_counted();

/// Bytes asked of operator new with an alignment, which is how the library takes its buffers.
std::size_t aligned_bytes();

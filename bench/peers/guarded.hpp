// SPDX-License-Identifier: Apache-2.0
//
// Exceptions as numbers, for the C interfaces of this folder.
#pragma once

#include <exception>
#include <string>

/// Why the last guarded() on this thread failed.
inline thread_local std::string last_error;

/// 0, or -1 where body() throws.
template <class Body>
int guarded(Body body) {
    try {
        body();
        return 0;
    } catch (const std::exception& e) {
        last_error = e.what();
        return -1;
    }
}

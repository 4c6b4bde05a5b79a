// SPDX-License-Identifier: Apache-2.0
//
// What the platform lacks: threads, and files that are mapped. Asked here, once, so that nothing else need know of
// WebAssembly's libraries or of any other that is built without.
#pragma once

#include <efficientvit/config.hpp>

#include <version>  // what the standard library says of itself

#if defined(_LIBCPP_HAS_NO_THREADS)
#define EFFICIENTVIT_HAS_THREADS 0
#elif defined(_LIBCPP_VERSION) && defined(_LIBCPP_HAS_THREADS)
#define EFFICIENTVIT_HAS_THREADS _LIBCPP_HAS_THREADS  // since LLVM 20
#else
#define EFFICIENTVIT_HAS_THREADS 1
#endif

#if defined(__wasi__)
#define EFFICIENTVIT_HAS_MMAP 0
#else
#define EFFICIENTVIT_HAS_MMAP 1
#endif

#if EFFICIENTVIT_HAS_THREADS
#include <mutex>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

#if EFFICIENTVIT_HAS_THREADS
using Mutex = std::mutex;
using Lock = std::lock_guard<std::mutex>;
#else
struct Mutex {};
class [[maybe_unused]] Lock {
public:
    explicit Lock(Mutex&) {}
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
};
#endif

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

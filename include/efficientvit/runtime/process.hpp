// SPDX-License-Identifier: Apache-2.0
//
// Which process an object with threads belongs to. fork() copies memory and the calling thread, no other: in the child
// the object's threads are gone, what they held locked stays locked, and who waits for them waits for ever.
#pragma once

#include <efficientvit/config.hpp>

#if (defined(__unix__) || defined(__APPLE__)) && !defined(__EMSCRIPTEN__) && !defined(__wasi__)
#define EFFICIENTVIT_HAS_FORK 1
#include <pthread.h>

#include <atomic>
#include <new>
#endif

#include <efficientvit/foreign_macros.hpp>

#if defined(EFFICIENTVIT_HAS_FORK)
#undef EFFICIENTVIT_HAS_FORK

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

// Counted since the first object of the kind was made; hidden, so that each shared library has its own and can be
// unloaded with it.
#if defined(__GNUC__)
[[gnu::visibility("hidden")]] inline std::atomic<unsigned> forks_counted{0};
[[gnu::visibility("hidden")]] inline std::atomic<bool> forks_are_counted{false};
#else
inline std::atomic<unsigned> forks_counted{0};
inline std::atomic<bool> forks_are_counted{false};
#endif

/// The process that it was made in. Not compared by process id: ids come again, and namespaces have the same ones.
class Process {
public:
    /// Throws std::bad_alloc.
    Process() : forks_(&counter()), made_at_(forks_->load(std::memory_order_relaxed)) {}

    /// Whether the calling thread runs in that process, and not in a child of it.
    bool is_this() const { return forks_->load(std::memory_order_relaxed) == made_at_; }

private:
    // No lock and no guarded static: a fork in another thread at this moment would leave them closed in the child. Two
    // threads that come at once register twice, and each fork then counts as two.
    static std::atomic<unsigned>& counter() {
        if (!forks_are_counted.load()) {
            const auto count = [] { forks_counted.fetch_add(1, std::memory_order_relaxed); };
            if (pthread_atfork(nullptr, nullptr, count) != 0) throw std::bad_alloc();
            forks_are_counted.store(true);
        }
        return forks_counted;
    }

    const std::atomic<unsigned>* forks_;  // of the library that made this object
    unsigned made_at_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#else

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Where there is no fork.
class Process {
public:
    bool is_this() const { return true; }
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#endif

#include <efficientvit/foreign_macros_end.hpp>

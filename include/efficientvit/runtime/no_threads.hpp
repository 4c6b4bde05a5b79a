// SPDX-License-Identifier: Apache-2.0
//
// What thread_pool.hpp and team.hpp are where the platform has no threads: a pool without any, as it is in a child of
// fork(), and a forward without helpers, which the calling thread does alone. Empty where there are threads.
#pragma once

#include <efficientvit/runtime/platform.hpp>

#include <efficientvit/foreign_macros.hpp>

#if !EFFICIENTVIT_HAS_THREADS

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE
class Executor;
EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

class ThreadPool {
public:
    ThreadPool(int, bool) {}
    int threads() const { return 0; }
    void schedule(void (*)(void*), void*) {}
};

class Team {
public:
    using Function = void (*)(void* argument, int chunk, int worker);
    static Team* create(Executor*, int) { return nullptr; }
    void release() {}
    bool has_helpers() const { return false; }
    void close() {}
    void run(int, Function, void*) {}
    static constexpr int max_chunks = 0xffff;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#endif

#include <efficientvit/foreign_macros_end.hpp>

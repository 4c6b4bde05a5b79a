// SPDX-License-Identifier: Apache-2.0
//
// Where helper threads come from: a hook for a pool of the user's own, and a pool behind that hook.
#pragma once

#include <efficientvit/compiled/door.hpp>
#include <efficientvit/config.hpp>

#include <efficientvit/error.hpp>
#include <efficientvit/runtime/no_threads.hpp>
#include <efficientvit/runtime/platform.hpp>
#include <efficientvit/runtime/process.hpp>
#if EFFICIENTVIT_KERNELS_HERE && EFFICIENTVIT_HAS_THREADS
#include <efficientvit/runtime/thread_pool.hpp>
#endif

#include <memory>
#include <string>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

/// A thread pool, as a Context sees it. Derive from it to lend your own; one Executor may serve many Contexts.
class Executor {
public:
    virtual ~Executor() = default;

    /// How many tasks can run at the same time, not counting the thread that calls forward.
    virtual int concurrency() const = 0;

    /// Runs task(argument) once on another thread, as soon as one is free, and returns without waiting. A task that
    /// comes late finds nothing to do and ends: a busy pool costs speed, never a deadlock.
    virtual void schedule(void (*task)(void*), void* argument) = 0;
};

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

#if EFFICIENTVIT_KERNELS_HERE
namespace detail {

class PoolBehindExecutor final : public Executor {
public:
    PoolBehindExecutor(int threads, bool pinned) : pool_(threads, pinned) {}
    int concurrency() const override { return pool_.threads(); }
    void schedule(void (*task)(void*), void* argument) override { pool_.schedule(task, argument); }

private:
    ThreadPool pool_;
};

}  // namespace detail
#endif

/// How a ThreadPoolExecutor is made.
struct ThreadPoolOptions {
    int threads = 1;      ///< helpers, at least one
    bool pinned = false;  ///< each is bound to a CPU of its own for good (Linux), as far as the calling thread may run
                          ///< on others than its own; nothing where the system refuses
};

/// Threads that sleep until they are wanted. In a child of fork(), and where the platform has no threads, it has none
/// of them: its concurrency is 0, what is scheduled never runs, and its destructor returns at once.
class ThreadPoolExecutor final : public Executor {
public:
    /// The most helpers that a pool may have.
    static constexpr int max_threads = 4096;

    /// Starts the threads. Throws ConfigError for more than max_threads, std::system_error where the system has no more
    /// threads.
    explicit ThreadPoolExecutor(const ThreadPoolOptions& options)
        : pool_(new_pool(options.threads < 1 ? 1 : options.threads, options.pinned)) {}
    /// So many threads, and all else as usual.
    explicit ThreadPoolExecutor(int threads) : ThreadPoolExecutor(ThreadPoolOptions{.threads = threads}) {}

    int concurrency() const override { return pool_->concurrency(); }
    void schedule(void (*task)(void*), void* argument) override { pool_->schedule(task, argument); }

private:
    static Executor* new_pool(int threads, bool pinned) {
        if (threads > max_threads) {
            throw ConfigError(detail::concat(
                {"a pool of ", std::to_string(threads), " threads, the most is ", std::to_string(max_threads)}));
        }
#if defined(EFFICIENTVIT_COMPILED)
        return detail::door().new_thread_pool(threads, pinned);
#else
        return new detail::PoolBehindExecutor(threads, pinned);
#endif
    }

    std::unique_ptr<Executor> pool_;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

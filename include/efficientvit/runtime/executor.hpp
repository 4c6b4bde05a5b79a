// SPDX-License-Identifier: Apache-2.0
//
// Where helper threads come from: a hook for a pool of the user's own, and Eigen's thread pool behind that hook.
#pragma once

#include <efficientvit/compiled/door.hpp>
#include <efficientvit/config.hpp>

#if !EFFICIENTVIT_KERNELS_HERE
#elif __has_include(<Eigen/ThreadPool>)
#include <Eigen/ThreadPool>
#else
#include <unsupported/Eigen/CXX11/ThreadPool>
#endif

#include <efficientvit/error.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

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

class EigenThreadPool final : public Executor {
public:
    explicit EigenThreadPool(int threads) : threads_(threads), pool_(threads, false, Environment{{}, &started_}) {
        if (started_.failure == nullptr) return;
        // A thread that is just going to sleep misses a call to end, so it is repeated until all have heard it.
        for (; started_.running > 0; std::this_thread::sleep_for(std::chrono::milliseconds(1))) pool_.Cancel();
        std::rethrow_exception(started_.failure);
    }

    int concurrency() const override { return threads_; }
    void schedule(void (*task)(void*), void* argument) override {
        pool_.Schedule([task, argument] { task(argument); });
    }

private:
    struct Started {
        std::atomic<int> running{0};
        std::exception_ptr failure;
    };
    /// Starts threads as Eigen does, but for one that cannot be started: Eigen's constructor would throw, and leave
    /// those that run waiting in a pool that is no more.
    struct Environment : Eigen::StlThreadEnvironment {
        EnvThread* CreateThread(std::function<void()> work) {
            if (started->failure != nullptr) return nullptr;
            ++started->running;
            try {
                return StlThreadEnvironment::CreateThread([work = std::move(work), s = started] {
                    work();
                    --s->running;
                });
            } catch (...) {
                --started->running;
                started->failure = std::current_exception();
                return nullptr;
            }
        }
        Started* started;
    };

    int threads_;
    Started started_;  // outlives the pool
    Eigen::ThreadPoolTempl<Environment> pool_;
};

}  // namespace detail
#endif

/// Eigen's thread pool with spinning off: between forwards its threads sleep.
class ThreadPoolExecutor final : public Executor {
public:
    /// The most helpers that a pool may have.
    static constexpr int max_threads = 4096;

    /// `threads` helpers, at least one. Throws ConfigError for more than max_threads, std::system_error where the
    /// system has no more threads.
    explicit ThreadPoolExecutor(int threads) : pool_(new_pool(threads < 1 ? 1 : threads)) {}

    int concurrency() const override { return pool_->concurrency(); }
    void schedule(void (*task)(void*), void* argument) override { pool_->schedule(task, argument); }

private:
    static Executor* new_pool(int threads) {
        if (threads > max_threads) {
            throw ConfigError(detail::concat(
                {"a pool of ", std::to_string(threads), " threads, the most is ", std::to_string(max_threads)}));
        }
#if defined(EFFICIENTVIT_COMPILED)
        return detail::door().new_thread_pool(threads);
#else
        return new detail::EigenThreadPool(threads);
#endif
    }

    std::unique_ptr<Executor> pool_;
};

EFFICIENTVIT_END_NAMESPACE

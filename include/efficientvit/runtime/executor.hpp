// SPDX-License-Identifier: Apache-2.0
//
// Where helper threads come from: a hook for a pool of the user's own, and Eigen's thread pool behind that hook.
#pragma once

#include <efficientvit/config.hpp>

#if __has_include(<Eigen/ThreadPool>)
#include <Eigen/ThreadPool>
#else
#include <unsupported/Eigen/CXX11/ThreadPool>
#endif

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

/// Eigen's thread pool with spinning off: between forwards its threads sleep.
class ThreadPoolExecutor final : public Executor {
public:
    /// `threads` helpers, at least one.
    explicit ThreadPoolExecutor(int threads) : threads_(threads < 1 ? 1 : threads), pool_(threads_, false) {}

    int concurrency() const override { return threads_; }
    void schedule(void (*task)(void*), void* argument) override {
        pool_.Schedule([task, argument] { task(argument); });
    }

private:
    int threads_;
    Eigen::ThreadPool pool_;
};

EFFICIENTVIT_END_NAMESPACE

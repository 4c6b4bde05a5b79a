// SPDX-License-Identifier: Apache-2.0
//
// The threads of a ThreadPoolExecutor and a queue of tasks for them. No more than helpers of forwards need (no
// stealing, no spinning), and one thing that pools of libraries lack: in a child of fork() it can be destroyed.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/runtime/affinity.hpp>
#include <efficientvit/runtime/process.hpp>

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

class ThreadPool {
public:
    /// pinned: each thread is bound to a CPU of its own when it starts, as far as there are others than the caller's.
    /// Throws std::system_error where the system has no more threads.
    EFFICIENTVIT_COLD ThreadPool(int threads, bool pinned) : state_(new State) {
        try {
            start(threads, pinned ? cpus_for_helpers() : std::vector<int>());
        } catch (const std::system_error& error) {
            const std::size_t started = state_->threads.size();
            end();
            throw std::system_error(error.code(),
                                    concat({"only ", std::to_string(started), " of ", std::to_string(threads),
                                            " helper threads could be started; ask for fewer"}));
        } catch (...) {
            end();
            throw;
        }
    }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    /// Returns when all tasks have run. In a child of fork(): at once, and leaves behind what its threads may have
    /// held.
    ~ThreadPool() {
        if (process_.is_this()) end();
    }

    /// How many threads there are: none in a child of fork().
    int threads() const { return process_.is_this() ? static_cast<int>(state_->threads.size()) : 0; }

    /// Runs task(argument) on one of the threads; never in a child of fork(). Throws std::bad_alloc.
    void schedule(void (*task)(void*), void* argument) {
        if (!process_.is_this()) return;
        {
            const std::lock_guard lock(state_->mutex);
            state_->tasks.push({task, argument});
        }
        state_->changed.notify_one();
    }

private:
    struct Task {
        void (*function)(void*);
        void* argument;
    };

    /// First in, first out. Takes memory only where more tasks wait than ever before.
    class Queue {
    public:
        void reserve(std::size_t tasks) { ring_.resize(tasks); }  // of an empty queue
        bool empty() const { return count_ == 0; }
        void push(const Task& task) {
            if (count_ == ring_.size()) {
                std::vector<Task> larger(2 * count_ + 1);
                for (std::size_t i = 0; i < count_; ++i) larger[i] = ring_[(first_ + i) % count_];
                ring_.swap(larger);
                first_ = 0;
            }
            ring_[(first_ + count_++) % ring_.size()] = task;
        }
        Task pop() {
            const Task task = ring_[first_];
            first_ = (first_ + 1) % ring_.size();
            --count_;
            return task;
        }

    private:
        std::vector<Task> ring_;
        std::size_t first_ = 0, count_ = 0;
    };

    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        Queue tasks;
        bool ending = false;
        std::vector<std::thread> threads;
    };

    EFFICIENTVIT_COLD void start(int threads, const std::vector<int>& cpus) {
        state_->threads.reserve(static_cast<std::size_t>(threads));
        state_->tasks.reserve(static_cast<std::size_t>(threads));
        for (int i = 0; i < threads; ++i) {
            const int cpu = static_cast<std::size_t>(i) < cpus.size() ? cpus[static_cast<std::size_t>(i)] : -1;
            state_->threads.emplace_back(&ThreadPool::work, state_, cpu);
        }
    }

    EFFICIENTVIT_COLD void end() {
        {
            const std::lock_guard lock(state_->mutex);
            state_->ending = true;
        }
        state_->changed.notify_all();
        for (std::thread& thread : state_->threads) thread.join();
        delete state_;
    }

    static void work(State* state, int cpu) {
        if (cpu >= 0) bind_to_cpu(cpu);
        std::unique_lock lock(state->mutex);
        for (;;) {
            state->changed.wait(lock, [state] { return !state->tasks.empty() || state->ending; });
            if (state->tasks.empty()) return;
            const Task task = state->tasks.pop();
            lock.unlock();
            task.function(task.argument);
            lock.lock();
        }
    }

    Process process_;
    State* state_;  // not destroyed in a child of fork(): a condition variable's destructor waits for who sleeps on it
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

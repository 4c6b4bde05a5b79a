// SPDX-License-Identifier: Apache-2.0
//
// The calling thread of a forward and the helpers that join it. A forward is a row of sections, a section a number of
// chunks that may run in any order on any thread. Helpers are woken once a forward and go from section to section with
// the caller. They are never waited for: the caller takes chunks like everybody, and at the end of a section waits only
// for chunks that a helper has already begun. So a pool that is busy, shared or too small costs speed, nothing else.
#pragma once

#include <efficientvit/runtime/executor.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/runtime/process.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

inline void spin_pause() {
#if defined(EFFICIENTVIT_X86)
    _mm_pause();
#elif defined(EFFICIENTVIT_ARM64) && !defined(_MSC_VER)
    __asm__ volatile("yield");
#endif
}

/// Spins until `done()`, for 50 microseconds at most: longer than the gap between two sections, shorter than it
/// takes for anybody to notice. Returns whether it came true.
template <class Done>
bool spin_until(Done done) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::microseconds(50);
    do {
        for (int i = 0; i < 32; ++i) {
            if (done()) return true;
            spin_pause();
        }
    } while (Clock::now() < end);
    return done();
}

/// Threads that sleep until something has changed, which costs a load where nobody sleeps. std::atomic::wait does the
/// same by a table that libstdc++ keeps once for the whole process, and which keeps a plugin from being unloaded.
class Sleepers {
public:
    /// changed() reads what the other side writes before it calls wake(), both with sequential consistency: either this
    /// thread sees the change, or the other sees this thread.
    template <class Changed>
    void sleep_until(Changed changed) {
        std::unique_lock lock(mutex_);
        sleeping_.fetch_add(1);
        condition_.wait(lock, changed);
        sleeping_.fetch_sub(1);
    }
    void wake() {
        if (sleeping_.load() == 0) return;
        { const std::lock_guard lock(mutex_); }  // who has not seen the change is asleep from here on
        condition_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable condition_;
    std::atomic<int> sleeping_{0};
};

class Team {
public:
    using Function = void (*)(void* argument, int chunk, int worker);

    /// A team is counted: its Context holds one reference, every task that was handed to the executor another, so
    /// that a task which a busy pool begins late still finds it.
    static Team* create(Executor* executor, int workers) { return new Team(executor, workers); }
    /// In a child of fork() nothing: helpers that are gone may have slept in it.
    void release() {
        if (process_.is_this() && references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int workers() const { return workers_; }

    /// Whether helpers may come. In a child of fork() they cannot, and nothing below may be called.
    bool has_helpers() const { return process_.is_this(); }

    /// Wakes helpers, unless this forward has done so.
    void open() {
        if (is_open_) return;
        is_open_ = true;
        caller_.store(std::this_thread::get_id(), std::memory_order_relaxed);
        open_.store(true);
        for (int i = 1; i < workers_; ++i) {
            Slot& slot = slots_[static_cast<std::size_t>(i)];
            if (slot.busy.exchange(true)) continue;  // still on its way out of the last forward, or not begun yet
            references_.fetch_add(1, std::memory_order_relaxed);
            try {
                executor_->schedule(&Team::help, &slot);
            } catch (...) {  // as good as a pool without a free thread
                references_.fetch_sub(1, std::memory_order_relaxed);
                slot.busy.store(false);
            }
        }
    }

    /// Ends the forward: helpers leave.
    void close() {
        if (!is_open_) return;
        is_open_ = false;
        open_.store(false);
        announce();
    }

    /// Runs function(argument, chunk, worker) for all chunks and returns when all are done. worker < workers()
    /// tells which scratch memory is the chunk's own. chunks <= max_chunks. Functions do not throw.
    void run(int chunks, Function function, void* argument) {
        open();
        function_.store(function, std::memory_order_relaxed);
        argument_.store(argument, std::memory_order_relaxed);
        unfinished_.store(chunks, std::memory_order_relaxed);
        ++section_;
        state_.store(std::uint64_t{section_} << 32 | std::uint64_t(chunks) << 16, std::memory_order_release);
        announce();
        while (run_one(0)) {
        }
        const auto finished = [this] { return unfinished_.load(std::memory_order_acquire) == 0; };
        if (spin_until(finished)) return;
        caller_asleep_.sleep_until([this] { return unfinished_.load() == 0; });
    }

    static constexpr int max_chunks = 0xffff;

private:
    struct alignas(64) Slot {
        Team* team = nullptr;
        int worker = 0;
        std::atomic<bool> busy{false};  // a task for this slot is with the executor or running
    };

    Team(Executor* executor, int workers)
        : executor_(executor), workers_(workers), slots_(new Slot[static_cast<std::size_t>(workers)]) {
        for (int i = 0; i < workers; ++i) {
            Slot& slot = slots_[static_cast<std::size_t>(i)];
            slot.team = this;
            slot.worker = i;
        }
    }

    void announce() {
        signal_.fetch_add(1);
        helpers_asleep_.wake();
    }

    // Claims one chunk of the current section and runs it. The state holds section, chunks and next chunk in one
    // word: where the exchange succeeds, that section had an unclaimed chunk at that moment, so the caller is still
    // in it and function_ and argument_, read before, are that section's.
    bool run_one(int worker) {
        std::uint64_t state = state_.load(std::memory_order_acquire);
        for (;;) {
            const auto next = static_cast<int>(state & 0xffff);
            if (next >= static_cast<int>(state >> 16 & 0xffff)) return false;
            const Function function = function_.load(std::memory_order_relaxed);
            void* const argument = argument_.load(std::memory_order_relaxed);
            if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
                continue;
            }
            function(argument, next, worker);
            if (unfinished_.fetch_sub(1) == 1 && worker != 0) caller_asleep_.wake();
            return true;
        }
    }

    static void help(void* argument) {
        Slot& slot = *static_cast<Slot*>(argument);
        Team& team = *slot.team;
        {
            const FloatEnvironment environment;
            // An executor may run the task at once on the calling thread: then there is no helper.
            const bool is_caller = team.caller_.load(std::memory_order_relaxed) == std::this_thread::get_id();
            for (;;) {
                if (!is_caller) team.help_until_closed(slot.worker);
                slot.busy.store(false);
                // The next forward may have begun before the line above and found this slot busy.
                if (is_caller || !team.open_.load() || slot.busy.exchange(true)) break;
            }
        }
        team.release();
    }

    void help_until_closed(int worker) {
        for (;;) {
            const std::uint32_t seen = signal_.load();
            if (!open_.load()) return;
            if (run_one(worker)) continue;
            if (spin_until([&] { return signal_.load(std::memory_order_acquire) != seen; })) continue;
            helpers_asleep_.sleep_until([&] { return signal_.load() != seen; });
        }
    }

    Process process_;
    Executor* executor_;
    int workers_;
    std::unique_ptr<Slot[]> slots_;  // 0 is the caller's, unused
    bool is_open_ = false;           // the caller's own
    std::uint32_t section_ = 0;      // likewise
    std::atomic<std::thread::id> caller_{};
    std::atomic<int> references_{1};
    std::atomic<Function> function_{nullptr};
    std::atomic<void*> argument_{nullptr};
    alignas(64) std::atomic<std::uint64_t> state_{0};
    alignas(64) std::atomic<int> unfinished_{0};
    alignas(64) std::atomic<std::uint32_t> signal_{0};
    std::atomic<bool> open_{false};
    alignas(64) Sleepers helpers_asleep_;
    Sleepers caller_asleep_;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

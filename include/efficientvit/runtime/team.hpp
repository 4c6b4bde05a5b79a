// SPDX-License-Identifier: Apache-2.0
//
// The calling thread of a forward and the helpers that join it. A forward is a row of sections, a section a number of
// chunks that may run in any order on any thread. Helpers are woken once a forward and go from section to section with
// the caller. They are never waited for: the caller takes chunks like everybody, and at the end of a section waits only
// for chunks that a helper has already begun. So a pool that is busy, shared or too small costs speed, nothing else.
#pragma once

#include <efficientvit/runtime/executor.hpp>
#include <efficientvit/runtime/float_environment.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#if defined(__linux__) && defined(__GLIBC__)
#define EFFICIENTVIT_KNOWS_CPUS 1
#include <sched.h>
#endif

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

inline void spin_pause() {
#if defined(EFFICIENTVIT_X86)
    _mm_pause();
#elif defined(EFFICIENTVIT_ARM64) && !defined(_MSC_VER)
    __asm__ volatile("yield");
#endif
}

/// The CPU that this thread runs on, or -1 where the system does not say.
inline int current_cpu() {
#if defined(EFFICIENTVIT_KNOWS_CPUS)
    return sched_getcpu();
#else
    return -1;
#endif
}

/// Linux may wake a helper on the very CPU of the thread that woke it, where it is in the way and of no help for longer
/// than a forward lasts. This moves the calling thread to another of its CPUs, if it is on `cpu` and has another; the
/// set of CPUs that it may use is afterwards as before.
inline void step_aside(int cpu) {
#if defined(EFFICIENTVIT_KNOWS_CPUS)
    if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getcpu() != cpu) return;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    cpu_set_t others = allowed;
    CPU_CLR(static_cast<unsigned>(cpu), &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
    sched_setaffinity(0, sizeof allowed, &allowed);
#else
    static_cast<void>(cpu);
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

class Team {
public:
    using Function = void (*)(void* argument, int chunk, int worker);

    /// A team is counted: its Context holds one reference, every task that was handed to the executor another, so
    /// that a task which a busy pool begins late still finds it.
    /// own_threads: the executor's threads are there for this team alone, and may be moved to other CPUs.
    static Team* create(Executor* executor, int workers, bool own_threads) {
        return new Team(executor, workers, own_threads);
    }
    void release() {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int workers() const { return workers_; }

    /// Wakes helpers, unless this forward has done so.
    void open() {
        if (is_open_) return;
        is_open_ = true;
        caller_.store(std::this_thread::get_id(), std::memory_order_relaxed);
        if (own_threads_) caller_cpu_.store(current_cpu(), std::memory_order_relaxed);
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
        for (int left = unfinished_.load(std::memory_order_acquire); left != 0;
             left = unfinished_.load(std::memory_order_acquire)) {
            unfinished_.wait(left, std::memory_order_acquire);
        }
    }

    static constexpr int max_chunks = 0xffff;

private:
    struct alignas(64) Slot {
        Team* team = nullptr;
        int worker = 0;
        std::atomic<bool> busy{false};  // a task for this slot is with the executor or running
    };

    Team(Executor* executor, int workers, bool own_threads)
        : executor_(executor),
          workers_(workers),
          own_threads_(own_threads),
          slots_(new Slot[static_cast<std::size_t>(workers)]) {
        for (int i = 0; i < workers; ++i) {
            Slot& slot = slots_[static_cast<std::size_t>(i)];
            slot.team = this;
            slot.worker = i;
        }
    }

    void announce() {
        signal_.fetch_add(1);
        signal_.notify_all();
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
            if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1 && worker != 0) unfinished_.notify_one();
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
            if (team.own_threads_) step_aside(team.caller_cpu_.load(std::memory_order_relaxed));
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
            signal_.wait(seen);
        }
    }

    Executor* executor_;
    int workers_;
    bool own_threads_;
    std::unique_ptr<Slot[]> slots_;  // 0 is the caller's, unused
    bool is_open_ = false;           // the caller's own
    std::uint32_t section_ = 0;      // likewise
    std::atomic<std::thread::id> caller_{};
    std::atomic<int> caller_cpu_{-1};
    std::atomic<int> references_{1};
    std::atomic<Function> function_{nullptr};
    std::atomic<void*> argument_{nullptr};
    alignas(64) std::atomic<std::uint64_t> state_{0};
    alignas(64) std::atomic<int> unfinished_{0};
    alignas(64) std::atomic<std::uint32_t> signal_{0};
    std::atomic<bool> open_{false};
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

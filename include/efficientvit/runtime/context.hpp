// SPDX-License-Identifier: Apache-2.0
//
// Context: the scratch memory and the threads of forwards, owned by whoever calls them. Session: one forward in it, as
// layers see it.
#pragma once

#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/f16.hpp>
#include <efficientvit/kernels/int8.hpp>
#include <efficientvit/runtime/available_threads.hpp>
#include <efficientvit/runtime/core.hpp>
#include <efficientvit/runtime/executor.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/runtime/no_threads.hpp>
#include <efficientvit/runtime/platform.hpp>
#if EFFICIENTVIT_HAS_THREADS
#include <efficientvit/runtime/team.hpp>
#endif
#include <efficientvit/runtime/workspace.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {
struct InvertedBottleneckSchedule;
struct FusedBottleneckSchedule;
struct WinogradSchedule;
struct AttentionSchedule;
}  // namespace detail

/// Told how long each chunk of each section of a forward took, one after the other on the calling thread: what more
/// threads than a machine has would gain can be seen from it, as bench/bands.cpp does.
class ChunkTrace {
public:
    virtual ~ChunkTrace() = default;
    /// A section begins: `chunks` chunks that could run at the same time.
    virtual void section(int chunks) = 0;
    /// A chunk is done: which of its section's, and how long it took.
    virtual void chunk(int index, double seconds) = 0;
    /// The sections that follow carry out this schedule (nn/schedules.hpp), whose fields may change with any version.
    virtual void schedule(const detail::InvertedBottleneckSchedule&) {}
    /// Likewise.
    virtual void schedule(const detail::FusedBottleneckSchedule&) {}
    /// Likewise.
    virtual void schedule(const detail::WinogradSchedule&) {}
    /// Likewise.
    virtual void schedule(const detail::AttentionSchedule&) {}
};

/// How a Context computes.
struct ContextOptions {
    /// Threads that work on one forward, the calling one included. 0: as many as there are, which with an executor are
    /// its own and one, without one available_threads(). Less, the default: the same with an executor, else the calling
    /// thread alone.
    int threads = -1;
    /// A pool to take helpers from, which must outlive the Context; without one, the Context starts threads - 1 of
    /// its own.
    Executor* executor = nullptr;
    /// Work is cut as for `threads` threads, but the calling one does it all and tells how long it took. Must outlive
    /// the Context.
    ChunkTrace* trace = nullptr;
    /// Each helper that the Context starts is bound to one CPU for good, as far as the calling thread may run on others
    /// than its own (Linux). Gains where Linux wakes helpers on the caller's CPU, and where the caller is bound too.
    bool pin_helpers = false;
};

namespace detail {

/// One forward: memory, kernels, threads. A measuring session computes nothing and counts memory.
class Session {
public:
    Session(Workspace& scratch, const kernels::Table& table, Team* team, int workers, ChunkTrace* trace)
        : workspace(scratch), kernels(table), team_(team), workers_(workers), trace_(trace) {}
    /// A layer's part of a session, with kernels of its own.
    Session(const Session& whole, const kernels::Table& table)
        : workspace(whole.workspace),
          kernels(table),
          team_(whole.team_),
          workers_(whole.workers_),
          trace_(whole.trace_),
          is_part_(true) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() {
        if (team_ != nullptr && !measuring() && !is_part_) team_->close();
    }

    bool measuring() const { return workspace.measuring(); }
    int workers() const { return workers_; }
    Machine machine() const { return {workers_, kernels.operands, this_core()}; }

    /// To be called once a forward for each schedule that is carried out.
    template <class Schedule>
    void scheduled(const Schedule& schedule) const {
        if (trace_ != nullptr && !measuring()) trace_->schedule(schedule);
    }

    /// Runs f(chunk, worker) for chunk in [0, chunks), on any worker, in any order; returns when all are done.
    template <class F>
    void parallel(int chunks, const F& f) {
        if (measuring()) return;
        if (trace_ != nullptr) {
            trace_->section(chunks);
            for (int chunk = 0; chunk < chunks; ++chunk) {
                const auto begin = std::chrono::steady_clock::now();
                f(chunk, 0);
                trace_->chunk(chunk, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
            }
            return;
        }
        if (team_ == nullptr || chunks == 1) {
            for (int chunk = 0; chunk < chunks; ++chunk) f(chunk, 0);
            return;
        }
        struct Section {
            const F* f;
            int chunks, groups;
        } section{&f, chunks, std::min(chunks, Team::max_chunks)};
        team_->run(
            section.groups,
            [](void* argument, int group, int worker) {
                const Section& s = *static_cast<const Section*>(argument);
                const Range chunks_of_group = split(s.chunks, s.groups, group);
                for (int chunk = chunks_of_group.begin; chunk < chunks_of_group.end; ++chunk) (*s.f)(chunk, worker);
            },
            &section);
    }

    struct Range {
        int begin, end;
        int size() const { return end - begin; }
    };

    /// Part i of `count` things in `parts` parts that differ by one at most.
    static Range split(int count, int parts, int i) {
        const auto at = [&](int j) { return static_cast<int>(static_cast<long long>(count) * j / parts); };
        return {at(i), at(i + 1)};
    }

    Workspace& workspace;
    const kernels::Table& kernels;

private:
    Team* team_;
    int workers_;
    ChunkTrace* trace_;
    bool is_part_ = false;
};

}  // namespace detail

/// Scratch memory and threads for forwards. One for each thread that calls forward; any number of Contexts may
/// share one model. After the first forward of the largest size nothing is allocated.
class Context {
public:
    /// Serial: the calling thread alone.
    Context() = default;

    /// With helpers, as the options say. Throws std::system_error where the system has no more threads, ConfigError for
    /// more than ThreadPoolExecutor::max_threads of them.
    explicit Context(const ContextOptions& options) {
        Executor* executor = options.executor;
        int threads = options.threads;
        if (executor != nullptr) {
            const int most = std::min(executor->concurrency(), ThreadPoolExecutor::max_threads) + 1;
            threads = threads <= 0 ? most : std::min(threads, most);
        }
        if (executor == nullptr && threads == 0) threads = available_threads();
        trace_ = options.trace;
        workers_ = std::max(threads, 1);
        if (workers_ == 1 || trace_ != nullptr) return;
        if (executor == nullptr) {
            pool_ = std::make_unique<ThreadPoolExecutor>(
                ThreadPoolOptions{.threads = threads - 1, .pinned = options.pin_helpers});
            executor = pool_.get();
        }
        team_.reset(detail::Team::create(executor, threads));
    }

    /// Threads that work on one forward, the calling one included.
    int threads() const { return workers_; }

    /// Bytes of scratch memory held.
    std::size_t allocated_bytes() const { return memory_.size() * sizeof(float); }

    /// Takes `bytes` of scratch memory now rather than in a forward. Throws std::bad_alloc.
    void reserve(std::uint64_t bytes) {
        const std::uint64_t floats = bytes / sizeof(float) + (bytes % sizeof(float) != 0 ? 1 : 0);
        if (floats <= memory_.size()) return;
        memory_ = {};  // the old contents are not needed, and not both are held at once
        memory_ = detail::AlignedBuffer<float>(floats);
    }

    /// Runs body(Session&) twice: to measure its memory, and to do it. Used by layers; not reentrant.
    template <class Body>
    void run(const kernels::Table& table, const Body& body) {
        reserve(measure(table, body));
        const detail::FloatEnvironment environment;
        detail::Workspace workspace(memory_);
        detail::Team* const team = team_ != nullptr && team_->has_helpers() ? team_.get() : nullptr;
        detail::Session session(workspace, table, team, workers_, trace_);
        body(session);
    }

    /// Bytes that run(table, body) needs, which may be more than this system can have.
    template <class Body>
    std::uint64_t measure(const kernels::Table& table, const Body& body) const {
        detail::Workspace nothing;
        detail::Session session(nothing, table, nullptr, workers_, nullptr);
        body(session);
        return static_cast<std::uint64_t>(std::max(nothing.peak(), detail::Index{1})) * sizeof(float);
    }

private:
    struct Release {
        void operator()(detail::Team* team) const { team->release(); }
    };
    detail::AlignedBuffer<float> memory_;
    std::unique_ptr<ThreadPoolExecutor> pool_;  // outlives the team's tasks: destroyed after all have run
    std::unique_ptr<detail::Team, Release> team_;
    int workers_ = 1;
    ChunkTrace* trace_ = nullptr;
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

#include <efficientvit/runtime/thread_context.hpp>  // the Context of who gives none

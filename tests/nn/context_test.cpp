// SPDX-License-Identifier: Apache-2.0
//
// Contexts and executors: whatever a pool does with its tasks (never, at once, late, for many at a time), a forward
// ends and gives the same bits. What layers compute is tested elsewhere.
#include "../support.hpp"

#include <atomic>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sys/resource.h>
#include <unistd.h>
#endif
#if defined(EFFICIENTVIT_X86)
#include <xmmintrin.h>
#endif

namespace {

using namespace std::chrono_literals;

struct Task {
    void (*function)(void*);
    void* argument;
    void run() const { function(argument); }
};

class ContextTest : public testing::Test {
protected:
    static const ev::BackboneB0& backbone() {
        static const auto b0 = golden_layer<ev::BackboneB0>();
        return b0;
    }
    static const ev::Tensor& image() {
        static const ev::Tensor x = golden_input({1, 3, 64, 80});
        return x;
    }
    static const ev::Tensor& expected() {
        static const ev::Tensor y = backbone().forward_final(image());
        return y;
    }
    /// Some forwards in this Context; all must be right.
    static void check(ev::Context& context, int forwards = 5) {
        ev::Tensor y;
        for (int i = 0; i < forwards; ++i) {
            y.setZero();
            backbone().forward_final(image(), y, context);
            ASSERT_TRUE(same_bits(y, expected())) << "forward " << i;
        }
    }
};

TEST_F(ContextTest, Threads) {
    EXPECT_EQ(ev::Context().threads(), 1);
    EXPECT_EQ(ev::Context(ev::ContextOptions{}).threads(), 1);
    EXPECT_EQ(ev::Context({.threads = 0}).threads(), ev::available_threads());
    EXPECT_GE(ev::available_threads(), 1);
    EXPECT_EQ(ev::Context({.threads = -3}).threads(), 1);
    EXPECT_EQ(ev::Context({.threads = 1}).threads(), 1);
    for (const int threads : {2, 3, 8, 17}) {
        ev::Context context({.threads = threads});
        EXPECT_EQ(context.threads(), threads);
        check(context);
    }
}

TEST_F(ContextTest, MoreThreadsThanAPoolMayHave) {
    constexpr int most = ev::ThreadPoolExecutor::max_threads;
    expect_in("the most is 4096", message_of<ev::ConfigError>([] { ev::Context({.threads = most + 2}); }));
    expect_in("the most is 4096", message_of<ev::ConfigError>([] { ev::ThreadPoolExecutor(INT_MAX); }));
}

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/// In a process of its own with memory for some dozens of stacks: an exception, and those that have been started end.
TEST_F(ContextTest, WhereTheSystemHasNoMoreThreads) {
    const auto in_little_memory = [] {
        const rlimit limit{std::size_t{1} << 30, std::size_t{1} << 30};
        setrlimit(RLIMIT_AS, &limit);
        alarm(60);
        for (int i = 0; i < 3; ++i) {
            try {
                ev::Context({.threads = 4000});
                std::_Exit(1);
            } catch (const std::system_error&) {
            }
        }
        ev::Context two({.threads = 2});
        check(two);
        std::_Exit(HasFailure() ? 2 : 0);
    };
    expected();
    EXPECT_EXIT(in_little_memory(), testing::ExitedWithCode(0), "");
}
#endif

/// Its destructor may be called when the thread's Context is gone: as those of statics are.
struct ForwardAtTheEnd {
    const ev::BackboneB0* backbone = nullptr;
    const ev::Tensor* x = nullptr;
    ev::Tensor* y = nullptr;
    ~ForwardAtTheEnd() {
        if (backbone != nullptr) *y = backbone->forward_final(*x);
    }
};
TEST_F(ContextTest, AForwardBehindTheEndOfTheThreadsContext) {
    ev::Tensor y;
    std::thread([&] {
        thread_local ForwardAtTheEnd at_the_end;
        at_the_end.x = &image();
        at_the_end.y = &y;
        at_the_end.backbone = &backbone();
        backbone().forward_final(image());
    }).join();
    EXPECT_TRUE(same_bits(y, expected()));
}

TEST_F(ContextTest, OneForEachThreadByDefault) {
    std::vector<std::thread> threads;
    std::vector<ev::Tensor> results(4);
    for (ev::Tensor& y : results) threads.emplace_back([&y] { y = backbone().forward_final(image()); });
    for (std::thread& thread : threads) thread.join();
    for (const ev::Tensor& y : results) EXPECT_TRUE(same_bits(y, expected()));
}

// ---- Executors -----------------------------------------------------------------------------------------------------

/// Takes tasks and keeps them.
class Keeping : public ev::Executor {
public:
    explicit Keeping(int concurrency) : concurrency_(concurrency) {}
    int concurrency() const override { return concurrency_; }
    void schedule(void (*task)(void*), void* argument) override { tasks_.push_back({task, argument}); }

    std::size_t kept() const { return tasks_.size(); }
    void run_all() {
        while (!tasks_.empty()) {
            const Task task = tasks_.front();
            tasks_.pop_front();
            task.run();
        }
    }

private:
    int concurrency_;
    std::deque<Task> tasks_;
};

TEST_F(ContextTest, AnExecutorThatNeverRunsATask) {
    Keeping executor(3);
    {
        ev::Context context({.executor = &executor});
        EXPECT_EQ(context.threads(), 4);
        check(context, 20);
        // A task that has not begun is not given out again.
        EXPECT_LE(executor.kept(), 3u);
        EXPECT_GE(executor.kept(), 1u);
    }
    // Far too late: the Context is gone. Nothing to do, nothing to touch.
    executor.run_all();
}

TEST_F(ContextTest, TasksThatRunBetweenForwards) {
    Keeping executor(2);
    ev::Context context({.executor = &executor});
    for (int i = 0; i < 10; ++i) {
        check(context, 1);
        EXPECT_GE(executor.kept(), 1u) << "asked again, since the last tasks have ended";
        executor.run_all();
    }
}

class Inline : public ev::Executor {
public:
    int concurrency() const override { return 2; }
    void schedule(void (*task)(void*), void* argument) override {
        ++scheduled;
        task(argument);
    }
    int scheduled = 0;
};

TEST_F(ContextTest, AnExecutorThatRunsTasksAtOnce) {
    Inline executor;
    ev::Context context({.executor = &executor});
    EXPECT_EQ(context.threads(), 3);
    check(context);
    EXPECT_GT(executor.scheduled, 0);
}

/// A thread that begins each task only after a while, when the forward is somewhere else, or over.
class Late : public ev::Executor {
public:
    explicit Late(std::chrono::microseconds delay) : delay_(delay), thread_([this] { work(); }) {}
    ~Late() override {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
    int concurrency() const override { return 1; }
    void schedule(void (*task)(void*), void* argument) override {
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back({task, argument});
        }
        changed_.notify_all();
    }

private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
            if (tasks_.empty()) return;
            const Task task = tasks_.front();
            tasks_.pop_front();
            lock.unlock();
            std::this_thread::sleep_for(delay_);
            task.run();
            lock.lock();
        }
    }

    std::chrono::microseconds delay_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> tasks_;
    bool ending_ = false;
    std::thread thread_;
};

TEST_F(ContextTest, AnExecutorThatRunsTasksLate) {
    for (const auto delay : {0us, 50us, 200us, 1000us, 5000us}) {
        Late executor(delay);
        ev::Context context({.executor = &executor});
        EXPECT_EQ(context.threads(), 2);
        check(context, 20);
    }
}

/// As AnExecutorThatRunsTasksLate, but tasks outlive the Context they were for.
TEST_F(ContextTest, AContextThatGoesBeforeItsTasksBegin) {
    Late executor(1000us);
    for (int i = 0; i < 5; ++i) {
        ev::Context context({.executor = &executor});
        check(context, 1);
    }
}

class Failing : public ev::Executor {
public:
    int concurrency() const override { return 4; }
    void schedule(void (*)(void*), void*) override {
        ++asked;
        throw std::runtime_error("no threads today");
    }
    int asked = 0;
};

TEST_F(ContextTest, AnExecutorThatThrows) {
    Failing executor;
    ev::Context context({.executor = &executor});
    check(context);
    EXPECT_GT(executor.asked, 0);
}

TEST_F(ContextTest, AsManyThreadsAsTheExecutorHasAndOne) {
    Keeping none(0), three(3);
    EXPECT_EQ(ev::Context({.executor = &none}).threads(), 1);
    EXPECT_EQ(ev::Context({.executor = &three}).threads(), 4);
    EXPECT_EQ(ev::Context({.threads = 2, .executor = &three}).threads(), 2);
    EXPECT_EQ(ev::Context({.threads = 9, .executor = &three}).threads(), 4);
    EXPECT_EQ(ev::Context({.threads = 1, .executor = &three}).threads(), 1);
    Keeping endless(INT_MAX);
    EXPECT_EQ(ev::Context({.threads = 7, .executor = &endless}).threads(), 7);
    EXPECT_EQ(ev::Context({.executor = &endless}).threads(), ev::ThreadPoolExecutor::max_threads + 1);
    ev::Context context({.executor = &none});
    check(context);
}

/// Work cut for three threads and done by one: the same bits, every chunk told once and in its section.
TEST_F(ContextTest, TellsATraceOfEveryChunk) {
    struct Count : ev::ChunkTrace {
        void section(int count) override {
            EXPECT_EQ(next, chunks) << "section " << sections;
            ++sections;
            chunks = count;
            next = 0;
            widest = std::max(widest, count);
        }
        void chunk(int index, double seconds) override {
            EXPECT_EQ(index, next++);
            EXPECT_GE(seconds, 0.0);
        }
        int sections = 0, chunks = 0, next = 0, widest = 0;
    } trace;
    ev::Context context({.threads = 3, .trace = &trace});
    EXPECT_EQ(context.threads(), 3);
    check(context, 1);
    EXPECT_EQ(trace.next, trace.chunks);
    EXPECT_GT(trace.sections, 10);
    EXPECT_GE(trace.widest, 3);
}

TEST_F(ContextTest, OnePoolForManyContexts) {
    ev::ThreadPoolExecutor executor(2);
    EXPECT_EQ(executor.concurrency(), 2);
    EXPECT_EQ(ev::ThreadPoolExecutor(0).concurrency(), 1);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 6; ++caller) {
        callers.emplace_back([&executor, &wrong, caller] {
            for (int round = 0; round < 3; ++round) {
                ev::Context context({.threads = 2 + caller % 2, .executor = &executor});
                ev::Tensor y;
                for (int i = 0; i < 10; ++i) {
                    backbone().forward_final(image(), y, context);
                    if (!same_bits(y, expected())) ++wrong;
                }
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
}

/// Each forward holds the pool's only thread for as long as it lasts; the others must not wait for it.
TEST_F(ContextTest, ForwardsThatShareAPoolThatIsTooSmall) {
    Late executor(0us);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
        callers.emplace_back([&executor, &wrong] {
            ev::Context context({.executor = &executor});
            ev::Tensor y;
            for (int i = 0; i < 20; ++i) {
                backbone().forward_final(image(), y, context);
                if (!same_bits(y, expected())) ++wrong;
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
}

/// Models come and go while others are used, each thread with a Context of its own.
TEST_F(ContextTest, ManyThreadsOnOneModel) {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 8; ++thread) {
        threads.emplace_back([&wrong, thread] {
            ev::Context context({.threads = 1 + thread % 3});
            ev::Tensor y;
            for (int i = 0; i < 5; ++i) {
                const auto own = thread % 4 == 0 ? std::make_unique<ev::BackboneB0>(backbone()) : nullptr;
                (own ? *own : backbone()).forward_final(image(), y, context);
                if (!same_bits(y, expected())) ++wrong;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
}

TEST_F(ContextTest, ManySizesInTurn) {
    std::vector<ev::Tensor> images, results;
    for (const ev::Shape& shape :
         {ev::Shape{1, 3, 1, 1}, ev::Shape{2, 3, 40, 9}, ev::Shape{1, 3, 96, 64}, ev::Shape{1, 3, 7, 130}}) {
        images.push_back(golden_input(shape));
        results.push_back(backbone().forward_final(images.back()));
    }
    ev::Context context({.threads = 3});
    for (int i = 0; i < 40; ++i) {
        const auto which = static_cast<std::size_t>(i * 7 % 4);
        ASSERT_TRUE(same_bits(backbone().forward_final(images[which], context), results[which])) << i;
    }
}

TEST_F(ContextTest, CanBeMoved) {
    ev::Context first({.threads = 2});
    check(first);
    ev::Context second(std::move(first));
    EXPECT_EQ(second.threads(), 2);
    check(second);
    ev::Context third;
    third = std::move(second);
    check(third);
}

/// After a mistake the Context works as before.
TEST_F(ContextTest, SurvivesExceptions) {
    ev::Context context({.threads = 2});
    check(context);
    for (int i = 0; i < 3; ++i) {
        EXPECT_THROW(backbone().forward_final(golden_input({1, 4, 8, 8}), context), ev::ShapeError);
        EXPECT_THROW(ev::BackboneB0().forward_final(image(), context), ev::WeightsError);
        check(context, 1);
    }
}

#if defined(EFFICIENTVIT_X86)
/// A pool whose threads flush denormals and round upwards: results do not change, and its threads get their modes back.
class OddModes : public ev::Executor {
public:
    int concurrency() const override { return 1; }
    void schedule(void (*task)(void*), void* argument) override {
        if (thread_.joinable()) thread_.join();
        thread_ = std::thread([this, task, argument] {
            constexpr unsigned modes = 0x9fc0 | _MM_ROUND_UP;  // flush to zero, denormals are zero
            _mm_setcsr(modes);
            task(argument);
            if ((_mm_getcsr() & ~0x3fU) != (modes & ~0x3fU)) changed = true;
        });
    }
    ~OddModes() override {
        if (thread_.joinable()) thread_.join();
    }
    std::atomic<bool> changed{false};

private:
    std::thread thread_;
};

TEST_F(ContextTest, HelpersWithOtherFloatingPointModes) {
    OddModes executor;
    {
        ev::Context context({.executor = &executor});
        check(context, 50);
    }
    EXPECT_FALSE(executor.changed);
}
#endif

/// Between forwards nobody spins: half a second of doing nothing costs next to no processor time.
TEST_F(ContextTest, HelpersSleepBetweenForwards) {
    ev::Context context({.threads = 4});
    check(context, 3);
    std::this_thread::sleep_for(5ms);
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(500ms);
    const double milliseconds = 1e3 * static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    EXPECT_LE(milliseconds, 2) << "of processor time in 500 ms";
}

// ---- Memory --------------------------------------------------------------------------------------------------------

TEST_F(ContextTest, SaysBeforehandWhatItNeeds) {
    for (const int threads : {1, 2, 3}) {
        for (const ev::Shape& shape : {ev::Shape{1, 3, 64, 80}, ev::Shape{3, 3, 33, 1}, ev::Shape{1, 3, 1, 1}}) {
            const ev::Tensor x = golden_input(shape);
            ev::Context context({.threads = threads});
            const std::size_t needed = backbone().workspace_bytes(shape, context);
            EXPECT_EQ(context.allocated_bytes(), 0u);
            backbone().forward(x, context);
            EXPECT_LE(context.allocated_bytes(), needed);
            backbone().forward_final(x, context);
            EXPECT_EQ(context.allocated_bytes(), needed) << to_text(shape) << ", " << threads << " threads";
        }
    }
    const auto conv = golden_layer<ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 9}>>();
    ev::Context context;
    conv.forward(image(), context);
    EXPECT_EQ(context.allocated_bytes(), conv.workspace_bytes(shape_of(image()), context));
    EXPECT_GT(context.allocated_bytes(), 0u);
}

TEST_F(ContextTest, HoldsAsMuchAsTheLargestSizeNeeds) {
    ev::Context context({.threads = 2});
    const ev::Tensor small = golden_input({1, 3, 20, 20}), large = golden_input({1, 3, 90, 80});
    backbone().forward_final(small, context);
    const std::size_t for_small = context.allocated_bytes();
    backbone().forward_final(large, context);
    const std::size_t for_large = context.allocated_bytes();
    EXPECT_LT(for_small, for_large);
    for (int i = 0; i < 4; ++i) {
        backbone().forward_final(i % 2 == 0 ? small : large, context);
        EXPECT_EQ(context.allocated_bytes(), for_large);
    }
}

TEST_F(ContextTest, CanTakeItsMemoryBeforehand) {
    ev::Context context;
    context.reserve(1000);
    EXPECT_EQ(context.allocated_bytes(), 1000u);
    context.reserve(10);
    EXPECT_EQ(context.allocated_bytes(), 1000u) << "never less";
    const std::size_t needed = backbone().workspace_bytes(shape_of(image()), context);
    context.reserve(needed);
    EXPECT_EQ(context.allocated_bytes(), needed);
    EXPECT_THROW(context.reserve(SIZE_MAX), std::bad_alloc);
    context.reserve(needed);
    check(context);
    EXPECT_EQ(context.allocated_bytes(), needed);
}

}  // namespace

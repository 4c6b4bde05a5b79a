// SPDX-License-Identifier: Apache-2.0
//
// What a child of fork() does with the Contexts, pools and handles that it inherits, and with its own: forwards with
// the same bits, exit, destruction. A child that hangs is killed by its alarm. usage: fork_test [FORKS], 60 by default.
#include <efficientvit/efficientvit.hpp>
#if defined(EFFICIENTVIT_COMPILED)
#include <efficientvit/models/model_handle.hpp>
#include <efficientvit/weights/save_safetensors.hpp>
#endif

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../golden_values.hpp"

namespace ev = efficientvit;

namespace {

using Network = ev::OpSequential<
    ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 16, .stride = 2}>,
    ev::ResidualBlock<ev::DSConv<ev::DSConvConfig{.in_channels = 16, .out_channels = 16}>, ev::IdentityLayer>>;

template <class Layer>
ev::StateDict weights_of() {
    ev::StateDict weights;
    for (const ev::Parameter& p : Layer::parameters()) weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    return weights;
}

/// A pool of the user's own: one thread, which takes a task if it has nothing to do.
class UsersPool : public ev::Executor {
public:
    UsersPool() : thread_([this] { work(); }) { thread_.detach(); }
    int concurrency() const override { return 1; }
    void schedule(void (*task)(void*), void* argument) override {
        if (has_work_.load()) throw ev::Error("no thread is free");
        task_ = task;
        argument_ = argument;
        has_work_ = true;
    }

private:
    void work() {
        for (;; usleep(50)) {
            if (!has_work_.load()) continue;
            task_(argument_);
            has_work_ = false;
        }
    }
    void (*task_)(void*) = nullptr;
    void* argument_ = nullptr;
    std::atomic<bool> has_work_{false};
    std::thread thread_;
};

/// All that a program may hold when it forks. Never destroyed by itself, but by who ends the process in order.
struct Everything {
    explicit Everything(int threads)
        : own(ev::ContextOptions{.threads = threads}), pool(std::make_unique<ev::ThreadPoolExecutor>(threads - 1)) {
        shared.emplace(ev::ContextOptions{.executor = pool.get()});
        users.emplace(ev::ContextOptions{.executor = users_pool()});
    }
    static UsersPool* users_pool() {
        static UsersPool* const forever = new UsersPool;
        return forever;
    }
    std::optional<ev::Context> own;
    std::unique_ptr<ev::ThreadPoolExecutor> pool;
    std::optional<ev::Context> shared, users;
#if defined(EFFICIENTVIT_COMPILED)
    std::optional<ev::ModelHandle> handle;
#endif
};

Network network;
ev::Tensor image(1, 3, 96, 96), expected;
std::optional<Everything> inherited[3];  // with 2, 3 and 4 threads
#if defined(EFFICIENTVIT_COMPILED)
std::vector<float> picture(3 * 32 * 32, 0.5f), final_stage(128), expected_final_stage(128);

bool right(ev::ModelHandle& handle) {
    std::fill(final_stage.begin(), final_stage.end(), 0.0f);
    handle.forward({picture.data(), {1, 3, 32, 32}}, {final_stage.data(), {1, 128, 1, 1}});
    return final_stage == expected_final_stage;
}
#endif

bool right(ev::Context& context) {
    const ev::Tensor y = network.forward(image, context);
    return std::memcmp(y.data(), expected.data(), sizeof(float) * static_cast<std::size_t>(y.size())) == 0;
}

bool right(Everything& all) {
#if defined(EFFICIENTVIT_COMPILED)
    if (all.handle && !right(*all.handle)) return false;
#endif
    return (!all.own || right(*all.own)) && right(*all.shared) && right(*all.users);
}

/// Threads of this process; `unknown` where the system does not tell.
std::ptrdiff_t threads_here(std::ptrdiff_t unknown) {
    std::error_code error;
    const std::filesystem::directory_iterator tasks("/proc/self/task", error);
    return error ? unknown : std::distance(begin(tasks), end(tasks));
}

/// What a child does; those that end it otherwise than by its return do not return.
struct Deed {
    const char* name;
    bool (*run)(std::optional<Everything>& all, int threads);
};
constexpr Deed deeds[] = {
    {"forwards",
     [](std::optional<Everything>& all, int) { return right(*all) && right(*all) && threads_here(1) == 1; }},
    {"nothing", [](std::optional<Everything>&, int) { return true; }},
    {"_exit", [](std::optional<Everything>& all, int) -> bool { _exit(right(*all) ? 0 : 1); }},
    {"destroys all",
     [](std::optional<Everything>& all, int) {
         all.reset();
         return true;
     }},
    {"moves a Context, destroys it",
     [](std::optional<Everything>& all, int) {
         ev::Context moved(std::move(*all->own));
         all->own.reset();
         return right(moved);
     }},
    {"its own Context",
     [](std::optional<Everything>& all, int threads) {
         ev::Context own({.threads = threads});
         return right(own) && right(own) && threads_here(threads) == threads && right(*all);
     }},
    {"a Context on the inherited pool",
     [](std::optional<Everything>& all, int) {
         ev::Context serial({.executor = all->pool.get()});
         return serial.threads() == 1 && all->pool->concurrency() == 0 && right(serial);
     }},
    {"its own pool in a thread",
     [](std::optional<Everything>&, int threads) {
         bool ok = false;
         std::thread([&] {
             ev::ThreadPoolExecutor pool(threads - 1);
             ev::Context context({.executor = &pool});
             ok = right(context) && context.threads() == threads;
         }).join();
         return ok;
     }},
    {"without a Context",
     [](std::optional<Everything>&, int) {
         const ev::Tensor y = network.forward(image);
         return std::memcmp(y.data(), expected.data(), sizeof(float) * static_cast<std::size_t>(y.size())) == 0;
     }},
    {"a child of its own",
     [](std::optional<Everything>& all, int threads) {
         static std::optional<ev::Context> own(ev::ContextOptions{.threads = threads});
         if (!right(*own)) return false;
         const pid_t grandchild = fork();
         if (grandchild == 0) {
             alarm(20);
             std::exit(right(*own) && right(*all) && threads_here(1) == 1 ? 0 : 1);
         }
         int status = 0;
         return waitpid(grandchild, &status, 0) == grandchild && status == 0 && right(*own) &&
                threads_here(threads) == threads;
     }},
};

/// Computes, and makes and destroys Contexts, while others fork: what it holds at that moment is in the child too.
void compute_and_construct(const std::atomic<bool>& ending) {
    static std::optional<ev::Context> of_another_thread(ev::ContextOptions{.threads = 3});
    for (int i = 0; !ending; ++i) {
        network.forward(image, *of_another_thread);
        if (i % 4 == 0) ev::Context passing({.threads = 2 + i % 3});
        usleep(100);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const int forks = argc > 1 ? std::atoi(argv[1]) : 60;
    std::setvbuf(stdout, nullptr, _IONBF, 0);
    network.load_state_dict(weights_of<Network>());
    image.setConstant(0.5f);
    expected = network.forward(image);
    for (int i = 0; i < 3; ++i) inherited[i].emplace(2 + i);
#if defined(EFFICIENTVIT_COMPILED)
    const std::string path = "fork_test." + std::to_string(getpid()) + ".safetensors";
    ev::save_safetensors(path, weights_of<ev::BackboneB0>());
    ev::ModelHandle serial("backbone_b0", path);
    serial.forward({picture.data(), {1, 3, 32, 32}}, {expected_final_stage.data(), {1, 128, 1, 1}});
    for (int i = 0; i < 3; ++i) inherited[i]->handle.emplace(serial.share(2 + i));
    std::filesystem::remove(path);
#endif

    std::atomic<bool> ending{false};
    std::thread other([&] { compute_and_construct(ending); });
    int failures = 0;
    for (int i = 0; i < forks; ++i) {
        const Deed& deed = deeds[static_cast<std::size_t>(i) % std::size(deeds)];
        const int which = i / static_cast<int>(std::size(deeds)) % 3;
        std::optional<Everything>& all = inherited[which];
        if (i % 7 != 0 && !right(*all)) return std::puts("wrong in the parent"), 1;  // helpers may still be awake
        const pid_t child = fork();
        if (child < 0) return std::perror("fork"), 1;
        if (child == 0) {
            alarm(20);
            new std::thread(std::move(other));  // whose destructor would end this program
            const bool ok = deed.run(all, 2 + which);
            if (i % 2 == 0) std::exit(ok ? 0 : 1);
            return ok ? 0 : 1;
        }
        int status = 0;
        if (waitpid(child, &status, 0) != child || status != 0) {
            ++failures;
            std::printf("fork %d, %d threads, %s: %s %d\n", i, 2 + which, deed.name,
                        !WIFSIGNALED(status)          ? "exit status"
                        : WTERMSIG(status) == SIGALRM ? "hangs, signal"
                                                      : "killed by signal",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
    }
    ending = true;
    other.join();
    std::printf("%d forks, %d failures\n", forks, failures);
    return failures == 0 ? 0 : 1;
}

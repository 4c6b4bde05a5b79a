// SPDX-License-Identifier: Apache-2.0
//
// Threads that compute, load, copy and destroy models for as many minutes as asked, with random sizes, batches and
// thread counts, on one shared executor or threads of their own. Every result must have the bits of the first of its
// kind; memory must not grow. usage: soak [MINUTES [THREADS [SEED]]], 10 seconds of 4 threads by default.
#include "../golden_values.hpp"

#include <efficientvit/efficientvit.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace ev = efficientvit;

namespace {

using Clock = std::chrono::steady_clock;
using Net = ev::BackboneB0;

/// Resident memory in MB; 0 where the system does not tell.
double resident() {
    std::ifstream status("/proc/self/statm");
    long all = 0, pages = 0;
    return status >> all >> pages ? static_cast<double>(pages) * 4096e-6 : 0;
}

ev::StateDict weights() {
    ev::StateDict out;
    for (const ev::Parameter& p : Net::parameters()) out.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    return out;
}

/// One input of each size, and what the model makes of it.
struct Case {
    ev::Tensor x, y;
};
std::vector<Case> cases(const Net& model) {
    std::vector<Case> out;
    std::mt19937 random(7);
    const auto below = [&](unsigned end) { return static_cast<std::int64_t>(random() % end); };
    for (int i = 0; i < 24; ++i) {
        const std::vector<std::int64_t> s{1 + below(4), 3, 1 + below(120), 1 + below(120)};
        const std::vector<float> values = golden_tensor("input", s);
        Case c{ev::Tensor(s[0], s[1], s[2], s[3]), {}};
        std::copy(values.begin(), values.end(), c.x.data());
        c.y = model.forward_final(c.x);
        out.push_back(std::move(c));
    }
    return out;
}

struct Counts {
    std::atomic<long> forwards{0}, loads{0}, contexts{0}, failures{0};
};

void work(unsigned seed, Clock::time_point end, const Net& shared, const ev::StateDict& state,
          const std::vector<Case>& all, ev::Executor& executor, Counts& counts) {
    std::mt19937 random(seed);
    while (Clock::now() < end) {
        const int threads = 1 + static_cast<int>(random() % 4);
        ev::Executor* const pool = random() % 2 == 0 ? &executor : nullptr;
        ev::Context context({.threads = threads, .executor = pool});
        ++counts.contexts;
        std::unique_ptr<Net> own;
        switch (random() % 4) {
            case 0:
                own = std::make_unique<Net>();
                own->load_state_dict(state);
                ++counts.loads;
                break;
            case 1:
                own = std::make_unique<Net>(shared);
                break;
            default:
                break;
        }
        ev::Tensor y;
        for (unsigned i = 0, many = 1 + static_cast<unsigned>(random() % 20); i < many && Clock::now() < end; ++i) {
            const Case& c = all[random() % all.size()];
            (own ? *own : shared).forward_final(c.x, y, context);
            ++counts.forwards;
            const auto bytes = static_cast<std::size_t>(c.y.size()) * sizeof(float);
            if (y.size() != c.y.size() || std::memcmp(y.data(), c.y.data(), bytes) != 0) ++counts.failures;
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    const double minutes = argc > 1 ? std::atof(argv[1]) : 10.0 / 60;
    const int threads = argc > 2 ? std::atoi(argv[2]) : 4;
    const auto seed = static_cast<unsigned>(argc > 3 ? std::atoi(argv[3]) : 1);
    try {
        const ev::StateDict state = weights();
        Net shared;
        shared.load_state_dict(state);
        const std::vector<Case> all = cases(shared);
        ev::ThreadPoolExecutor executor(3);
        Counts counts;
        const auto begin = Clock::now();
        const auto end =
            begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(60 * minutes));
        std::vector<std::thread> workers;
        for (int i = 0; i < threads; ++i) {
            const unsigned own = seed * 1000 + static_cast<unsigned>(i);
            workers.emplace_back([&, own] {
                try {
                    work(own, end, shared, state, all, executor, counts);
                } catch (const std::exception& error) {
                    ++counts.failures;
                    std::fprintf(stderr, "%s\n", error.what());
                }
            });
        }
        // What is normal is known after a tenth of the time; then memory is looked at twenty times.
        std::this_thread::sleep_until(begin + (end - begin) / 10);
        std::vector<double> memory{resident()};
        for (int i = 1; i <= 20; ++i) {
            std::this_thread::sleep_until(begin + (end - begin) / 10 + (end - begin) * 9 / 200 * i);
            memory.push_back(resident());
            std::printf("%6.1f s: %.1f MB, %ld forwards, %ld loads, %ld contexts, %ld failures\n",
                        std::chrono::duration<double>(Clock::now() - begin).count(), memory.back(),
                        counts.forwards.load(), counts.loads.load(), counts.contexts.load(), counts.failures.load());
            std::fflush(stdout);
        }
        for (std::thread& worker : workers) worker.join();
        // The least of the last half against the most of the first: a leak of one context's memory a round shows.
        const auto middle = memory.begin() + 10;
        const double early = *std::max_element(memory.begin(), middle), late = *std::min_element(middle, memory.end());
        const bool grows = late > 1.2 * early + 4;
        std::printf(
            "%ld forwards, %ld failures, resident memory %.1f MB at most in the first half, %.1f at least in "
            "the second%s\n",
            counts.forwards.load(), counts.failures.load(), early, late, grows ? ": it grows" : "");
        return counts.failures == 0 && counts.forwards > 0 && !grows ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

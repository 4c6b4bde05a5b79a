// SPDX-License-Identifier: Apache-2.0
//
// CPU quotas of control groups, from trees of files as /proc and /sys/fs/cgroup have them, and threads bound to CPUs.
#include "../support.hpp"

#if defined(__linux__)
#include <sched.h>

#include <unistd.h>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

namespace {

namespace fs = std::filesystem;

/// A folder with these files, for as long as this lives.
class FakeRoot {
public:
    explicit FakeRoot(const std::map<std::string, std::string>& files)
        : path_(fs::temp_directory_path() / ("available_threads." + std::to_string(getpid()))) {
        for (const auto& [name, text] : files) {
            fs::create_directories((path_ / name).parent_path());
            std::ofstream(path_ / name) << text;
        }
    }
    FakeRoot(const FakeRoot&) = delete;
    FakeRoot& operator=(const FakeRoot&) = delete;
    ~FakeRoot() { fs::remove_all(path_); }
    double cpus() const { return ev::detail::CpuQuota(path_.string()).cpus(); }

private:
    fs::path path_;
};

const std::string v2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
const std::string v1 = "30 23 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

TEST(AvailableThreads, TakesTheNarrowestGroupOnTheWayUp) {
    EXPECT_EQ(FakeRoot({{"proc/self/cgroup", "0::/a/b\n"},
                        {"proc/self/mountinfo", v2},
                        {"sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
                        {"sys/fs/cgroup/a/cpu.max", "150000 100000\n"}})
                  .cpus(),
              1.5);
    EXPECT_EQ(FakeRoot({{"proc/self/cgroup", "5:cpuset:/other\n4:cpu,cpuacct:/a/b\n1:name=systemd:/x\n"},
                        {"proc/self/mountinfo", v2 + v1},
                        {"sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "300000\n"},
                        {"sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n"},
                        {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
                        {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}})
                  .cpus(),
              3.0);
}

TEST(AvailableThreads, FindsTheGroupInAContainer) {
    // Its own group is what is mounted, with and without a namespace of groups; and a group beyond the namespace.
    EXPECT_EQ(
        FakeRoot(
            {{"proc/self/cgroup", "0::/\n"}, {"proc/self/mountinfo", v2}, {"sys/fs/cgroup/cpu.max", "50000 100000"}})
            .cpus(),
        0.5);
    EXPECT_EQ(FakeRoot({{"proc/self/cgroup", "0::/docker/12\n"},
                        {"proc/self/mountinfo", "35 24 0:30 /docker/12 /sys/fs/cgroup ro - cgroup2 cgroup rw\n"},
                        {"sys/fs/cgroup/cpu.max", "200000 100000"}})
                  .cpus(),
              2.0);
    EXPECT_EQ(FakeRoot({{"proc/self/cgroup", "0::/../other\n"},
                        {"proc/self/mountinfo", v2},
                        {"sys/fs/cgroup/cpu.max", "200000 100000"}})
                  .cpus(),
              2.0);
    EXPECT_EQ(FakeRoot({{"proc/self/cgroup", "0::/a\n"},
                        {"proc/self/mountinfo", "35 24 0:30 / /my\\040groups rw - cgroup2 cgroup rw\n"},
                        {"my groups/a/cpu.max", "100000 100000"}})
                  .cpus(),
              1.0);
}

TEST(AvailableThreads, WithoutQuotaOrFilesAreThoseOfTheMachine) {
    EXPECT_EQ(FakeRoot({}).cpus(), HUGE_VAL);
    EXPECT_EQ(
        FakeRoot({{"proc/self/cgroup", "0::/a\n\nnonsense\n"}, {"proc/self/mountinfo", "nonsense\n\n" + v2}}).cpus(),
        HUGE_VAL);
    EXPECT_EQ(FakeRoot({{"proc/self/cgroup", "0::/a\n"}, {"proc/self/mountinfo", v2}, {"sys/fs/cgroup/a/cpu.max", "x"}})
                  .cpus(),
              HUGE_VAL);
    EXPECT_EQ(ev::detail::within_quota(8, HUGE_VAL), 8);
    EXPECT_EQ(ev::detail::within_quota(8, 2.5), 3);
    EXPECT_EQ(ev::detail::within_quota(8, 0.1), 1);
    EXPECT_EQ(ev::detail::within_quota(2, 3), 2);
    EXPECT_EQ(ev::detail::within_quota(0, HUGE_VAL), 1);
}

TEST(AvailableThreads, CountTheCpusThatTheThreadMayRunOn) {
    std::thread([] {
        const std::vector<int> all = ev::detail::allowed_cpus();
        ASSERT_FALSE(all.empty());
        EXPECT_LE(ev::available_threads(), static_cast<int>(all.size()));
        ev::detail::bind_to_cpu(all.back());
        EXPECT_EQ(ev::detail::allowed_cpus(), std::vector<int>{all.back()});
        EXPECT_EQ(ev::available_threads(), 1);
        EXPECT_EQ(ev::Context({.threads = 0}).threads(), 1);
    }).join();
}

/// CPUs of the threads of a pool, in as many tasks that wait for each other.
std::vector<std::vector<int>> cpus_of(int threads, bool pinned) {
    struct Asked {
        std::mutex mutex;
        std::condition_variable changed;
        std::vector<std::vector<int>> cpus;
        std::size_t count;
    } asked;
    ev::ThreadPoolExecutor pool({.threads = threads, .pinned = pinned});
    asked.count = static_cast<std::size_t>(pool.concurrency());
    const auto task = [](void* argument) {
        Asked& a = *static_cast<Asked*>(argument);
        std::unique_lock lock(a.mutex);
        a.cpus.push_back(ev::detail::allowed_cpus());
        a.changed.notify_all();
        a.changed.wait(lock, [&] { return a.cpus.size() >= a.count; });
    };
    for (std::size_t i = 0; i < asked.count; ++i) pool.schedule(task, &asked);
    std::unique_lock lock(asked.mutex);
    asked.changed.wait(lock, [&] { return asked.cpus.size() >= asked.count; });
    return asked.cpus;
}

TEST(AvailableThreads, HelpersAreBoundWhereThatIsWanted) {
    const std::vector<int> all = ev::detail::allowed_cpus();
    for (const std::vector<int>& cpus : cpus_of(2, false)) EXPECT_EQ(cpus, all);
    std::set<int> bound;
    std::size_t free = 0;
    for (const std::vector<int>& cpus : cpus_of(static_cast<int>(all.size()), true)) {
        if (cpus == all && all.size() > 1) {
            ++free;
        } else {
            EXPECT_EQ(cpus.size(), 1u);
            bound.insert(cpus.at(0));
        }
    }
    if (all.size() > 1) {
        EXPECT_EQ(free, 1u) << "the caller's CPU is left to the caller";
        EXPECT_EQ(bound.size(), all.size() - 1);
    }
    EXPECT_EQ(ev::detail::allowed_cpus(), all);
}

}  // namespace
#endif

// SPDX-License-Identifier: Apache-2.0
//
// Forwards under seccomp filters that end the process. From the beginning: scheduling, priorities and what else a
// service may forbid is out of bounds. From the second forward on: all but futex is, and what this program itself
// needs.
#include <efficientvit/efficientvit.hpp>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "../golden_values.hpp"

namespace ev = efficientvit;

namespace {

using Network = ev::OpSequential<
    ev::ConvLayer<ev::ConvConfig{.in_channels = 3, .out_channels = 16, .stride = 2}>,
    ev::ResidualBlock<ev::DSConv<ev::DSConvConfig{.in_channels = 16, .out_channels = 16}>, ev::IdentityLayer>>;

/// The process ends at these calls (allowed: at all others), in all its threads. False where there are no filters.
bool end_at(const std::vector<long>& calls, bool allowed) {
    std::vector<sock_filter> code{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    const unsigned found = allowed ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS;
    const unsigned other = allowed ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
    for (const long call : calls) {
        code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1));
        code.push_back(BPF_STMT(BPF_RET | BPF_K, found));
    }
    code.push_back(BPF_STMT(BPF_RET | BPF_K, other));
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

/// Whether the filter works: a child that binds itself to its CPUs is ended by it.
bool binding_ends_a_process() {
    const pid_t child = fork();
    if (child == 0) {
        syscall(SYS_sched_setaffinity, 0, 0, nullptr);
        _exit(0);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

constexpr int skipped = 77;

}  // namespace

int main() {
    std::setvbuf(stdout, nullptr, _IONBF, 0);
    if (!end_at({SYS_sched_setaffinity,
                 SYS_sched_setscheduler,
                 SYS_sched_setparam,
                 SYS_sched_setattr,
                 SYS_setpriority,
                 SYS_personality,
                 SYS_ptrace,
                 SYS_bpf,
                 SYS_perf_event_open,
                 SYS_membarrier,
                 SYS_mlock,
                 SYS_mlockall,
                 SYS_mbind,
                 SYS_set_mempolicy,
                 SYS_io_uring_setup,
                 SYS_memfd_create,
                 SYS_kill,
                 SYS_tgkill,
                 SYS_execve,
                 SYS_socket},
                false)) {
        return std::puts("no filters of system calls here"), skipped;
    }
    if (!binding_ends_a_process()) return std::puts("a filter that lets through what it should not"), 1;
    Network network;
    ev::StateDict weights;
    for (const ev::Parameter& p : Network::parameters())
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    network.load_state_dict(weights);
    ev::Tensor image(1, 3, 64, 64);
    image.setConstant(0.5f);
    const ev::Tensor expected = network.forward(image);
    ev::Tensor out = expected;

    ev::ThreadPoolExecutor pool(2);
    std::vector<ev::Context> contexts(4);
    contexts[1] = ev::Context({.threads = 2});
    contexts[2] = ev::Context({.threads = 4});
    contexts[3] = ev::Context({.executor = &pool});
    for (ev::Context& context : contexts) network.forward(image, out, context);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // threads that start now have begun to wait

    if (!end_at({SYS_futex, SYS_clock_nanosleep, SYS_write, SYS_exit_group}, true)) return skipped;
    int wrong = 0;
    for (int i = 0; i < 4000; ++i) {
        network.forward(image, out, contexts[static_cast<std::size_t>(i) % 4]);
        if (std::memcmp(out.data(), expected.data(), sizeof(float) * static_cast<std::size_t>(out.size())) != 0)
            ++wrong;
        // Helpers sleep meanwhile: Linux then wakes them elsewhere than while they are in use.
        if (i % 16 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::printf("4000 forwards, %d wrong\n", wrong);
    std::_Exit(wrong == 0 ? 0 : 1);
}

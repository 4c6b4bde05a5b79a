// SPDX-License-Identifier: Apache-2.0
//
// The processes that share one run: MPI's ranks where EFFICIENTVIT_EXAMPLES_MPI is defined, else this process alone.
// All that embed needs of MPI, and nothing of what embed does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(EFFICIENTVIT_EXAMPLES_MPI)
#include <mpi.h>
#endif

namespace examples {

#if defined(EFFICIENTVIT_EXAMPLES_MPI)

/// One for each process, from first to last. Every member but rank(), size() and those of the counters must be called
/// by all ranks. A failed MPI call ends all ranks, which is MPI's default.
class Ranks {
public:
    Ranks(int& argc, char**& argv) {
        // Our own threads never call MPI.
        int provided = 0;
        MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
        MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
        MPI_Comm_size(MPI_COMM_WORLD, &size_);
        MPI_Comm node = MPI_COMM_NULL;
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
        MPI_Comm_size(node, &size_here_);
        MPI_Comm_free(&node);
        MPI_Win_allocate(rank_ == 0 ? 2 * MPI_Aint{sizeof(std::int64_t)} : 0, sizeof(std::int64_t), MPI_INFO_NULL,
                         MPI_COMM_WORLD, &counters_, &window_);
        if (rank_ == 0) counters_[claimed] = counters_[finished] = 0;
        MPI_Barrier(MPI_COMM_WORLD);
        MPI_Win_lock_all(MPI_MODE_NOCHECK, window_);
    }
    Ranks(const Ranks&) = delete;
    Ranks& operator=(const Ranks&) = delete;
    ~Ranks() {
        MPI_Win_unlock_all(window_);
        MPI_Win_free(&window_);
        MPI_Finalize();
    }

    int rank() const { return rank_; }
    int size() const { return size_; }
    /// Ranks on this machine.
    int size_here() const { return size_here_; }

    /// Rank 0's bytes, to all. In parts, since MPI counts in int.
    void broadcast(std::vector<std::byte>& bytes) const {
        std::uint64_t count = bytes.size();
        MPI_Bcast(&count, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
        bytes.resize(count);
        constexpr std::uint64_t part = std::uint64_t{1} << 30;
        for (std::uint64_t at = 0; at < count; at += part) {
            const auto here = static_cast<int>(count - at < part ? count - at : part);
            MPI_Bcast(bytes.data() + at, here, MPI_BYTE, 0, MPI_COMM_WORLD);
        }
    }

    /// Until all ranks are here.
    void meet() const { MPI_Barrier(MPI_COMM_WORLD); }

    /// 0, 1, 2, …: each goes to one rank.
    std::int64_t claim() const { return add(claimed, 1); }
    /// Says that `count` more pieces are done, and how many of all ranks' are, those included.
    std::int64_t finish(std::int64_t count) const { return add(finished, count) + count; }

    /// Ends all ranks.
    [[noreturn]] void abort() const {
        MPI_Abort(MPI_COMM_WORLD, 1);
        throw std::runtime_error("MPI_Abort returned");
    }

private:
    enum Counter : MPI_Aint { claimed, finished };

    std::int64_t add(Counter counter, std::int64_t count) const {
        std::int64_t before = 0;
        MPI_Fetch_and_op(&count, &before, MPI_INT64_T, 0, counter, MPI_SUM, window_);
        MPI_Win_flush(0, window_);
        return before;
    }

    int rank_ = 0, size_ = 1, size_here_ = 1;
    std::int64_t* counters_ = nullptr;  // rank 0's
    MPI_Win window_ = MPI_WIN_NULL;
};

#else

class Ranks {
public:
    Ranks(int&, char**&) {}
    static constexpr int rank() { return 0; }
    static constexpr int size() { return 1; }
    static constexpr int size_here() { return 1; }
    void broadcast(std::vector<std::byte>&) const {}
    void meet() const {}
    std::int64_t claim() { return claimed_++; }
    std::int64_t finish(std::int64_t count) { return finished_ += count; }
    [[noreturn]] void abort() const { throw std::runtime_error("one process has no others to end"); }

private:
    std::int64_t claimed_ = 0, finished_ = 0;
};

#endif

}  // namespace examples

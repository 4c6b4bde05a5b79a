// SPDX-License-Identifier: Apache-2.0
//
// Memory for the packed weights of a model, in large pages where there are many: a network of tens of megabytes lies on
// more pages of 4 KB than the TLB holds.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/runtime/aligned_buffer.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Floats, or words of other kinds, that are written as a layer is packed and only read from then on: copies share
/// them.
class PackedWeights {
public:
    PackedWeights() = default;
    PackedWeights(const PackedWeights& other) noexcept
        : chunk_(other.chunk_), first_(other.first_), size_(other.size_) {
        if (chunk_ != nullptr) chunk_->owners.fetch_add(1, std::memory_order_relaxed);
    }
    PackedWeights(PackedWeights&& other) noexcept
        : chunk_(std::exchange(other.chunk_, nullptr)),
          first_(std::exchange(other.first_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    PackedWeights& operator=(PackedWeights other) noexcept {
        std::swap(chunk_, other.chunk_);
        std::swap(first_, other.first_);
        std::swap(size_, other.size_);
        return *this;
    }
    /// COLD: else it would be a part of every layer's destructor, which takes longer to compile.
    EFFICIENTVIT_COLD ~PackedWeights() {
        if (chunk_ != nullptr && chunk_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete chunk_;
    }

    float* data() { return first_; }
    const float* data() const { return first_; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    float& operator[](std::size_t i) { return first_[i]; }
    const float& operator[](std::size_t i) const { return first_[i]; }

private:
    friend class WeightMemory;

    /// Not a std::shared_ptr: units with other -m flags share the code that releases it.
    struct Chunk {
        explicit Chunk(std::uint64_t floats) : memory(floats) {}
        AlignedBuffer<float> memory;
        std::atomic<int> owners{1};
    };

    /// A whole chunk.
    explicit PackedWeights(std::uint64_t floats)
        : chunk_(new Chunk(floats)), first_(chunk_->memory.data()), size_(chunk_->memory.size()) {}

    PackedWeights part(float* first, std::uint64_t size) const {
        PackedWeights out(*this);
        out.first_ = first;
        out.size_ = static_cast<std::size_t>(size);
        return out;
    }

    Chunk* chunk_ = nullptr;
    float* first_ = nullptr;
    std::size_t size_ = 0;
};

/// Hands out the memory of a model's weights. A chunk of it lives as long as any weights in it.
class WeightMemory {
public:
    /// Not initialized, aligned to a cache line. Throws std::bad_alloc, also for more than pointers reach.
    EFFICIENTVIT_COLD PackedWeights take(std::uint64_t floats) {
        if (floats > std::uint64_t(-1) / 8) throw std::bad_array_new_length();
        constexpr std::uint64_t line = alignment / sizeof(float);
        const std::uint64_t lines = (floats + line - 1) / line * line;
        if (lines > left_) begin_chunk(lines);
        float* const first = next_;
        next_ += lines;
        left_ -= lines;
        taken_ += lines;
        return chunk_.part(first, floats);
    }
    PackedWeights take(std::uint64_t floats, float value) {
        PackedWeights out = take(floats);
        std::fill_n(out.data(), out.size(), value);
        return out;
    }

    /// A buffer for a layer's weights as they are read, reused by the next layer: to allocate and free it for each
    /// costs as much as all the rest of loading.
    std::vector<float> values;

    /// What a large page holds, on most CPUs.
    static constexpr std::uint64_t page = (std::uint64_t{2} << 20) / sizeof(float);
    /// The first 4 MB are allocated one by one: small models gain nothing from large pages.
    static constexpr std::uint64_t without_pages = 2 * page;

private:
    void begin_chunk(std::uint64_t floats) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (taken_ >= without_pages) {
            // More than glibc's largest mmap threshold, so that free() returns it to the system. Pages that nobody
            // writes take no memory.
            const std::uint64_t least = 16 * page;
            const std::uint64_t size = std::max(least, (floats + page - 1) / page * page);
            chunk_ = PackedWeights(size + page);
            const auto bytes = static_cast<std::size_t>(size * sizeof(float));
            void* first = chunk_.data();
            std::size_t space = chunk_.size() * sizeof(float);
            next_ = static_cast<float*>(std::align(page * sizeof(float), bytes, first, space));
            left_ = size;
            static_cast<void>(::madvise(first, bytes, MADV_HUGEPAGE));  // where it is refused, pages stay small
            return;
        }
#endif
        chunk_ = PackedWeights(floats);
        next_ = chunk_.data();
        left_ = floats;
    }

    PackedWeights chunk_;
    float* next_ = nullptr;
    std::uint64_t left_ = 0;
    std::uint64_t taken_ = 0;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

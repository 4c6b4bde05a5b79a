// SPDX-License-Identifier: Apache-2.0
//
// Memory for the packed weights of a model, in large pages where there are many: a network of tens of megabytes lies on
// more pages of 4 KB than a CPU remembers the places of.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/runtime/aligned_buffer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
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
    PackedWeights(std::shared_ptr<float> first, std::size_t size) : first_(std::move(first)), size_(size) {}

    float* data() { return first_.get(); }
    const float* data() const { return first_.get(); }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    float& operator[](std::size_t i) { return first_.get()[i]; }
    const float& operator[](std::size_t i) const { return first_.get()[i]; }

private:
    std::shared_ptr<float> first_;
    std::size_t size_ = 0;
};

/// Hands out the memory of a model's weights, one behind the other. It lives as long as any of them does.
class WeightMemory {
public:
    /// Not initialized, aligned to a cache line. Throws std::bad_alloc.
    PackedWeights take(std::uint64_t floats) {
        constexpr std::uint64_t line = alignment / sizeof(float);
        const std::uint64_t lines = (floats + line - 1) / line * line;
        if (lines > left_) begin_chunk(lines);
        PackedWeights out(std::shared_ptr<float>(chunk_, next_), static_cast<std::size_t>(floats));
        next_ += lines;
        left_ -= lines;
        taken_ += lines;
        return out;
    }
    PackedWeights take(std::uint64_t floats, float value) {
        PackedWeights out = take(floats);
        std::fill_n(out.data(), out.size(), value);
        return out;
    }

    /// For what a layer reads before it packs it, given back afterwards: megabytes that malloc returned to the system
    /// after each layer would cost as much as all the rest.
    std::vector<float> values;

    /// What a large page holds, on most CPUs.
    static constexpr std::uint64_t page = (std::uint64_t{2} << 20) / sizeof(float);
    /// So much lies where it falls: a small model takes no large page, and needs none.
    static constexpr std::uint64_t small = 2 * page;

private:
    /// More than malloc keeps when it is freed. What nobody writes takes no memory.
    static constexpr std::uint64_t chunk = 16 * page;

    void begin_chunk(std::uint64_t floats) {
#if defined(__linux__)
        if (taken_ >= small) {
            const std::uint64_t size = std::max(chunk, (floats + page - 1) / page * page);
            chunk_ = std::make_shared<AlignedBuffer<float>>(size + page);
            const auto bytes = static_cast<std::size_t>(size * sizeof(float));
            void* first = chunk_->data();
            std::size_t space = chunk_->size() * sizeof(float);
            next_ = static_cast<float*>(std::align(page * sizeof(float), bytes, first, space));
            left_ = size;
            static_cast<void>(::madvise(first, bytes, MADV_HUGEPAGE));  // refused: pages are small, as they were
            return;
        }
#endif
        chunk_ = std::make_shared<AlignedBuffer<float>>(floats);
        next_ = chunk_->data();
        left_ = floats;
    }

    std::shared_ptr<AlignedBuffer<float>> chunk_;
    float* next_ = nullptr;
    std::uint64_t left_ = 0;
    std::uint64_t taken_ = 0;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

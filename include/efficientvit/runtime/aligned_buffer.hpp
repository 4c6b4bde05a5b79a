// SPDX-License-Identifier: Apache-2.0
//
// Floats on the heap, aligned to a cache line: scratch memory, and what weight_memory.hpp hands out. Copies are deep.
#pragma once

#include <efficientvit/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// A cache line, and the widest vector: a load that crosses lines costs twice.
inline constexpr std::size_t alignment = 64;

/// A fixed number of T (trivial), zeroed on request, 64-byte aligned.
template <class T>
class AlignedBuffer {
public:
    AlignedBuffer() = default;
    /// Throws std::bad_alloc, also for more than pointers reach.
    explicit AlignedBuffer(std::uint64_t size) : data_(allocate(size)), size_(static_cast<std::size_t>(size)) {}
    AlignedBuffer(std::uint64_t size, T value) : AlignedBuffer(size) { std::fill_n(data(), size_, value); }
    AlignedBuffer(const AlignedBuffer& other) : AlignedBuffer(other.size_) {
        std::copy_n(other.data(), other.size_, data());
    }
    AlignedBuffer(AlignedBuffer&& other) noexcept
        : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
    AlignedBuffer& operator=(AlignedBuffer other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~AlignedBuffer() = default;

    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T& operator[](std::size_t i) { return data_.get()[i]; }
    const T& operator[](std::size_t i) const { return data_.get()[i]; }

private:
    struct Free {
        void operator()(T* p) const { ::operator delete(p, std::align_val_t(alignment)); }
    };
    static T* allocate(std::uint64_t size) {
        if (size == 0) return nullptr;
        if (size > std::size_t(-1) / 2 / sizeof(T)) throw std::bad_array_new_length();
        return static_cast<T*>(::operator new(static_cast<std::size_t>(size) * sizeof(T), std::align_val_t(alignment)));
    }

    std::unique_ptr<T, Free> data_;
    std::size_t size_ = 0;
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

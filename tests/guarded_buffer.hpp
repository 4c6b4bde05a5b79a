// SPDX-License-Identifier: Apache-2.0
//
// Memory that ends, or begins, where the page ends: one element further is a fault, so that a read outside a buffer
// cannot go unnoticed. Where there is no mmap it is plain memory, for a sanitizer to watch.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#define EFFICIENTVIT_TEST_HAS_MMAP 1
#include <sys/mman.h>
#include <unistd.h>
#endif

/// Which side of the buffer touches an inaccessible page. Beyond the other side lie some accessible bytes of 0xff,
/// which are NaNs as floats and wild values as ints.
enum class Guard { before, behind };

/// `size` zeroed elements of T (trivial) next to an inaccessible page.
template <class T>
class GuardedBuffer {
public:
    GuardedBuffer() = default;
    GuardedBuffer(std::size_t size, Guard guard) : size_(size) {
        const std::size_t bytes = size * sizeof(T);
#if defined(EFFICIENTVIT_TEST_HAS_MMAP)
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t inner = (bytes + page - 1) / page * page;
        mapped_ = inner + 2 * page;
        void* const all = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED) throw std::bad_alloc();
        memory_ = static_cast<std::byte*>(all);
        if (inner > 0 && mprotect(memory_ + page, inner, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
        if (inner > 0) std::memset(memory_ + page, 0xff, inner);
        data_ = reinterpret_cast<T*>(memory_ + page + (guard == Guard::behind ? inner - bytes : 0));
#else
        static_cast<void>(guard);
        memory_ = static_cast<std::byte*>(::operator new(bytes + 1));
        data_ = reinterpret_cast<T*>(memory_);
#endif
        for (std::size_t i = 0; i < size; ++i) data_[i] = T{};
    }
    GuardedBuffer(GuardedBuffer&& other) noexcept { *this = std::move(other); }
    GuardedBuffer& operator=(GuardedBuffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(memory_, other.memory_);
        std::swap(mapped_, other.mapped_);
        return *this;
    }
    ~GuardedBuffer() {
        if (memory_ == nullptr) return;
#if defined(EFFICIENTVIT_TEST_HAS_MMAP)
        munmap(memory_, mapped_);
#else
        ::operator delete(memory_);
#endif
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    std::size_t size() const { return size_; }
    T& operator[](std::ptrdiff_t i) { return data_[i]; }
    const T& operator[](std::ptrdiff_t i) const { return data_[i]; }
    T* begin() { return data_; }
    T* end() { return data_ + size_; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::byte* memory_ = nullptr;
    std::size_t mapped_ = 0;
};

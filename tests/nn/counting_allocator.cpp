// SPDX-License-Identifier: Apache-2.0
//
// Replaces operator new in all its forms, and malloc where that can be, by ones that count. In a file of its own, so
// that no compiler sees through them.
#include "counting_allocator.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define EFFICIENTVIT_TEST_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EFFICIENTVIT_TEST_SANITIZED 1
#endif

namespace {

std::atomic<long> count{0};
std::atomic<std::size_t> bytes{0};

void* allocated(void* block) {
    if (block == nullptr) throw std::bad_alloc();
    ++count;
    return block;
}

void* allocate_aligned(std::size_t size, std::align_val_t alignment) {
    bytes += size;
    const auto to = static_cast<std::size_t>(alignment);
    // Aligned by hand, so that free() will do everywhere: the block's beginning is kept before it.
    auto* const block = static_cast<char*>(allocated(std::malloc(size + to + sizeof(void*))));
    const auto first = reinterpret_cast<std::uintptr_t>(block) + sizeof(void*);
    auto* const out = block + ((first + to - 1) / to * to - reinterpret_cast<std::uintptr_t>(block));
    reinterpret_cast<void**>(out)[-1] = block;
    return out;
}
void free_aligned(void* pointer) {
    if (pointer != nullptr) std::free(reinterpret_cast<void**>(pointer)[-1]);
}

}  // namespace

// NOLINTBEGIN: all forms of new and delete
void* operator new(std::size_t size) { return allocated(std::malloc(size)); }
void* operator new[](std::size_t size) { return allocated(std::malloc(size)); }
void* operator new(std::size_t size, std::align_val_t a) { return allocate_aligned(size, a); }
void* operator new[](std::size_t size, std::align_val_t a) { return allocate_aligned(size, a); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { free_aligned(p); }
void operator delete[](void* p, std::align_val_t) noexcept { free_aligned(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { free_aligned(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { free_aligned(p); }

#if defined(__GLIBC__) && !defined(EFFICIENTVIT_TEST_SANITIZED)
bool malloc_is_counted() { return true; }
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) {
    ++count;
    return __libc_malloc(size);
}
void* calloc(std::size_t many, std::size_t size) {
    ++count;
    return __libc_calloc(many, size);
}
void* realloc(void* pointer, std::size_t size) {
    ++count;
    return __libc_realloc(pointer, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
    ++count;
    return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    ++count;
    return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
    ++count;
    *out = __libc_memalign(alignment, size);
    return *out == nullptr ? 12 : 0;  // ENOMEM
}
}
#else
bool malloc_is_counted() { return false; }
#endif
// NOLINTEND

long allocations() { return count; }
std::size_t aligned_bytes() { return bytes; }

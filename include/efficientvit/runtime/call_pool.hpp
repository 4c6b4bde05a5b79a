// SPDX-License-Identifier: Apache-2.0
//
// What one call at a time uses, such as a Context, for objects that many threads call: a call takes one that is free or
// makes one, and gives it back. No lock, since a child of fork() could wait for it for ever.
#pragma once

#include <efficientvit/config.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Keeps up to 32 that are free; as many more calls at a time make their own.
template <class T>
class CallPool {
public:
    /// `make` gives a new one, a std::unique_ptr<T>. The first is made at once, so that what cannot be made throws
    /// here.
    explicit CallPool(std::function<std::unique_ptr<T>()> make) : make_(std::move(make)) { give_back(make_()); }
    CallPool(const CallPool&) = delete;
    CallPool& operator=(const CallPool&) = delete;
    ~CallPool() {
        for (std::atomic<T*>& slot : free_) delete slot.load();
    }

    /// One of them for as long as this lives, which must end before the pool.
    class Lease {
    public:
        explicit Lease(CallPool& pool) : pool_(pool), object_(pool.take()) {}
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        ~Lease() { pool_.give_back(std::move(object_)); }
        T* operator->() const { return object_.get(); }
        T& operator*() const { return *object_; }

    private:
        CallPool& pool_;
        std::unique_ptr<T> object_;
    };

private:
    std::unique_ptr<T> take() {
        for (std::atomic<T*>& slot : free_) {
            if (slot.load(std::memory_order_relaxed) == nullptr) continue;
            if (T* const object = slot.exchange(nullptr, std::memory_order_acquire)) return std::unique_ptr<T>(object);
        }
        return make_();
    }

    void give_back(std::unique_ptr<T> object) noexcept {
        for (std::atomic<T*>& slot : free_) {
            T* none = nullptr;
            if (!slot.compare_exchange_strong(none, object.get(), std::memory_order_release)) continue;
            object.release();
            return;
        }
    }

    std::function<std::unique_ptr<T>()> make_;
    std::array<std::atomic<T*>, 32> free_{};
};

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

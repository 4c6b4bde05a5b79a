// SPDX-License-Identifier: Apache-2.0
//
// A Context for each thread that gives none. No thread_local object with a destructor: one such keeps a shared library
// in memory until its thread ends, so a plugin that is closed and replaced would answer for ever. A thread_local
// pointer and a destructor of POSIX's do not; where there are no POSIX threads, a thread_local object it is.
#pragma once

#include <efficientvit/runtime/context.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#if EFFICIENTVIT_HAS_THREADS && __has_include(<pthread.h>) && !defined(_WIN32)
#define EFFICIENTVIT_POSIX_THREADS 1
#include <pthread.h>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

#if defined(EFFICIENTVIT_POSIX_THREADS)

/// The Contexts of all threads. What a thread has is a node of a list that grows to as many as there were threads at a
/// time; nodes of threads that have ended are taken by others. No lock, since a child of fork() could wait for it for
/// ever.
class ThreadContexts {
public:
    struct Node {
        std::atomic<bool> owned{true};  // by a thread
        std::atomic<bool> busy{false};  // in a call, or for good where the thread or the library ends
        std::unique_ptr<Context> context;
        Node* next = nullptr;
    };

    ThreadContexts() : has_key_(pthread_key_create(&key_, &ThreadContexts::thread_ends) == 0) {}
    ThreadContexts(const ThreadContexts&) = delete;
    ThreadContexts& operator=(const ThreadContexts&) = delete;
    /// At the end of the program, or of the library that it is part of. A thread that is still in a call keeps what it
    /// uses.
    ~ThreadContexts() {
        ended() = true;
        if (has_key_) pthread_key_delete(key_);
        if (Node* const node = std::exchange(own(), nullptr)) node->owned = node->busy.load();
        for (Node* node = nodes_.exchange(nullptr); node != nullptr;) {
            Node* const next = node->next;
            if (!node->busy.exchange(true)) node->context.reset();
            if (!node->owned.load()) delete node;  // others are what a thread still points to
            node = next;
        }
    }

    /// The calling thread's; null after the end.
    static Node* mine() {
        if (own() == nullptr && !ended()) own() = all().take();
        return own();
    }

private:
    EFFICIENTVIT_LOCAL static ThreadContexts& all() {
        static ThreadContexts contexts;
        return contexts;
    }
    EFFICIENTVIT_LOCAL static Node*& own() {
        thread_local Node* node = nullptr;
        return node;
    }
    EFFICIENTVIT_LOCAL static bool& ended() {
        static bool is = false;
        return is;
    }

    Node* take() {
        Node* node = nodes_.load();
        for (bool free = false; node != nullptr; node = node->next) {
            if (!node->owned.load() && node->owned.compare_exchange_strong(free, true)) break;
            free = false;
        }
        if (node == nullptr) {
            node = new Node;
            node->next = nodes_.load();
            while (!nodes_.compare_exchange_weak(node->next, node)) {
            }
        }
        if (has_key_) pthread_setspecific(key_, node);
        return node;
    }

    static void thread_ends(void* argument) {
        Node* const node = static_cast<Node*>(argument);
        if (node->busy.exchange(true)) return;
        node->context.reset();
        own() = nullptr;
        node->busy.store(false);
        node->owned.store(false);
    }

    pthread_key_t key_{};
    bool has_key_;
    std::atomic<Node*> nodes_{nullptr};
};

/// The calling thread's Context for one call; another, of this call alone, where that is in use or gone.
class CallContext {
public:
    CallContext() : node_(ThreadContexts::mine()) {
        if (node_ != nullptr && node_->busy.exchange(true)) node_ = nullptr;
    }
    CallContext(const CallContext&) = delete;
    CallContext& operator=(const CallContext&) = delete;
    ~CallContext() {
        if (node_ != nullptr) node_->busy.store(false);
    }
    Context& get() {
        if (node_ == nullptr) return own_.emplace();
        if (node_->context == nullptr) node_->context = std::make_unique<Context>();
        return *node_->context;
    }

private:
    ThreadContexts::Node* node_;
    std::optional<Context> own_;
};

}  // namespace detail

/// A Context of the calling thread's, serial. forward takes it where it is given none.
inline Context& thread_context() {
    detail::ThreadContexts::Node* const node = detail::ThreadContexts::mine();
    if (node == nullptr) return *new Context;  // behind the end of all statics: nobody is left to delete it
    if (node->context == nullptr) node->context = std::make_unique<Context>();
    return *node->context;
}

#else

/// Whether the calling thread's Context has been destroyed. No object with a destructor, so it can be read until the
/// end.
inline bool& thread_context_is_gone() {
    thread_local bool gone = false;
    return gone;
}
}  // namespace detail

/// The Context of forwards that are given none: serial, one for each thread.
inline Context& thread_context() {
    struct Owner {
        Context context;
        ~Owner() { detail::thread_context_is_gone() = true; }
    };
    thread_local Owner owner;
    return owner.context;
}

namespace detail {
/// thread_context() for one call; where destructors of statics and thread_locals call a forward behind its end,
/// another.
class CallContext {
public:
    Context& get() { return thread_context_is_gone() ? own_.emplace() : thread_context(); }

private:
    std::optional<Context> own_;
};
}  // namespace detail

#endif

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

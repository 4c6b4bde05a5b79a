// SPDX-License-Identifier: Apache-2.0
//
// Every allocation of loading and of a forward fails in turn: an exception, nothing leaked, the model as it was and
// usable afterwards. A program of its own, since it replaces operator new. What Eigen takes by malloc (tensors of its
// own, the queues of its thread pool) is left out.
#include "../support.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

constexpr long never = -1;
thread_local long countdown = never;  // allocations of this thread until one fails; only the thread that tests fails
thread_local bool all_after = false;  // and whether all after it fail too
std::atomic<long> live{0};

bool fails() {
    if (countdown == never) return false;
    if (countdown > 0) {
        --countdown;
        return false;
    }
    if (!all_after) countdown = never;
    return true;
}

void* allocate(std::size_t size, std::size_t alignment) {
    if (fails()) throw std::bad_alloc();
    auto* const block = static_cast<char*>(std::malloc(size + alignment + sizeof(void*)));
    if (block == nullptr) throw std::bad_alloc();
    ++live;
    const auto first = reinterpret_cast<std::uintptr_t>(block) + sizeof(void*);
    auto* const out =
        block + ((first + alignment - 1) / alignment * alignment - reinterpret_cast<std::uintptr_t>(block));
    reinterpret_cast<void**>(out)[-1] = block;
    return out;
}
void release(void* pointer) noexcept {
    if (pointer == nullptr) return;
    --live;
    std::free(reinterpret_cast<void**>(pointer)[-1]);
}
constexpr std::size_t usual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

// NOLINTBEGIN: all forms of new and delete that the program uses
void* operator new(std::size_t size) { return allocate(size, usual); }
void* operator new[](std::size_t size) { return allocate(size, usual); }
void* operator new(std::size_t size, std::align_val_t a) { return allocate(size, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return allocate(size, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { release(p); }
// NOLINTEND

namespace {

/// Runs action() with its first, second, third, … allocation failing, until it makes no more; after(failed) follows
/// each. Returns how many there were.
template <class Action, class After>
long fail_each(const Action& action, const After& after) {
    long total = 0;
    for (const bool rest_too : {false, true}) {
        for (long n = 0;; ++n) {
            const long before = live;
            bool failed = false;
            all_after = rest_too;
            countdown = n;
            try {
                action();
            } catch (const std::bad_alloc&) {
                failed = true;
            }
            const bool reached = countdown == never || (rest_too && countdown == 0 && failed);
            countdown = never;
            EXPECT_EQ(live, before) << "blocks held after allocation " << n << " failed";
            after(failed);
            if (!reached) {
                EXPECT_FALSE(failed);
                total = n;
                break;
            }
            EXPECT_TRUE(failed) << "allocation " << n << " failed and nobody was told";
            if (testing::Test::HasFailure()) return n;
        }
    }
    return total;
}

using Net = ev::EfficientViTCls<
    ev::EfficientViTBackbone<ev::BackboneConfig{.width_list = {4, 8, 9, 16}, .depth_list = {1, 1, 1, 1}, .dim = 8}>,
    ev::ClsHeadConfig{.width_list = {9, 17}, .n_classes = 3}>;

TEST(FailingAllocations, OfAModelThatIsLoaded) {
    const ev::StateDict weights = golden_weights(Net::parameters());
    const ev::Tensor x = golden_input({1, 3, 33, 40});
    const ev::Tensor expected = golden_layer<Net>().forward(x);
    const long count = fail_each(
        [&] {
            Net model;
            model.load_state_dict(weights);
        },
        [](bool) {});
    EXPECT_GT(count, 100);
    EXPECT_TRUE(same_bits(golden_layer<Net>().forward(x), expected));
}

TEST(FailingAllocations, OfAModelThatHasOtherWeights) {
    const ev::StateDict other = golden_weights(Net::parameters(), "other");
    const ev::Tensor x = golden_input({1, 3, 33, 40});
    Net model = golden_layer<Net>();
    const ev::Tensor expected = model.forward(x);
    ev::Context context;
    ev::Tensor y = expected;
    bool loaded = false;
    // Blocks of the new weights take the place of as many old ones.
    fail_each([&] { model.load_state_dict(other); },
              [&](bool failed) {
                  EXPECT_TRUE(model.loaded());
                  if (!failed) {
                      loaded = true;
                      model = golden_layer<Net>();
                  }
                  model.forward(x, ev::view(y), context);
                  EXPECT_TRUE(same_bits(y, expected)) << "the model is as it was";
              });
    EXPECT_TRUE(loaded);
}

TEST(FailingAllocations, OfCopies) {
    const Net model = golden_layer<Net>();
    const long count = fail_each([&] { const Net copy = model; }, [](bool) {});
    EXPECT_EQ(count, 1) << "LiteMLA's list of scales; weights are shared";
}

TEST(FailingAllocations, OfWeightsInLargePages) {
    using ev::detail::WeightMemory;
    const long count = fail_each(
        [&] {
            WeightMemory memory;
            std::vector<ev::detail::PackedWeights> taken;
            taken.reserve(3);
            for (const std::uint64_t floats : {WeightMemory::without_pages, std::uint64_t{100}, WeightMemory::page}) {
                taken.push_back(memory.take(floats));
            }
        },
        [](bool) {});
    EXPECT_GE(count, 5);  // two chunks and their owners, and the vector
}

/// Memory of the Context is all that a forward into a view takes.
TEST(FailingAllocations, OfAForward) {
    const Net model = golden_layer<Net>();
    const ev::Tensor x = golden_input({2, 3, 33, 40});
    ev::Tensor expected = model.forward(x), y = expected;
    const long count = fail_each(
        [&] {
            ev::Context context;
            model.forward(x, ev::view(y), context);
        },
        [](bool) {});
    EXPECT_EQ(count, 1);
    // One Context that goes on after each failure.
    ev::Context context;
    for (const ev::Shape& shape : {ev::Shape{1, 3, 8, 8}, ev::Shape{1, 3, 33, 40}, ev::Shape{3, 3, 50, 61}}) {
        const ev::Tensor in = golden_input(shape);
        ev::Tensor out = model.forward(in);
        const ev::Tensor right = out;
        const std::size_t held = context.allocated_bytes();
        countdown = 0;
        EXPECT_THROW(model.forward(in, ev::view(out), context), std::bad_alloc) << to_text(shape);
        countdown = never;
        EXPECT_LE(context.allocated_bytes(), held);
        model.forward(in, ev::view(out), context);
        EXPECT_TRUE(same_bits(out, right)) << to_text(shape);
    }
}

/// An executor of one's own, so that no pool is built while memory is short.
TEST(FailingAllocations, OfAContextWithHelpers) {
    const Net model = golden_layer<Net>();
    const ev::Tensor x = golden_input({1, 3, 33, 40});
    ev::Tensor expected = model.forward(x), y = expected;
    struct None : ev::Executor {
        int concurrency() const override { return 3; }
        void schedule(void (*)(void*), void*) override { throw std::bad_alloc(); }
    } executor;
    const long count = fail_each(
        [&] {
            ev::Context context({.executor = &executor});
            y.setZero();
            model.forward(x, ev::view(y), context);
        },
        [&](bool failed) {
            if (!failed) {
                EXPECT_TRUE(same_bits(y, expected));
            }
        });
    EXPECT_GE(count, 3);
}

}  // namespace

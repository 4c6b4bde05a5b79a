// SPDX-License-Identifier: Apache-2.0
//
// Forwards on a thread with a stack of 32 KB, as threads-and-memory.md promises, in float and in bfloat16, alone and
// with a helper.
#include <efficientvit/efficientvit.hpp>

#include <pthread.h>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "../golden_values.hpp"

namespace {

namespace ev = efficientvit;

struct Task {
    ev::BackboneB0 backbone[2];
    ev::Tensor image{1, 3, 64, 96}, expected[2], out[2];
    ev::Context contexts[2] = {ev::Context(), ev::Context({.threads = 2})};
};

void* forward(void* argument) {
    Task& task = *static_cast<Task*>(argument);
    for (std::size_t i = 0; i < 2; ++i) {
        for (ev::Context& context : task.contexts) task.backbone[i].forward_final(task.image, task.out[i], context);
    }
    return nullptr;
}

}  // namespace

int main() {
    ev::StateDict weights;
    for (const ev::Parameter& p : ev::BackboneB0::parameters()) {
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
    }
    Task task;
    task.image.setConstant(0.5f);
    for (std::size_t i = 0; i < 2; ++i) {
        task.backbone[i].load_state_dict(weights, {.precision = i == 0 ? ev::Precision::f32 : ev::Precision::bf16});
        task.expected[i] = task.backbone[i].forward_final(task.image);
    }
    pthread_attr_t small;
    pthread_t thread;
    if (pthread_attr_init(&small) != 0 || pthread_attr_setstacksize(&small, std::size_t{32} << 10) != 0) return 77;
    if (pthread_create(&thread, &small, forward, &task) != 0 || pthread_join(thread, nullptr) != 0) return 1;
    for (std::size_t i = 0; i < 2; ++i) {
        for (int k = 0; k < task.out[i].size(); ++k) {
            if (task.out[i].data()[k] != task.expected[i].data()[k]) return std::puts("other numbers"), 1;
        }
    }
    return 0;
}

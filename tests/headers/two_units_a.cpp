// SPDX-License-Identifier: Apache-2.0
//
// One of two units that include everything. What is inline must be one thing in the whole program: same address.
#include <cstdio>

#include "every_header.hpp"

const void* kernels_of_b();
efficientvit::Context* context_of_b();

int main() {
    namespace ev = efficientvit;
    if (&ev::kernels::table(ev::Isa::scalar) != kernels_of_b()) return std::puts("two tables of kernels"), 1;
    if (&ev::thread_context() != context_of_b()) return std::puts("two Contexts in one thread"), 1;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// Forwards of a backbone with random weights on one thread, and nothing else: a program for profilers and emulators
// (arm/forward.py).
//
//   bench_forward b0|b1|b2|b3 [forwards [size]]     (default 1 224)
#include <efficientvit/efficientvit.hpp>

#include "random_weights.hpp"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace ev = efficientvit;

namespace {

template <class Backbone>
void run(int forwards, int size) {
    const Backbone model = bench::random_model<Backbone>();
    ev::Context context({.threads = 1});
    ev::Tensor x(1, 3, size, size), y;
    x.setRandom();
    for (int i = 0; i < forwards; ++i) model.forward_final(x, y, context);
    std::printf("%g\n", static_cast<double>(y.data()[0]));
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view name = argc > 1 ? argv[1] : "";
    const int forwards = argc > 2 ? std::atoi(argv[2]) : 1, size = argc > 3 ? std::atoi(argv[3]) : 224;
    const auto network = name == "b0"   ? run<ev::BackboneB0>
                         : name == "b1" ? run<ev::BackboneB1>
                         : name == "b2" ? run<ev::BackboneB2>
                         : name == "b3" ? run<ev::BackboneB3>
                                        : nullptr;
    if (network == nullptr || forwards < 1 || size < 1) {
        std::fprintf(stderr, "usage: bench_forward b0|b1|b2|b3 [forwards [size]]\n");
        return 2;
    }
    network(forwards, size);
    return 0;
}

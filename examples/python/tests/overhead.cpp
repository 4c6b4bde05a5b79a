// SPDX-License-Identifier: Apache-2.0
//
// The least time of 10,000 forwards of b0's backbone at 32x32 in C++, in microseconds: what overhead.py compares with.
// overhead WEIGHTS
#include <efficientvit/models/model_handle.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    efficientvit::ModelHandle model("backbone_b0", argv[1]);
    const std::vector<float> x(3 * 32 * 32);
    std::vector<float> y(128);
    double least = 1e9;
    for (int i = 0; i < 10000; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        model.forward({x.data(), {1, 3, 32, 32}}, {y.data(), {1, 128, 1, 1}});
        const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
        least = std::min(least, took.count());
    }
    std::printf("%.3f\n", least);
}

// SPDX-License-Identifier: Apache-2.0
//
// How a forward would use more cores than this machine has: its work is cut for n threads, done chunk by chunk on one,
// and timed. Printed are the sections of a forward and total / (sum of every section's slowest share), which n cores
// could at best gain; waking and meeting are not in it, and work that is done twice at the edges of bands is on both
// sides.
//
//   bench_bands [threads [size]]     (default 8 512)
#include <efficientvit/efficientvit.hpp>

#include "random_weights.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

namespace ev = efficientvit;

namespace {

/// The least time of each chunk over several forwards.
class Times : public ev::ChunkTrace {
public:
    void section(int chunks) override {
        if (++section_ == static_cast<int>(sections_.size())) {
            sections_.emplace_back(static_cast<std::size_t>(chunks), std::numeric_limits<double>::infinity());
        }
    }
    void chunk(int index, double seconds) override {
        double& least = sections_[static_cast<std::size_t>(section_)][static_cast<std::size_t>(index)];
        least = std::min(least, seconds);
    }
    void rewind() { section_ = -1; }
    const std::vector<std::vector<double>>& sections() const { return sections_; }

private:
    std::vector<std::vector<double>> sections_;
    int section_ = -1;
};

template <class Backbone>
void run(const char* name, int threads, int size) {
    const Backbone model = bench::random_model<Backbone>();
    Times times;
    ev::Context context({.threads = threads, .trace = &times});
    ev::Tensor x(1, 3, size, size), y;
    x.setRandom();
    constexpr int repeats = 30;
    for (int i = 0; i < repeats; ++i) {
        times.rewind();
        model.forward_final(x, y, context);
    }
    double total = 0, slowest = 0;
    for (const std::vector<double>& section : times.sections()) {
        std::vector<double> share(static_cast<std::size_t>(threads));
        for (const double seconds : section) {  // a chunk goes to whoever is free first
            *std::min_element(share.begin(), share.end()) += seconds;
            total += seconds;
        }
        slowest += *std::max_element(share.begin(), share.end());
    }
    std::printf("%s at %d, cut for %d threads: %zu sections, %.2f ms on one, gain %.2f\n", name, size, threads,
                times.sections().size(), total * 1e3, total / slowest);
}

}  // namespace

int main(int argc, char** argv) {
    const int threads = argc > 1 ? std::atoi(argv[1]) : 8, size = argc > 2 ? std::atoi(argv[2]) : 512;
    if (threads < 2 || size < 1) {
        std::fprintf(stderr, "usage: bench_bands [threads [size]], at least two threads\n");
        return 2;
    }
    run<ev::BackboneB0>("b0", threads, size);
    run<ev::BackboneB1>("b1", threads, size);
}

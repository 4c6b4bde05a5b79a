// SPDX-License-Identifier: Apache-2.0
//
// Times of what is run again and again.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace bench {

/// Milliseconds of runs, `least` at least and for so many seconds, the shortest first.
template <class Run>
std::vector<double> sorted_times(const Run& run, std::size_t least, std::chrono::duration<double> enough) {
    using Clock = std::chrono::steady_clock;
    std::vector<double> all;
    for (const auto begin = Clock::now(); all.size() < least || Clock::now() - begin < enough;) {
        const auto start = Clock::now();
        run();
        all.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
    std::sort(all.begin(), all.end());
    return all;
}

}  // namespace bench

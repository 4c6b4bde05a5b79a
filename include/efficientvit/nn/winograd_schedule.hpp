// SPDX-License-Identifier: Apache-2.0
//
// The schedule of Winograd's convolutions, and whether a 3x3 convolution is one: that changes its result, so sizes
// alone decide it, where the kernels have weights for it at all. Carried out by winograd.hpp.
#pragma once

#include <efficientvit/kernels/winograd_args.hpp>
#include <efficientvit/nn/schedules.hpp>

#include <algorithm>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Whether a 3x3 convolution with stride 1 is Winograd's, and how it goes through the tiles of an image: a step is a
/// rectangle of them.
struct WinogradSchedule {
    bool used = false;
    int steps_down = 1, steps_across = 1;  // steps of an image, chunks of work for threads
    int step_rows = 0, step_columns = 0;   // of tiles, at most
    Index floats = 0;                      // memory of a worker
    Index middle_block_floats = 0;         // where a projection follows: the outputs of a step
    Index rounded_words = 0;               // and of a row of its tiles, as lines

    bool operator==(const WinogradSchedule&) const = default;
};

/// Whether it takes clearly less time than direct, in multiply-adds of vectors of 16 channels. Reading the weights,
/// from memory where a network is larger than the caches, costs as much as the products of 32 tiles. A transform takes
/// about so many instructions. Bytes are read from a fourth of the memory, but transformed.
constexpr bool winograd_pays(int in_channels, int out_channels, Extent map) {
    constexpr double weights = 32, input = 250, output = 200;
    const double in_blocks = block_count(in_channels), out_blocks = block_count(out_channels);
    const double tiles = static_cast<double>(quotient_up(map.height, kernels::Winograd::outputs)) *
                         quotient_up(map.width, kernels::Winograd::outputs);
    const double products = in_channels * out_blocks;
    const double direct_work = 9 * products * map.height * map.width;
    const double winograd =
        kernels::Winograd::planes * products * (tiles + weights) + tiles * (input * in_blocks + output * out_blocks);
    return winograd < 0.8 * direct_work;
}

/// All weights are read in every step, so steps are long: 64 tiles, though their inputs may then be larger than the
/// second-level cache, unless there is no third level behind it. Bytes are transformed too: twice as many.
inline WinogradSchedule schedule_winograd(int in_channels, int out_channels, const FeatureMap& y,
                                          const Machine& machine) {
    using kernels::Winograd;
    constexpr int least = 16;
    const int most = kernels::has_bytes(machine.operands) ? 128 : 64;
    WinogradSchedule s;
    s.used = winograd_pays(in_channels, out_channels, y.extent());
    if (!s.used) return s;
    const int rows = quotient_up(y.height, Winograd::outputs), columns = quotient_up(y.width, Winograd::outputs);
    const Index fitting = static_cast<Index>(machine.l2_share()) / Index{2 * sizeof(float)} /
                          (Index{Winograd::planes} * (block_count(in_channels) + Winograd::blocks) * Winograd::block);
    const int tiles = machine.core.l3_bytes > 0 ? most : static_cast<int>(std::clamp<Index>(fitting, least, most));
    const auto nearest = [](int a, int b) { return std::max(1, (2 * a + b) / (2 * b)); };  // to a / b
    s.steps_across = nearest(columns, tiles);
    s.step_columns = quotient_up(columns, s.steps_across);
    s.steps_down = quotient_up(rows, std::min(rows, nearest(tiles, s.step_columns)));
    s.steps_down = std::min(rows, quotient_up(s.steps_down, machine.workers) * machine.workers);
    s.step_rows = quotient_up(rows, s.steps_down);
    s.floats = kernels::winograd_floats(machine.operands, in_channels, s.step_rows * s.step_columns);
    s.middle_block_floats =
        (Index{s.step_rows} * s.step_columns * Winograd::outputs * Winograd::outputs | 1) * Winograd::block;
    if (kernels::rounds(machine.operands)) {
        constexpr Index tile_pixels = Winograd::outputs * Winograd::outputs;
        s.rounded_words = kernels::rounded_words(machine.operands, block_count(out_channels) * Winograd::block,
                                                 s.step_columns * tile_pixels);
    }
    return s;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

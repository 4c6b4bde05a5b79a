// SPDX-License-Identifier: Apache-2.0
//
// Dense 3x3 convolutions with stride 1 by Winograd's F(4x4, 3x3): their weights, and how they run. When they do is
// winograd_schedule.hpp's; called by convolution.hpp and fused_bottleneck.hpp.
#pragma once

#include <efficientvit/nn/pointwise.hpp>
#include <efficientvit/nn/winograd_schedule.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// G w of a 3x3 kernel's row or column.
struct WinogradKernelPoints {
    static constexpr int points = kernels::Winograd::points;
    double g[points][3] = {};

    constexpr WinogradKernelPoints() {
        constexpr double a = kernels::WinogradPoints::a, b = kernels::WinogradPoints::b;
        constexpr double at[points - 1] = {0, a, -a, b, -b};
        for (int i = 0; i < points - 1; ++i) {
            double others = 1;  // the product of the distances to the other points
            for (int j = 0; j < points - 1; ++j) others *= i == j ? 1.0 : at[i] - at[j];
            g[i][0] = 1 / others;
            g[i][1] = at[i] / others;
            g[i][2] = at[i] * at[i] / others;
        }
        g[points - 1][2] = 1;
    }
};

using PackWinograd = PackedWeights(WeightMemory&, const std::vector<float>& weight, int in_channels, int out_channels);

/// Weights [out][in][3][3] to G w G^T, [pair of out blocks][plane][out block][in][out lane], in double until they are
/// stored.
inline PackedWeights pack_winograd(WeightMemory& memory, const std::vector<float>& weight, int in_channels,
                                   int out_channels) {
    using kernels::Winograd;
    static constexpr WinogradKernelPoints points;
    constexpr int n = Winograd::points, lanes = Winograd::block;
    const int blocks = block_count(out_channels);
    PackedWeights packed =
        memory.take(static_cast<std::uint64_t>(Index{Winograd::planes} * blocks * in_channels * lanes));
    for (int block = 0; block < blocks; ++block) {
        const int pair = block / Winograd::blocks * Winograd::blocks,
                  together = std::min(Winograd::blocks, blocks - pair);
        const Index panel = Index{in_channels} * lanes, plane = together * panel;
        float* const first = packed.data() + Winograd::planes * pair * panel + (block - pair) * panel;
        for (int channel = 0; channel < in_channels; ++channel) {
            double half[n][3][lanes], w[3][3][lanes] = {};
            for (int lane = 0; lane < std::min(lanes, out_channels - block * lanes); ++lane) {
                const float* const from = weight.data() + ((Index{block} * lanes + lane) * in_channels + channel) * 9;
                for (int tap = 0; tap < 9; ++tap) w[tap / 3][tap % 3][lane] = double{from[tap]};
            }
            for (int i = 0; i < n; ++i) {
                const double* const g = points.g[i];
                for (int tap = 0; tap < 3; ++tap) {
                    for (int lane = 0; lane < lanes; ++lane) {
                        half[i][tap][lane] = g[0] * w[0][tap][lane] + g[1] * w[1][tap][lane] + g[2] * w[2][tap][lane];
                    }
                }
            }
            for (int i = 0; i < Winograd::planes; ++i) {
                const double* const g = points.g[i % n];
                const auto& h = half[i / n];
                float* const to = first + i * plane + Index{channel} * lanes;
                for (int lane = 0; lane < lanes; ++lane) {
                    to[lane] = static_cast<float>(g[0] * h[0][lane] + g[1] * h[1][lane] + g[2] * h[2][lane]);
                }
            }
        }
    }
    return packed;
}

/// A step of a Winograd convolution: its tiles, and the outputs that they give.
struct WinogradStep {
    Session::Range tile_rows, tile_columns;
    Session::Range rows, columns;
};
inline WinogradStep winograd_step(const WinogradSchedule& s, const FeatureMap& y, int step) {
    constexpr int side = kernels::Winograd::outputs;
    const auto pixels = [](Session::Range tiles, int end) {
        return Session::Range{side * tiles.begin, std::min(side * tiles.end, end)};
    };
    WinogradStep out{};
    out.tile_rows = Session::split(quotient_up(y.height, side), s.steps_down, step / s.steps_across);
    out.tile_columns = Session::split(quotient_up(y.width, side), s.steps_across, step % s.steps_across);
    out.rows = pixels(out.tile_rows, y.height);
    out.columns = pixels(out.tile_columns, y.width);
    return out;
}

/// What Winograd says of a step of image n, but for where outputs go.
inline kernels::Winograd winograd_arguments(const PackedConvolution& packed, const FeatureMap& x, int n,
                                            const WinogradStep& step, float* memory) {
    kernels::Winograd a;
    a.x = x.image(n);
    a.x_block_stride = x.block_stride();
    a.x_row_stride = x.row_stride();
    a.channels = x.channels;
    a.height = x.height;
    a.width = x.width;
    a.first_row = step.tile_rows.begin;
    a.rows = step.tile_rows.size();
    a.first_column = step.tile_columns.begin;
    a.columns = step.tile_columns.size();
    a.weights = packed.winograd.data();
    a.bias = packed.bias.data();
    a.y_blocks = static_cast<int>(packed.bias.size()) / kernels::Winograd::block;
    a.memory = memory;
    return a;
}

/// run_step(n, step, arguments, own) for each step of each image, shared out among the workers: `own` are `own_floats`
/// of a worker's memory.
template <class RunStep>
void for_each_winograd_step(Session& session, const WinogradSchedule& s, const PackedConvolution& packed,
                            const FeatureMap& x, const FeatureMap& y, Index own_floats, const RunStep& run_step) {
    session.scheduled(s);
    const Workspace::Frame frame(session.workspace);
    const Index floats = own_floats + s.floats + 16;  // a cache line apart
    float* const memory = session.workspace.take(floats * session.workers());
    if (session.measuring()) return;
    const int steps = s.steps_down * s.steps_across;
    session.parallel(y.batch * steps, [&](int chunk, int worker) {
        const int n = chunk / steps;
        const WinogradStep step = winograd_step(s, y, chunk % steps);
        float* const own = memory + floats * worker;
        run_step(n, step, winograd_arguments(packed, x, n, step, own + own_floats), own);
    });
}

/// y = act(weights * x + bias) + residual.
inline void run_winograd(Session& session, const WinogradSchedule& s, const PackedConvolution& packed, kernels::Act act,
                         const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) {
    const auto run_step = [&](int n, const WinogradStep& step, kernels::Winograd a, float*) {
        const auto first = [&](const FeatureMap& map) {
            return map.image(n) + step.rows.begin * map.row_stride() + Index{step.columns.begin} * map.block;
        };
        a.act = act;
        a.y = first(y);
        a.y_block_stride = y.block_stride();
        a.y_row_stride = y.row_stride();
        if (residual != nullptr) {
            a.residual = first(*residual);
            a.residual_block_stride = residual->block_stride();
            a.residual_row_stride = residual->row_stride();
        }
        kernels::winograd(session.kernels, a);
    };
    for_each_winograd_step(session, s, packed, x, y, 0, run_step);
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

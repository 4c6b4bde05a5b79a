// SPDX-License-Identifier: Apache-2.0
//
// UpSampleLayer of the reference: bicubic interpolation as torch.nn.functional.interpolate has it (a = -0.75,
// align_corners=False, no antialiasing, pixels beyond the edge repeat it).
#pragma once

#include <efficientvit/nn/norm.hpp>

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of UpSampleLayer, named as in the reference.
struct UpSampleConfig {
    std::array<int, 2> size{0, 0};  ///< rows and columns of the result; zeros: by factor
    int factor = 2;                 ///< times larger, each way
};

namespace detail {

/// For each of `out` places along an axis of `in` pixels: four input places and their weights. Computed in double,
/// so that the weights' own rounding is all that is left of it.
inline void cubic_taps(int in, int out, int* taps, float* weights) {
    constexpr double a = -0.75;
    const auto inner = [](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };        // d in [0, 1]
    const auto outer = [](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };  // d in [1, 2]
    for (int i = 0; i < out; ++i, taps += 4, weights += 4) {
        const double source = (i + 0.5) * in / out - 0.5;
        const double below = std::floor(source), t = source - below;
        for (int k = 0; k < 4; ++k) taps[k] = std::clamp(static_cast<int>(below) + k - 1, 0, in - 1);
        weights[0] = static_cast<float>(outer(1 + t));
        weights[1] = static_cast<float>(inner(t));
        weights[2] = static_cast<float>(inner(1 - t));
        weights[3] = static_cast<float>(outer(2 - t));
    }
}

/// y = x interpolated to y's extent, + residual. y may be residual.
inline void run_up_sample(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) {
    if (x.extent() == y.extent()) return run_affine(session, nullptr, kernels::Act::none, x, y, residual);
    struct Axis {
        int* taps;
        float* weights;
    };
    const Workspace::Frame frame(session.workspace);
    const auto axis = [&](int out) {
        const Index count = Index{out} * 4;
        int* const taps = session.workspace.take_ints(count);
        return Axis{taps, session.workspace.take(count)};
    };
    const Axis rows = axis(y.height), columns = axis(y.width);
    const Index mixed_floats = Index{x.width} * x.block + 16;  // a cache line apart
    float* const mixed = session.workspace.take(mixed_floats * session.workers());
    if (session.measuring()) return;
    cubic_taps(x.height, y.height, rows.taps, rows.weights);
    cubic_taps(x.width, y.width, columns.taps, columns.weights);

    const int bands = chunks_of(session, y.height);
    session.parallel(y.batch * y.blocks() * bands, [&](int chunk, int worker) {
        const int band = chunk % bands, b = chunk / bands % y.blocks(), n = chunk / bands / y.blocks();
        const Session::Range range = Session::split(y.height, bands, band);
        const float* const plane = x.image(n) + b * x.block_stride();
        const float* input[4];
        kernels::Resample a;
        a.rows = input;
        a.column_taps = columns.taps;
        a.column_weights = columns.weights;
        a.mixed = mixed + mixed_floats * worker;
        a.x_width = x.width;
        a.y_width = y.width;
        a.block = y.block;
        for (int row = range.begin; row < range.end; ++row) {
            for (int t = 0; t < 4; ++t) input[t] = plane + rows.taps[row * 4 + t] * x.row_stride();
            a.row_weights = rows.weights + row * 4;
            a.y = y.image(n) + b * y.block_stride() + row * y.row_stride();
            if (residual != nullptr) {
                a.residual = residual->image(n) + b * residual->block_stride() + row * residual->row_stride();
            }
            kernels::resample(session.kernels, a);
        }
    });
}

}  // namespace detail

/// (N, C, H, W) to (N, C, H * factor, W * factor), or (N, C, size[0], size[1]). No parameters.
template <UpSampleConfig C>
class UpSampleLayer : public Module<UpSampleLayer<C>> {
    static constexpr bool by_size = C.size[0] != 0 || C.size[1] != 0;
    static_assert(!by_size || (C.size[0] > 0 && C.size[1] > 0), "UpSampleLayer: size must be positive");
    static_assert(by_size || C.factor > 0, "UpSampleLayer: factor must be positive");

public:
    static constexpr int in_channels = 0;  // any number
    static constexpr int out_channels = 0;
    static constexpr int stride = !by_size && C.factor == 1 ? 1 : 0;  // 0: not a whole number of input pixels
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = true;

    static detail::Extent output_extent(detail::Extent in) {
        if constexpr (by_size) return {C.size[0], C.size[1]};
        // What would be no int is too large for output_shape() in any case.
        const auto times = [](int extent) {
            return static_cast<int>(std::min<long long>(static_cast<long long>(extent) * C.factor, INT_MAX));
        };
        return {times(in.height), times(in.width)};
    }
    static void describe(const detail::Describer&) {}
    void pack(const detail::Packer&) {}

    /// The residual may be y itself: heads add up their inputs so.
    void run(detail::Session& session, const detail::FeatureMap& x, const detail::FeatureMap& y,
             const detail::FeatureMap* residual) const {
        detail::run_up_sample(session, x, y, residual);
    }
};

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

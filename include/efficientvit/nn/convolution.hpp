// SPDX-License-Identifier: Apache-2.0
//
// What ConvLayer does, for any of its configurations at run time: kernels take sizes as arguments, so that one copy of
// this code serves all layers of all networks. The type that checks a configuration is conv_layer.hpp's.
#pragma once

#include <efficientvit/nn/convolution_packing.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Pointers to the input rows that output row `row` touches, kernel rows apart; `beyond` outside the map.
inline void kernel_rows(const ConvConfig& c, const FeatureMap& x, const float* first_row, int row, const float* beyond,
                        const float** rows, int step) {
    for (int ky = 0; ky < c.kernel_size; ++ky) {
        const int in = row * c.stride + ky * c.dilation - conv_padding(c);
        rows[ky * step] = in < 0 || in >= x.height ? beyond : first_row + in * x.row_stride();
    }
}

inline void run_depthwise(Session& session, const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x,
                          const FeatureMap& y) {
    const Workspace::Frame frame(session.workspace);
    const int padding = conv_padding(c), taps = c.kernel_size * c.kernel_size;
    const Index zeros = (Index{x.width} + 2 * padding) * x.block;
    const Index pointers_each = Index{c.kernel_size - 1} * c.dilation + 1 + 8;  // a cache line apart
    float* const zero_row = session.workspace.take(zeros);
    const float** const pointers = session.workspace.take_pointers(pointers_each * session.workers());
    if (session.measuring()) return;
    std::fill_n(zero_row, zeros, 0.0f);
    const int bands = chunks_of(session, y.height);
    session.parallel(y.batch * y.blocks() * bands, [&](int chunk, int worker) {
        const int band = chunk % bands, block = chunk / bands % y.blocks(), n = chunk / bands / y.blocks();
        const Session::Range range = Session::split(y.height, bands, band);
        const float** const rows = pointers + pointers_each * worker;
        kernels::Depthwise a;
        a.rows = rows;
        a.weights = packed.weights.data() + Index{block} * taps * y.block;
        a.bias = packed.bias.data() + block * y.block;
        a.y_rows = 1;
        a.y_width = y.width;
        a.block = y.block;
        a.kernel_size = c.kernel_size;
        a.stride = c.stride;
        a.dilation = c.dilation;
        a.act = kernel_act(c.act_func);
        const float* const first = x.image(n) + block * x.block_stride() - Index{padding} * x.block;
        for (int row = range.begin; row < range.end; ++row) {
            kernel_rows(c, x, first, row, zero_row, rows, c.dilation);
            a.y = y.image(n) + block * y.block_stride() + row * y.row_stride();
            session.kernels.depthwise(a);
        }
    });
}

/// Input rows [first, first + count) of all channels, NCHW or blocked, to planes of rows with zeros at both ends.
inline void stage_rows(const FeatureMap& x, int n, int first, int count, int padding, float* to) {
    for (int c = 0; c < x.channels; ++c) {
        const float* const plane = x.image(n) + c / x.block * x.block_stride() + c % x.block;
        for (int in = first; in < first + count; ++in, to += x.width + 2 * padding) {
            if (in < 0 || in >= x.height) continue;
            const float* const from = plane + in * x.row_stride();
            std::fill_n(to, padding, 0.0f);
            if (x.block == 1) {
                std::copy_n(from, x.width, to + padding);
            } else {
                for (int w = 0; w < x.width; ++w) to[padding + w] = from[Index{w} * x.block];
            }
            std::fill_n(to + padding + x.width, padding, 0.0f);
        }
    }
}

/// A stem reads the image where it lies.
inline void run_stem(Session& session, const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x,
                     const FeatureMap& y) {
    const Workspace::Frame frame(session.workspace);
    FeatureMap image = x;
    if (x.block != 1) {  // behind another layer
        image = {nullptr, x.batch, x.channels, x.height, x.width, 0, 1};
        session.workspace.place(image);
        if (!session.measuring()) convert_to_planar(session, x, image);
    }
    if (session.measuring()) return;
    const int bands = chunks_of(session, y.height);
    session.parallel(y.batch * bands, [&](int chunk, int) {
        const int n = chunk / bands;
        const Session::Range range = Session::split(y.height, bands, chunk % bands);
        kernels::Stem a;
        a.x_plane_stride = image.block_stride();
        a.x_width = image.width;
        a.channels = c.in_channels;
        a.weights = packed.weights.data();
        a.bias = packed.bias.data();
        a.y_block_stride = y.block_stride();
        a.y_block = y.block;
        a.y_blocks = y.blocks();
        a.y_width = y.width;
        a.act = kernel_act(c.act_func);
        for (int row = range.begin; row < range.end; ++row) {
            kernel_rows(c, image, image.image(n), row, nullptr, a.rows, 1);
            a.y = y.image(n) + row * y.row_stride();
            session.kernels.stem(a);
        }
    });
}

/// x as products of a dense convolution read it.
inline FeatureMap dense_operand(Session& session, const ConvConfig& c, const PackedConvolution& packed,
                                const FeatureMap& x, int y_width) {
    if (packed.line_columns == 1) return as_operand(session, x);
    const kernels::Operands operands = session.kernels.operands;
    FeatureMap lines = x;
    lines.block = kernels::line_words(operands);
    lines.channels = kernels::group_count(operands, c.in_channels * packed.line_columns) * lines.block;
    lines.width = y_width;
    lines.padding = 0;
    lines.rounded = true;
    lines.data = session.workspace.take(lines.floats() + Index{16} * lines.block);  // kernels read beyond the last
    if (session.measuring()) return lines;
    const int bands = chunks_of(session, x.height);
    session.parallel(x.batch * bands, [&](int chunk, int) {
        const int n = chunk / bands;
        const Session::Range rows = Session::split(x.height, bands, chunk % bands);
        kernels::Round a;
        a.x = x.image(n) + rows.begin * x.row_stride() - Index{conv_padding(c)} * x.block;
        a.x_block_stride = x.block_stride();
        a.x_row_stride = x.row_stride();
        a.x_block = x.block;
        a.x_blocks = x.blocks();
        a.rows = rows.size();
        a.width = y_width;
        a.y = lines.image(n) + rows.begin * lines.row_stride();
        a.y_group_stride = lines.block_stride();
        a.line_columns = packed.line_columns;
        a.line_stride = c.stride;
        session.kernels.round(a);
    });
    return lines;
}

/// Where row 0 of what dense_operand() gives begins for a kernel's first column.
inline const float* dense_first_row(const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x, int n) {
    return x.image(n) - Index{packed.line_columns > 1 ? 0 : conv_padding(c)} * x.block;
}

/// What Dense says of a convolution from x to y, whatever the rows.
inline kernels::Dense dense_arguments(const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x) {
    kernels::Dense a;
    a.x_block_stride = x.block_stride();
    a.x_block = x.block;
    a.channels = c.in_channels / c.groups * packed.line_columns;
    a.weights = packed.weights.data();
    a.bias = packed.bias.data();
    a.lane_channels = packed.lane_channels.data();
    a.y_block = block_width(c.out_channels);
    a.y_blocks = block_count(c.out_channels);
    a.y_blocks_per_group = conv_kind(c) == ConvKind::dense ? a.y_blocks / c.groups : a.y_blocks;
    a.kernel_size = c.kernel_size;
    a.stride = packed.line_columns > 1 ? 1 : c.stride;
    a.dilation = c.dilation;
    a.line_columns = packed.line_columns;
    a.act = kernel_act(c.act_func);
    return a;
}

inline WinogradSchedule schedule_winograd(const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& y,
                                          const Machine& machine) {
    if (packed.winograd.empty()) return {};
    return schedule_winograd(c.in_channels, c.out_channels, y, machine);
}

/// Dense, grouped and planar convolutions, a few rows at a time.
template <ConvKind Kind>
void run_rows(Session& session, const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& input,
              const FeatureMap& y, const FeatureMap* residual) {
    if constexpr (Kind == ConvKind::dense) {
        const WinogradSchedule winograd = schedule_winograd(c, packed, y, session.machine());
        if (winograd.used) return run_winograd(session, winograd, packed, kernel_act(c.act_func), input, y, residual);
    }
    const Workspace::Frame frame(session.workspace);
    const FeatureMap x = has_operands(c) ? dense_operand(session, c, packed, input, y.width) : input;
    const int padding = conv_padding(c);
    const DenseSchedule s = schedule_dense(c.kernel_size, c.stride, c.dilation, y);
    // A planar input has no padding: rows are copied to where they have some.
    constexpr bool planar = Kind == ConvKind::planar;
    FeatureMap staged{nullptr, 1, c.in_channels, planar ? s.staged_rows : 0, x.width, padding, 1};
    const Index staged_floats = planar ? staged.floats() : 0;
    const Index pointers_each = Index{s.step_rows} * c.kernel_size + 8;  // a cache line apart
    float* const stages = session.workspace.take(staged_floats * session.workers());
    const float** const pointers = session.workspace.take_pointers(pointers_each * session.workers());
    if (session.measuring()) return;
    session.parallel(y.batch * s.steps, [&](int chunk, int worker) {
        const int n = chunk / s.steps, first = chunk % s.steps * s.step_rows;
        const float** const rows = pointers + pointers_each * worker;
        FeatureMap from = x;
        const float* first_row = dense_first_row(c, packed, x, n);
        if (planar) {
            float* const stage = stages + staged_floats * worker;
            const int first_in = first * c.stride - padding;
            stage_rows(x, n, first_in, s.staged_rows, padding, stage);
            from = staged;
            first_row = stage - first_in * staged.row_stride();
            from.height = x.height;
        }
        kernels::Dense a = dense_arguments(c, packed, planar ? staged : x);
        a.rows = rows;
        a.y_block_stride = y.block_stride();
        a.y_row_stride = y.row_stride();
        a.y_rows = std::min(s.step_rows, y.height - first);
        a.y_width = y.width;
        for (int r = 0; r < a.y_rows; ++r) {
            kernel_rows(c, from, first_row, first + r, nullptr, rows + r * c.kernel_size, 1);
        }
        a.y = y.image(n) + first * y.row_stride();
        if (residual != nullptr) {
            a.residual = residual->image(n) + first * residual->row_stride();
            a.residual_block_stride = residual->block_stride();
            a.residual_row_stride = residual->row_stride();
        }
        if constexpr (Kind == ConvKind::grouped) {
            kernels::grouped(session.kernels, a);
        } else {
            kernels::dense(has_operands(c) ? session.kernels : kernels::of_floats(session.kernels), a);
        }
    });
}

/// y = act(norm(conv(x))) + residual; depthwise convolutions and stems take no residual. The kind, conv_kind(c), is
/// known at compile time so that programs have only the code of the kinds they use.
template <ConvKind Kind>
void run_convolution(Session& session, const ConvConfig& c, const PackedConvolution& packed, const FeatureMap& x,
                     const FeatureMap& y, const FeatureMap* residual) {
    if constexpr (Kind == ConvKind::pointwise) {
        run_pointwise(session, packed, kernel_act(c.act_func), c.in_channels, x, y, residual);
    } else if constexpr (Kind == ConvKind::depthwise) {
        run_depthwise(session, c, packed, x, y);
    } else if constexpr (Kind == ConvKind::stem) {
        run_stem(session, c, packed, x, y);
    } else {
        run_rows<Kind>(session, c, packed, x, y, residual);
    }
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

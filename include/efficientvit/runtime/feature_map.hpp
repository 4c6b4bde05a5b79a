// SPDX-License-Identifier: Apache-2.0
//
// How a feature map lies in memory between layers, and the way in and out of that layout. Not a container: the memory
// belongs to a Workspace, or, for NCHW, to the user.
#pragma once

#include <efficientvit/kernels/args.hpp>
#include <efficientvit/tensor.hpp>

#include <algorithm>
#include <cstddef>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

using kernels::Index;

/// Channels a block: 16, a whole AVX-512 register; 8 where 16 would leave half of the last block empty.
constexpr int block_width(int channels) { return channels % 16 >= 1 && channels % 16 <= 8 ? 8 : 16; }
constexpr int block_count(int channels) { return (channels + block_width(channels) - 1) / block_width(channels); }

/// Rows and columns.
struct Extent {
    int height = 0, width = 0;
    bool operator==(const Extent&) const = default;
};

/// [N][channel block][H][padding + W + padding][lane]: nChw16c or nChw8c, with `padding` zero columns at both ends
/// of a row for a consumer that looks beyond the edge. block == 1 is plain NCHW without padding, as users have it.
/// Lanes beyond the last channel hold zeros.
struct FeatureMap {
    float* data = nullptr;  // column 0 of row 0, behind the padding
    int batch = 0, channels = 0, height = 0, width = 0;
    int padding = 0;
    int block = 16;
    bool rounded = false;  // as kernels::Round writes it: block is a line, and channels counts words

    Extent extent() const { return {height, width}; }
    int blocks() const { return (channels + block - 1) / block; }
    Index row_stride() const { return (Index{width} + 2 * padding) * block; }
    Index block_stride() const { return row_stride() * height; }
    Index image_stride() const { return block_stride() * blocks(); }
    float* image(int n) const { return data + n * image_stride(); }
    Index floats() const { return image_stride() * batch; }
};

inline FeatureMap blocked_map(int batch, int channels, Extent extent, int padding) {
    return {nullptr, batch, channels, extent.height, extent.width, padding, block_width(channels)};
}

inline FeatureMap planar_map(const ConstTensorView& x) {
    // Inputs are maps too, and only ever read.
    return {const_cast<float*>(x.data),
            static_cast<int>(x.shape.n),
            static_cast<int>(x.shape.c),
            static_cast<int>(x.shape.h),
            static_cast<int>(x.shape.w),
            0,
            1};
}

/// Zeroes the padding columns of a new map.
inline void clear_padding(const FeatureMap& map) {
    if (map.padding == 0) return;
    const Index pad = Index{map.padding} * map.block;
    const Index rows = Index{map.batch} * map.blocks() * map.height;
    for (Index row = 0; row < rows; ++row) {
        float* const begin = map.data + row * map.row_stride() - pad;
        std::fill_n(begin, pad, 0.0f);
        std::fill_n(begin + map.row_stride() - pad, pad, 0.0f);
    }
}

/// Image n, block b of NCHW memory into the blocked layout; empty lanes become zero.
inline void to_blocked(const FeatureMap& from, const FeatureMap& to, int n, int b) {
    const int lanes = std::min(to.block, to.channels - b * to.block);
    for (int row = 0; row < to.height; ++row) {
        float* const y = to.image(n) + b * to.block_stride() + row * to.row_stride();
        if (lanes < to.block) std::fill_n(y, Index{to.width} * to.block, 0.0f);
        for (int lane = 0; lane < lanes; ++lane) {
            const float* const x =
                from.image(n) + (Index{b} * to.block + lane) * from.block_stride() + row * from.row_stride();
            for (int column = 0; column < to.width; ++column) y[Index{column} * to.block + lane] = x[column];
        }
    }
}

/// And back.
inline void to_planar(const FeatureMap& from, const FeatureMap& to, int n, int b) {
    const int lanes = std::min(from.block, from.channels - b * from.block);
    for (int row = 0; row < from.height; ++row) {
        const float* const x = from.image(n) + b * from.block_stride() + row * from.row_stride();
        for (int lane = 0; lane < lanes; ++lane) {
            float* const y = to.image(n) + (Index{b} * from.block + lane) * to.block_stride() + row * to.row_stride();
            for (int column = 0; column < from.width; ++column) y[column] = x[Index{column} * from.block + lane];
        }
    }
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

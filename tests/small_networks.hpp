// SPDX-License-Identifier: Apache-2.0
//
// Small networks with heads, which together with an L backbone have every layer that b0 has not. And what tests of
// whole networks do to them: one image of a batch, scratch memory full of NaN.
#pragma once

#include "support.hpp"

#include <limits>

template <class Backbone>
using SmallSegmenter = ev::EfficientViTSeg<Backbone, ev::SegHeadConfig{.head_width = 20,
                                                                       .head_depth = 1,
                                                                       .middle_op = ev::SegMiddleOp::fmbconv,
                                                                       .final_expand = 2,
                                                                       .n_classes = 3,
                                                                       .act_func = ev::Activation::gelu}>;
template <class Backbone>
using SmallEncoder = ev::SamImageEncoder<
    Backbone, ev::SamNeckConfig{.head_width = 16, .head_depth = 2, .out_dim = 20, .size = {9, 14}, .norm_eps = 1e-5}>;

/// Image n of a batch.
inline ev::Tensor image_of(const ev::Tensor& batch, Eigen::Index n) {
    using Four = Eigen::array<Eigen::Index, 4>;
    return batch.slice(Four{n, 0, 0, 0}, Four{1, batch.dimension(1), batch.dimension(2), batch.dimension(3)});
}

/// Fills a Context's memory with NaN.
inline void poison(ev::Context& context, ev::Isa isa) {
    const std::size_t floats = context.allocated_bytes() / sizeof(float);
    context.run(ev::kernels::table(isa), [&](ev::detail::Session& session) {
        float* const memory = session.workspace.take(static_cast<ev::detail::Index>(floats));
        if (!session.measuring()) std::fill_n(memory, floats, std::numeric_limits<float>::quiet_NaN());
    });
    EXPECT_EQ(context.allocated_bytes(), floats * sizeof(float));
}

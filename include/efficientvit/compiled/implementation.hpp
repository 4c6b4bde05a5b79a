// SPDX-License-Identifier: Apache-2.0
//
// What is behind the door of door.hpp, for the one unit that defines EFFICIENTVIT_IMPLEMENTATION.
#pragma once

#include <efficientvit/config.hpp>

#if defined(EFFICIENTVIT_IMPLEMENTATION)

#include <efficientvit/compiled/door.hpp>
#include <efficientvit/kernels/bf16.hpp>
#include <efficientvit/kernels/f16.hpp>
#include <efficientvit/kernels/int8.hpp>
#include <efficientvit/nn/attention.hpp>
#include <efficientvit/nn/convolution_packing.hpp>
#include <efficientvit/runtime/executor.hpp>
#include <efficientvit/weights/load.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

const void* EFFICIENTVIT_DOOR() {
    namespace built = kernels::built;
    static constexpr detail::Door door{
        .table = built::table,
        .bf16_weights_table = built::bf16_weights_table<void>,
        .bf16_unit_table = built::bf16_unit_table<void>,
        .int8_unit_table = built::int8_unit_table<void>,
        .f16_unit_table = built::f16_unit_table<void>,
        .dense = built::dense,
        .grouped = built::grouped,
        .winograd = built::winograd,
        .resample = built::resample,
        .layer_norm = built::layer_norm,
        .softmax_pixels = built::softmax_pixels,
        .softmax_tokens = built::softmax_tokens,
        .weighted_sums = built::weighted_sums,
        .mask_product = built::mask_product,
        .match = [](MatchedWeights& matched, const StateDict& weights, const std::vector<Parameter>& wanted,
                    const LoadOptions& options) { matched.match(weights, wanted, options); },
        .pack_dense = detail::pack_dense_here,
        .pack_convolution = detail::pack_convolution_here,
        .pack_attention = detail::pack_attention_here,
        .new_thread_pool = [](int threads, bool pinned) -> Executor* {
            return new detail::PoolBehindExecutor(threads, pinned);
        }};
    return &door;
}

EFFICIENTVIT_END_PLAIN_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

#endif

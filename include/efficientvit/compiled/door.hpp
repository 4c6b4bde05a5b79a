// SPDX-License-Identifier: Apache-2.0
//
// For units with EFFICIENTVIT_COMPILED, empty for others: what they do not compile themselves, as declarations. That is
// all kernels (kernels/kernels.hpp, bf16.hpp, int8.hpp, f16.hpp) and what costs most beside them: the matching of names
// of weights, the packing of most of them, and threads.
//
// One unit of the program defines EFFICIENTVIT_IMPLEMENTATION before it includes <efficientvit/efficientvit.hpp>, or is
// <efficientvit/compiled/kernels.cpp>. It has all kernels, since it cannot know which ones the other units use.
#pragma once

#include <efficientvit/kernels/sam_args.hpp>
#include <efficientvit/kernels/winograd_args.hpp>

#include <string>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

#if defined(EFFICIENTVIT_COMPILED)

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE

enum class Bf16Unit;
enum class Int8Unit;
enum class F16Unit;
class Executor;

/// The one entry point: the detail::Door of the unit that has the kernels, which may be compiled with other -m flags.
/// What lies behind the door may change with any version, so the whole version is in its name: with the kernels of
/// another version a program does not link.
#define EFFICIENTVIT_DOOR_OF_(major, minor, patch) door_##major##_##minor##_##patch
#define EFFICIENTVIT_DOOR_OF(major, minor, patch) EFFICIENTVIT_DOOR_OF_(major, minor, patch)
#define EFFICIENTVIT_DOOR \
    EFFICIENTVIT_DOOR_OF(EFFICIENTVIT_VERSION_MAJOR, EFFICIENTVIT_VERSION_MINOR, EFFICIENTVIT_VERSION_PATCH)
EFFICIENTVIT_LOCAL const void* EFFICIENTVIT_DOOR();

EFFICIENTVIT_END_PLAIN_NAMESPACE

EFFICIENTVIT_BEGIN_NAMESPACE

class MatchedWeights;
class StateDict;
struct Parameter;
struct LoadOptions;
struct ConvConfig;
struct LiteMLAConfig;

namespace detail {

class WeightMemory;
class PackedWeights;
struct ChannelLayout;
struct Packer;
struct PackedConvolution;
struct PackedAttention;

/// Of a unit with other -m flags it is another type in name only: pointers and numbers that mean the same.
struct Door {
    const kernels::Table& (*table)(Isa);
    const kernels::Table& (*bf16_weights_table)(Isa);
    const kernels::Table& (*bf16_unit_table)(Isa, Bf16Unit);
    const kernels::Table& (*int8_unit_table)(Isa, Int8Unit);
    const kernels::Table& (*f16_unit_table)(Isa, F16Unit);
    void (*dense)(const kernels::Table&, const kernels::Dense&);
    void (*grouped)(const kernels::Table&, const kernels::Dense&);
    void (*winograd)(const kernels::Table&, const kernels::Winograd&);
    void (*resample)(const kernels::Table&, const kernels::Resample&);
    void (*layer_norm)(const kernels::Table&, const kernels::LayerNorm&);
    void (*softmax_pixels)(const kernels::Table&, const kernels::SoftmaxPixels&);
    void (*softmax_tokens)(const kernels::Table&, const kernels::SoftmaxTokens&);
    void (*weighted_sums)(const kernels::Table&, const kernels::WeightedSums&);
    void (*mask_product)(const kernels::Table&, const kernels::MaskProduct&);
    void (*match)(MatchedWeights&, const StateDict&, const std::vector<Parameter>&, const LoadOptions&);
    PackedWeights (*pack_dense)(WeightMemory&, const std::string& name, const std::vector<float>& weight,
                                const ChannelLayout& in, const ChannelLayout& out, int taps, kernels::Operands);
    PackedConvolution (*pack_convolution)(const Packer&, const ConvConfig&, double input_scale,
                                          PackedWeights winograd(WeightMemory&, const std::vector<float>& weight,
                                                                 int in_channels, int out_channels));
    PackedAttention (*pack_attention)(const Packer&, const LiteMLAConfig&);
    Executor* (*new_thread_pool)(int threads, bool pinned);
};
inline const Door& door() { return *static_cast<const Door*>(EFFICIENTVIT_DOOR()); }

}  // namespace detail

namespace kernels {

inline const Table& table(Isa isa) { return detail::door().table(isa); }
template <class>
const Table& bf16_weights_table(Isa isa) {
    return detail::door().bf16_weights_table(isa);
}
template <class>
const Table& bf16_unit_table(Isa isa, Bf16Unit unit) {
    return detail::door().bf16_unit_table(isa, unit);
}
template <class>
const Table& int8_unit_table(Isa isa, Int8Unit unit) {
    return detail::door().int8_unit_table(isa, unit);
}
template <class>
const Table& f16_unit_table(Isa isa, F16Unit unit) {
    return detail::door().f16_unit_table(isa, unit);
}
inline void dense(const Table& table, const Dense& args) { detail::door().dense(table, args); }
inline void grouped(const Table& table, const Dense& args) { detail::door().grouped(table, args); }
inline void winograd(const Table& table, const Winograd& args) { detail::door().winograd(table, args); }
inline void resample(const Table& table, const Resample& args) { detail::door().resample(table, args); }
inline void layer_norm(const Table& table, const LayerNorm& args) { detail::door().layer_norm(table, args); }
inline void softmax_pixels(const Table& table, const SoftmaxPixels& args) {
    detail::door().softmax_pixels(table, args);
}
inline void softmax_tokens(const Table& table, const SoftmaxTokens& args) {
    detail::door().softmax_tokens(table, args);
}
inline void weighted_sums(const Table& table, const WeightedSums& args) { detail::door().weighted_sums(table, args); }
inline void mask_product(const Table& table, const MaskProduct& args) { detail::door().mask_product(table, args); }

}  // namespace kernels
EFFICIENTVIT_END_NAMESPACE

#endif

#include <efficientvit/foreign_macros_end.hpp>

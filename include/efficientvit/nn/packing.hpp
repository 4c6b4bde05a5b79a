// SPDX-License-Identifier: Apache-2.0
//
// From a state dict's weights to what kernels read: batch norm folded in, in double, and rows brought into the order
// in which a kernel walks through them.
#pragma once

#include <efficientvit/nn/options.hpp>
#include <efficientvit/runtime/feature_map.hpp>
#include <efficientvit/runtime/weight_memory.hpp>
#include <efficientvit/weights/weight_reader.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// Collects what a model asks for: names below a prefix, and shapes.
class Describer {
public:
    explicit Describer(std::vector<Parameter>& parameters, std::string prefix = {})
        : parameters_(parameters), prefix_(std::move(prefix)) {}
    Describer at(std::string_view name) const { return Describer(parameters_, concat({prefix_, name, "."})); }
    Describer at(int index) const { return at(std::to_string(index)); }
    EFFICIENTVIT_FLATTEN void add(std::string_view name, std::initializer_list<std::int64_t> shape) const {
        parameters_.push_back({concat({prefix_, name}), shape});
    }

private:
    std::vector<Parameter>& parameters_;
    std::string prefix_;
};

/// What a layer packs its weights from: tensors below its name, the kernels they are for, and memory for them.
struct Packer {
    WeightReader weights;
    const kernels::Table* kernels;
    bool winograd;  // LoadOptions::winograd
    WeightMemory* memory;

    Packer at(std::string_view name) const { return {weights.at(name), kernels, winograd, memory}; }
    Packer at(int index) const { return at(std::to_string(index)); }
};

/// A convolution's weights [out][in / groups][k][k] and bias [out], batch norm folded in. Missing tensors (only
/// without strict) count as zero weights and as an identity norm.
struct Folded {
    std::string name;  // of the weights
    const std::vector<float>& weight;
    std::vector<float> bias;
};

/// y = x * scale + shift: batch norm in inference.
struct ScaleShift {
    std::vector<double> scale, shift;
};

inline ScaleShift read_batch_norm(const Packer& p, int channels, double eps) {
    const auto count = static_cast<std::size_t>(channels);
    const auto read = [&](const char* name, float otherwise) { return p.weights.read(name, channels, otherwise); };
    const std::vector<float> weight = read("weight", 1), bias = read("bias", 0);
    const std::vector<float> mean = read("running_mean", 0), variance = read("running_var", 1);
    ScaleShift out{filled(count, 0.0), filled(count, 0.0)};
    for (std::size_t c = 0; c < count; ++c) {
        out.scale[c] = double{weight[c]} / std::sqrt(double{variance[c]} + eps);
        out.shift[c] = double{bias[c]} - double{mean[c]} * out.scale[c];
    }
    return out;
}

/// Reads `conv` and `norm` below p. The weights lie in p.memory->values until the next are read. input_scale multiplies
/// them: what foldable_act() left over.
inline Folded read_folded(const Packer& p, int out_channels, std::size_t weights_a_channel, bool use_bias, Norm norm,
                          double norm_eps, double input_scale = 1.0) {
    const auto outs = static_cast<std::size_t>(out_channels);
    const Packer conv = p.at("conv");
    std::vector<float>& weight = p.memory->values;
    conv.weights.read("weight", static_cast<Index>(outs * weights_a_channel), 0, weight);
    Folded f{conv.weights.full_name("weight"), weight,
             use_bias ? conv.weights.read("bias", out_channels, 0) : filled(outs, 0.0f)};
    if (norm == Norm::none && input_scale == 1.0) return f;
    ScaleShift n{filled(outs, 1.0), filled(outs, 0.0)};
    if (norm == Norm::bn2d) n = read_batch_norm(p.at("norm"), out_channels, norm_eps);
    for (std::size_t c = 0; c < outs; ++c) {
        const double scale = n.scale[c] * input_scale;
        float* const w = weight.data() + c * weights_a_channel;
        for (std::size_t i = 0; i < weights_a_channel; ++i) w[i] = static_cast<float>(w[i] * scale);
        f.bias[c] = static_cast<float>(f.bias[c] * n.scale[c] + n.shift[c]);
    }
    return f;
}

/// Channels that lie in blocks, perhaps in sections that each begin a new block (LiteMLA's q, k, v of every head).
struct ChannelLayout {
    int channels = 0;
    int section = 0;  // channels a section
    int block = 16;

    static constexpr ChannelLayout plain(int channels) { return {channels, channels, block_width(channels)}; }
    static constexpr ChannelLayout sections(int count, int channels) {
        return {count * channels, channels, block_width(channels)};
    }
    constexpr int blocks_a_section() const { return (section + block - 1) / block; }
    constexpr int blocks() const { return channels / section * blocks_a_section(); }
    /// Lanes that weights have rows for: not those that are empty behind a single section.
    constexpr int lanes() const { return section == channels ? channels : blocks() * block; }
    /// The channel in this block and lane, or -1 where the lane is empty.
    int channel(int b, int lane) const {
        const int within = b % blocks_a_section() * block + lane;
        return within < section ? b / blocks_a_section() * section + within : -1;
    }
};

inline PackedWeights pack_bias(WeightMemory& memory, const std::vector<float>& bias, const ChannelLayout& out) {
    PackedWeights packed = memory.take(static_cast<std::uint64_t>(Index{out.blocks()} * out.block), 0.0f);
    for (int b = 0; b < out.blocks(); ++b) {
        for (int lane = 0; lane < out.block; ++lane) {
            const int c = out.channel(b, lane);
            if (c >= 0) packed[static_cast<std::size_t>(b * out.block + lane)] = bias[static_cast<std::size_t>(c)];
        }
    }
    return packed;
}

/// Weights [out][in][k*k] of an int8 layer into [out block] of [group][k*k] of what kernels::weight_words() says and a
/// row of scales.
inline PackedWeights pack_bytes(WeightMemory& memory, const std::vector<float>& weight, const ChannelLayout& in,
                                const ChannelLayout& out, int taps) {
    constexpr kernels::Operands int8 = kernels::Operands::int8;
    constexpr int group = kernels::group_channels(int8);
    const int in_lanes = in.lanes();
    const Index row = Index{in.channels} * taps;  // of an output
    PackedWeights packed = memory.take(static_cast<std::uint64_t>(kernels::panel_words(int8, in_lanes, taps)) *
                                       static_cast<std::uint64_t>(Index{out.blocks()} * out.block));
    std::vector<int> channels(static_cast<std::size_t>(in_lanes + 3), -1);  // of lanes, up to the last whole word
    for (int lane = 0; lane < in_lanes; ++lane) {
        channels[static_cast<std::size_t>(lane)] = in.channel(lane / in.block, lane % in.block);
    }
    // One output of one group and tap, whose bytes begin at `from`; `to` is its word in the first row.
    const auto pack_column = [&](const std::int8_t* from, int first, int words, int tap, float* to) {
        std::int32_t sum = 0;
        for (int word = 0; word < words; ++word) {
            std::uint32_t bytes = 0;
            for (int i = 0; i < 4; ++i) {
                const int ic = channels[static_cast<std::size_t>(first + 4 * word + i)];
                const std::int8_t byte = ic < 0 ? std::int8_t{0} : from[Index{ic} * taps + tap];
                bytes |= std::uint32_t{static_cast<std::uint8_t>(byte)} << 8 * i;
                sum += byte;
            }
            std::memcpy(to + Index{word + 1} * out.block, &bytes, sizeof(bytes));
        }
        std::memcpy(to, &sum, sizeof(sum));
    };
    const auto each = static_cast<std::size_t>(row);
    std::vector<std::int8_t> block(each * static_cast<std::size_t>(out.block));
    float* to = packed.data();
    for (int ob = 0; ob < out.blocks(); ++ob) {
        float scales[16] = {};
        for (int o = 0; o < out.block; ++o) {
            const int oc = out.channel(ob, o);
            std::int8_t* const integers = block.data() + o * row;
            if (oc < 0) {
                std::fill_n(integers, each, std::int8_t{0});
                continue;
            }
            const std::span<const float> weights{weight.data() + oc * row, each};
            find_int8_scale(weights, scales[o]);
            to_int8(weights, scales[o], integers);
        }
        for (int first = 0; first < in_lanes; first += group) {
            const int words = kernels::operand_words(int8, std::min(group, in_lanes - first));
            for (int tap = 0; tap < taps; ++tap, to += Index{words + 1} * out.block) {
                for (int o = 0; o < out.block; ++o) pack_column(block.data() + o * row, first, words, tap, to + o);
            }
        }
        to = std::copy_n(scales, out.block, to);
    }
    return packed;
}

/// Weights [out][in][k*k] of an f16 layer into [out block][group][k*k][in lane][out lane], halves, whole eights of
/// lanes. Throws WeightsError where they are too large, or NaN.
inline PackedWeights pack_halves(WeightMemory& memory, const std::string& name, const std::vector<float>& weight,
                                 const ChannelLayout& in, const ChannelLayout& out, int taps) {
    constexpr kernels::Operands f16 = kernels::Operands::f16;
    constexpr int group = kernels::group_channels(f16);
    for (const float& w : weight) {
        if (is_finite(w) && std::abs(w) <= kernels::largest_f16_weight) continue;
        throw WeightsError(concat({"Precision::f16: ", in_quotes(name), " with its batch norm holds ",
                                   std::to_string(w), ", products of halves are exact enough up to 511"}));
    }
    const int in_lanes = in.lanes();
    PackedWeights packed = memory.take(static_cast<std::uint64_t>(kernels::weight_words(f16, in_lanes) * taps) *
                                       static_cast<std::uint64_t>(Index{out.blocks()} * out.block));
    std::byte* to = reinterpret_cast<std::byte*>(packed.data());
    for (int ob = 0; ob < out.blocks(); ++ob) {
        for (int first = 0; first < in_lanes; first += group) {
            const int end = first + 2 * kernels::operand_words(f16, std::min(group, in_lanes - first));
            for (int tap = 0; tap < taps; ++tap) {
                for (int lane = first; lane < end; ++lane) {
                    const int ic = lane < in_lanes ? in.channel(lane / in.block, lane % in.block) : -1;
                    for (int o = 0; o < out.block; ++o, to += sizeof(std::uint16_t)) {
                        const int oc = out.channel(ob, o);
                        const Index at = (Index{oc} * in.channels + ic) * taps + tap;
                        const std::uint16_t half =
                            ic < 0 || oc < 0 ? std::uint16_t{0} : float_to_half(weight[static_cast<std::size_t>(at)]);
                        std::memcpy(to, &half, sizeof(half));
                    }
                }
            }
        }
    }
    return packed;
}

/// Weights [out][in][k*k] into [out block][in block][k*k][in lane][out lane], what Pointwise and Dense read. Input
/// lanes that have no rows (ChannelLayout::lanes) are left out, those at the end of one of many sections are zeros. In
/// bf16 two lanes become a word, and blocks are as wide as Operands says. Errors call the weights `name`. This is what
/// pack_dense() does: with EFFICIENTVIT_COMPILED, behind the door.
inline PackedWeights pack_dense_here(WeightMemory& memory, const std::string& name, const std::vector<float>& weight,
                                     const ChannelLayout& in, const ChannelLayout& out, int taps,
                                     kernels::Operands operands) {
    using kernels::Operands;
    if (kernels::has_bytes(operands)) return pack_bytes(memory, weight, in, out, taps);
    if (operands == Operands::f16) return pack_halves(memory, name, weight, in, out, taps);
    const int in_lanes = in.lanes();
    const int group = operands == Operands::bf16 ? kernels::group_channels(operands) : in.block;
    const int each = operands == Operands::f32 ? 1 : 2;  // lanes a word
    PackedWeights packed = memory.take(static_cast<std::uint64_t>(kernels::weight_words(operands, in_lanes) * taps) *
                                       static_cast<std::uint64_t>(Index{out.blocks()} * out.block));
    const auto input = [&](int lane) {  // the channel of a lane, -1 where there is none
        return lane < in_lanes ? in.channel(lane / in.block, lane % in.block) : -1;
    };
    const auto value = [&](const float* row, int ic, int tap) {
        return ic < 0 || row == nullptr ? 0.0f : row[Index{ic} * taps + tap];
    };
    float* to = packed.data();
    for (int ob = 0; ob < out.blocks(); ++ob) {
        const float* rows[16];
        for (int o = 0; o < out.block; ++o) {
            const int oc = out.channel(ob, o);
            rows[o] = oc < 0 ? nullptr : weight.data() + Index{oc} * in.channels * taps;
        }
        for (int first = 0; first < in_lanes; first += group) {
            const int lanes = operands == Operands::bf16 ? group : std::min(group, in_lanes - first);
            for (int tap = 0; tap < taps; ++tap) {
                for (int i = first; i < first + lanes; i += each) {
                    const int ic = input(i), following = input(i + 1);
                    for (int o = 0; o < out.block; ++o, ++to) {
                        *to = value(rows[o], ic, tap);
                        if (each == 2) {
                            const std::uint32_t low = float_to_bf16(*to);
                            const std::uint32_t high = float_to_bf16(value(rows[o], following, tap));
                            *to = std::bit_cast<float>(high << 16 | low);
                        }
                    }
                }
            }
        }
    }
    return packed;
}

inline PackedWeights pack_dense(WeightMemory& memory, const std::string& name, const std::vector<float>& weight,
                                const ChannelLayout& in, const ChannelLayout& out, int taps,
                                kernels::Operands operands) {
#if defined(EFFICIENTVIT_COMPILED)
    return door().pack_dense(memory, name, weight, in, out, taps, operands);
#else
    return pack_dense_here(memory, name, weight, in, out, taps, operands);
#endif
}

/// Weights [channel][k*k] into [block][k*k][lane], what Depthwise reads.
inline PackedWeights pack_depthwise(WeightMemory& memory, const std::vector<float>& weight, const ChannelLayout& layout,
                                    int taps) {
    PackedWeights packed = memory.take(static_cast<std::uint64_t>(Index{layout.blocks()} * layout.block * taps), 0.0f);
    float* to = packed.data();
    for (int b = 0; b < layout.blocks(); ++b) {
        for (int tap = 0; tap < taps; ++tap) {
            for (int lane = 0; lane < layout.block; ++lane, ++to) {
                const int c = layout.channel(b, lane);
                if (c >= 0) *to = weight[static_cast<std::size_t>(Index{c} * taps + tap)];
            }
        }
    }
    return packed;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

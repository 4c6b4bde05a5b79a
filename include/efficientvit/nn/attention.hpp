// SPDX-License-Identifier: Apache-2.0
//
// What LiteMLA does, for any of its configurations at run time. For each head q, k, v are taken through all of their
// layers one after the other, so that a head's planes stay in the cache. The type that checks a configuration is
// lite_mla.hpp's.
#pragma once

#include <efficientvit/nn/convolution.hpp>
#include <efficientvit/nn/norm.hpp>

#include <array>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of LiteMLA, named as in the reference. Arrays are (qkv, proj).
struct LiteMLAConfig {
    int in_channels = 0;                               ///< of the input
    int out_channels = 0;                              ///< of the output
    int heads = 0;                                     ///< 0: in_channels / dim * heads_ratio
    double heads_ratio = 1.0;                          ///< attention's heads times dim, for each input channel
    int dim = 8;                                       ///< channels of a head
    std::array<bool, 2> use_bias{false, false};        ///< of each convolution; qkv's holds for aggreg too
    std::array<Norm, 2> norm{Norm::none, Norm::bn2d};  ///< behind each convolution
    std::array<Activation, 2> act_func{Activation::none, Activation::none};  ///< behind each norm
    IntList scales{5};                                                       ///< odd kernel sizes of the aggregations
    double eps = 1e-15;                                                      ///< added to the denominator of attention
    double norm_eps = 1e-5;                                                  ///< added to a norm's variance
};

namespace detail {

/// Packed weights of LiteMLA, and how its channels lie. Inside, q, k and v of every head are maps of dim channels each,
/// so that each begins a block of its own.
struct PackedAttention {
    struct Scale {
        int size;
        PackedWeights depth;                   // [part][block][ky][kx][lane]
        PackedWeights point;                   // [part][block][dim][lane]
        PackedWeights depth_bias, point_bias;  // [part][block][lane], zeros without use_bias[0]
    };
    PackedConvolution qkv, proj;
    std::vector<Scale> scales;
};

struct AttentionLayout {
    int heads, parts, block, blocks, attended, attended_lanes, margin;

    constexpr explicit AttentionLayout(const LiteMLAConfig& c)
        : heads(c.heads != 0 ? c.heads : static_cast<int>(c.in_channels / c.dim * c.heads_ratio)),
          parts(3 * heads),  // q, k, v of head 0, of head 1, …
          block(block_width(c.dim)),
          blocks(block_count(c.dim)),               // of one part
          attended(heads * (1 + c.scales.size())),  // heads and, for each scale, their aggregated twins
          attended_lanes(ChannelLayout::sections(attended, c.dim).lanes()),
          margin(0) {  // zero columns beside the plane that aggregations read
        for (const int scale : c.scales) margin = std::max(margin, scale / 2);
    }

    AttentionSizes sizes(const LiteMLAConfig& c) const { return {c.dim, parts, c.scales.size(), margin, attended}; }
    /// Of the 1x1 convolutions of aggregations, which have groups of dim channels.
    static constexpr LayerTraits aggregation(const LiteMLAConfig& c) { return {c.dim, c.dim}; }
};

inline ConvConfig qkv_config(const LiteMLAConfig& c) {
    return {.in_channels = c.in_channels,
            .out_channels = AttentionLayout(c).parts * c.dim,
            .kernel_size = 1,
            .use_bias = c.use_bias[0],
            .norm = c.norm[0],
            .act_func = c.act_func[0],
            .norm_eps = c.norm_eps};
}
inline ConvConfig proj_config(const LiteMLAConfig& c) {
    return {.in_channels = AttentionLayout(c).attended * c.dim,
            .out_channels = c.out_channels,
            .kernel_size = 1,
            .use_bias = c.use_bias[1],
            .norm = c.norm[1],
            .act_func = c.act_func[1],
            .norm_eps = c.norm_eps};
}

EFFICIENTVIT_COLD inline void describe_attention(const Describer& d, const LiteMLAConfig& c) {
    const int channels = AttentionLayout(c).parts * c.dim;
    describe_convolution(d.at("qkv"), qkv_config(c));
    for (int s = 0; s < c.scales.size(); ++s) {
        const Describer aggreg = d.at("aggreg").at(s);
        aggreg.add("0.weight", {channels, 1, c.scales[s], c.scales[s]});
        if (c.use_bias[0]) aggreg.add("0.bias", {channels});
        aggreg.add("1.weight", {channels, c.dim, 1, 1});
        if (c.use_bias[0]) aggreg.add("1.bias", {channels});
    }
    describe_convolution(d.at("proj"), proj_config(c));
}

/// What pack_attention() does: with EFFICIENTVIT_COMPILED, behind the door.
EFFICIENTVIT_COLD inline PackedAttention pack_attention_here(const Packer& p, const LiteMLAConfig& c) {
    const AttentionLayout layout(c);
    const kernels::Operands operands = p.kernels->operands;
    const int channels = layout.parts * c.dim;
    const ChannelLayout qkv = ChannelLayout::sections(layout.parts, c.dim);
    const auto pack_one = [&](const char* name, const ConvConfig& conv, const ChannelLayout& in,
                              const ChannelLayout& out) {
        const Folded f = read_folded(p.at(name), conv.out_channels, static_cast<std::size_t>(conv.in_channels),
                                     conv.use_bias, conv.norm, conv.norm_eps);
        return PackedConvolution{pack_dense(*p.memory, f.name, f.weight, in, out, 1, operands),
                                 pack_bias(*p.memory, f.bias, out)};
    };
    const kernels::Operands group_operands = layer_kernels(*p.kernels, layout.aggregation(c)).operands;
    PackedAttention packed;
    packed.qkv = pack_one("qkv", qkv_config(c), ChannelLayout::plain(c.in_channels), qkv);
    for (int s = 0; s < c.scales.size(); ++s) {
        const WeightReader aggreg = p.at("aggreg").at(s).weights;
        const int taps = c.scales[s] * c.scales[s];
        const auto read = [&](const char* name, Index size) { return aggreg.read(name, size, 0); };  // zeros if missing
        packed.scales.push_back(
            {c.scales[s], pack_depthwise(*p.memory, read("0.weight", Index{channels} * taps), qkv, taps),
             pack_dense(*p.memory, aggreg.full_name("1.weight"), read("1.weight", Index{channels} * c.dim),
                        ChannelLayout::plain(c.dim), qkv, 1, group_operands),
             pack_bias(*p.memory, read("0.bias", channels), qkv), pack_bias(*p.memory, read("1.bias", channels), qkv)});
    }
    packed.proj = pack_one("proj", proj_config(c), ChannelLayout::sections(layout.attended, c.dim),
                           ChannelLayout::plain(c.out_channels));
    return packed;
}

EFFICIENTVIT_COLD inline PackedAttention pack_attention(const Packer& p, const LiteMLAConfig& c) {
#if defined(EFFICIENTVIT_COMPILED)
    return door().pack_attention(p, c);
#else
    return pack_attention_here(p, c);
#endif
}

/// Parts (q, k or v of one head) and their aggregations, from x into their places in qkv.
class AttentionParts {
public:
    AttentionParts(Session& session, const Session& aggregation, const LiteMLAConfig& config,
                   const PackedAttention& packed, const FeatureMap& x, const AttentionSchedule& schedule)
        : session_(session),
          aggregation_(aggregation),
          c_(config),
          layout_(config),
          packed_(packed),
          s_(schedule),
          x_(as_operand(session, x)) {
        const auto take = [&](Index floats) { return session.workspace.take(floats * session.workers()); };
        planes_ = take(s_.plane_floats * s_.group);
        aggregated_ = take(s_.part_floats);
        rounded_ = take(s_.rounded_words);
        pointers_ = session.workspace.take_pointers(s_.row_pointers * session.workers());
        zero_row_ = session.workspace.take(s_.plane_row_floats);
        if (session.measuring()) return;
        std::fill_n(planes_, s_.plane_floats * s_.group * session.workers(), 0.0f);  // the margins stay so
        std::fill_n(zero_row_, s_.plane_row_floats, 0.0f);
    }

    void run(int n, int index, float* qkv, int worker) const {
        float* const planes = planes_ + s_.plane_floats * s_.group * worker;
        const int first = index * s_.group, end = std::min(first + s_.group, layout_.parts);
        project(n, first, end - first, planes, qkv + first * s_.part_floats);
        for (int part = first; part < end; ++part) {
            for (std::size_t s = 0; s < packed_.scales.size(); ++s) {
                float* const to = qkv + (static_cast<Index>(s + 1) * layout_.parts + part) * s_.part_floats;
                aggregate(packed_.scales[s], part, planes + (part - first) * s_.plane_floats, to, worker);
            }
        }
    }

private:
    static kernels::Act relu(int part) { return part % 3 == 2 ? kernels::Act::none : kernels::Act::relu; }  // not v

    /// qkv's 1x1 convolution into the planes with margins, then through relu into its compact place.
    void project(int n, int part, int count, float* planes, float* compact) const {
        kernels::Pointwise a;
        a.x_block_stride = x_.block_stride();
        a.x_block = x_.block;
        a.channels = c_.in_channels;
        const Index panel = layout_.blocks * panel_words(session_, c_.in_channels);  // of one part
        a.weights = packed_.qkv.weights.data() + part * panel;
        a.bias = packed_.qkv.bias.data() + Index{part} * layout_.blocks * layout_.block;
        a.y_block_stride = s_.plane_block_floats;
        a.y_row_stride = s_.plane_row_floats;
        a.y_block = layout_.block;
        a.y_blocks = count * layout_.blocks;
        a.y_width = x_.width;
        a.act = kernel_act(c_.act_func[0]);
        a.next = a.weights + count * panel;
        a.next_words = std::min(count, layout_.parts - part - count) * panel;
        float* const first = planes + layout_.margin * layout_.block;
        const int run_rows = x_.padding == 0 ? x_.height : 1;
        a.pixels = run_rows * x_.width;
        for (int row = 0; row < x_.height; row += run_rows) {
            a.x = x_.image(n) + row * x_.row_stride();
            a.y = first + row * s_.plane_row_floats;
            session_.kernels.pointwise(a);
        }
        kernels::Affine copy;
        copy.x_row_stride = s_.plane_row_floats;
        copy.rows = x_.height;
        copy.pixels = x_.width;
        copy.block = layout_.block;
        for (int b = 0; b < count * layout_.blocks; ++b) {
            copy.x = first + b * s_.plane_block_floats;
            copy.y = compact + b * s_.pixels * layout_.block;
            copy.act = relu(part + b / layout_.blocks);
            session_.kernels.affine(copy);
        }
    }

    /// aggreg of one scale: depthwise, then 1x1 within the part.
    void aggregate(const PackedAttention::Scale& scale, int part, const float* plane, float* to, int worker) const {
        const int reach = scale.size / 2;
        const float** const rows = pointers_ + s_.row_pointers * worker;
        float* const aggregated = aggregated_ + s_.part_floats * worker;
        kernels::Depthwise depth;
        depth.rows = rows;
        depth.y_row_stride = Index{x_.width} * layout_.block;
        depth.y_rows = x_.height;
        depth.y_width = x_.width;
        depth.block = layout_.block;
        depth.kernel_size = scale.size;
        for (int b = 0; b < layout_.blocks; ++b) {
            const float* const first = plane + b * s_.plane_block_floats + (layout_.margin - reach) * layout_.block;
            for (int i = 0; i < x_.height + 2 * reach; ++i) {
                const int in = i - reach;
                rows[i] = in < 0 || in >= x_.height ? zero_row_ : first + in * s_.plane_row_floats;
            }
            depth.weights =
                scale.depth.data() + (Index{part} * layout_.blocks + b) * scale.size * scale.size * layout_.block;
            depth.bias = scale.depth_bias.data() + (Index{part} * layout_.blocks + b) * layout_.block;
            depth.y = aggregated + b * s_.pixels * layout_.block;
            session_.kernels.depthwise(depth);
        }
        kernels::Pointwise point;
        point.x = aggregated;
        point.x_block_stride = s_.pixels * layout_.block;
        point.x_block = layout_.block;
        point.channels = c_.dim;
        point.weights = scale.point.data() + Index{part} * layout_.blocks * panel_words(aggregation_, c_.dim);
        point.bias = scale.point_bias.data() + Index{part} * layout_.blocks * layout_.block;
        point.y = to;
        point.y_block_stride = s_.pixels * layout_.block;
        point.y_row_stride = s_.pixels * layout_.block;
        point.y_block = layout_.block;
        point.y_blocks = layout_.blocks;
        point.y_width = static_cast<int>(s_.pixels);
        point.pixels = static_cast<int>(s_.pixels);
        point.act = relu(part);
        set_operand(aggregation_, point, layout_.blocks, rounded_ + s_.rounded_words * worker);
        aggregation_.kernels.pointwise(point);
    }

    /// Of the weights of one output block.
    Index panel_words(const Session& session, int channels) const {
        return kernels::panel_words(session.kernels.operands, channels) * layout_.block;
    }

    Session& session_;
    const Session& aggregation_;
    const LiteMLAConfig& c_;
    AttentionLayout layout_;
    const PackedAttention& packed_;
    const AttentionSchedule& s_;
    FeatureMap x_;
    float* planes_ = nullptr;
    float* aggregated_ = nullptr;
    float* rounded_ = nullptr;
    const float** pointers_ = nullptr;
    float* zero_row_ = nullptr;
};

inline void run_attention(Session& session, const LiteMLAConfig& c, const PackedAttention& packed, const FeatureMap& x,
                          const FeatureMap& y, const FeatureMap* residual) {
    const Workspace::Frame frame(session.workspace);
    const AttentionLayout layout(c);
    const Session aggregation = layer_session(session, layout.aggregation(c));
    // Of the schedule only what aggregations round depends on operands.
    const AttentionSchedule s = schedule(layout.sizes(c), x, aggregation.machine());
    session.scheduled(s);
    const auto take = [&](Index floats) { return session.workspace.take(floats); };
    // All parts, then all parts of the first scale, and so on. q and k in here have been through relu.
    float* const qkv = take(s.image_floats * x.batch);
    {
        const Workspace::Frame inner(session.workspace);
        const AttentionParts parts(session, aggregation, c, packed, x, s);
        session.parallel(x.batch * s.groups, [&](int chunk, int worker) {
            const int n = chunk / s.groups;
            parts.run(n, chunk % s.groups, qkv + n * s.image_floats, worker);
        });
    }

    float* const attention = take(s.attended_floats * x.batch);
    float* const scratch = take(s.scratch_floats * session.workers());
    session.parallel(x.batch * layout.attended, [&](int chunk, int worker) {
        const int n = chunk / layout.attended, head = chunk % layout.attended;
        kernels::Attention a;
        a.q = qkv + n * s.image_floats + Index{head} * 3 * s.part_floats;
        a.k = a.q + s.part_floats;
        a.v = a.k + s.part_floats;
        a.block_stride = s.pixels * layout.block;
        a.y = attention + n * s.attended_floats + head * s.part_floats;
        a.y_block_stride = s.pixels * layout.block;
        a.pixels = static_cast<int>(s.pixels);
        a.dim = c.dim;
        a.block = layout.block;
        a.eps = static_cast<float>(c.eps);
        a.scratch = scratch + s.scratch_floats * worker;
        (a.pixels > c.dim ? session.kernels.linear_attention : session.kernels.quadratic_attention)(a);
    });

    const FeatureMap attended{attention, x.batch, layout.attended_lanes, x.height, x.width, 0, layout.block};
    run_pointwise(session, packed.proj, kernel_act(c.act_func[1]), layout.attended_lanes, attended, y, residual);
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>

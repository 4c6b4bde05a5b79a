// SPDX-License-Identifier: Apache-2.0
//
// LiteMLA of the reference: multi-scale ReLU linear attention, the paper's contribution. For each head q, k, v are
// taken through all of their layers one after the other, so that a head's planes stay in the cache.
#pragma once

#include <efficientvit/nn/norm.hpp>
#include <efficientvit/nn/pointwise.hpp>

#include <array>

EFFICIENTVIT_BEGIN_NAMESPACE

/// Arguments of LiteMLA, named as in the reference. Arrays are (qkv, proj).
struct LiteMLAConfig {
    int in_channels = 0;
    int out_channels = 0;
    int heads = 0;  ///< 0: in_channels / dim * heads_ratio
    double heads_ratio = 1.0;
    int dim = 8;
    std::array<bool, 2> use_bias{false, false};
    std::array<Norm, 2> norm{Norm::none, Norm::bn2d};
    std::array<Activation, 2> act_func{Activation::none, Activation::none};
    IntList scales{5};  ///< odd kernel sizes of the aggregations
    double eps = 1e-15;
    double norm_eps = 1e-5;
};

/// (N, in_channels, H, W) to (N, out_channels, H, W). With more than `dim` pixels attention is linear in them, else
/// quadratic, as in the reference. State dict: qkv, aggreg.<s>.0, aggreg.<s>.1, proj.
template <LiteMLAConfig C>
class LiteMLA : public Module<LiteMLA<C>> {
    static constexpr int heads = C.heads != 0 ? C.heads : static_cast<int>(C.in_channels / C.dim * C.heads_ratio);
    static constexpr int scales = C.scales.size();
    static constexpr int largest_scale = [] {
        int largest = 1;
        for (const int scale : C.scales) largest = std::max(largest, scale);
        return largest;
    }();
    static_assert(C.in_channels > 0 && C.out_channels > 0, "LiteMLA: in_channels and out_channels must be positive");
    static_assert(C.dim > 0 && heads > 0, "LiteMLA: dim must be positive, and in_channels at least dim");
    static_assert(
        [] {
            for (const int scale : C.scales) {
                if (scale < 1 || scale % 2 == 0) return false;
            }
            return true;
        }(),
        "LiteMLA: scales must be odd");

    using Index = detail::Index;
    using FeatureMap = detail::FeatureMap;
    using Session = detail::Session;

    // Inside, q, k and v of every head are maps of dim channels each, so that each begins a block of its own.
    static constexpr int parts = 3 * heads;  // q, k, v of head 0, of head 1, …
    static constexpr int block = detail::block_width(C.dim);
    static constexpr int blocks = detail::block_count(C.dim);  // of one part
    static constexpr int attended = heads * (1 + scales);      // heads and, for each scale, their aggregated twins
    static constexpr int attended_lanes = attended * blocks * block;

public:
    static constexpr int in_channels = C.in_channels;
    static constexpr int out_channels = C.out_channels;
    static constexpr int stride = 1;
    static constexpr int wanted_padding = 0;
    static constexpr bool reads_planar = false;
    static constexpr bool fuses_residual = true;

    static detail::Extent output_extent(detail::Extent in) { return in; }

    static void describe(const detail::Describer& d) {
        describe_conv(d.at("qkv"), parts * C.dim, C.in_channels, 0);
        for (int s = 0; s < scales; ++s) {
            const detail::Describer aggreg = d.at("aggreg").at(s);
            aggreg.add("0.weight", {parts * C.dim, 1, C.scales[s], C.scales[s]});
            aggreg.add("1.weight", {parts * C.dim, C.dim, 1, 1});
        }
        describe_conv(d.at("proj"), C.out_channels, attended * C.dim, 1);
    }

    void pack(const detail::Packer& p) {
        using detail::ChannelLayout;
        const ChannelLayout in = ChannelLayout::plain(C.in_channels), out = ChannelLayout::plain(C.out_channels);
        const ChannelLayout qkv = ChannelLayout::sections(parts, C.dim);
        detail::Folded f = detail::read_folded(p.at("qkv"), parts * C.dim, std::size_t{C.in_channels}, C.use_bias[0],
                                               C.norm[0], C.norm_eps);
        qkv_ = {detail::pack_dense(f.weight, in, qkv, 1), detail::pack_bias(f.bias, qkv)};
        for (int s = 0; s < scales; ++s) {
            const detail::Packer aggreg = p.at("aggreg").at(s);
            const int taps = C.scales[s] * C.scales[s];
            std::vector<float> depth = aggreg.weights.read("0.weight"), point = aggreg.weights.read("1.weight");
            depth.resize(static_cast<std::size_t>(parts * C.dim * taps));
            point.resize(static_cast<std::size_t>(parts * C.dim * C.dim));
            Scale& scale = scales_[static_cast<std::size_t>(s)];
            scale.depth = detail::pack_depthwise(depth, qkv, taps);
            scale.point = detail::pack_dense(point, ChannelLayout::plain(C.dim), qkv, 1);
        }
        f = detail::read_folded(p.at("proj"), C.out_channels, std::size_t{attended} * C.dim, C.use_bias[1], C.norm[1],
                                C.norm_eps);
        const ChannelLayout attention = ChannelLayout::sections(attended, C.dim);
        proj_ = {detail::pack_dense(f.weight, attention, out, 1), detail::pack_bias(f.bias, out)};
        zeros_ = detail::AlignedBuffer<float>(std::size_t{blocks} * block, 0.0f);
    }

    void run(Session& session, const FeatureMap& x, const FeatureMap& y, const FeatureMap* residual) const {
        const detail::Workspace::Frame frame(session.workspace);
        const Index pixels = Index{x.height} * x.width;
        const Index part_floats = pixels * block * blocks;
        const auto count = [](Index floats) { return static_cast<std::size_t>(floats); };
        // q and k here have been through relu.
        const Index image_floats = part_floats * parts * (1 + scales);
        float* const qkv = session.workspace.take(count(image_floats * x.batch));
        {
            const detail::Workspace::Frame inner(session.workspace);
            const Index plane_floats = Index{x.height} * (x.width + 2 * margin) * block * blocks;
            const Index pointers_each = Index{x.height} + 2 * margin + 8;  // a cache line apart
            const Scratch scratch{session.workspace.take(count(plane_floats * session.workers())),
                                  session.workspace.take(count(part_floats * session.workers())),
                                  session.workspace.take_pointers(count(pointers_each * session.workers())),
                                  session.workspace.take(count((Index{x.width} + 2 * margin) * block)),
                                  plane_floats,
                                  part_floats,
                                  pointers_each};
            if (!session.measuring()) {
                std::fill_n(scratch.planes, plane_floats * session.workers(), 0.0f);
                std::fill_n(scratch.zero_row, (Index{x.width} + 2 * margin) * block, 0.0f);
            }
            session.parallel(x.batch * parts, [&](int chunk, int worker) {
                const int n = chunk / parts, part = chunk % parts;
                project_part(session, x, n, part, qkv + n * image_floats, scratch, worker);
            });
        }

        const Index attended_floats = part_floats * attended;
        float* const attention = session.workspace.take(count(attended_floats * x.batch));
        const Index scratch_floats = kernels::attention_scratch(C.dim, block, static_cast<int>(pixels)) + 16;
        float* const scratch = session.workspace.take(count(scratch_floats * session.workers()));
        session.parallel(x.batch * attended, [&](int chunk, int worker) {
            const int n = chunk / attended, head = chunk % attended;
            kernels::Attention a;
            a.q = qkv + n * image_floats + Index{head} * 3 * part_floats;
            a.k = a.q + part_floats;
            a.v = a.k + part_floats;
            a.block_stride = pixels * block;
            a.y = attention + n * attended_floats + head * part_floats;
            a.y_block_stride = pixels * block;
            a.pixels = static_cast<int>(pixels);
            a.dim = C.dim;
            a.block = block;
            a.eps = static_cast<float>(C.eps);
            a.scratch = scratch + scratch_floats * worker;
            (pixels > C.dim ? session.kernels.linear_attention : session.kernels.quadratic_attention)(a);
        });

        const FeatureMap attended_map{attention, x.batch, attended_lanes, x.height, x.width, 0, block};
        detail::run_pointwise(session, proj_, detail::kernel_act(C.act_func[1]), attended_lanes, attended_map, y,
                              residual);
    }

private:
    static constexpr int margin = largest_scale / 2;  // zero columns beside the plane that aggregations read

    struct Scale {
        detail::AlignedBuffer<float> depth;  // [part][block][ky][kx][lane]
        detail::AlignedBuffer<float> point;  // [part][block][dim][lane]
    };
    struct Scratch {
        float* planes;
        float* aggregated;
        const float** pointers;
        float* zero_row;
        Index plane_floats, part_floats, pointers_each;
    };

    static void describe_conv(const detail::Describer& d, int out, int in, std::size_t i) {
        d.add("conv.weight", {out, in, 1, 1});
        if (C.use_bias[i]) d.add("conv.bias", {out});
        if (C.norm[i] == Norm::none) return;
        for (const char* name : {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"}) {
            d.add(name, {out});
        }
    }

    /// One of q, k, v of one head, and its aggregations: from x into their places in qkv.
    void project_part(Session& session, const FeatureMap& x, int n, int part, float* qkv, const Scratch& scratch,
                      int worker) const {
        const Index pixels = Index{x.height} * x.width;
        const Index part_floats = scratch.part_floats;
        const Index plane_row = Index{x.width + 2 * margin} * block;
        const Index plane_block = plane_row * x.height;
        float* const plane = scratch.planes + scratch.plane_floats * worker;
        const kernels::Act relu = part % 3 == 2 ? kernels::Act::none : kernels::Act::relu;  // not v
        constexpr kernels::Act act = detail::kernel_act(C.act_func[0]);
        constexpr bool copies = act != kernels::Act::silu && act != kernels::Act::gelu;  // Pointwise::copy can do it

        float* const compact = qkv + part * part_floats;
        kernels::Pointwise a;
        a.x_block_stride = x.block_stride();
        a.x_block = x.block;
        a.channels = C.in_channels;
        a.weights = qkv_.weights.data() + Index{part} * blocks * C.in_channels * block;
        a.bias = qkv_.bias.data() + Index{part} * blocks * block;
        a.y_block_stride = plane_block;
        a.y_row_stride = plane_row;
        a.y_block = block;
        a.y_blocks = blocks;
        a.y_width = x.width;
        a.act = act;
        a.copy_block_stride = pixels * block;
        a.copy_act = relu;
        const int run_rows = x.padding == 0 ? x.height : 1;
        a.pixels = run_rows * x.width;
        for (int row = 0; row < x.height; row += run_rows) {
            a.x = x.image(n) + row * x.row_stride();
            a.y = plane + row * plane_row + margin * block;
            if (copies) a.copy = compact + Index{row} * x.width * block;
            session.kernels.pointwise(a);
        }
        if (!copies) {
            for (int b = 0; b < blocks; ++b) {
                for (int row = 0; row < x.height; ++row) {
                    kernels::Affine copy;
                    copy.x = plane + b * plane_block + row * plane_row + margin * block;
                    copy.y = compact + b * pixels * block + Index{row} * x.width * block;
                    copy.pixels = x.width;
                    copy.block = block;
                    copy.act = relu;
                    session.kernels.affine(copy);
                }
            }
        }

        const float** const rows = scratch.pointers + scratch.pointers_each * worker;
        float* const aggregated = scratch.aggregated + part_floats * worker;
        for (int s = 0; s < scales; ++s) {
            const int scale = C.scales[s], reach = scale / 2;
            const Scale& packed = scales_[static_cast<std::size_t>(s)];
            for (int b = 0; b < blocks; ++b) {
                for (int i = 0; i < x.height + 2 * reach; ++i) {
                    const int in = i - reach;
                    rows[i] = in < 0 || in >= x.height
                                  ? scratch.zero_row
                                  : plane + b * plane_block + in * plane_row + (margin - reach) * block;
                }
                kernels::Depthwise depth;
                depth.rows = rows;
                depth.weights = packed.depth.data() + (Index{part} * blocks + b) * scale * scale * block;
                depth.bias = zeros_.data();
                depth.y = aggregated + b * pixels * block;
                depth.y_row_stride = Index{x.width} * block;
                depth.y_rows = x.height;
                depth.y_width = x.width;
                depth.block = block;
                depth.kernel_size = scale;
                session.kernels.depthwise(depth);
            }
            kernels::Pointwise point;
            point.x = aggregated;
            point.x_block_stride = pixels * block;
            point.x_block = block;
            point.channels = C.dim;
            point.weights = packed.point.data() + Index{part} * blocks * C.dim * block;
            point.bias = zeros_.data();
            point.y = qkv + (Index{s + 1} * parts + part) * part_floats;
            point.y_block_stride = pixels * block;
            point.y_row_stride = pixels * block;
            point.y_block = block;
            point.y_blocks = blocks;
            point.y_width = static_cast<int>(pixels);
            point.pixels = static_cast<int>(pixels);
            point.act = relu;
            session.kernels.pointwise(point);
        }
    }

    detail::PackedConvolution qkv_, proj_;
    std::array<Scale, static_cast<std::size_t>(scales)> scales_;
    detail::AlignedBuffer<float> zeros_;  // the aggregations have no bias
};

EFFICIENTVIT_END_NAMESPACE

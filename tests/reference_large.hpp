// SPDX-License-Identifier: Apache-2.0
//
// The rest of the family by its definition: the layers and backbones of L and XL, and the heads for segmentation and
// SAM. As reference.hpp, which it continues.
#pragma once

#include "reference.hpp"

#include <efficientvit/models/large_backbone.hpp>

#include <algorithm>
#include <array>

namespace reference {

template <class Config>
Map fused_mb_conv(const Map& x, const Weights& weights, const Config& c) {
    const int mid = c.mid_channels != 0 ? c.mid_channels : round_half_to_even(c.in_channels * c.expand_ratio);
    const Conv spatial{c.in_channels, mid,           c.kernel_size, c.stride,      1,
                       c.groups,      c.use_bias[0], c.norm[0],     c.act_func[0], c.norm_eps};
    const Conv point{mid, c.out_channels, 1, 1, 1, 1, c.use_bias[1], c.norm[1], c.act_func[1], c.norm_eps};
    return conv_layer(conv_layer(x, weights.at("spatial_conv"), spatial), weights.at("point_conv"), point);
}

template <class Config>
Map res_block(const Map& x, const Weights& weights, const Config& c) {
    const int mid = c.mid_channels != 0 ? c.mid_channels : round_half_to_even(c.in_channels * c.expand_ratio);
    const Conv first{c.in_channels, mid,       c.kernel_size, c.stride,  1, 1,
                     c.use_bias[0], c.norm[0], c.act_func[0], c.norm_eps};
    const Conv second{mid, c.out_channels, c.kernel_size, 1, 1, 1, c.use_bias[1], c.norm[1], c.act_func[1], c.norm_eps};
    return conv_layer(conv_layer(x, weights.at("conv1"), first), weights.at("conv2"), second);
}

/// torch.nn.functional.interpolate(x, (height, width), mode="bicubic", align_corners=False).
inline Map bicubic(const Map& x, int height, int width) {
    // Keys' kernel with a = -0.75.
    const auto cubic = [](double d) {
        d = std::abs(d);
        if (d <= 1) return 1.25 * d * d * d - 2.25 * d * d + 1;
        if (d < 2) return -0.75 * d * d * d + 3.75 * d * d - 6 * d + 3;
        return 0.0;
    };
    Map y(x.n, x.c, height, width);
    for (int n = 0; n < y.n; ++n) {
        for (int c = 0; c < y.c; ++c) {
            for (int row = 0; row < height; ++row) {
                for (int column = 0; column < width; ++column) {
                    const double at_row = (row + 0.5) * x.h / height - 0.5,
                                 at_column = (column + 0.5) * x.w / width - 0.5;
                    const int top = static_cast<int>(std::floor(at_row)),
                              left = static_cast<int>(std::floor(at_column));
                    double sum = 0;
                    for (int i = top - 1; i <= top + 2; ++i) {
                        for (int j = left - 1; j <= left + 2; ++j) {
                            sum += cubic(at_row - i) * cubic(at_column - j) *
                                   x.at(n, c, std::clamp(i, 0, x.h - 1), std::clamp(j, 0, x.w - 1));
                        }
                    }
                    y.at(n, c, row, column) = sum;
                }
            }
        }
    }
    return y;
}

/// LayerNorm2d.
inline Map layer_norm_2d(Map x, const Weights& weights, double eps) {
    const std::vector<float> weight = weights.read("weight", {x.c}), bias = weights.read("bias", {x.c});
    for (int n = 0; n < x.n; ++n) {
        for (int row = 0; row < x.h; ++row) {
            for (int column = 0; column < x.w; ++column) {
                double mean = 0, variance = 0;
                for (int c = 0; c < x.c; ++c) mean += x.at(n, c, row, column) / x.c;
                for (int c = 0; c < x.c; ++c) variance += std::pow(x.at(n, c, row, column) - mean, 2) / x.c;
                for (int c = 0; c < x.c; ++c) {
                    double& value = x.at(n, c, row, column);
                    value = (value - mean) / std::sqrt(variance + eps) * double{weight[std::size_t(c)]} +
                            double{bias[std::size_t(c)]};
                }
            }
        }
    }
    return x;
}

/// EfficientViTLargeBackbone.build_local_block.
inline Map large_block(const Map& x, const Weights& weights, efficientvit::LargeBlock block, int out, int stride,
                       double expand_ratio, bool fewer_norm, const efficientvit::LargeBackboneConfig& c) {
    struct Two {
        int in_channels, out_channels, kernel_size, stride, mid_channels;
        double expand_ratio;
        int groups;
        std::array<bool, 2> use_bias;
        std::array<Norm, 2> norm;
        std::array<Activation, 2> act_func;
        double norm_eps;
    };
    const Norm early = fewer_norm ? Norm::none : c.norm;
    const Activation act = c.act_func, none = Activation::none;
    Two two{x.c, out, 3, stride, 0, expand_ratio, 1, {fewer_norm, false}, {early, c.norm}, {act, none}, c.norm_eps};
    if (block == efficientvit::LargeBlock::res) {
        two.expand_ratio = 1;
        return res_block(x, weights, two);
    }
    if (block == efficientvit::LargeBlock::fmb) return fused_mb_conv(x, weights, two);
    return mb_conv(x, weights,
                   Mb{x.c,
                      out,
                      3,
                      stride,
                      0,
                      expand_ratio,
                      {fewer_norm, fewer_norm, false},
                      {early, early, c.norm},
                      {act, act, none},
                      c.norm_eps});
}

/// EfficientViTLargeBackbone: the maps of all stages.
inline std::vector<Map> backbone(const Map& x, const Weights& weights, const efficientvit::LargeBackboneConfig& c) {
    using efficientvit::LargeBlock;
    std::vector<Map> stages;
    Map map = x;
    for (int s = 0; s < c.width_list.size(); ++s) {
        const Weights stage = weights.at("stages").at(s).at("op_list");
        const int width = c.width_list[s];
        const LargeBlock kind = c.block_list[s];
        const double ratio = c.expand_list[s];
        const bool fewer = c.fewer_norm_list[s];
        if (s == 0) {
            map = conv_layer(map, stage.at(0), Conv{x.c, width, 3, 2, 1, 1, false, c.norm, c.act_func, c.norm_eps});
        } else {
            const LargeBlock down = kind == LargeBlock::fmb ? kind : LargeBlock::mb;
            map = large_block(map, stage.at(0).at("main"), down, width, 2, 4 * ratio, fewer, c);
        }
        for (int i = 1; i <= c.depth_list[s]; ++i) {
            if (kind == LargeBlock::att || kind == LargeBlock::att_at_3) {
                const Block block{width,  1,          c.qkv_dim,  ratio,          {kind == LargeBlock::att ? 5 : 3},
                                  c.norm, c.act_func, c.norm_eps, c.attention_eps};
                map = efficientvit_block(map, stage.at(i), block);
            } else {
                map = add(map, large_block(map, stage.at(i).at("main"), kind, width, 1, ratio, fewer, c));
            }
        }
        stages.push_back(map);
    }
    return stages;
}

/// DAGHead: inputs are the last stages, the last first, brought to `size` or to the extent of the earliest of them.
struct Head {
    int width = 0, depth = 0;
    double expand_ratio = 4;
    bool fused = false;
    int inputs = 3, final_expand = 0, out_channels = 0;
    std::array<int, 2> size{0, 0};
    Norm norm = Norm::bn2d;
    Activation act_func = Activation::hswish;
    double norm_eps = 1e-5;
};

inline Map dag_head(const std::vector<Map>& stages, const Weights& weights, const Head& c) {
    const Activation act = c.act_func, none = Activation::none;
    const auto point = [&](const Map& x, const Weights& w, int out, Activation activation, bool last = false) {
        const Norm norm = last ? Norm::none : c.norm;
        return conv_layer(x, w, Conv{x.c, out, 1, 1, 1, 1, last, norm, activation, c.norm_eps});
    };
    Map sum;
    for (int i = 0; i < c.inputs; ++i) {
        const Map& stage = stages[stages.size() - 1 - std::size_t(i)];
        const Weights op = weights.at("input_ops").at(i);
        const int factor = c.size[0] > 0 ? 0 : 1 << (c.inputs - 1 - i);
        Map map = point(stage, factor == 1 ? op : op.at("op_list").at(0), c.width, none);
        if (factor == 0) map = bicubic(map, c.size[0], c.size[1]);
        if (factor > 1) map = bicubic(map, factor * map.h, factor * map.w);
        sum = i == 0 ? map : add(sum, map);
    }
    for (int i = 0; i < c.depth; ++i) {
        const Weights main = weights.at("middle").at("op_list").at(i).at("main");
        const efficientvit::LargeBackboneConfig like{.norm = c.norm, .act_func = act, .norm_eps = c.norm_eps};
        const auto kind = c.fused ? efficientvit::LargeBlock::fmb : efficientvit::LargeBlock::mb;
        sum = add(sum, large_block(sum, main, kind, c.width, 1, c.expand_ratio, false, like));
    }
    const Weights output = weights.at("output_ops").at(0).at("op_list");
    if (c.final_expand == 0) return point(sum, output.at(0), c.out_channels, none, true);
    return point(point(sum, output.at(0), c.width * c.final_expand, act), output.at(1), c.out_channels, none, true);
}

/// EfficientViTSeg.
template <class Backbone>
Map segmenter(const Map& x, const Weights& weights, const Backbone& backbone_config, const Head& head) {
    return dag_head(backbone(x, weights.at("backbone"), backbone_config), weights.at("head"), head);
}

/// SAM's image encoder.
inline Map sam_image_encoder(const Map& x, const Weights& weights,
                             const efficientvit::LargeBackboneConfig& backbone_config, const Head& head) {
    const Map embedding = dag_head(backbone(x, weights.at("backbone"), backbone_config), weights.at("neck"), head);
    return layer_norm_2d(embedding, weights.at("norm"), head.norm_eps);
}

}  // namespace reference

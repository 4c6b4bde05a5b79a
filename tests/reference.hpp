// SPDX-License-Identifier: Apache-2.0
//
// The network by its definition: every layer and block in double, on NCHW, in loops that anyone can check against the
// paper and the reference. It shares nothing with the library but the structs that describe a layer; weights come by
// name. Slow on purpose.
#pragma once

#include "golden_values.hpp"

#include <efficientvit/nn/options.hpp>

#include <cmath>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace reference {

using efficientvit::Activation;
using efficientvit::Norm;

/// An NCHW tensor.
struct Map {
    int n = 0, c = 0, h = 0, w = 0;
    std::vector<double> values;

    Map() = default;
    Map(int n_, int c_, int h_, int w_)
        : n(n_), c(c_), h(h_), w(w_), values(std::size_t(n_) * std::size_t(c_) * std::size_t(h_) * std::size_t(w_)) {}
    double& at(int i, int channel, int row, int column) { return values[index(i, channel, row, column)]; }
    double at(int i, int channel, int row, int column) const { return values[index(i, channel, row, column)]; }

private:
    std::size_t index(int i, int channel, int row, int column) const {
        return ((std::size_t(i) * std::size_t(c) + std::size_t(channel)) * std::size_t(h) + std::size_t(row)) *
                   std::size_t(w) +
               std::size_t(column);
    }
};

/// Tensors by the names of the reference, below a prefix. What was asked for can be listed, in order.
class Weights {
public:
    using Shape = std::vector<std::int64_t>;
    using Source = std::function<std::vector<float>(const std::string& name, const Shape& shape)>;
    using Asked = std::vector<std::pair<std::string, Shape>>;

    explicit Weights(Source source, Asked* asked = nullptr) : source_(std::move(source)), asked_(asked) {}

    /// Values made from the names: golden_values.hpp.
    static Weights golden(Asked* asked = nullptr, const std::string& seed = "") {
        return Weights([seed](const std::string& name, const Shape& shape) { return golden_tensor(name, shape, seed); },
                       asked);
    }

    Weights at(const std::string& child) const {
        Weights below = *this;
        below.prefix_ += child + ".";
        return below;
    }
    Weights at(int child) const { return at(std::to_string(child)); }

    std::vector<float> read(const std::string& name, const Shape& shape) const {
        if (asked_ != nullptr) asked_->emplace_back(prefix_ + name, shape);
        return source_(prefix_ + name, shape);
    }

private:
    Source source_;
    Asked* asked_;
    std::string prefix_;
};

inline double activate(double x, Activation act) {
    const auto clamp6 = [](double v) { return v < 0 ? 0.0 : v > 6 ? 6.0 : v; };
    switch (act) {
        case Activation::none:
            return x;
        case Activation::relu:
            return x < 0 ? 0.0 : x;
        case Activation::relu6:
            return clamp6(x);
        case Activation::hswish:
            return x * clamp6(x + 3) / 6;
        case Activation::silu:
            return x / (1 + std::exp(-x));
        case Activation::gelu:
            return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    }
    throw std::logic_error("no such activation");
}

inline Map activate(Map x, Activation act) {
    for (double& value : x.values) value = activate(value, act);
    return x;
}

inline Map add(Map x, const Map& y) {
    if (x.n != y.n || x.c != y.c || x.h != y.h || x.w != y.w) throw std::logic_error("shapes differ");
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i];
    return x;
}

/// Whether taps that lie in the padding are multiplied by its zeros, or left out. It is the same but for weights that
/// are infinite or NaN, and there PyTorch's own back ends differ.
inline bool padding_is_read = false;

/// torch.nn.Conv2d with padding (kernel / 2) * dilation. weight: [out][in / groups][kernel][kernel]; bias may be empty.
inline Map conv2d(const Map& x, const std::vector<float>& weight, const std::vector<float>& bias, int out, int kernel,
                  int stride = 1, int dilation = 1, int groups = 1) {
    const int padding = kernel / 2 * dilation, in_group = x.c / groups, out_group = out / groups;
    Map y(x.n, out, (x.h + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1,
          (x.w + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1);
    for (int n = 0; n < y.n; ++n) {
        for (int o = 0; o < out; ++o) {
            for (int row = 0; row < y.h; ++row) {
                for (int column = 0; column < y.w; ++column) {
                    double sum = bias.empty() ? 0.0 : double{bias[std::size_t(o)]};
                    for (int i = 0; i < in_group; ++i) {
                        for (int ky = 0; ky < kernel; ++ky) {
                            const int in_row = row * stride + ky * dilation - padding;
                            for (int kx = 0; kx < kernel; ++kx) {
                                const int in_column = column * stride + kx * dilation - padding;
                                const bool inside = in_row >= 0 && in_row < x.h && in_column >= 0 && in_column < x.w;
                                if (!inside && !padding_is_read) continue;
                                const double w = weight[std::size_t(((o * in_group + i) * kernel + ky) * kernel + kx)];
                                sum += w * (inside ? x.at(n, o / out_group * in_group + i, in_row, in_column) : 0.0);
                            }
                        }
                    }
                    y.at(n, o, row, column) = sum;
                }
            }
        }
    }
    return y;
}

/// torch.nn.BatchNorm2d in inference.
inline Map batch_norm(Map x, const Weights& weights, double eps) {
    const std::vector<float> weight = weights.read("weight", {x.c}), bias = weights.read("bias", {x.c});
    const std::vector<float> mean = weights.read("running_mean", {x.c}), var = weights.read("running_var", {x.c});
    for (int n = 0; n < x.n; ++n) {
        for (int c = 0; c < x.c; ++c) {
            const auto i = std::size_t(c);
            for (int row = 0; row < x.h; ++row) {
                for (int column = 0; column < x.w; ++column) {
                    double& value = x.at(n, c, row, column);
                    value = (value - double{mean[i]}) / std::sqrt(double{var[i]} + eps) * double{weight[i]} +
                            double{bias[i]};
                }
            }
        }
    }
    return x;
}

/// Config is efficientvit::ConvConfig; and so on below.
template <class Config>
Map conv_layer(const Map& x, const Weights& weights, const Config& c) {
    const Weights conv = weights.at("conv");
    const std::vector<float> weight =
        conv.read("weight", {c.out_channels, c.in_channels / c.groups, c.kernel_size, c.kernel_size});
    const std::vector<float> bias = c.use_bias ? conv.read("bias", {c.out_channels}) : std::vector<float>{};
    Map y = conv2d(x, weight, bias, c.out_channels, c.kernel_size, c.stride, c.dilation, c.groups);
    if (c.norm == Norm::bn2d) y = batch_norm(std::move(y), weights.at("norm"), c.norm_eps);
    return activate(std::move(y), c.act_func);
}

/// What the blocks below are made of.
struct Conv {
    int in_channels = 0, out_channels = 0, kernel_size = 1, stride = 1, dilation = 1, groups = 1;
    bool use_bias = false;
    Norm norm = Norm::bn2d;
    Activation act_func = Activation::none;
    double norm_eps = 1e-5;
};

template <class Config>
Map ds_conv(const Map& x, const Weights& weights, const Config& c) {
    const Conv depth{c.in_channels, c.in_channels, c.kernel_size, c.stride,      1,
                     c.in_channels, c.use_bias[0], c.norm[0],     c.act_func[0], c.norm_eps};
    const Conv point{c.in_channels, c.out_channels, 1, 1, 1, 1, c.use_bias[1], c.norm[1], c.act_func[1], c.norm_eps};
    return conv_layer(conv_layer(x, weights.at("depth_conv"), depth), weights.at("point_conv"), point);
}

/// Python's round(): half to even.
inline int round_half_to_even(double x) { return static_cast<int>(std::nearbyint(x)); }

template <class Config>
Map mb_conv(const Map& x, const Weights& weights, const Config& c) {
    const int mid = c.mid_channels != 0 ? c.mid_channels : round_half_to_even(c.in_channels * c.expand_ratio);
    const Conv inverted{c.in_channels, mid, 1, 1, 1, 1, c.use_bias[0], c.norm[0], c.act_func[0], c.norm_eps};
    const Conv depth{mid, mid, c.kernel_size, c.stride, 1, mid, c.use_bias[1], c.norm[1], c.act_func[1], c.norm_eps};
    const Conv point{mid, c.out_channels, 1, 1, 1, 1, c.use_bias[2], c.norm[2], c.act_func[2], c.norm_eps};
    const Map expanded = conv_layer(x, weights.at("inverted_conv"), inverted);
    return conv_layer(conv_layer(expanded, weights.at("depth_conv"), depth), weights.at("point_conv"), point);
}

/// Attention of one head: channels [first, first + 3 dim) of qkv are its q, k and v; the answer goes to `out` from
/// channel `to` on.
inline void relu_attention(const Map& qkv, int first, int dim, double eps, Map& out, int to) {
    const int pixels = qkv.h * qkv.w;
    for (int n = 0; n < qkv.n; ++n) {
        const auto at = [&](int channel, int pixel) {
            return qkv.at(n, first + channel, pixel / qkv.w, pixel % qkv.w);
        };
        const auto q = [&](int d, int pixel) { return activate(at(d, pixel), Activation::relu); };
        const auto k = [&](int d, int pixel) { return activate(at(dim + d, pixel), Activation::relu); };
        const auto v = [&](int d, int pixel) { return d == dim ? 1.0 : at(2 * dim + d, pixel); };
        const auto result = [&](int d, int pixel) -> double& {
            return out.at(n, to + d, pixel / out.w, pixel % out.w);
        };
        if (pixels > dim) {
            // vk = v k^T, with a row of ones below v; out = vk q; all rows divided by the last.
            const auto columns = std::size_t(dim);
            std::vector<double> vk((columns + 1) * columns);
            for (int d = 0; d <= dim; ++d) {
                for (int e = 0; e < dim; ++e) {
                    for (int p = 0; p < pixels; ++p) vk[std::size_t(d * dim + e)] += v(d, p) * k(e, p);
                }
            }
            for (int p = 0; p < pixels; ++p) {
                const auto row = [&](int d) {
                    double sum = 0;
                    for (int e = 0; e < dim; ++e) sum += vk[std::size_t(d * dim + e)] * q(e, p);
                    return sum;
                };
                const double divisor = row(dim) + eps;
                for (int d = 0; d < dim; ++d) result(d, p) = row(d) / divisor;
            }
        } else {
            // att = k^T q, every column divided by its sum; out = v att.
            for (int p = 0; p < pixels; ++p) {
                std::vector<double> att(std::size_t(pixels), 0.0);
                double sum = 0;
                for (int i = 0; i < pixels; ++i) {
                    for (int e = 0; e < dim; ++e) att[std::size_t(i)] += k(e, i) * q(e, p);
                    sum += att[std::size_t(i)];
                }
                for (int d = 0; d < dim; ++d) {
                    double value = 0;
                    for (int i = 0; i < pixels; ++i) value += v(d, i) * (att[std::size_t(i)] / (sum + eps));
                    result(d, p) = value;
                }
            }
        }
    }
}

template <class Config>
Map lite_mla(const Map& x, const Weights& weights, const Config& c) {
    const int heads = c.heads != 0 ? c.heads : static_cast<int>(c.in_channels / c.dim * c.heads_ratio);
    const int total = heads * c.dim;
    const Conv qkv_conv{c.in_channels, 3 * total, 1, 1, 1, 1, c.use_bias[0], c.norm[0], c.act_func[0], c.norm_eps};
    std::vector<Map> multi_scale{conv_layer(x, weights.at("qkv"), qkv_conv)};
    for (int s = 0; s < c.scales.size(); ++s) {
        const Weights aggreg = weights.at("aggreg").at(s);
        const int scale = c.scales[s];
        const std::vector<float> depth = aggreg.read("0.weight", {3 * total, 1, scale, scale});
        std::vector<float> depth_bias, point_bias;
        if (c.use_bias[0]) depth_bias = aggreg.read("0.bias", {3 * total});
        const std::vector<float> point = aggreg.read("1.weight", {3 * total, c.dim, 1, 1});
        if (c.use_bias[0]) point_bias = aggreg.read("1.bias", {3 * total});
        const Map middle = conv2d(multi_scale[0], depth, depth_bias, 3 * total, scale, 1, 1, 3 * total);
        multi_scale.push_back(conv2d(middle, point, point_bias, 3 * total, 1, 1, 1, 3 * heads));
    }
    const int channels = total * static_cast<int>(multi_scale.size());
    Map attended(x.n, channels, x.h, x.w);
    int to = 0;
    for (const Map& qkv : multi_scale) {
        for (int head = 0; head < heads; ++head, to += c.dim) {
            relu_attention(qkv, head * 3 * c.dim, c.dim, c.eps, attended, to);
        }
    }
    const Conv proj{channels, c.out_channels, 1, 1, 1, 1, c.use_bias[1], c.norm[1], c.act_func[1], c.norm_eps};
    return conv_layer(attended, weights.at("proj"), proj);
}

/// The arguments of blocks that other blocks make.
struct Ds {
    int in_channels = 0, out_channels = 0, kernel_size = 3, stride = 1;
    bool use_bias[2] = {};
    Norm norm[2] = {};
    Activation act_func[2] = {};
    double norm_eps = 1e-5;
};
struct Mb {
    int in_channels = 0, out_channels = 0, kernel_size = 3, stride = 1, mid_channels = 0;
    double expand_ratio = 6;
    bool use_bias[3] = {};
    Norm norm[3] = {};
    Activation act_func[3] = {};
    double norm_eps = 1e-5;
};
struct Mla {
    int in_channels = 0, out_channels = 0, heads = 0;
    double heads_ratio = 1;
    int dim = 8;
    bool use_bias[2] = {};
    Norm norm[2] = {};
    Activation act_func[2] = {};
    efficientvit::IntList scales{5};
    double eps = 1e-15, norm_eps = 1e-5;
};
struct Block {
    int in_channels = 0;
    double heads_ratio = 1;
    int dim = 32;
    double expand_ratio = 4;
    efficientvit::IntList scales{5};
    Norm norm = Norm::bn2d;
    Activation act_func = Activation::hswish;
    double norm_eps = 1e-5, attention_eps = 1e-15;
};
struct Local {
    int in_channels = 0, out_channels = 0, stride = 1;
    double expand_ratio = 4;
    Norm norm = Norm::bn2d;
    Activation act_func = Activation::hswish;
    bool fewer_norm = false;
    double norm_eps = 1e-5;
};

/// build_local_block of the reference.
inline Map local_block(const Map& x, const Weights& weights, const Local& c) {
    const Norm early = c.fewer_norm ? Norm::none : c.norm;
    const bool bias = c.fewer_norm;
    const Activation act = c.act_func, none = Activation::none;
    if (c.expand_ratio == 1) {
        const Ds ds{c.in_channels, c.out_channels,  3,           c.stride,
                    {bias, false}, {early, c.norm}, {act, none}, c.norm_eps};
        return ds_conv(x, weights, ds);
    }
    const Mb mb{c.in_channels,          c.out_channels,   3,         c.stride, 0, c.expand_ratio, {bias, bias, false},
                {early, early, c.norm}, {act, act, none}, c.norm_eps};
    return mb_conv(x, weights, mb);
}

template <class Config>
Map efficientvit_block(const Map& x, const Weights& weights, const Config& c) {
    Mla mla{.in_channels = c.in_channels, .out_channels = c.in_channels, .heads_ratio = c.heads_ratio, .dim = c.dim};
    mla.norm[1] = c.norm;
    mla.scales = c.scales;
    mla.eps = c.attention_eps;
    mla.norm_eps = c.norm_eps;
    const Map context = add(x, lite_mla(x, weights.at("context_module").at("main"), mla));
    // An MBConv whatever the ratio is.
    const Activation act = c.act_func, none = Activation::none;
    const Mb mb{
        c.in_channels,    c.in_channels, 3, 1, 0, c.expand_ratio, {true, true, false}, {Norm::none, Norm::none, c.norm},
        {act, act, none}, c.norm_eps};
    return add(context, mb_conv(context, weights.at("local_module").at("main"), mb));
}

using Layer = std::function<Map(const Map&, const Weights&)>;

inline Map identity(const Map& x, const Weights&) { return x; }

/// An empty Layer stands for Python's None.
inline Map residual_block(const Map& x, const Weights& weights, const Layer& main, const Layer& shortcut,
                          Activation post_act = Activation::none, const Layer& pre_norm = {}) {
    if (!main) return x;
    const Map in = pre_norm ? pre_norm(x, weights.at("pre_norm")) : x;
    Map y = main(in, weights.at("main"));
    if (!shortcut) return y;
    return activate(add(std::move(y), shortcut(x, weights.at("shortcut"))), post_act);
}

/// torch.nn.AdaptiveAvgPool2d(1).
inline Map average_pool(const Map& x) {
    Map y(x.n, x.c, 1, 1);
    for (int n = 0; n < x.n; ++n) {
        for (int c = 0; c < x.c; ++c) {
            for (int row = 0; row < x.h; ++row) {
                for (int column = 0; column < x.w; ++column) y.at(n, c, 0, 0) += x.at(n, c, row, column);
            }
            y.at(n, c, 0, 0) /= double(x.h) * double(x.w);
        }
    }
    return y;
}

/// LinearLayer: flatten, linear, LayerNorm, activation.
template <class Config>
Map linear_layer(const Map& x, const Weights& weights, const Config& c) {
    const auto in = std::size_t(c.in_features), out = std::size_t(c.out_features);
    if (x.values.size() != in * std::size_t(x.n)) throw std::logic_error("linear_layer: another number of features");
    const std::vector<float> weight = weights.read("linear.weight", {c.out_features, c.in_features});
    const std::vector<float> bias =
        c.use_bias ? weights.read("linear.bias", {c.out_features}) : std::vector<float>(out);
    std::vector<float> scale, shift;
    if (c.norm == Norm::ln) scale = weights.read("norm.weight", {c.out_features});
    if (c.norm == Norm::ln) shift = weights.read("norm.bias", {c.out_features});
    Map y(x.n, c.out_features, 1, 1);
    for (std::size_t n = 0; n < std::size_t(x.n); ++n) {
        double* const row = y.values.data() + n * out;
        for (std::size_t o = 0; o < out; ++o) {
            row[o] = double{bias[o]};
            for (std::size_t i = 0; i < in; ++i) row[o] += double{weight[o * in + i]} * x.values[n * in + i];
        }
        if (c.norm != Norm::ln) continue;
        double mean = 0, variance = 0;
        for (std::size_t o = 0; o < out; ++o) mean += row[o] / double(out);
        for (std::size_t o = 0; o < out; ++o) variance += (row[o] - mean) * (row[o] - mean) / double(out);
        for (std::size_t o = 0; o < out; ++o) {
            row[o] = (row[o] - mean) / std::sqrt(variance + c.norm_eps) * double{scale[o]} + double{shift[o]};
        }
    }
    return activate(std::move(y), c.act_func);
}

/// EfficientViTBackbone: the maps of all stages. Config is efficientvit::BackboneConfig.
template <class Config>
std::vector<Map> backbone(const Map& x, const Weights& weights, const Config& c) {
    std::vector<Map> stages;
    const auto local = [&](int in, int out, int stride, double ratio, bool fewer_norm) {
        return Layer([=](const Map& map, const Weights& w) {
            return local_block(map, w, {in, out, stride, ratio, c.norm, c.act_func, fewer_norm, c.norm_eps});
        });
    };
    const Weights stem = weights.at("input_stem").at("op_list");
    const int w0 = c.width_list[0];
    Map map = conv_layer(x, stem.at(0), Conv{c.in_channels, w0, 3, 2, 1, 1, false, c.norm, c.act_func, c.norm_eps});
    for (int i = 0; i < c.depth_list[0]; ++i) {
        map = residual_block(map, stem.at(i + 1), local(w0, w0, 1, 1, false), identity);
    }
    stages.push_back(map);
    int in = w0;
    for (int s = 1; s < c.width_list.size(); ++s) {
        const Weights stage = weights.at("stages").at(s - 1).at("op_list");
        const int out = c.width_list[s], depth = c.depth_list[s];
        if (s <= 2) {
            for (int i = 0; i < depth; ++i) {
                const Layer main = local(in, out, i == 0 ? 2 : 1, c.expand_ratio, false);
                map = residual_block(map, stage.at(i), main, i == 0 ? Layer{} : Layer(identity));
                in = out;  // so a stage of depth 0 leaves the map as it is
            }
        } else {
            map = residual_block(map, stage.at(0), local(in, out, 2, c.expand_ratio, true), {});
            in = out;
            const Block block{out, 1, c.dim, c.expand_ratio, {5}, c.norm, c.act_func, c.norm_eps, c.attention_eps};
            for (int i = 0; i < depth; ++i) map = efficientvit_block(map, stage.at(i + 1), block);
        }
        stages.push_back(map);
    }
    return stages;
}

/// ClsHead. Config is efficientvit::ClsHeadConfig.
template <class Config>
Map cls_head(const Map& x, const Weights& weights, const Config& c) {
    struct Linear {
        int in_features, out_features;
        bool use_bias;
        Norm norm;
        Activation act_func;
        double norm_eps;
    };
    const Weights head = weights.at("op_list");
    const Map map =
        conv_layer(x, head.at(0), Conv{x.c, c.width_list[0], 1, 1, 1, 1, false, Norm::bn2d, c.act_func, c.norm_eps});
    const Map hidden = linear_layer(average_pool(map), head.at(2),
                                    Linear{c.width_list[0], c.width_list[1], false, Norm::ln, c.act_func, c.norm_eps});
    return linear_layer(hidden, head.at(3),
                        Linear{c.width_list[1], c.n_classes, true, Norm::none, Activation::none, c.norm_eps});
}

/// EfficientViTCls.
template <class Backbone, class Head>
Map classifier(const Map& x, const Weights& weights, const Backbone& backbone_config, const Head& head_config) {
    const std::vector<Map> stages = backbone(x, weights.at("backbone"), backbone_config);
    return cls_head(stages.back(), weights.at("head"), head_config);
}

}  // namespace reference

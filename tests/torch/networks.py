# SPDX-License-Identifier: Apache-2.0
"""The layers, backbones and heads of EfficientViT in PyTorch, as plainly as they can be written.

An oracle for the tests, not for training or speed: written from the paper (arXiv 2205.14756) and the reference's
names, and sharing nothing with the library or with tests/reference.hpp. Arguments are called as in the C++
configurations and have the same defaults; state-dict names are the reference's.
"""
import torch
from torch import nn
from torch.nn import functional


def activation(name):
    return {
        None: nn.Identity,
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "hswish": nn.Hardswish,
        "silu": nn.SiLU,
        "gelu": lambda: nn.GELU(approximate="tanh"),
    }[name]()


class ConvLayer(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, dilation=1, groups=1, use_bias=False,
                 norm="bn2d", act_func="relu", norm_eps=1e-5):
        super().__init__()
        padding = kernel_size // 2 * dilation
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, use_bias)
        if norm == "bn2d":
            self.norm = nn.BatchNorm2d(out_channels, norm_eps)
        self.act = activation(act_func)

    def forward(self, x):
        x = self.conv(x)
        if hasattr(self, "norm"):
            x = self.norm(x)
        return self.act(x)


class IdentityLayer(nn.Module):
    def forward(self, x):
        return x


class BatchNorm2d(nn.BatchNorm2d):
    def __init__(self, num_features, eps=1e-5):
        super().__init__(num_features, eps)


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of each pixel."""

    def __init__(self, num_features, eps=1e-5):
        super().__init__(num_features, eps)

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class UpSampleLayer(nn.Module):
    def __init__(self, size=None, factor=2):
        super().__init__()
        self.size, self.factor = size, None if size else factor

    def forward(self, x):
        return functional.interpolate(x, self.size, self.factor, mode="bicubic", align_corners=False)


class GlobalAveragePool(nn.AdaptiveAvgPool2d):
    def __init__(self, _channels):
        super().__init__(1)


class LinearLayer(nn.Module):
    def __init__(self, in_features, out_features, use_bias=True, norm=None, act_func=None, norm_eps=1e-5):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, use_bias)
        if norm == "ln":
            self.norm = nn.LayerNorm(out_features, norm_eps)
        self.act = activation(act_func)

    def forward(self, x):
        x = self.linear(x.flatten(1))
        if hasattr(self, "norm"):
            x = self.norm(x)
        return self.act(x)[:, :, None, None]  # the library's tensors have four dimensions


class OpSequential(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.op_list = nn.ModuleList([layer for layer in layers if layer is not None])

    def forward(self, x):
        for layer in self.op_list:
            x = layer(x)
        return x


class ResidualBlock(nn.Module):
    def __init__(self, main, shortcut=None, post_act=None, pre_norm=None):
        super().__init__()
        self.pre_norm, self.main, self.shortcut = pre_norm, main, shortcut
        self.post_act = activation(post_act)

    def forward(self, x):
        if self.main is None:
            return x
        y = self.main(x if self.pre_norm is None else self.pre_norm(x))
        return y if self.shortcut is None else self.post_act(y + self.shortcut(x))


def middle_channels(in_channels, mid_channels, expand_ratio):
    return mid_channels or round(in_channels * expand_ratio)


class DSConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, use_bias=(False, False),
                 norm=("bn2d", "bn2d"), act_func=("relu6", None), norm_eps=1e-5):
        super().__init__()
        self.depth_conv = ConvLayer(in_channels, in_channels, kernel_size, stride, 1, in_channels, use_bias[0],
                                    norm[0], act_func[0], norm_eps)
        self.point_conv = ConvLayer(in_channels, out_channels, 1, 1, 1, 1, use_bias[1], norm[1], act_func[1], norm_eps)

    def forward(self, x):
        return self.point_conv(self.depth_conv(x))


class MBConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, mid_channels=0, expand_ratio=6,
                 use_bias=(False, False, False), norm=("bn2d", "bn2d", "bn2d"), act_func=("relu6", "relu6", None),
                 norm_eps=1e-5):
        super().__init__()
        mid = middle_channels(in_channels, mid_channels, expand_ratio)
        self.inverted_conv = ConvLayer(in_channels, mid, 1, 1, 1, 1, use_bias[0], norm[0], act_func[0], norm_eps)
        self.depth_conv = ConvLayer(mid, mid, kernel_size, stride, 1, mid, use_bias[1], norm[1], act_func[1], norm_eps)
        self.point_conv = ConvLayer(mid, out_channels, 1, 1, 1, 1, use_bias[2], norm[2], act_func[2], norm_eps)

    def forward(self, x):
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))


class FusedMBConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, mid_channels=0, expand_ratio=6, groups=1,
                 use_bias=(False, False), norm=("bn2d", "bn2d"), act_func=("relu6", None), norm_eps=1e-5):
        super().__init__()
        mid = middle_channels(in_channels, mid_channels, expand_ratio)
        self.spatial_conv = ConvLayer(in_channels, mid, kernel_size, stride, 1, groups, use_bias[0], norm[0],
                                      act_func[0], norm_eps)
        self.point_conv = ConvLayer(mid, out_channels, 1, 1, 1, 1, use_bias[1], norm[1], act_func[1], norm_eps)

    def forward(self, x):
        return self.point_conv(self.spatial_conv(x))


class ResBlock(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, mid_channels=0, expand_ratio=1,
                 use_bias=(False, False), norm=("bn2d", "bn2d"), act_func=("relu6", None), norm_eps=1e-5):
        super().__init__()
        mid = middle_channels(in_channels, mid_channels, expand_ratio)
        self.conv1 = ConvLayer(in_channels, mid, kernel_size, stride, 1, 1, use_bias[0], norm[0], act_func[0], norm_eps)
        self.conv2 = ConvLayer(mid, out_channels, kernel_size, 1, 1, 1, use_bias[1], norm[1], act_func[1], norm_eps)

    def forward(self, x):
        return self.conv2(self.conv1(x))


class LiteMLA(nn.Module):
    def __init__(self, in_channels, out_channels, heads=0, heads_ratio=1.0, dim=8, use_bias=(False, False),
                 norm=(None, "bn2d"), act_func=(None, None), scales=(5,), eps=1e-15, norm_eps=1e-5):
        super().__init__()
        heads = heads or int(in_channels // dim * heads_ratio)
        self.dim, self.eps = dim, eps
        inner = 3 * heads * dim
        self.qkv = ConvLayer(in_channels, inner, 1, 1, 1, 1, use_bias[0], norm[0], act_func[0], norm_eps)
        self.aggreg = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inner, inner, scale, padding=scale // 2, groups=inner, bias=use_bias[0]),
                          nn.Conv2d(inner, inner, 1, groups=3 * heads, bias=use_bias[0])) for scale in scales)
        self.proj = ConvLayer(heads * dim * (1 + len(scales)), out_channels, 1, 1, 1, 1, use_bias[1], norm[1],
                              act_func[1], norm_eps)

    def forward(self, x):
        qkv = self.qkv(x)
        qkv = torch.cat([qkv] + [op(qkv) for op in self.aggreg], 1)
        n, _, height, width = qkv.shape
        q, k, v = qkv.reshape(n, -1, 3 * self.dim, height * width).split(self.dim, 2)
        q, k = q.relu(), k.relu()
        if height * width > self.dim:
            v = torch.cat([v, torch.ones_like(v[:, :, :1])], 2)
            out = (v @ k.transpose(-1, -2)) @ q
            out = out[:, :, :-1] / (out[:, :, -1:] + self.eps)
        else:
            attention = k.transpose(-1, -2) @ q
            out = v @ (attention / (attention.sum(2, keepdim=True) + self.eps))
        return self.proj(out.reshape(n, -1, height, width))


class EfficientViTBlock(nn.Module):
    def __init__(self, in_channels, heads_ratio=1.0, dim=32, expand_ratio=4, scales=(5,), norm="bn2d",
                 act_func="hswish", norm_eps=1e-5, attention_eps=1e-15):
        super().__init__()
        attention = LiteMLA(in_channels, in_channels, heads_ratio=heads_ratio, dim=dim, norm=(None, norm),
                            scales=scales, eps=attention_eps, norm_eps=norm_eps)
        local = MBConv(in_channels, in_channels, expand_ratio=expand_ratio, use_bias=(True, True, False),
                       norm=(None, None, norm), act_func=(act_func, act_func, None), norm_eps=norm_eps)
        self.context_module = ResidualBlock(attention, IdentityLayer())
        self.local_module = ResidualBlock(local, IdentityLayer())

    def forward(self, x):
        return self.local_module(self.context_module(x))


def local_block(kind, in_channels, out_channels, stride, expand_ratio, norm, act_func, fewer_norm, norm_eps):
    """build_local_block of both backbones. kind: ds, mb, fmb, res."""
    early, bias = (None, True) if fewer_norm else (norm, False)
    if kind == "mb":
        return MBConv(in_channels, out_channels, stride=stride, expand_ratio=expand_ratio, use_bias=(bias, bias, False),
                      norm=(early, early, norm), act_func=(act_func, act_func, None), norm_eps=norm_eps)
    two = dict(stride=stride, use_bias=(bias, False), norm=(early, norm), act_func=(act_func, None), norm_eps=norm_eps)
    if kind == "fmb":
        return FusedMBConv(in_channels, out_channels, expand_ratio=expand_ratio, **two)
    return {"ds": DSConv, "res": ResBlock}[kind](in_channels, out_channels, **two)


class EfficientViTBackbone(nn.Module):
    """forward gives the maps of all stages."""

    def __init__(self, width_list, depth_list, in_channels=3, dim=32, expand_ratio=4, norm="bn2d", act_func="hswish",
                 norm_eps=1e-5, attention_eps=1e-15):
        super().__init__()
        self.widths = list(width_list)

        def local(to, stride, ratio, fewer_norm):
            return local_block("ds" if ratio == 1 else "mb", self.channels, to, stride, ratio, norm, act_func,
                               fewer_norm, norm_eps)

        stem = [ConvLayer(in_channels, width_list[0], stride=2, norm=norm, act_func=act_func, norm_eps=norm_eps)]
        self.channels = width_list[0]
        stem += [ResidualBlock(local(self.channels, 1, 1, False), IdentityLayer()) for _ in range(depth_list[0])]
        self.input_stem = OpSequential(*stem)
        self.stages = nn.ModuleList()
        for i, (width, depth) in enumerate(zip(width_list[1:], depth_list[1:])):
            layers = []
            if i < 2:
                for block in range(depth):
                    layers.append(ResidualBlock(local(width, 1 if block else 2, expand_ratio, False),
                                                IdentityLayer() if block else None))
                    self.channels = width
            else:
                layers.append(ResidualBlock(local(width, 2, expand_ratio, True)))
                self.channels = width
                layers += [EfficientViTBlock(width, 1.0, dim, expand_ratio, (5,), norm, act_func, norm_eps,
                                             attention_eps) for _ in range(depth)]
            self.stages.append(OpSequential(*layers))

    def forward(self, x):
        maps = [self.input_stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps


class EfficientViTLargeBackbone(nn.Module):
    """forward gives the maps of all stages."""

    def __init__(self, width_list, depth_list, block_list=("res", "fmb", "fmb", "mb", "att"),
                 expand_list=(1, 4, 4, 4, 6), fewer_norm_list=(False, False, False, True, True), in_channels=3,
                 qkv_dim=32, norm="bn2d", act_func="gelu", norm_eps=1e-5, attention_eps=1e-15):
        super().__init__()
        self.widths = list(width_list)
        self.stages = nn.ModuleList()
        channels = in_channels
        for i, (width, depth, kind, ratio, fewer) in enumerate(
                zip(width_list, depth_list, block_list, expand_list, fewer_norm_list)):
            if i == 0:
                layers = [ConvLayer(channels, width, stride=2, norm=norm, act_func=act_func, norm_eps=norm_eps)]
            else:
                down = "fmb" if kind == "fmb" else "mb"
                layers = [ResidualBlock(local_block(down, channels, width, 2, 4 * ratio, norm, act_func, fewer,
                                                    norm_eps))]
            channels = width
            for _ in range(depth):
                if kind in ("att", "att@3"):
                    layers.append(EfficientViTBlock(width, 1.0, qkv_dim, ratio, (3,) if kind == "att@3" else (5,), norm,
                                                    act_func, norm_eps, attention_eps))
                else:
                    layers.append(ResidualBlock(local_block(kind, width, width, 1, ratio, norm, act_func, fewer,
                                                            norm_eps), IdentityLayer()))
            self.stages.append(OpSequential(*layers))

    def forward(self, x):
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class EfficientViTCls(nn.Module):
    def __init__(self, backbone, width_list, n_classes=1000, act_func="hswish", norm_eps=1e-5):
        super().__init__()
        self.backbone = backbone
        self.head = OpSequential(
            ConvLayer(backbone.widths[-1], width_list[0], 1, act_func=act_func, norm_eps=norm_eps),
            GlobalAveragePool(width_list[0]),
            LinearLayer(width_list[0], width_list[1], False, "ln", act_func, norm_eps),
            LinearLayer(width_list[1], n_classes))

    def forward(self, x):
        return self.head(self.backbone(x)[-1])


class DAGHead(nn.Module):
    """ups[i] is what follows the 1x1 convolution of the i-th stage from the end, or None."""

    def __init__(self, widths, ups, width, middle, output, norm, norm_eps):
        super().__init__()
        self.input_ops = nn.ModuleList()
        for i, up in enumerate(ups):
            conv = ConvLayer(widths[-1 - i], width, 1, norm=norm, act_func=None, norm_eps=norm_eps)
            self.input_ops.append(conv if up is None else OpSequential(conv, up))
        self.middle = OpSequential(*(ResidualBlock(block, IdentityLayer()) for block in middle))
        self.output_ops = nn.ModuleList([OpSequential(*output)])

    def forward(self, maps):
        x = sum(op(maps[-1 - i]) for i, op in enumerate(self.input_ops))
        return self.output_ops[0](self.middle(x))


class EfficientViTSeg(nn.Module):
    def __init__(self, backbone, inputs=3, head_width=0, head_depth=0, expand_ratio=4, middle_op="mbconv",
                 final_expand=0, n_classes=0, norm="bn2d", act_func="hswish", norm_eps=1e-5):
        super().__init__()
        self.backbone = backbone
        ups = [UpSampleLayer(factor=2**i) if i else None for i in reversed(range(inputs))]
        kind = {"mbconv": "mb", "fmbconv": "fmb"}[middle_op]
        middle = [local_block(kind, head_width, head_width, 1, expand_ratio, norm, act_func, False, norm_eps)
                  for _ in range(head_depth)]
        last = head_width * (final_expand or 1)
        output = [ConvLayer(head_width, last, 1, norm=norm, act_func=act_func, norm_eps=norm_eps)] * bool(final_expand)
        output.append(ConvLayer(last, n_classes, 1, use_bias=True, norm=None, act_func=None))
        self.head = DAGHead(backbone.widths, ups, head_width, middle, output, norm, norm_eps)

    def forward(self, x):
        return self.head(self.backbone(x))


class SamImageEncoder(nn.Module):
    def __init__(self, backbone, head_width=256, head_depth=0, expand_ratio=1, out_dim=256, size=(64, 64), norm="bn2d",
                 act_func="gelu", norm_eps=1e-6):
        super().__init__()
        self.backbone = backbone
        middle = [local_block("fmb", head_width, head_width, 1, expand_ratio, norm, act_func, False, norm_eps)
                  for _ in range(head_depth)]
        output = [ConvLayer(head_width, out_dim, 1, use_bias=True, norm=None, act_func=None)]
        self.neck = DAGHead(backbone.widths, [UpSampleLayer(size=size) for _ in range(3)], head_width, middle, output,
                            norm, norm_eps)
        self.norm = LayerNorm2d(out_dim, norm_eps)

    def forward(self, x):
        return self.norm(self.neck(self.backbone(x)))

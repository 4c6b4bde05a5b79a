# SPDX-License-Identifier: Apache-2.0
"""The heads of segmenters and of SAM's image encoder as torch modules, on timm's backbones: timm has none of them.

Composed from timm's blocks and written from what the reference computes, with its names, so that the state dict of a
whole model is one that is published, but for the backbone's names. This file is no benchmark.
"""
import re

import torch
from timm.layers import GELUTanh
from timm.models.efficientvit_mit import ConvNormAct, FusedMBConv, MBConv, ResidualBlock
from torch.nn import functional


class OpSequential(torch.nn.Module):
    """torch.nn.Sequential under the reference's names."""

    def __init__(self, *ops):
        super().__init__()
        self.op_list = torch.nn.ModuleList(ops)

    def forward(self, x):
        for op in self.op_list:
            x = op(x)
        return x


class UpSample(torch.nn.Module):
    """Bicubic, by a factor or to a size."""

    def __init__(self, factor=None, size=None):
        super().__init__()
        self.factor, self.size = factor, size

    def forward(self, x):
        size = self.size or [self.factor * n for n in x.shape[-2:]]
        return functional.interpolate(x, size=size, mode="bicubic", align_corners=False)


class LayerNorm2d(torch.nn.Module):
    """Over the channels of each pixel."""

    def __init__(self, channels, eps):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(channels)), torch.nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x):
        x = x - x.mean(1, keepdim=True)
        x = x / torch.sqrt((x * x).mean(1, keepdim=True) + self.eps)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class DAGHead(torch.nn.Module):
    """The reference's: the last stages, the last one first, brought to one width and size and added up; then blocks."""

    def __init__(self, input_ops, blocks, output):
        super().__init__()
        self.input_ops = torch.nn.ModuleList(input_ops)
        self.middle = OpSequential(*(ResidualBlock(block, torch.nn.Identity()) for block in blocks))
        self.output_ops = torch.nn.ModuleList([OpSequential(*output)])

    def forward(self, stages):
        x = sum(op(stage) for op, stage in zip(self.input_ops, reversed(stages)))
        return self.output_ops[0](self.middle(x))


class HeadedModel(torch.nn.Module):
    """A backbone of timm's with a head, called as the reference calls it, and perhaps a norm behind."""

    def __init__(self, backbone, name, head, norm=None):
        super().__init__()
        self.backbone = backbone
        self._head = name
        self.add_module(name, head)
        self.norm = norm or torch.nn.Identity()

    def forward(self, x):
        x = self.backbone.stem(x)
        stages = []
        for stage in self.backbone.stages:
            x = stage(x)
            stages.append(x)
        return self.norm(self.get_submodule(self._head)(stages[-3:]))

    def weights(self):
        """The state dict under the reference's names."""
        large = type(self.backbone).__name__ == "EfficientVitLarge"  # its stem is its stage 0
        stem = "backbone.stages.0" if large else "backbone.input_stem"

        def official(name):
            name = name.replace("backbone.stem.in_conv.", f"{stem}.op_list.0.")
            name = re.sub(r"^backbone\.stem\.res(\d+)", lambda m: f"{stem}.op_list.{int(m[1]) + 1}", name)
            return re.sub(r"^backbone\.stages\.(\d+)\.blocks", lambda m: f"backbone.stages.{int(m[1]) + large}.op_list", name)

        return {official(name): tensor for name, tensor in self.state_dict().items()}


def _conv(inputs, outputs, norm, act=None, bias=False):
    return ConvNormAct(inputs, outputs, 1, bias=bias, norm_layer=norm, act_layer=act)


def cityscapes_b0(backbone):
    """EfficientViTSeg b0 for Cityscapes: 19 logits at stride 8."""
    norm, act, width = torch.nn.BatchNorm2d, torch.nn.Hardswish, 32
    inputs = [OpSequential(_conv(128, width, norm), UpSample(factor=4)),
              OpSequential(_conv(64, width, norm), UpSample(factor=2)),
              _conv(32, width, norm)]
    blocks = [MBConv(width, width, expand_ratio=4, norm_layer=norm, act_layer=(act, act, None))]
    output = [_conv(width, 4 * width, norm, act), _conv(4 * width, 19, None, bias=True)]
    return HeadedModel(backbone, "head", DAGHead(inputs, blocks, output))


def _batch_norm(eps):
    def norm(num_features, **where):
        return torch.nn.BatchNorm2d(num_features, eps=eps, **where)

    return norm


def _large_head(upsamplings, width, depth, expand_ratio, norm, output):
    """Of the last three stages of an L network."""
    inputs = [_conv(channels, width, norm) for channels in (512, 256, 128)]
    inputs = [OpSequential(conv, upsampling) if upsampling else conv for conv, upsampling in zip(inputs, upsamplings)]
    blocks = [FusedMBConv(width, width, expand_ratio=expand_ratio, norm_layer=norm, act_layer=(GELUTanh, None))
              for _ in range(depth)]
    return DAGHead(inputs, blocks, output)


def ade20k_large(backbone):
    """EfficientViTSeg l1 or l2 for ADE20K: 150 logits at stride 8."""
    norm, width = _batch_norm(1e-7), 128
    output = [_conv(width, 8 * width, norm, GELUTanh), _conv(8 * width, 150, None, bias=True)]
    upsamplings = UpSample(factor=4), UpSample(factor=2), None
    return HeadedModel(backbone, "head", _large_head(upsamplings, width, 3, 4, norm, output))


def sam(backbone, depth):
    """EfficientViT-SAM's image encoder: embeddings of 256 x 64 x 64. l0 has 4 blocks in its neck, l2 has 12."""
    eps, width = 1e-6, 256
    upsamplings = [UpSample(size=(64, 64)) for _ in range(3)]
    neck = _large_head(upsamplings, width, depth, 1, _batch_norm(eps), [_conv(width, 256, None, bias=True)])
    return HeadedModel(backbone, "neck", neck, LayerNorm2d(256, eps))


class _ProductUpSample(torch.nn.Module):
    """The same from two matrix products, for sizes that are known."""

    def __init__(self, size, wanted):
        super().__init__()
        for name, n, m in (("rows", size[0], wanted[0]), ("columns", size[1], wanted[1])):
            identity = torch.eye(n, dtype=torch.float64)[None, None]
            matrix = functional.interpolate(identity, size=(m, n), mode="bicubic", align_corners=False)[0, 0].float()
            self.register_buffer(name, matrix if name == "rows" else matrix.T.contiguous())

    def forward(self, x):
        return self.rows @ (x @ self.columns)


def upsample_by_products(model, shape):
    """Writes bicubic interpolation, for which not every runtime is fast or has an operator, as matrix products, for
    images of this shape. One that changes no size goes."""
    sizes = {}

    def see(module, inputs, output):
        sizes[module] = tuple(inputs[0].shape[-2:]), tuple(output.shape[-2:])

    hooks = [module.register_forward_hook(see) for module in model.modules() if isinstance(module, UpSample)]
    if not hooks:
        return
    with torch.no_grad():
        model(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    for module in model.modules():
        if isinstance(module, OpSequential):
            for i, op in enumerate(module.op_list):
                if op in sizes:
                    size, wanted = sizes[op]
                    module.op_list[i] = torch.nn.Identity() if size == wanted else _ProductUpSample(size, wanted)

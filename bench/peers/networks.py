# SPDX-License-Identifier: Apache-2.0
"""The networks that are compared, and the forms in which a peer may be given them.

Every network comes from timm, an implementation independent of this library; heads, which timm lacks, are in heads.py.
Weights are made from the tensors' names, so that every run and every machine has the same ones and a tensor loaded
into the wrong place changes the answer. This file is no benchmark: it only builds torch modules.

To add a network, add a line to NETWORKS. To add a form, add a function to FORMS and name it in the `forms` of
the runtimes that may profit (runtimes/).
"""
import dataclasses
import zlib


@dataclasses.dataclass(frozen=True)
class Network:
    """One row of the table. Both sides compute the last feature map alone (timm's forward_features), or the head's
    output."""
    timm: str       # timm's name
    cpp: str        # this library's type, as efficientvit_c.cpp may write it
    head: str = ""  # a function of heads.py
    head_arguments: dict = dataclasses.field(default_factory=dict)
    arguments: dict = dataclasses.field(default_factory=dict)  # of timm's model, where they differ from that name's


L0 = {"depths": (1, 1, 1, 4, 4)}  # l1 but for these: timm has no name for it

NETWORKS = {
    "b0": Network("efficientvit_b0", "ev::BackboneB0"),
    "b1": Network("efficientvit_b1", "ev::BackboneB1"),
    "b2": Network("efficientvit_b2", "ev::BackboneB2"),
    "b3": Network("efficientvit_b3", "ev::BackboneB3"),
    "l0": Network("efficientvit_l1", "ev::EfficientViTLargeBackbone<as_in_timm(ev::l0)>", arguments=L0),
    "l1": Network("efficientvit_l1", "ev::EfficientViTLargeBackbone<as_in_timm(ev::l1)>"),
    "l2": Network("efficientvit_l2", "ev::EfficientViTLargeBackbone<as_in_timm(ev::l2)>"),
    "l3": Network("efficientvit_l3", "ev::EfficientViTLargeBackbone<as_in_timm(ev::l3)>"),
    "seg_b0_cityscapes": Network("efficientvit_b0", "ev::SegB0Cityscapes<>", "cityscapes_b0"),
    "seg_l1_ade20k": Network("efficientvit_l1", "ev::SegL1ADE20K<>", "ade20k_large"),
    "sam_l0": Network("efficientvit_l1", "ev::SamImageEncoderL0", "sam", {"depth": 4}, {**L0, "norm_eps": 1e-6}),
    "sam_l2": Network("efficientvit_l2", "ev::SamImageEncoderL2", "sam", {"depth": 12}, {"norm_eps": 1e-6}),
    # Nothing but a call: see Nothing.
    "identity": Network("", ""),
}


IDENTITY = "identity@32"

@dataclasses.dataclass(frozen=True)
class Case:
    """A network at an input size. Written b0@224, b0@512x1024 (height x width), b0@224*8 (batch 8; b0@224x8 too)."""
    network: str
    height: int
    width: int
    batch: int = 1

    @staticmethod
    def parse(text):
        try:
            network, _, size = text.partition("@")
            size, _, batch = size.partition("*")
            numbers = [int(n) for n in (size or "224").split("x")]
            if len(numbers) == 2 and numbers[1] < 32:  # no network of this family sees fewer than 32 columns
                numbers, batch = numbers[:1], numbers[1]
            elif len(numbers) > 2:
                raise ValueError
            case = Case(network, numbers[0], numbers[-1], int(batch or 1))
        except ValueError:
            raise ValueError(f"'{text}' is not a network at a size, such as b0@224, b0@512x1024 or b0@224x8") from None
        if network not in NETWORKS:
            raise ValueError(f"unknown network '{network}'; there are: {', '.join(NETWORKS)}")
        if case.height < 32 or case.width < 32 or case.batch < 1:
            raise ValueError(f"'{text}': height and width must be at least 32, the batch at least 1")
        return case

    @property
    def size(self):
        return f"{self.height}" if self.height == self.width else f"{self.height}x{self.width}"

    def __str__(self):
        return f"{self.network}@{self.size}" + (f"x{self.batch}" if self.batch > 1 else "")

    @property
    def title(self):
        return f"{self.network} {self.size}" + (f", batch {self.batch}" if self.batch > 1 else "")

    @property
    def shape(self):
        return (self.batch, 3, self.height, self.width)


def make_input(case):
    """The image: uniform in [-1, 1), NCHW float32."""
    import numpy as np  # not above: compare.py reads this file before numpy is there
    values = np.random.default_rng(zlib.crc32(b"input")).uniform(-1, 1, case.shape)
    return np.ascontiguousarray(values, dtype=np.float32)


def fill(state_dict):
    """Overwrites every floating-point tensor by values that its name determines.

    Convolutions keep the scale of their input; batch norms get means, variances, scales and offsets that
    matter when they are folded. The norm that closes a residual branch is small, as in trained networks, so
    that activations stay within a few units from the image to the last stage however deep the network is. q and k
    are large, so that it makes no difference that timm adds 1e-5 to attention's denominators and the original 1e-15
    (which not every runtime takes for different from 0).
    """
    import numpy as np
    for name, tensor in state_dict.items():
        if not tensor.is_floating_point():
            continue
        v = np.random.default_rng(zlib.crc32(name.encode())).uniform(-1, 1, tuple(tensor.shape))
        if name.endswith("running_mean") or name.endswith("bias"):
            v = 0.1 * v
        elif name.endswith("running_var"):
            v = 1 + 0.5 * v
        elif tensor.ndim == 1:
            closes_branch = name.endswith((".point_conv.norm.weight", ".proj.norm.weight", ".conv2.norm.weight"))
            v = (0.15 + 0.1 * v) if closes_branch and ".blocks.0." not in name else 0.85 + 0.2 * v
        else:
            v = v * np.sqrt(6 / np.prod(tensor.shape[1:])) * (8 if ".qkv." in name else 1 / 8 if ".proj." in name else 1)
        tensor.copy_(tensor.new_tensor(v))


def build(network):
    """A torch module in evaluation mode: image in, the compared output out, exactly as timm has it. Its weights() are
    the state dict under names that this library knows."""
    import timm
    import torch

    class Features(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.forward_features(x)

        def weights(self):
            return self.model.state_dict()

    class Nothing(torch.nn.Module):
        """As good as an identity, which converters would remove: a relu of 3x32x32 values."""

        def forward(self, x):
            return torch.relu(x)

        def weights(self):
            return {}

    if network == "identity":
        return Nothing().eval()
    known = NETWORKS[network]
    model = timm.create_model(known.timm, pretrained=False, num_classes=0, **known.arguments)
    model.head = torch.nn.Identity()
    if known.head:
        import heads
        model = getattr(heads, known.head)(model, **known.head_arguments)
    with torch.no_grad():
        fill(model.state_dict())
    return (model if known.head else Features(model)).eval()


def _fold_batch_norms(module):
    import torch
    from timm.models.efficientvit_mit import ConvNormAct
    for child in module.modules():
        if isinstance(child, ConvNormAct) and isinstance(child.norm, torch.nn.BatchNorm2d):
            child.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(child.conv, child.norm)
            child.norm = torch.nn.Identity()


def _product_attention(mla, tokens_first):
    """The same attention from nothing but convolutions, one split and matrix products.

    The row of ones below v, which is padded and sliced off again, becomes a sum over k. In NCHW nothing but k is
    transposed, and runtimes fuse that into the product. With `tokens_first` the products have channels innermost, as
    they lie in the memory of a runtime that works in NHWC.
    """
    import torch

    dim, eps = mla.dim, mla.eps

    class ProductAttention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.aggreg, self.proj = mla.qkv, mla.aggreg, mla.proj

        def forward(self, x):
            n, _, h, w = x.shape
            qkv = self.qkv(x)
            qkv = torch.cat([qkv] + [op(qkv) for op in self.aggreg], 1)
            if tokens_first:
                qkv = qkv.permute(0, 2, 3, 1).reshape(n, h * w, -1, 3 * dim).transpose(1, 2)
                q, k, v = qkv.split(dim, 3)
                q, k = torch.relu(q), torch.relu(k)
                out = (q @ (k.transpose(2, 3) @ v)) / (q @ k.sum(2, keepdim=True).transpose(2, 3) + eps)
                out = out.transpose(1, 2).reshape(n, h, w, -1).permute(0, 3, 1, 2)
            else:
                q, k, v = qkv.reshape(n, -1, 3 * dim, h * w).split(dim, 2)
                q, k = torch.relu(q), torch.relu(k)
                out = ((v @ k.transpose(2, 3)) @ q) / (k.sum(3, keepdim=True).transpose(2, 3) @ q + eps)
                out = out.reshape(n, -1, h, w)
            return self.proj(out)

    return ProductAttention()


def _with_products(module, shape, tokens_first):
    import heads
    from timm.models.efficientvit_mit import LiteMLA
    _fold_batch_norms(module)
    heads.upsample_by_products(module, shape)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LiteMLA):
                setattr(parent, name, _product_attention(child, tokens_first))
    return module


FORMS = {
    # As timm has it, or heads.py.
    "timm": lambda module, shape: module,
    # Batch norms folded, attention and interpolation of plain products, for runtimes that work in NCHW or blocks of it.
    "products": lambda module, shape: _with_products(module, shape, tokens_first=False),
    # The same for runtimes that work in NHWC.
    "products-nhwc": lambda module, shape: _with_products(module, shape, tokens_first=True),
}


def build_form(case, form):
    module = build(case.network)
    return module if case.network == "identity" else FORMS[form](module, case.shape).eval()

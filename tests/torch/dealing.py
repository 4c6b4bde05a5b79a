# SPDX-License-Identifier: Apache-2.0
"""Networks that nobody chose: deals layers, blocks, backbones and heads with all their options from a seed.

Knows what a configuration looks like in C++ and which are allowed; computes nothing, and does without PyTorch.
"""

# The C++ struct of a class's options, where it is not the class's name and Config.
CONFIGS = {
    "LinearLayer": "Linear",
    "UpSampleLayer": "UpSample",
    "BatchNorm2d": "BatchNorm",
    "ConvLayer": "Conv",
    "EfficientViTBackbone": "Backbone",
    "EfficientViTLargeBackbone": "LargeBackbone",
    "EfficientViTCls": "ClsHead",
    "EfficientViTSeg": "SegHead",
    "SamImageEncoder": "SamNeck",
}
ENUMS = {"norm": "Norm", "act_func": "Activation", "block_list": "LargeBlock", "middle_op": "SegMiddleOp"}


class Network:
    """A layer, block or network: its class, the parts that it is composed of, the options of its configuration."""

    def __init__(self, name, *parts, **options):
        self.name, self.parts, self.options = name, parts, options

    def build(self, classes):
        """The object, out of a module that has a class of each name."""
        parts = [part.build(classes) if isinstance(part, Network) else part for part in self.parts]
        return getattr(classes, self.name)(*parts, **self.options)

    def type(self):
        """The type in C++."""
        arguments = [part.type() if isinstance(part, Network) else "ev::NoLayer" for part in self.parts]
        if self.name == "ResidualBlock":
            arguments[2] = value_in_cpp("act_func", self.parts[2])
        if self.options:
            options = ", ".join(f".{key} = {value_in_cpp(key, value)}" for key, value in self.options.items())
            arguments.append(f"ev::{CONFIGS.get(self.name, self.name)}Config{{{options}}}")
        return f"ev::{self.name}" + (f"<{', '.join(arguments)}>" if arguments else "")


def value_in_cpp(key, value):
    if isinstance(value, (tuple, list)):
        return "{" + ", ".join(value_in_cpp(key, one) for one in value) + "}"
    if key in ENUMS:
        return f"ev::{ENUMS[key]}::{(value or 'none').replace('@', '_at_')}"
    return str(value).lower()  # true, 3, 2.5, 1e-05


ACTIVATIONS = [None, "relu", "relu6", "hswish", "silu", "gelu"]


class Dealer:
    """Deals from shuffled decks, so that each value of an option comes up before any does again."""

    def __init__(self, seed):
        self.state, self.decks = seed, {}

    def below(self, end):
        """SplitMix64."""
        mask = (1 << 64) - 1
        self.state = z = self.state + 0x9E3779B97F4A7C15 & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return ((z ^ z >> 31) >> 33) % end

    def deal(self, key, *values):
        deck = self.decks.setdefault(key, [])
        if not deck:
            deck.extend(values)
            for i in reversed(range(1, len(deck))):
                j = self.below(i + 1)
                deck[i], deck[j] = deck[j], deck[i]
        return deck.pop()

    def channels(self):
        return self.deal("channels", 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40)

    def kernel(self):
        return self.deal("kernel", 1, 3, 5, 7)

    def stride(self):
        return self.deal("stride", 1, 2)

    def norm(self):
        return self.deal("norm", "bn2d", "bn2d", None)

    def activation(self):
        return self.deal("activation", *ACTIVATIONS)

    def norm_eps(self):
        return self.deal("norm_eps", 1e-5, 1e-7, 1e-3)

    def attention_eps(self):
        return self.deal("attention_eps", 1e-15, 1e-5, 0.5)

    def each(self, convolutions):
        """What a block wants of each of its convolutions."""
        return dict(use_bias=[self.deal("bias", False, True) for _ in range(convolutions)],
                    norm=[self.norm() for _ in range(convolutions)],
                    act_func=[self.activation() for _ in range(convolutions)])


# ---- layers and blocks -----------------------------------------------------------------------------------------------
# `to`, `out` and `stride`, where they are not 0, are the channels that a layer takes and gives, and its stride.

def conv_layer(d, to=0, out=0, stride=0):
    kind = d.deal("kind", "dense", "depthwise", "groups")
    fixed = to or out
    to, out, groups = to or d.channels(), out or d.channels(), 1
    if kind == "depthwise" and (to == out or not fixed):
        out = groups = to
    elif kind == "groups" and not fixed:
        groups = d.deal("groups", 2, 3, 5)
        to, out = groups * d.deal("in a group", 1, 3, 8, 9), groups * d.deal("out of a group", 1, 5, 8, 16)
    elif kind != "dense":
        groups = max(divisor for divisor in (1, 2, 3, 4, 5, 8) if to % divisor == out % divisor == 0)
    return Network("ConvLayer", in_channels=to, out_channels=out, kernel_size=d.kernel(), stride=stride or d.stride(),
                   dilation=d.deal("dilation", 1, 1, 2), groups=groups, use_bias=d.deal("bias", False, True),
                   norm=d.norm(), act_func=d.activation(), norm_eps=d.norm_eps())


def ends(d, to, out, stride):
    return dict(in_channels=to or d.channels(), out_channels=out or d.channels(), kernel_size=d.kernel(),
                stride=stride or d.stride())


def middle(d):
    return dict(mid_channels=d.deal("mid_channels", 0, 0, 11, 29), expand_ratio=d.deal("ratio", 1, 2, 2.5, 3, 4))


def ds_conv(d, to=0, out=0, stride=0):
    return Network("DSConv", **ends(d, to, out, stride), **d.each(2), norm_eps=d.norm_eps())


def mb_conv(d, to=0, out=0, stride=0):
    return Network("MBConv", **ends(d, to, out, stride), **middle(d), **d.each(3), norm_eps=d.norm_eps())


def res_block(d, to=0, out=0, stride=0):
    return Network("ResBlock", **ends(d, to, out, stride), **middle(d), **d.each(2), norm_eps=d.norm_eps())


def fused_mb_conv(d, to=0, out=0, stride=0):
    options = dict(**ends(d, to, out, stride), **middle(d))
    mid = options["mid_channels"] or round(options["in_channels"] * options["expand_ratio"])
    groups = [g for g in (1, 2, 3, 5, 8) if options["in_channels"] % g == mid % g == 0]
    return Network("FusedMBConv", **options, groups=groups[-1] if d.deal("fused groups", False, True) else 1,
                   **d.each(2), norm_eps=d.norm_eps())


def head_dim(d, channels):
    """Channels of an attention head, no more than there are."""
    while True:
        dim = d.deal("dim", 8, 16, 32, 5, 12)
        if channels == 0 or dim <= channels:
            return dim


def lite_mla(d, to=0):
    dim = head_dim(d, to)
    to = to or dim * d.deal("times dim", 1, 3, 2) + d.below(dim)
    return Network("LiteMLA", in_channels=to, out_channels=d.channels(), heads=d.deal("heads", 0, 0, 3, 1),
                   heads_ratio=d.deal("heads_ratio", 1, 0.5, 2) if to >= 2 * dim else 1, dim=dim, **d.each(2),
                   scales=d.deal("scales", (5,), (3,), (3, 5), (5,), (1, 7), ()), eps=d.attention_eps(),
                   norm_eps=d.norm_eps())


def efficientvit_block(d, to=0):
    dim = head_dim(d, to)
    to = to or dim * d.deal("times dim", 1, 3, 2) + d.below(3)
    return Network("EfficientViTBlock", in_channels=to,
                   heads_ratio=d.deal("heads_ratio", 1, 0.5, 2) if to >= 2 * dim else 1, dim=dim,
                   expand_ratio=d.deal("ratio", 1, 2, 2.5, 3, 4), scales=d.deal("block scales", (5,), (3,), (3, 5), (7,)),
                   norm=d.norm(), act_func=d.activation(), norm_eps=d.norm_eps(), attention_eps=d.attention_eps())


def residual_block(d, to=0):
    shortcut = d.deal("shortcut", "identity", "layer", "identity", None)
    to, out, stride = to or d.channels(), d.channels(), d.stride()
    if shortcut == "identity":
        out, stride = to, 1
    main = d.deal("main", conv_layer, ds_conv, mb_conv, fused_mb_conv, res_block)(d, to, out, stride)
    if shortcut is not None:
        shortcut = conv_layer(d, to, out, stride) if shortcut == "layer" else Network("IdentityLayer")
    norm = d.deal("pre_norm", None, "BatchNorm2d", None, "LayerNorm2d")
    if norm is not None:
        # The variance of a few channels may be next to nothing, and what is divided by it anything.
        norm = Network(norm if to > 8 else "BatchNorm2d", num_features=to, eps=d.norm_eps())
    return Network("ResidualBlock", main, shortcut, d.activation(), norm)


def op_sequential(d):
    channels, layers = d.channels(), []
    for _ in range(d.deal("length", 2, 3, 4)):
        make = d.deal("layer", conv_layer, ds_conv, mb_conv, fused_mb_conv, res_block, residual_block, lite_mla,
                      efficientvit_block, "UpSampleLayer", "BatchNorm2d", "IdentityLayer", None)
        if make in (lite_mla, efficientvit_block) and channels < 5:
            make = conv_layer
        if make is None:
            layers.append(None)
        elif make == "IdentityLayer":
            layers.append(Network(make))
        elif make == "BatchNorm2d":
            layers.append(Network(make, num_features=channels, eps=d.norm_eps()))
        elif make == "UpSampleLayer":
            layers.append(Network(make, **d.deal("up", {"factor": 2}, {"size": (7, 5)}, {"factor": 3})))
        else:
            layers.append(make(d, channels))
            inner = layers[-1].parts[0] if make is residual_block else layers[-1]
            channels = inner.options.get("out_channels", channels)
    return Network("OpSequential", *layers, conv_layer(d, channels))


# ---- backbones and heads ---------------------------------------------------------------------------------------------

def image_channels(d):
    return d.deal("image", 3, 1, 3, 4)


def backbone_dim(d):
    """Heads of fewer channels are left to the blocks. In a whole network one of their pixels may well have a q of next to
    nothing, which attention divides by itself: one rounding of the weights then moves the exact answer by 1e-4."""
    return d.deal("backbone dim", 16, 12, 16, 20)


def backbone(d, full=False):
    """full: no stage is empty, as heads want it."""
    dim = backbone_dim(d)
    width = lambda: d.deal("width", 3, 5, 8, 9, 12, 16, 17, 20)
    heads = lambda: dim * d.deal("times backbone dim", 1, 2)
    depths = [d.deal("depth 0", 1, 0, 2), d.deal("depth 1", 1, 2, 0), d.deal("depth 2", 1, 2, 1, 0),
              d.deal("depth 3", 1, 0, 2), d.deal("depth 4", 1, 2)]
    return Network("EfficientViTBackbone", width_list=[width(), width(), width(), heads() + d.below(2), heads()],
                   depth_list=[max(depth, 1) for depth in depths] if full else depths, in_channels=image_channels(d),
                   dim=dim, expand_ratio=d.deal("backbone ratio", 4, 1, 2.5, 3), norm=d.norm(),
                   act_func=d.deal("backbone activation", *ACTIVATIONS[1:]), norm_eps=d.norm_eps(),
                   attention_eps=d.attention_eps())


def large_backbone(d, stages=0):
    stages = stages or d.deal("stages", 5, 4, 6)
    dim = backbone_dim(d)
    blocks = ["res"] + [d.deal("block", "fmb", "mb", "att", "att@3", "res", "fmb", "att") for _ in range(1, stages)]

    def width(block):
        if block.startswith("att"):
            return dim * d.deal("times backbone dim", 1, 2)
        return d.deal("width", 3, 5, 8, 9, 12, 16, 17, 20)

    return Network("EfficientViTLargeBackbone", width_list=[width(block) for block in blocks],
                   depth_list=[d.deal("large depth", 1, 1, 2, 0) for _ in blocks], block_list=blocks,
                   expand_list=[d.deal("large ratio", 1, 2, 1.5, 3) for _ in blocks],
                   fewer_norm_list=[d.deal("fewer_norm", False, True) for _ in blocks], in_channels=image_channels(d),
                   qkv_dim=dim, norm=d.norm(), act_func=d.deal("backbone activation", *ACTIVATIONS[1:]),
                   norm_eps=d.norm_eps(), attention_eps=d.attention_eps())


def head_options(d):
    return dict(act_func=d.deal("head activation", *ACTIVATIONS[1:]), norm_eps=d.norm_eps())


def classifier(d):
    body = d.deal("classifier", backbone, large_backbone)(d)
    return Network("EfficientViTCls", body, width_list=[d.deal("hidden", 21, 33, 48), d.deal("hidden", 21, 33, 48)],
                   n_classes=d.deal("classes", 2, 7, 19, 10), **head_options(d))


def segmenter(d):
    body = backbone(d, full=True) if d.deal("segmenter", True, False) else large_backbone(d, 5)
    return Network("EfficientViTSeg", body, inputs=d.deal("inputs", 3, 2, 4), head_width=d.deal("head", 12, 17, 32, 7),
                   head_depth=d.deal("head depth", 1, 2, 0), expand_ratio=d.deal("ratio", 1, 2, 2.5, 3, 4),
                   middle_op=d.deal("middle", "mbconv", "fmbconv"), final_expand=d.deal("final", 0, 4, 2),
                   n_classes=d.deal("classes", 2, 7, 19, 10), norm=d.norm(), **head_options(d))


def sam_image_encoder(d):
    return Network("SamImageEncoder", large_backbone(d), head_width=d.deal("head", 12, 17, 32, 7),
                   head_depth=d.deal("head depth", 1, 2, 0), expand_ratio=d.deal("ratio", 1, 2, 2.5, 3, 4),
                   out_dim=d.deal("out_dim", 20, 32, 33), size=d.deal("size", (8, 8), (5, 7), (9, 4)), norm=d.norm(),
                   **head_options(d))


# ---- all -------------------------------------------------------------------------------------------------------------

BLOCKS = {conv_layer: 4, ds_conv: 3, mb_conv: 3, fused_mb_conv: 3, res_block: 3, lite_mla: 10, efficientvit_block: 8,
          residual_block: 8, op_sequential: 8}
NETWORKS = {backbone: 6, large_backbone: 5, classifier: 3, segmenter: 4, sam_image_encoder: 3}


def extent(d, network):
    """Rows and columns of the input that PyTorch gets."""
    name, dim = network.name, network.options.get("dim")
    if name == "EfficientViTSeg":
        # What 32 divides, or a little less: as long as the first map that is added up is as large.
        slack = 2**(6 - network.options["inputs"])
        return [32 * d.deal("32s", 1, 2) - d.below(slack), 32 * d.deal("32s", 1, 2) - d.below(slack)]
    if name in ("EfficientViTBackbone", "EfficientViTLargeBackbone", "EfficientViTCls", "SamImageEncoder"):
        return [d.deal("image extent", 33, 64, 47, 50, 61, 19), d.deal("image extent", 33, 64, 47, 50, 61, 19)]
    if name in ("LiteMLA", "EfficientViTBlock"):
        # dim pixels are the last to be quadratic.
        return d.deal("pixels", [1, dim], [1, dim + 1], [2, (dim - 1) // 2], [6, 7], [9, 5])
    return [d.deal("rows", 1, 2, 5, 7, 8, 11), d.deal("columns", 1, 3, 4, 6, 9, 13)]


def deal(seed):
    """Yields (makers, name, network, input shape): 50 layers and blocks, then 21 networks."""
    d = Dealer(seed)
    for makers in (BLOCKS, NETWORKS):
        for make, count in makers.items():
            for i in range(count):
                network = make(d)
                shape = [d.deal("batch", 1, 2, 1), in_channels(network), *extent(d, network)]
                yield makers, f"{make.__name__}_{i}", network, shape


def in_channels(network):
    """Of the first layer that says so."""
    options = network.options
    if "in_channels" in options or "num_features" in options:
        return options.get("in_channels") or options["num_features"]
    found = (in_channels(part) for part in network.parts if part is not None)
    return next((channels for channels in found if channels), 0)

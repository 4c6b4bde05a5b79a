# SPDX-License-Identifier: Apache-2.0
"""The small SAM of train_shapes.py: the reference's own classes (PyPI's `efficientsam`) at small widths, and weights to
start training from."""

import torch
from efficientsam.models.efficientvit.backbone import EfficientViTLargeBackbone
from efficientsam.models.efficientvit.sam import EfficientViTSam, EfficientViTSamImageEncoder, SamNeck
from efficientsam.models.nn import UpSampleLayer, build_norm
from efficientsam.models.nn.norm import set_norm_eps
from efficientsam.segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import nn

import drawings

FRAME = 1024  # of prompts
EMBED_DIM = 64
GRID = 16  # rows and columns of an embedding
MLP_DIM = 256
HEADS = 2


def build_model():
    """The whole network. shapes_sam.hpp has the same widths."""
    widths = [16, 24, 64, 64, 96]
    backbone = EfficientViTLargeBackbone(
        width_list=widths, depth_list=[0, 1, 1, 2, 2], expand_list=[1, 1, 1, 3, 4], qkv_dim=16)
    neck = SamNeck(
        fid_list=["stage4", "stage3", "stage2"], in_channel_list=widths[:1:-1], head_width=EMBED_DIM, head_depth=2,
        expand_ratio=1, middle_op="fmb", out_dim=EMBED_DIM)
    encoder = EfficientViTSamImageEncoder(backbone, neck)
    encoder.norm = build_norm("ln2d", EMBED_DIM)
    model = EfficientViTSam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=EMBED_DIM, image_embedding_size=(GRID, GRID), input_image_size=(FRAME, FRAME), mask_in_chans=16),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3, transformer_dim=EMBED_DIM, iou_head_depth=3, iou_head_hidden_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, mlp_dim=MLP_DIM, num_heads=HEADS)),
        image_size=(FRAME, drawings.SIDE))
    set_norm_eps(model, 1e-6)
    set_grid(model, GRID)
    return model


def set_grid(model, grid):
    """Rows and columns of embeddings; build_model() gives GRID, training begins with less."""
    for module in model.image_encoder.neck.modules():
        if isinstance(module, UpSampleLayer):
            module.size = (grid, grid)


def begin_by_position(model):
    """Weights to start from with which a click finds what lies below it. From random ones, whose attention knows of no
    places, that alone takes thousands of steps: attention between tokens and places has the same projection on both
    sides and takes what it finds through as it is, what is added to the positions of all tokens or to all places is
    small, and projections keep the lengths of what they project."""
    for module in [*model.mask_decoder.modules(), *model.prompt_encoder.modules()]:
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight, gain=1)
            nn.init.zeros_(module.bias)
    for mlp in model.mask_decoder.output_hypernetworks_mlps:
        for layer in mlp.layers[:-1]:
            nn.init.orthogonal_(layer.weight, gain=2 ** 0.5)
    for module in model.mask_decoder.transformer.modules():
        if getattr(module, "internal_dim", EMBED_DIM) == EMBED_DIM:
            continue
        with torch.no_grad():
            nn.init.orthogonal_(module.q_proj.weight, gain=2)
            module.k_proj.weight.copy_(module.q_proj.weight)
            module.out_proj.weight.copy_(module.v_proj.weight.T)
    with torch.no_grad():
        for embedding in [*model.prompt_encoder.point_embeddings, model.prompt_encoder.no_mask_embed]:
            embedding.weight.mul_(0.2)


def begin_by_pixels(model):
    """Weights to start from with which an embedding holds the pixels of each place at half the picture's size, and masks
    are made of them. From random ones edges finer than a place take thousands of steps. gelu(x) - gelu(-x) is x: with
    both signs a value goes through an activation as it is."""
    encoder, upscaling = model.image_encoder, model.mask_decoder.output_upscaling
    stem, *blocks = [stage.op_list[0] for stage in encoder.backbone.stages[:3]]
    offset = 1.5  # where gelu is nearly linear
    with torch.no_grad():
        blur = torch.tensor([1, 2, 1]) / 4
        for c in range(3):
            stem.conv.weight[[c, 3 + c]] = 0
            stem.conv.weight[c, c] = blur[:, None] * blur
            stem.conv.weight[3 + c, c] = -stem.conv.weight[c, c]
        values = [{c: 1, 3 + c: -1} for c in range(3)]  # each a sum of the channels that come in
        for block in blocks:
            spatial, point = block.main.spatial_conv.conv.weight, block.main.point_conv.conv.weight
            count = 4 * len(values)
            spatial[:2 * count] = 0
            point[:count] = 0
            for k in range(count):
                (dy, dx), value = divmod(k // len(values), 2), values[k % len(values)]
                for channel, sign in value.items():
                    spatial[2 * k, channel, 1 + dy, 1 + dx] = sign
                    spatial[2 * k + 1, channel, 1 + dy, 1 + dx] = -sign
                point[k, 2 * k], point[k, 2 * k + 1] = 1, -1
            values = [{k: 1} for k in range(count)]
        # What is added to them is small at first.
        for block in [*encoder.backbone.stages[1].op_list[1:], *encoder.backbone.stages[2].op_list[1:],
                      *encoder.neck.middle.op_list]:
            block.main.point_conv.norm.weight.fill_(0.05)
        for way in encoder.neck.input_ops[:2]:
            way.op_list[0].norm.weight.fill_(0.05)
        nn.init.dirac_(encoder.neck.input_ops[2].op_list[0].conv.weight)
        # Beside two constants a norm hides little of how bright pixels are.
        out = encoder.neck.output_ops[0].op_list[0].conv
        nn.init.dirac_(out.weight)
        out.weight[-2:] = 0
        out.bias[-2:] = torch.tensor([8.0, -8.0])
        encoder.norm.weight.fill_(1.7)
        encoder.norm.weight[-2:] = 0
        # A place becomes 2x2 parts of 2x2 pixels, as the blocks have put them together.
        part = len(values) // 4
        first, norm, second = upscaling[0], upscaling[1], upscaling[3]
        first.weight[:, :part] = 0
        for k in range(len(values)):
            first.weight[k, k % part, k // part // 2, k // part % 2] = 1
        first.weight[:, -2:] = 0
        first.bias[-2:] = torch.tensor([6.0, -6.0])
        norm.bias.fill_(offset)
        color = nn.init.orthogonal_(torch.empty(3, second.weight.shape[1]))
        others = 0.1 * torch.randn(second.weight.shape[0] - part, second.weight.shape[1])
        others[-2:] = 0
        second.weight.zero_()
        for pixel in range(4):
            at = second.weight[:, :, pixel // 2, pixel % 2]
            at[3 * pixel:3 * pixel + 3] = 3 * color
            at[part:] = others
        second.bias.copy_(-offset * (3 * color.sum(0) + others.sum(0)))

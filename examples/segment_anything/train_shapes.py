#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train a small EfficientViT-SAM on drawn shapes (drawings.py) and write its weights, float16, under the reference's
own names.

The network is made of the reference's own classes (PyPI's `efficientsam`), only narrower: pictures of 128 pixels,
embeddings of 64 channels on a grid of 16x16, masks of 64x64, prompts in the frame of 1024 as ever. A click means
the shape below it, or one of the two that a part belongs to; clicks, boxes, corrections and earlier masks are trained.

Set up and run:

  python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/pip install --no-deps efficientsam
  venv/bin/python train_shapes.py

A checkpoint is written every 100 steps, from which a killed run goes on. --evaluate trains nothing: it measures the
weights that are there on drawings that training never saw.
"""

import argparse
import functools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from efficientsam.models.efficientvit.backbone import EfficientViTLargeBackbone
from efficientsam.models.efficientvit.sam import (
    EfficientViTSam, EfficientViTSamImageEncoder, EfficientViTSamPredictor, SamNeck)
from efficientsam.models.nn import UpSampleLayer, build_norm
from efficientsam.models.nn.norm import set_norm_eps
from efficientsam.segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional

import drawings

HERE = Path(__file__).resolve().parent
FRAME = 1024  # of prompts
EMBED_DIM = 64
GRID = 16  # rows and columns of an embedding
EXPORTED = 32  # drawings that are kept beside the weights
HELD_OUT = 1_000_000_000  # the first seed of drawings that are not trained on
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


def build_model():
    """The whole network. segment_anything.hpp has the same widths."""
    backbone = EfficientViTLargeBackbone(
        width_list=[16, 24, 32, 64, 96], depth_list=[0, 1, 1, 2, 2], expand_list=[1, 1, 1, 3, 4], qkv_dim=16)
    neck = SamNeck(
        fid_list=["stage4", "stage3", "stage2"], in_channel_list=[96, 64, 32], head_width=EMBED_DIM, head_depth=2,
        expand_ratio=1, middle_op="fmb", out_dim=EMBED_DIM)
    for module in neck.modules():
        if isinstance(module, UpSampleLayer):
            module.size = (GRID, GRID)
    encoder = EfficientViTSamImageEncoder(backbone, neck)
    encoder.norm = build_norm("ln2d", EMBED_DIM)
    model = EfficientViTSam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=EMBED_DIM, image_embedding_size=(GRID, GRID), input_image_size=(FRAME, FRAME), mask_in_chans=16),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3, transformer_dim=EMBED_DIM, iou_head_depth=3, iou_head_hidden_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, mlp_dim=256, num_heads=4)),
        image_size=(FRAME, drawings.SIDE))
    set_norm_eps(model, 1e-6)
    return model


# ---- Prompts ---------------------------------------------------------------------------------------------------------

def choose_targets(drawing, rng, count):
    """`count` masks of a drawing, mostly shapes, and for each the other one that a click may mean."""
    shapes = np.arange(1, len(drawing.masks))
    chosen = [0 if len(shapes) == 0 or rng.random() < 0.08 else int(rng.choice(shapes)) for _ in range(count)]
    return chosen, [int(drawing.whole[i]) for i in chosen]


def jittered_box(mask, rng):
    x0, y0, x1, y1 = drawings.box_around(mask)
    noise = rng.normal(0, 0.04, 4) * np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
    box = np.array([x0, y0, x1, y1]) + np.clip(noise, -6, 6)
    return np.array([min(box[0], box[2] - 1), min(box[1], box[3] - 1), box[2], box[3]], np.float32)


def make_prompts(drawing, targets, kind, extra, rng):
    """Points (n, 2), labels (n), box (4) for each target, in the drawing's pixels."""
    points, labels, boxes = [], [], []
    for i in targets:
        mask = drawing.masks[i]
        at = [drawings.point_in(mask, rng)]
        sign = [1]
        for _ in range(extra):
            positive = rng.random() < 0.5 or mask.all()
            at.append(drawings.point_in(mask if positive else ~mask, rng))
            sign.append(int(positive))
        points.append(at)
        labels.append(sign)
        # A box around the background says nothing; its place is taken by one that is empty of meaning for all.
        boxes.append(jittered_box(mask, rng))
    size = max(drawing.image.shape[:2])
    scale = FRAME / size
    uses_points = kind != "box"
    uses_box = kind in ("box", "box+point")
    return (np.array(points, np.float32) * scale if uses_points else None,
            np.array(labels, np.int32) if uses_points else None,
            np.array(boxes, np.float32) * scale if uses_box else None)


def image_tensor(image):
    """(3, SIDE, SIDE), as the reference's transform makes it of a picture whose long side is SIDE already."""
    out = torch.zeros(3, drawings.SIDE, drawings.SIDE)
    height, width = image.shape[:2]
    out[:, :height, :width] = (torch.from_numpy(image).permute(2, 0, 1).float() - MEAN) / STD
    return out


def find_places(model):
    """Attention between tokens and places begins by position: the same projection of both, so that a click finds what
    lies around it. From random projections, which know of no places, it takes thousands of steps to come to that."""
    for module in model.mask_decoder.transformer.modules():
        if getattr(module, "internal_dim", EMBED_DIM) == EMBED_DIM:
            continue
        with torch.no_grad():
            torch.nn.init.orthogonal_(module.q_proj.weight, gain=2)
            module.k_proj.weight.copy_(module.q_proj.weight)
            module.q_proj.bias.zero_()
            module.k_proj.bias.zero_()


# ---- Training --------------------------------------------------------------------------------------------------------

def decode(model, embedding, points, labels, boxes, mask_input=None):
    """All four masks (B·P, 4, ·, ·) and ious (B·P, 4) for P prompts on each of B embeddings."""
    prompts = len(points if points is not None else boxes)
    sparse, dense = model.prompt_encoder(
        points=None if points is None else (points, labels), boxes=boxes, masks=mask_input)
    decoder = model.mask_decoder
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None].expand(prompts, -1, -1)
    tokens = torch.cat([tokens, sparse], 1)
    source = embedding.repeat_interleave(prompts // len(embedding), 0) + dense
    hidden, source = decoder.transformer(source, model.prompt_encoder.get_dense_pe().expand(prompts, -1, -1, -1), tokens)
    source = source.transpose(1, 2).reshape(prompts, EMBED_DIM, GRID, GRID)
    upscaled = decoder.output_upscaling(source)
    hyper = torch.stack([mlp(hidden[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1)
    masks = (hyper @ upscaled.flatten(2)).view(prompts, -1, 4 * GRID, 4 * GRID)
    return masks.float(), decoder.iou_prediction_head(hidden[:, 0]).float()


class Outlines(torch.nn.Module):
    """What is a shape and where one ends, told from an embedding alone: a help in training that is thrown away."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(EMBED_DIM, 2 * 16, 1)

    def loss(self, embedding, truth):
        logits = functional.pixel_shuffle(self.layer(embedding), 4).float()
        return functional.binary_cross_entropy_with_logits(logits, truth)


def outlines(drawing):
    """(2, 4 GRID, 4 GRID): the shapes, and the places where neighbours differ."""
    labels = np.zeros((drawings.SIDE, drawings.SIDE), np.int32)
    for i, mask in enumerate(drawing.masks):
        labels[:mask.shape[0], :mask.shape[1]][mask] = i
    edges = np.zeros(labels.shape, bool)
    edges[1:] |= labels[1:] != labels[:-1]
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    out = torch.from_numpy(np.stack([labels > 0, edges])).float()
    return functional.max_pool2d(out, drawings.SIDE // (4 * GRID))


def enlarge(logits):
    return functional.interpolate(logits, (drawings.SIDE, drawings.SIDE), mode="bilinear", align_corners=False)


def soft_scores(logits, target, valid):
    """Cross entropy plus one minus dice, for each of (n, ·, ·)."""
    cross = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    cross = (cross * valid).sum((1, 2)) / valid.sum((1, 2))
    p = logits.sigmoid() * valid
    dice = (2 * (p * target).sum((1, 2)) + 1) / (p.sum((1, 2)) + target.sum((1, 2)) + 1)
    return 3 * cross + 1 - dice


def hard_iou(logits, target, valid):
    mask = (logits > 0) & (valid > 0)
    truth = target > 0.5
    return (mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2)).clamp(min=1)


def losses(masks, ious, target, other, valid, multimask):
    """The loss of a decoder's output for n prompts: target (n, S, S), other what a click may mean instead."""
    n = len(masks)
    single = enlarge(masks[:, :1])[:, 0]
    total = soft_scores(single, target, valid)
    with torch.no_grad():
        truth = [hard_iou(single, target, valid)]
    if multimask:
        with torch.no_grad():  # which of three masks is the closest, told from the small maps
            small = masks[:, 1:].flatten(0, 1)
            half = [functional.avg_pool2d(x[:, None], 2)[:, 0] for x in (target, other, valid)]
            score = [soft_scores(small, x.repeat_interleave(3, 0), half[2].repeat_interleave(3, 0)).view(n, 3)
                     for x in half[:2]]
            best, best_other = score[0].argmin(1), score[1].argmin(1)
        rows = torch.arange(n)
        chosen = enlarge(masks[rows, 1 + best][:, None])[:, 0]
        chosen_other = enlarge(masks[rows, 1 + best_other][:, None])[:, 0]
        total = total + 0.5 * soft_scores(chosen, target, valid) + 0.5 * soft_scores(chosen_other, other, valid)
        with torch.no_grad():
            iou = hard_iou(chosen, target, valid), hard_iou(chosen_other, other, valid)
        total = total + (ious[rows, 1 + best] - iou[0]).square() + (ious[rows, 1 + best_other] - iou[1]).square()
        # The masks that nobody chose must not promise much either.
        with torch.no_grad():
            full = hard_iou(small, half[0].repeat_interleave(3, 0), half[2].repeat_interleave(3, 0)).view(n, 3)
            alone = hard_iou(small, half[1].repeat_interleave(3, 0), half[2].repeat_interleave(3, 0)).view(n, 3)
        total = total + 0.3 * (ious[:, 1:] - torch.maximum(full, alone)).square().mean(1)
    total = total + (ious[:, 0] - truth[0]).square()
    return total.mean(), truth[0].mean()


def padded(mask):
    out = torch.zeros(drawings.SIDE, drawings.SIDE)
    out[:mask.shape[0], :mask.shape[1]] = torch.from_numpy(mask)
    return out


@functools.cache
def cached_drawing(seed):
    return drawings.draw(seed)


def training_drawing(seed, rng):
    """A drawing, turned over and with its colors exchanged."""
    drawing = cached_drawing(seed)
    image, masks = drawing.image[..., rng.permutation(3)], drawing.masks
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    if rng.random() < 0.5:
        image, masks = image[::-1], masks[:, ::-1]
    if rng.random() < 0.5:
        image, masks = image.transpose(1, 0, 2), masks.transpose(0, 2, 1)
    return drawings.Drawing(np.ascontiguousarray(image), np.ascontiguousarray(masks), drawing.is_part, drawing.whole)


def batch_of(step, args):
    """Drawings and two prompts of one click and two of another kind for each: what one step learns from."""
    rng = np.random.default_rng([args.seed, step])
    kind = str(rng.choice(["box", "points", "box+point"], p=[0.55, 0.27, 0.18]))
    extra = int(rng.integers(1, 4)) if kind == "points" else 0
    images, outline, sets = [], [], {"click": [], kind: []}
    for i in range(args.batch):
        drawing = training_drawing(int(rng.integers(args.drawings)), rng)
        images.append(image_tensor(drawing.image))
        outline.append(outlines(drawing))
        valid = padded(np.ones(drawing.image.shape[:2], bool))
        for name, more in (("click", 0), (kind, extra)):
            targets, others = choose_targets(drawing, rng, args.prompts)
            if name == "box" and len(drawing.masks) > 1:
                targets = [t or int(rng.integers(1, len(drawing.masks))) for t in targets]
            prompts = make_prompts(drawing, targets, name, more, rng)
            sets[name].append((prompts, [padded(drawing.masks[t]) for t in targets],
                               [padded(drawing.masks[t]) for t in others], valid))
    out = []
    for name, items in sets.items():
        prompts = [None if items[0][0][k] is None else torch.from_numpy(np.concatenate([i[0][k] for i in items]))
                   for k in range(3)]
        target = torch.stack([m for i in items for m in i[1]])
        other = torch.stack([m for i in items for m in i[2]])
        valid = torch.stack([i[3] for i in items for _ in i[1]])
        out.append((name, prompts, target, other, valid))
    return torch.stack(images), torch.stack(outline), out


def correction(logits, target, valid, rng):
    """A further click for each of n masks: where it is wrong. (n, 1, 2) in the frame, labels (n, 1)."""
    points, labels = [], []
    wrong = ((enlarge(logits)[:, 0] > 0) != (target > 0.5)) & (valid > 0)
    for i in range(len(target)):
        at = drawings.point_in((wrong[i] if wrong[i].any() else valid[i] > 0).numpy(), rng)
        points.append([at * (FRAME / drawings.SIDE)])
        labels.append([int(target[i, int(at[1]), int(at[0])] > 0.5)])
    return torch.tensor(np.array(points)), torch.tensor(labels, dtype=torch.int32)


def learning_rate(step, args):
    """Rises for 100 steps, then stays, and falls over the last 40 % as a cosine."""
    done = step / args.steps
    fall = 0.5 + 0.5 * math.cos(math.pi * max(0.0, done - 0.6) / 0.4)
    return args.lr * min(1, (step + 1) / 100) * max(fall, 0.005)


def train(args):
    torch.manual_seed(args.seed)
    model = build_model().train().to(memory_format=torch.channels_last)
    find_places(model)
    helper = Outlines()
    weights = sum(p.numel() for p in model.parameters())
    print(f"{weights} parameters", flush=True)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1] + list(helper.parameters())
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0}])
    first = 0
    if args.start is not None:
        model.load_state_dict({k: v.float() for k, v in load_file(args.start).items()}, strict=False)
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        helper.load_state_dict(state["helper"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    begin, seen, shown = time.monotonic(), [], time.monotonic()
    for step in range(first, args.steps):
        images, outline, sets = batch_of(step, args)
        rng = np.random.default_rng([args.seed, step, 1])
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            embedding = model.image_encoder(images.to(memory_format=torch.channels_last))
            loss = helper.loss(embedding, outline)
            for name, (points, labels, boxes), target, other, valid in sets:
                masks, ious = decode(model, embedding, points, labels, boxes)
                with torch.autocast("cpu", enabled=False):
                    part, iou = losses(masks, ious, target, other, valid, multimask=name == "click")
                    seen.append((name, iou.item()))
                loss = loss + part
                if name == "points" or (name == "box" and step % 3 == 0):
                    more, signs = correction(masks[:, :1].detach(), target, valid, rng)
                    if points is not None:
                        more, signs = torch.cat([points, more], 1), torch.cat([labels, signs], 1)
                    masks, ious = decode(model, embedding, more, signs, boxes, masks[:, :1].detach())
                    with torch.autocast("cpu", enabled=False):
                        part, _ = losses(masks, ious, target, other, valid, multimask=False)
                    loss = loss + 0.5 * part
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        optimizer.step()
        if (step + 1) % args.every == 0:
            mean = {name: np.mean([v for n, v in seen if n == name]) for name, _ in seen}
            text = ", ".join(f"{n} {v:.3f}" for n, v in sorted(mean.items()))
            rate = (time.monotonic() - shown) / args.every
            print(f"step {step + 1}/{args.steps}, loss {loss.item():.3f}, IoU of one mask: {text}; "
                  f"{rate:.2f} s a step, {(time.monotonic() - begin) / 60:.1f} min", flush=True)
            seen, shown = [], time.monotonic()
        if (step + 1) % 100 == 0 or step + 1 == args.steps:
            state = {"model": model.state_dict(), "helper": helper.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            partial = args.checkpoint.with_suffix(".tmp")
            torch.save(state, partial)
            partial.replace(args.checkpoint)
    return model.eval()


# ---- Evaluation ------------------------------------------------------------------------------------------------------

def run_lengths(mask):
    """COCO's uncompressed counts."""
    flat = mask.T.flatten()
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return [0, *counts] if flat[0] else counts


@torch.inference_mode()
def evaluate(model, count, folder=None):
    """Mean IoU on held-out drawings: the best of three masks by its own score for a click, one mask for a click, one
    for a box; and how far the scores are from the truth. Into a folder go the drawings and what was asked of them."""
    predictor = EfficientViTSamPredictor(model)
    found = {"click, best score of three": [], "click, one mask": [], "box": [], "error of the score": []}
    stored = []
    for i in range(count):
        drawing = drawings.draw(HELD_OUT + i)
        rng = np.random.default_rng(i)
        predictor.set_image(drawing.image)
        objects = []
        for k in range(1, len(drawing.masks)):
            truth = drawing.masks[k]

            def iou(mask, truth=truth):
                return float((mask & truth).sum() / (mask | truth).sum())

            point, box = drawings.inner_point(truth, rng), drawings.box_around(truth)
            # A click on a part may as well mean the whole.
            wholes = [drawing.masks[drawing.whole[k]]] if drawing.is_part[k] else []
            masks, scores, _ = predictor.predict(point[None], np.array([1]))
            best = masks[scores.argmax()]
            overlap = max(iou(best, c) for c in [truth, *wholes])
            found["click, best score of three"].append(overlap)
            found["error of the score"].append(abs(overlap - scores.max()))
            masks, _, _ = predictor.predict(point[None], np.array([1]), multimask_output=False)
            found["click, one mask"].append(iou(masks[0]))
            masks, _, _ = predictor.predict(box=box, multimask_output=False)
            found["box"].append(iou(masks[0]))
            objects.append({"point": point.tolist(), "box": box.tolist(),
                            "truths": [run_lengths(m) for m in [truth, *wholes]]})
        if folder is not None:
            folder.mkdir(exist_ok=True)
            Image.fromarray(drawing.image).save(folder / f"{i:03}.png", optimize=True)
            stored.append({"file": f"{i:03}.png", "size": list(drawing.image.shape[:2]), "objects": objects})
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    for name, values in found.items():
        print(f"{name}: {mean[name]:.4f} (of {len(values)}; below 0.5: {np.mean(np.array(values) < 0.5):.3f})")
    if folder is not None:
        text = json.dumps({"torch": {"click": mean["click, best score of three"], "box": mean["box"]}, "drawings": stored})
        (folder / "drawings.json").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=16, help="drawings a step")
    parser.add_argument("--drawings", type=int, default=4000, help="that are trained on, each in 48 variants")
    parser.add_argument("--prompts", type=int, default=3, help="of each of two kinds, on each drawing")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=20, help="steps between two lines of progress")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=False,
                        help="products in bfloat16: faster where the processor has AMX or AVX512_BF16")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "shapes.checkpoint")
    parser.add_argument("--start", type=Path, help="weights to begin with instead of random ones")
    parser.add_argument("--weights", type=Path, default=HERE / "shapes_sam.safetensors")
    parser.add_argument("--evaluate", type=int, metavar="N", help="measure on N held-out drawings and stop")
    parser.add_argument("--export", action="store_true", help="with --evaluate: write what shapes.cpp reads, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.evaluate is None:
        model = train(args)
        tensors = {k: v.half().contiguous() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
        save_file(tensors, args.weights)
    model = build_model()
    tensors = {k: v.float() for k, v in load_file(args.weights).items()}
    missing = model.load_state_dict(tensors, strict=False)
    assert all(k.endswith("num_batches_tracked") for k in missing.missing_keys) and not missing.unexpected_keys
    evaluate(model.eval(), 200 if args.evaluate is None else args.evaluate)
    if args.evaluate is None or args.export:
        print(f"{EXPORTED} drawings for shapes.cpp:")
        evaluate(model, EXPORTED, args.weights.parent / "held_out")


if __name__ == "__main__":
    main()

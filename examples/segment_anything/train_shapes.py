#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train a small EfficientViT-SAM on drawn shapes (drawings.py) and write its weights, float16, under the reference's
own names.

The network (shapes_network.py) is the reference's, only narrower: pictures of 128 pixels, embeddings of 64 channels on
a grid of 16x16, masks of 64x64, prompts in the frame of 1024 as ever. It learns from clicks and boxes, and from a second
click where a mask is wrong, which comes with that mask.

Set up and run:

  python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/pip install --no-deps efficientsam
  venv/bin/python train_shapes.py

A checkpoint is written every 50 steps, from which a killed run goes on. --evaluate trains nothing: it measures the
weights that are there on drawings that training never saw.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from efficientsam.models.efficientvit.sam import EfficientViTSamPredictor
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

import drawings
from shapes_network import EMBED_DIM, FRAME, GRID, begin_by_pixels, begin_by_position, build_model, set_grid

HERE = Path(__file__).resolve().parent
SIDE = drawings.SIDE
EXPORTED = 32  # drawings that are kept beside the weights
HELD_OUT = 1_000_000_000  # the first seed of drawings that are not trained on
PADDING = 255  # the label of pixels outside a drawing
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


# ---- Drawings and prompts --------------------------------------------------------------------------------------------

class Drawings:
    """The drawings that are trained on, in memory."""

    def __init__(self, count):
        self.images = torch.empty(count, 3, SIDE, SIDE, dtype=torch.uint8)
        self.labels = torch.full((count, SIDE, SIDE), PADDING, dtype=torch.uint8)
        self.shapes = torch.empty(count, dtype=torch.int64)
        # Beside a drawing stands what normalizes to (nearly) nothing, as beside a padded picture.
        self.images[:] = MEAN.round().to(torch.uint8)
        for i in range(count):
            drawing = drawings.draw(i)
            height, width = drawing.labels.shape
            self.images[i, :, :height, :width] = torch.from_numpy(drawing.image).permute(2, 0, 1)
            self.labels[i, :height, :width] = torch.from_numpy(drawing.labels)
            self.shapes[i] = drawing.count

    def batch(self, size, prompts):
        """`size` drawings (·, 3, SIDE, SIDE), and of each the masks (·, prompts, SIDE, SIDE) of random shapes or, one in
        twenty, of the background. All are turned over alike, with colors exchanged."""
        chosen = torch.randint(len(self.images), (size,))
        images, labels = self.images[chosen], self.labels[chosen]
        turned = [d for d in (-1, -2) if torch.rand(()) < 0.5]
        images, labels = images.flip(turned), labels.flip(turned)
        if torch.rand(()) < 0.5:
            images, labels = images.transpose(-1, -2), labels.transpose(-1, -2)
        images = (images[:, torch.randperm(3)] - MEAN) / STD
        shape = 1 + (torch.rand(size, prompts) * self.shapes[chosen, None]).floor()
        shape = torch.where((torch.rand(size, prompts) < 0.05) | (self.shapes[chosen, None] == 0), 0, shape)
        return images, labels[:, None] == shape[..., None, None].to(torch.uint8)


def random_points(masks):
    """(n, 2), x and y of a random set pixel of each of n masks (n, ·, ·) at half a drawing's size."""
    width = masks.shape[2]
    at = (torch.rand(masks.shape) * masks).flatten(1).argmax(1)
    return 2 * torch.stack([at % width, at // width], 1) + torch.randint(0, 2, (len(masks), 2)).float()


def shrunk(masks):
    """Masks without the pixels along their edges; whole where nothing would be left."""
    kept = -functional.max_pool2d(-masks[:, None].float(), 3, 1, 1)[:, 0] > 0
    return torch.where(kept.any(2).any(1)[:, None, None], kept, masks)


def boxes_around(masks):
    """(n, 4): as a hand draws them, some four percent beside the edges."""
    columns, rows = masks.any(1).byte(), masks.any(2).byte()
    first = torch.stack([columns.argmax(1), rows.argmax(1)], 1).float()
    last = SIDE - 1 - torch.stack([columns.flip(1).argmax(1), rows.flip(1).argmax(1)], 1).float()
    noise = 0.04 * (last - first) * torch.randn(2, *first.shape).clamp(-2, 2)
    return torch.cat([first + noise[0], last + noise[1]], 1)


def to_frame(coordinates):
    return coordinates * (FRAME / SIDE)


def click_tokens(model, points, labels):
    """Tokens of clicks (n, k, 2), labels (n, k), and those of the padding that the reference adds."""
    return model.prompt_encoder(points=(to_frame(points), labels), boxes=None, masks=None)[0]


def box_tokens(model, boxes):
    return model.prompt_encoder(points=None, boxes=to_frame(boxes), masks=None)[0]


# ---- Training --------------------------------------------------------------------------------------------------------

class Decoded:
    """What the decoder makes of n prompts: masks (n, 4, 4 grid, 4 grid), ious (n, 4), and what its tokens know after
    each layer and at the end."""

    def __init__(self, model, embedding, sparse, mask_input=None):
        """n = a multiple of the embeddings; prompts of one embedding stand one after the other."""
        decoder, prompts = model.mask_decoder, model.prompt_encoder
        n = len(sparse)
        if mask_input is None:
            dense = prompts.no_mask_embed.weight.view(1, -1, 1, 1)
        else:
            dense = prompts.mask_downscaling(mask_input)
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None].expand(n, -1, -1)
        tokens = torch.cat([tokens, sparse], 1)
        keys = (embedding.repeat_interleave(n // len(embedding), 0) + dense).flatten(2).transpose(1, 2)
        grid = embedding.shape[2]
        places = prompts.pe_layer((grid, grid)).flatten(1).T[None]
        queries, self.known = tokens, []
        for layer in decoder.transformer.layers:
            queries, keys = layer(queries=queries, keys=keys, query_pe=tokens, key_pe=places)
            self.known.append(queries[:, 5])
        final = decoder.transformer.final_attn_token_to_image
        queries = decoder.transformer.norm_final_attn(queries + final(q=queries + tokens, k=keys + places, v=keys))
        self.known.append(queries[:, 1])
        upscaled = decoder.output_upscaling(keys.transpose(1, 2).reshape(n, EMBED_DIM, grid, grid))
        hyper = torch.stack([mlp(queries[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1)
        self.masks = (hyper @ upscaled.flatten(2)).view(n, -1, 4 * grid, 4 * grid)
        self.ious = decoder.iou_prediction_head(queries[:, 0])


class Helpers(nn.Module):
    """Tasks that only training has: an embedding must tell the picture at half its size and where its edges are, and
    the token of a click or a box, layer by layer, the color of what is meant."""

    def __init__(self):
        super().__init__()
        self.picture = nn.Conv2d(EMBED_DIM, 4 * 16, 1)
        self.colors = nn.ModuleList(nn.Linear(EMBED_DIM, 3) for _ in range(3))

    def picture_loss(self, embedding, small):
        """small: (B, 3, 4 grid, 4 grid)"""
        told = functional.pixel_shuffle(self.picture(embedding), 4)
        slope = [functional.pad((small[..., 1:, :] - small[..., :-1, :]).abs().sum(1), (0, 0, 0, 1)),
                 functional.pad((small[..., 1:] - small[..., :-1]).abs().sum(1), (0, 1))]
        edge = (torch.maximum(*slope) > 0.6).float()
        return ((told[:, :3] - small).abs().mean()
                + functional.binary_cross_entropy_with_logits(told[:, 3], edge))

    def color_loss(self, known, colors):
        return sum((layer(x) - colors).abs().mean() for layer, x in zip(self.colors, known))


def iou_of(masks, truth):
    """(n, m) of logits (n, m, ·, ·) and sets (n, 1, ·, ·)."""
    masks = masks > 0
    return (masks & truth).sum((2, 3)) / (masks | truth).sum((2, 3)).clamp(min=1)


def mask_loss(decoded, target, balanced):
    """Cross entropy, dice and the error of the predicted IoU, of all four masks, and the IoU of the first; target
    (n, ·, ·) has the share of each pixel. A drawing has no parts: no prompt is ambiguous. `balanced`: what is in the
    mask counts as much as what is not, so that masks of a few pixels are found at all."""
    logits, target = decoded.masks, target[:, None]
    wide = target.expand_as(logits)
    cross = functional.binary_cross_entropy_with_logits(logits, wide, reduction="none")
    if balanced:
        share = target.mean((2, 3), keepdim=True).clamp(0.01, 0.99)
        cross = cross * (0.5 * target / share + 0.5 * (1 - target) / (1 - share))
    p = logits.sigmoid()
    dice = 1 - (2 * (p * wide).sum((2, 3)) + 1) / (p.sum((2, 3)) + wide.sum((2, 3)) + 1)
    with torch.no_grad():
        iou = iou_of(logits, target > 0.5)
    return ((2 if balanced else 5) * cross.mean((2, 3)) + dice + (decoded.ious - iou).square()).mean(), iou[:, 0]


def learning_rate(step, args):
    """Rises for 30 steps and falls as a cosine."""
    return args.lr * min(1, (step + 1) / 30) * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * step / args.steps)))


def losses(model, helpers, images, masks, shrink, corrected):
    """The loss of a batch of which the network sees a `shrink`-th of the size: of each drawing's prompts the first
    third are clicks, the others boxes. And the IoU of both. `corrected`: clicks are followed by a second one where the
    mask is wrong, which comes with the mask."""
    set_grid(model, GRID // shrink)
    small = functional.avg_pool2d(images, 2 * shrink)
    halved = functional.avg_pool2d(masks.float(), 2)
    target = halved if shrink == 1 else functional.avg_pool2d(halved, shrink)
    colors = torch.einsum("bchw,bphw->bpc", small, target) / target.sum((2, 3))[..., None].clamp(min=1)
    seen = images if shrink == 1 else functional.avg_pool2d(images, shrink)
    embedding = model.image_encoder(seen.to(memory_format=torch.channels_last))
    clicks = max(1, masks.shape[1] // 3)  # boxes are learned more slowly
    clicked = halved[:, :clicks].flatten(0, 1) >= 0.75
    inner = torch.rand(len(clicked), 1, 1) < 0.5
    points = random_points(torch.where(inner, shrunk(clicked), clicked))[:, None]
    labels = torch.ones(len(points), 1)
    sparse = [click_tokens(model, points, labels), box_tokens(model, boxes_around(masks[:, clicks:].flatten(0, 1)))]
    # Both have two tokens, so that one pass decodes all.
    sparse = torch.cat([x.unflatten(0, (len(images), -1)) for x in sparse], 1).flatten(0, 1)
    decoded = Decoded(model, embedding, sparse)
    loss, iou = mask_loss(decoded, target.flatten(0, 1), balanced=shrink > 1)
    total = loss + helpers.picture_loss(embedding, small) + helpers.color_loss(decoded.known, colors.flatten(0, 1))
    iou = iou.view(len(images), -1)
    if corrected:
        logits = decoded.masks[:, :1].detach().unflatten(0, (len(images), -1))[:, :clicks].flatten(0, 1)
        wrong = (logits[:, 0] > 0) != clicked
        again = random_points(torch.where(wrong.any(2).any(1)[:, None, None], wrong, clicked))
        kind = clicked[torch.arange(len(again)), again[:, 1].long() // 2, again[:, 0].long() // 2].float()
        sparse = click_tokens(model, torch.cat([points, again[:, None]], 1), torch.cat([labels, kind[:, None]], 1))
        corrected_masks = Decoded(model, embedding, sparse, logits)
        total = total + 0.5 * mask_loss(corrected_masks, target[:, :clicks].flatten(0, 1), balanced=False)[0]
    return total, iou[:, :clicks].mean(), iou[:, clicks:].mean()


def train(args):
    torch.manual_seed(args.seed)
    model = build_model().train().to(memory_format=torch.channels_last)
    begin_by_position(model)
    begin_by_pixels(model)
    helpers = Helpers()
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    learned = [*model.parameters(), *helpers.parameters()]
    optimizer = torch.optim.AdamW([{"params": [p for p in learned if p.ndim > 1], "weight_decay": 0.02},
                                   {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0}], betas=(0.9, 0.98))
    first = 0
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        helpers.load_state_dict(state["helpers"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    data = Drawings(args.drawings)
    begin, begin_cpu, seen = time.monotonic(), time.process_time(), []
    for step in range(first, args.steps):
        torch.manual_seed(args.seed * 1_000_003 + step)
        images, masks = data.batch(args.batch, args.prompts)
        # Half the size is a quarter of the work, and enough to learn that a click means what lies below it.
        shrink = 2 if step < args.small * args.steps else 1
        loss, click, box = losses(model, helpers, images, masks, shrink, corrected=shrink == 1 and step % 4 == 0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        optimizer.step()
        seen.append((loss.item(), click.item(), box.item()))
        if (step + 1) % args.every == 0:
            mean = np.mean(seen, 0)
            print(f"step {step + 1}/{args.steps}, loss {mean[0]:.3f}, IoU: click {mean[1]:.3f}, box {mean[2]:.3f}; "
                  f"{(time.monotonic() - begin) / 60:.1f} min, {(time.process_time() - begin_cpu) / 60:.1f} of CPU",
                  flush=True)
            seen = []
        if (step + 1) % 50 == 0 or step + 1 == args.steps:
            state = {"model": model.state_dict(), "helpers": helpers.state_dict(), "optimizer": optimizer.state_dict(),
                     "step": step + 1}
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
        for k in range(1, drawing.count + 1):
            truth = drawing.mask(k)

            def iou(mask, truth=truth):
                return float((mask & truth).sum() / (mask | truth).sum())

            point, box = drawings.inner_point(truth, rng), drawings.box_around(truth)
            masks, scores, _ = predictor.predict(point[None], np.array([1]))
            best = scores.argmax()
            found["click, best score of three"].append(iou(masks[best]))
            found["error of the score"].append(abs(iou(masks[best]) - scores[best]))
            masks, _, _ = predictor.predict(point[None], np.array([1]), multimask_output=False)
            found["click, one mask"].append(iou(masks[0]))
            masks, _, _ = predictor.predict(box=box, multimask_output=False)
            found["box"].append(iou(masks[0]))
            objects.append({"point": point.tolist(), "box": box.tolist(), "truth": run_lengths(truth)})
        if folder is not None:
            folder.mkdir(exist_ok=True)
            Image.fromarray(drawing.image).save(folder / f"{i:03}.png", optimize=True)
            stored.append({"file": f"{i:03}.png", "objects": objects})
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    for name, values in found.items():
        print(f"{name}: {mean[name]:.4f} (of {len(values)}; below 0.5: {np.mean(np.array(values) < 0.5):.3f})")
    if folder is not None:
        text = json.dumps({"torch": {"click": mean["click, best score of three"], "box": mean["box"]}, "drawings": stored})
        (folder / "drawings.json").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--small", type=float, default=0.03, help="share of the steps that see drawings of half the size")
    parser.add_argument("--batch", type=int, default=16, help="drawings a step")
    parser.add_argument("--drawings", type=int, default=5000, help="that are trained on, each in 48 variants")
    parser.add_argument("--prompts", type=int, default=6, help="on each drawing, a third of them clicks, the others boxes")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=50, help="steps between two lines of progress")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "shapes.checkpoint")
    parser.add_argument("--weights", type=Path, default=HERE / "shapes_sam.safetensors")
    parser.add_argument("--evaluate", type=int, metavar="N", help="measure on N held-out drawings and stop")
    parser.add_argument("--export", action="store_true", help="with --evaluate: write what shapes.cpp reads, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.evaluate is None:
        model = train(args)
        set_grid(model, GRID)
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

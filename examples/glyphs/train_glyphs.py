#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train timm's efficientvit_b0 on the characters of drawing.py and write what glyphs.cpp needs.

There are 200 classes. Training draws every picture anew, from upright fonts of the Debian packages in fonts.TRAINED.
2000 pictures are held out, ten of each class, from fonts of the packages in fonts.HELD_OUT, none of which training sees.
(Open Sans, one of them, is an ancestor of Noto Sans, which is trained on.) Beside this script the following files appear:

  glyphs_b0.safetensors  the weights in float16, under timm's own names
  classes.txt            the character of each class, one a line
  held_out.png           the held-out pictures, 64x64, gray, 40 in a row, ten of each class in a row
  held_out.csv           for each of them its class, the class that PyTorch finds, and the font
  expected_logits.npy    PyTorch's logits for every twentieth of them, computed in float32 from the float16 weights

The network's input, shape (1, 3, 64, 64), is value / 255 in three equal channels, with no mean taken off.

Set up and run (Debian 12; about 20 minutes on one free core):

  sudo apt-get install $(python3 fonts.py)
  python3 -m venv venv && venv/bin/pip install -r requirements.txt
  venv/bin/python train_glyphs.py

A checkpoint is written every 100 steps, from which a stopped run goes on. --check trains nothing: it reads the results
back and says whether they fit each other.
"""

import argparse
import csv
import math
import sys
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch.nn import functional

import drawing
import fonts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "common"))
from half_weights import read_state, write_weights

HERE = Path(__file__).resolve().parent
HEAD_WIDTHS = (256, 256)  # efficientvit_b0 has (1024, 1280) for its 1000 classes: 1.5 M of 2.1 M parameters
EACH = 10  # held-out pictures of a class
COLUMNS = 40  # of the sheet
LOGITS_EVERY = 20
HELD_OUT_SEED = 1_000_000_007
MAX_BYTES = 2_000_000
MIN_ACCURACY = 0.9


def build_model():
    return timm.create_model("efficientvit_b0", num_classes=len(drawing.CLASSES), head_widths=HEAD_WIDTHS)


def to_input(levels):
    """Gray levels (n, SIDE, SIDE) to the network's input (n, 3, SIDE, SIDE)."""
    return (levels / (drawing.LEVELS - 1))[:, None].expand(-1, 3, -1, -1)


def draw(faces, classes):
    """Pictures (n, SIDE, SIDE) of classes (n) in random fonts, and the numbers of the fonts."""
    chosen = faces.of(classes)
    return drawing.pictures(faces.glyphs[chosen, classes]), chosen


def held_out(faces):
    """The held-out pictures, their classes and the numbers of their fonts."""
    torch.manual_seed(HELD_OUT_SEED)
    classes = torch.arange(len(drawing.CLASSES)).repeat_interleave(EACH)
    # In parts, since clouds of one part are alike in size.
    parts = [draw(faces, part) for part in classes.split(50)]
    return torch.cat([levels for levels, _ in parts]), classes, torch.cat([chosen for _, chosen in parts])


# ---- Training --------------------------------------------------------------------------------------------------------

def learning_rate(step, args):
    """Rises over a tenth of the steps and falls as a cosine."""
    rise = 0.1 * args.steps
    if step < rise:
        return args.lr * (step + 1) / rise
    return args.lr * (0.001 + 0.999 * (0.5 + 0.5 * math.cos(math.pi * (step - rise) / (args.steps - rise))))


def train(args, faces):
    torch.manual_seed(args.seed)
    model = build_model().train().to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(faces.names)} fonts", flush=True)
    optimizer = torch.optim.AdamW([{"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.05},
                                   {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0}])
    first = 0
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    begin, seen = time.monotonic(), []
    for step in range(first, args.steps):
        torch.manual_seed(args.seed * 1_000_003 + step)
        classes = torch.randint(len(drawing.CLASSES), (args.batch,))
        x = to_input(draw(faces, classes)[0])
        if step < args.small * args.steps:  # a quarter of the work, and enough to learn the coarse shapes
            x = functional.avg_pool2d(x, 2)
        logits = model(x.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, classes, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        optimizer.step()
        seen.append((loss.item(), (logits.argmax(1) == classes).float().mean().item()))
        if (step + 1) % 50 == 0:
            mean = torch.tensor(seen).mean(0)
            print(f"step {step + 1}/{args.steps}, loss {mean[0]:.3f}, right {mean[1]:.3f}, "
                  f"{(time.monotonic() - begin) / 60:.1f} min", flush=True)
            seen = []
        if (step + 1) % 100 == 0 or step + 1 == args.steps:
            partial = args.checkpoint.with_suffix(".tmp")
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, partial)
            partial.replace(args.checkpoint)
    return model.eval()


# ---- Results ---------------------------------------------------------------------------------------------------------

def read_model(path):
    model = build_model().eval()
    model.load_state_dict(read_state(path))
    return model


def logits_of(model, levels):
    with torch.inference_mode():
        return torch.cat([model(to_input(part)) for part in levels.split(50)])


def write_sheet(path, levels):
    side, rows = drawing.SIDE, len(levels) // COLUMNS
    sheet = levels.to(torch.uint8).view(rows, COLUMNS, side, side).transpose(1, 2).reshape(rows * side, COLUMNS * side)
    image = Image.frombytes("P", (sheet.shape[1], sheet.shape[0]), sheet.contiguous().numpy().tobytes())
    # Four bits a pixel; Pillow writes them of palettes.
    image.putpalette([level * 255 // (drawing.LEVELS - 1) for level in range(drawing.LEVELS) for _ in range(3)])
    image.save(path, bits=4, optimize=True)


def read_sheet(path):
    side = drawing.SIDE
    sheet = torch.from_numpy(np.array(Image.open(path).convert("L"))) // (255 // (drawing.LEVELS - 1))
    rows = sheet.shape[0] // side
    return sheet.view(rows, side, COLUMNS, side).transpose(1, 2).reshape(-1, side, side).float()


def write_held_out(folder):
    """The sheet, the list and the logits, from the weights that are there."""
    faces = drawing.load_faces(fonts.HELD_OUT)
    levels, classes, chosen = held_out(faces)
    write_sheet(folder / "held_out.png", levels)
    (folder / "classes.txt").write_text("".join(f"{c}\n" for c in drawing.CLASSES), encoding="utf-8")
    logits = logits_of(read_model(folder / "glyphs_b0.safetensors"), levels)
    np.save(folder / "expected_logits.npy", logits[::LOGITS_EVERY].numpy())
    with open(folder / "held_out.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["picture", "class", "torch", "font"])
        for i, row in enumerate(zip(classes.tolist(), logits.argmax(1).tolist(), chosen.tolist())):
            writer.writerow([i, *row[:2], faces.names[row[2]]])


def check(folder):
    """Reads the results back and says whether they fit each other; True if they do."""
    weights = folder / "glyphs_b0.safetensors"
    with open(folder / "held_out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    classes, found = (torch.tensor([int(row[name]) for row in rows]) for name in ("class", "torch"))
    levels = read_sheet(folder / "held_out.png")
    logits = logits_of(read_model(weights), levels)
    expected = torch.from_numpy(np.load(folder / "expected_logits.npy"))
    difference = (logits[::LOGITS_EVERY] - expected).abs().max().item()
    changed = int((logits.argmax(1) != found).sum())
    right = logits.argmax(1) == classes
    top_two = logits.topk(2).values
    print(f"weights: {weights.stat().st_size} bytes")
    print(f"logits: from {logits.min():.2f} to {logits.max():.2f}; at most {difference:.1e} from expected_logits.npy; "
          f"{changed} pictures with another class; the two best are at least {-top_two.diff().max():.4f} apart")
    for font in sorted({row["font"] for row in rows}):
        of = torch.tensor([row["font"] == font for row in rows])
        print(f"  {font}: {int(right[of].sum())} of {int(of.sum())}")
    wrong = {}
    for truth, guess in zip(classes[~right].tolist(), logits.argmax(1)[~right].tolist()):
        pair = f"{drawing.CLASSES[truth]} for {drawing.CLASSES[guess]}"
        wrong[pair] = wrong.get(pair, 0) + 1
    often = sorted(wrong.items(), key=lambda entry: -entry[1])
    print("taken: " + ", ".join(f"{pair} ({count})" for pair, count in often[:30]))
    share = right.float().mean().item()
    print(f"accuracy: {int(right.sum())} of {len(rows)} = {share:.2%}")
    return (len(rows) == len(levels) == EACH * len(drawing.CLASSES) and weights.stat().st_size < MAX_BYTES
            and difference <= 1e-3 and changed == 0 and share >= MIN_ACCURACY)


def run(args):
    torch.set_num_threads(args.threads)
    weights = args.folder / "glyphs_b0.safetensors"
    if not args.check and not args.held_out:
        faces = drawing.load_faces(fonts.TRAINED)
        model = train(args, faces)
        how = (f"timm efficientvit_b0, num_classes={len(drawing.CLASSES)}, head_widths={HEAD_WIDTHS}, trained on "
               f"characters by train_glyphs.py --steps {args.steps} --batch {args.batch} --seed {args.seed} with torch "
               f"{torch.__version__.split('+')[0]}, timm {timm.__version__}. Input: 1x3x64x64, gray, value / 255, "
               "three equal channels.")
        write_weights(weights, model, how)
        torch.manual_seed(HELD_OUT_SEED + 1)
        classes = torch.arange(len(drawing.CLASSES)).repeat_interleave(EACH)
        logits = torch.cat([logits_of(model, draw(faces, part)[0]) for part in classes.split(50)])
        print(f"new pictures in the fonts of training: {(logits.argmax(1) == classes).float().mean():.2%} right")
    if not args.check:
        write_held_out(args.folder)
    if not check(args.folder):
        print("FAILED: the results do not fit each other or miss a bound", file=sys.stderr)
        return 1
    print("the results fit each other")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="train nothing; read the results back and compare")
    parser.add_argument("--held-out", action="store_true", help="train nothing; draw the held-out pictures anew")
    parser.add_argument("--folder", type=Path, default=HERE, help="where results are written (default: here)")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "glyphs.checkpoint")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--small", type=float, default=0.45, help="share of the steps that see pictures of half the size")
    parser.add_argument("--batch", type=int, default=128, help="pictures a step")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="for PyTorch (default: 2)")
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())

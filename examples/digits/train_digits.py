#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train timm's efficientvit_b0 on handwritten digits and write what digits.cpp needs.

The data are scikit-learn's digits: 1797 gray images of 8x8 pixels with values from 0 to 16. 1437 are
trained on; 360, the same share of every digit, are held out and looked at only once, at the end.
Beside this script the following files appear:

  digits_b0.safetensors   the weights in float16, under timm's own names
  images/<label>/<n>.png  the held-out images, 8x8, 8-bit gray; n is the image's number in scikit-learn
  expected_logits.csv     PyTorch's logits for each of them, computed in float32 from the float16 weights

From a PNG to the network's input, shape (1, 3, 64, 64):

  input[0][c][y][x] = float32(png[y / 8][x / 8]) / 255      for c = 0, 1, 2; y / 8 rounded down

so: enlarged eight times by repeating pixels, the same value in all three channels, from 0 to 1, with no
mean taken off. (A PNG's value is round(255 * v / 16) for the data's v.)

Set up and run (about three minutes on two free cores):

  python3 -m venv venv && venv/bin/pip install -r requirements.txt
  venv/bin/python train_digits.py

The same versions on the same kind of CPU give the same weights again; another CPU rounds differently,
and training ends elsewhere, about as good. --check trains nothing: it reads the three results back and
says whether they fit each other.
"""

import argparse
import csv
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from timm.models.efficientvit_mit import LiteMLA
from torch.nn import functional
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "common"))
from half_weights import read_state, write_weights

HELD_OUT = 360
UPSCALE = 8
HEAD_WIDTHS = (128, 160)  # efficientvit_b0 has (1024, 1280) for its 1000 classes: 1.5 M of 2.1 M parameters
MAX_BYTES = 2_000_000
MIN_ACCURACY = 0.98
SOURCE = """\
The images in these folders come from the data set "Optical Recognition of Handwritten Digits" by
E. Alpaydin and C. Kaynak (UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, licence CC BY 4.0),
in the form in which scikit-learn ships it (sklearn.datasets.load_digits). ../train_digits.py rescaled
their values from 0..16 to 0..255 and wrote them as PNG. A folder's name is its images' label.
"""


def build_model() -> torch.nn.Module:
    return timm.create_model("efficientvit_b0", num_classes=10, head_widths=HEAD_WIDTHS)


def preprocess(gray: np.ndarray) -> torch.Tensor:
    """(N, 8, 8) bytes to the network's input (N, 3, 64, 64); the module's docstring defines it."""
    x = torch.from_numpy(gray.astype(np.float32)) / 255
    x = x.repeat_interleave(UPSCALE, dim=1).repeat_interleave(UPSCALE, dim=2)
    return x[:, None].expand(-1, 3, -1, -1).contiguous()


def load_split(seed: int):
    """The digits as bytes, their labels, and the numbers of the training and of the held-out images."""
    digits = load_digits()
    gray = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    train, held_out = train_test_split(
        np.arange(len(gray)), test_size=HELD_OUT, stratify=digits.target, random_state=seed)
    return gray, digits.target, np.sort(train), np.sort(held_out)


def augment(x: torch.Tensor) -> torch.Tensor:
    """Turns each image by up to 10 degrees, scales it by up to 10 %, shifts it by up to one of the 8x8 pixels."""
    n = len(x)
    angle, log_scale, dx, dy = ((torch.rand(n) * 2 - 1) * limit for limit in (math.radians(10), 0.1, 0.25, 0.25))
    scale = log_scale.exp()
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([torch.stack([cos, -sin, dx], 1), torch.stack([sin, cos, dy], 1)], 1)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def train(x: torch.Tensor, y: torch.Tensor, epochs: int, batch: int) -> torch.nn.Module:
    model = build_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = len(x) // batch  # the few images left over come first in another epoch's order
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * steps)
    with tqdm(total=epochs * steps, unit="step", disable=None) as bar:
        for epoch in range(epochs):
            order = torch.randperm(len(x))
            for step in range(steps):
                chosen = order[step * batch:(step + 1) * batch]
                loss = functional.cross_entropy(model(augment(x[chosen])), y[chosen], label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
            bar.set_postfix(epoch=epoch + 1, loss=f"{loss.item():.3f}")
    return model.eval()


@torch.no_grad()
def enlarge_attention_sums(model: torch.nn.Module) -> None:
    """Makes q and k 64 times as large, so that the epsilon below their products no longer counts.

    Attention divides by the sum of q's products with all k, plus 1e-5 in timm and 1e-15 in the official
    implementation. On so small images some sums are small enough for timm's epsilon to move logits by 2e-3.
    The quotient does not depend on the scale of q and k, and nothing nonlinear but relu lies between this
    weight and the quotient; so the network stays what it is, and both implementations agree on it to 1e-6.
    """
    for layer in model.modules():
        if isinstance(layer, LiteMLA):
            rows = layer.qkv.conv.weight  # of head 0: q, k, v of dim rows each; of head 1: q, k, v; ...
            rows.view(-1, 3, layer.dim, *rows.shape[1:])[:, :2] *= 64


@torch.no_grad()
def logits_of(weights: Path, gray: np.ndarray, attention_eps: float | None = None) -> np.ndarray:
    """What PyTorch computes in float32 with the file's float16 weights, one image at a time as digits.cpp does."""
    model = build_model().eval()
    model.load_state_dict(read_state(weights))
    for layer in model.modules():
        if isinstance(layer, LiteMLA) and attention_eps is not None:
            layer.eps = attention_eps
    return np.concatenate([model(preprocess(image[None])).numpy() for image in gray])


def image_name(label: int, number: int) -> str:
    return f"{label}/{number:04}.png"


def write_images(folder: Path, gray: np.ndarray, labels: np.ndarray, numbers: np.ndarray) -> None:
    for label in range(10):
        shutil.rmtree(folder / str(label), ignore_errors=True)
        (folder / str(label)).mkdir(parents=True)
    for number in numbers:
        Image.fromarray(gray[number]).save(folder / image_name(labels[number], number), optimize=True)
    (folder / "SOURCE.txt").write_text(SOURCE)


def write_logits(path: Path, logits: np.ndarray, labels: np.ndarray, numbers: np.ndarray) -> None:
    partial = path.with_suffix(".partial")
    with open(partial, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "label", *(f"logit{i}" for i in range(10))])
        for number, row in zip(numbers, logits):
            label = labels[number]
            # Nine digits bring every float32 back exactly.
            writer.writerow([image_name(label, number), label, *(f"{value:.9g}" for value in row)])
    partial.replace(path)


def check(folder: Path) -> bool:
    """Reads the three results back and says whether they fit each other; True if they do."""
    weights = folder / "digits_b0.safetensors"
    with open(folder / "expected_logits.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted(path.relative_to(folder / "images").as_posix() for path in (folder / "images").glob("*/*.png"))
    expected = np.array([[float(row[f"logit{i}"]) for i in range(10)] for row in rows])
    labels = np.array([int(row["label"]) for row in rows])
    gray = np.stack([np.asarray(Image.open(folder / "images" / row["image"])) for row in rows])
    logits = logits_of(weights, gray)
    eps_effect = np.abs(logits_of(weights, gray, attention_eps=1e-15) - logits).max()

    difference = np.abs(logits - expected).max()
    changed = int((logits.argmax(1) != expected.argmax(1)).sum())
    wrong = np.flatnonzero(logits.argmax(1) != labels)
    right = len(rows) - len(wrong)
    top_two = np.sort(logits, axis=1)[:, -2:]
    size = weights.stat().st_size
    print(f"weights: {size} bytes")
    print(f"images: {len(names)}, {gray.dtype}, {gray.shape[1]}x{gray.shape[2]}")
    print(f"logits: from {logits.min():.3f} to {logits.max():.3f}; at most {difference:.1e} from expected_logits.csv; "
          f"{changed} images with another class; the two best are at least {np.diff(top_two).min():.4f} apart")
    print(f"logits with the official implementation's epsilon in attention: at most {eps_effect:.1e} away")
    print(f"accuracy: {right} of {len(rows)} = {right / len(rows):.2%}")
    for i in wrong[:20]:
        print(f"  images/{rows[i]['image']} taken for {logits[i].argmax()}")
    return (len(rows) == HELD_OUT and names == sorted(row["image"] for row in rows) and size < MAX_BYTES
            and gray.dtype == np.uint8 and gray.shape[1:] == (8, 8)
            and all(row["image"].startswith(f"{row['label']}/") for row in rows)
            and difference <= 1e-4 and eps_effect <= 1e-5 and changed == 0 and right >= MIN_ACCURACY * len(rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="train nothing; read the results back and compare")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent,
                        help="where results are written (default: beside this script)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the training images (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the training (default: 0)")
    parser.add_argument("--threads", type=int, default=2, help="threads for PyTorch (default: 2)")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    if not args.check:
        torch.manual_seed(args.seed)
        torch.use_deterministic_algorithms(True)
        gray, labels, train_numbers, held_out = load_split(args.seed)
        model = train(preprocess(gray[train_numbers]), torch.from_numpy(labels[train_numbers]),
                      args.epochs, batch=64)
        enlarge_attention_sums(model)
        how = (f"timm efficientvit_b0, num_classes=10, head_widths={HEAD_WIDTHS}, trained on scikit-learn's digits by "
               f"train_digits.py --epochs {args.epochs} --seed {args.seed} --threads {args.threads} with torch "
               f"{torch.__version__.split('+')[0]}, timm {timm.__version__}. Input: 1x3x64x64, 8x8 gray enlarged 8 "
               "times by repeating pixels, value / 255, three equal channels.")
        args.folder.mkdir(parents=True, exist_ok=True)
        write_weights(args.folder / "digits_b0.safetensors", model, how)
        write_images(args.folder / "images", gray, labels, held_out)
        logits = logits_of(args.folder / "digits_b0.safetensors", gray[held_out])
        write_logits(args.folder / "expected_logits.csv", logits, labels, held_out)
    if not check(args.folder):
        print("FAILED: the results do not fit each other or miss a bound", file=sys.stderr)
        return 1
    print("the results fit each other")
    return 0


if __name__ == "__main__":
    sys.exit(main())

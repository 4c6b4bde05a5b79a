#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/images: what Pillow, OpenCV, torchvision and PyTorch make of parts of real photographs.

Needs numpy, pillow, opencv-python-headless, scikit-learn (china.jpg, flower.jpg), scikit-image (chelsea), torch,
torchvision. The files that are committed come from Pillow 13.0, OpenCV 5.0, PyTorch 2.14, torchvision 0.29.
"""
import math
import pathlib

import cv2
import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision import transforms

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "data" / "images"
SIZES = [(40, 61), (150, 200), (33, 160)]  # smaller, larger, one of each


def photos():
    china, flower = load_sample_images().images
    return {
        "china": china[110:206, 150:294],  # 96 x 144: roofs, trees and sky
        "chelsea": skimage.data.chelsea()[60:161, 180:247],  # 101 x 67: fur
        "flower": flower[100:196, 240:368],  # 96 x 128
    }


def golden(name, shape):
    """What golden_tensor("input", shape, seed) of tests/golden_values.hpp makes, for name = seed + "input"."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1).astype(np.float32).reshape(shape)


def save(name, array):
    Image.fromarray(np.ascontiguousarray(array)).save(FOLDER / name, optimize=True)


def resized(parts):
    for name in ("china", "chelsea"):
        photo = parts[name]
        for h, w in SIZES:
            pillow = Image.fromarray(photo)
            save(f"{name}_{h}x{w}_pillow_bilinear.png", pillow.resize((w, h), Image.BILINEAR))
            save(f"{name}_{h}x{w}_pillow_bicubic.png", pillow.resize((w, h), Image.BICUBIC))
            save(f"{name}_{h}x{w}_opencv_cubic.png", cv2.resize(photo, (w, h), interpolation=cv2.INTER_CUBIC))


def classifier_inputs(parts):
    """What Resize and CenterCrop leave, as bytes: the reference's rounding (up), timm's (down), no border."""
    for name in ("china", "chelsea"):
        for size, side in ((64, math.ceil(64 / 0.95)), (64, math.floor(64 / 0.95)), (57, 57)):
            cut = transforms.Compose(
                [transforms.Resize(side, interpolation=transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(size)]
            )
            save(f"{name}_cls_{size}_of_{side}.png", np.array(cut(Image.fromarray(parts[name]))))


def labels():
    """argmax of F.interpolate's bicubic, for logits made from their names."""
    for classes, h, w, height, width in ((19, 12, 20, 96, 160), (150, 9, 7, 61, 50), (5, 16, 30, 11, 90)):
        logits = torch.from_numpy(golden(f"logits_{classes}input", (1, classes, h, w)))
        full = F.interpolate(logits, size=(height, width), mode="bicubic", align_corners=False)
        save(f"labels_{classes}_{h}x{w}_{height}x{width}.png", full.argmax(1)[0].numpy().astype(np.uint8))


def files(parts):
    """Kinds of files that a reader meets, and what Pillow reads from them."""
    flower = Image.fromarray(parts["flower"])
    flower.save(FOLDER / "flower_444.jpg", quality=92, subsampling=0)
    flower.save(FOLDER / "flower_420_progressive.jpg", quality=85, subsampling=2, progressive=True)
    flower.convert("L").save(FOLDER / "flower_gray.jpg", quality=92)
    for name in ("flower_444", "flower_420_progressive", "flower_gray"):
        save(f"{name}_decoded.png", np.array(Image.open(FOLDER / f"{name}.jpg").convert("RGB")))
    small = Image.fromarray(parts["flower"][30:46, 40:60])
    small.save(FOLDER / "small.png")
    small.convert("L").save(FOLDER / "small_gray.png")
    small.quantize(16).save(FOLDER / "small_palette.png")
    transparent = small.convert("RGBA")
    transparent.putalpha(100)
    transparent.save(FOLDER / "small_rgba.png")
    for name in ("small_gray", "small_palette"):
        save(f"{name}_decoded.png", np.array(Image.open(FOLDER / f"{name}.png").convert("RGB")))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    parts = photos()
    for name, photo in parts.items():
        save(f"{name}.png", photo)
    resized(parts)
    classifier_inputs(parts)
    labels()
    files(parts)


if __name__ == "__main__":
    main()

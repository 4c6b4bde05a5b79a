#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes mask_cases.hpp: what PyTorch, pycocotools, OpenCV and torchvision make of masks.

Needs numpy, torch, torchvision, pycocotools, opencv-python-headless. The file that is committed comes from PyTorch
2.15, torchvision 0.29, pycocotools 2.0, OpenCV 5.0.
"""
import math
import pathlib

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco
from torchvision.ops import nms

OUT = pathlib.Path(__file__).resolve().parent / "mask_cases.hpp"
# Rows and columns of the plane, side of the frame, the part that the picture covers, the picture.
GEOMETRIES = [
    ((12, 12), 48, (48, 36), (61, 47)),
    ((12, 12), 48, (31, 48), (20, 31)),
    ((16, 16), 64, (64, 64), (64, 64)),
    ((9, 14), 40, (40, 3), (133, 10)),
    ((10, 10), 37, (1, 37), (1, 90)),
]


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
    v = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    return torch.from_numpy(v.reshape(shape).astype(np.float32))


def coco_string(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode().replace("\\", "\\\\")


def box(mask):
    ys, xs = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    return [int(xs[0]), int(ys[0]), int(xs[-1]), int(ys[-1])] if len(xs) else [0, 0, 0, 0]


def braces(values):
    return "{" + ", ".join(str(v) for v in values) + "}"


def enlarged():
    for i, (low, frame, covered, original) in enumerate(GEOMETRIES):
        plane = golden(f"mask{i}input", (1, 1, *low)) * 5 - (3.5 if i == 0 else 1)
        wide = F.interpolate(plane, (frame, frame), mode="bilinear", align_corners=False)
        out = F.interpolate(wide[..., :covered[0], :covered[1]], original, mode="bilinear", align_corners=False)[0, 0]
        mask = (out > 0).numpy()
        counts = [int(mask.sum()), int((out > 1).sum()), int((out > -1).sum())]
        yield (f"    {{{{{braces(low)}, {frame}, {braces(covered)}, {braces(original)}}}, {{{counts[0]}, {counts[1]}, "
               f"{counts[2]}, {braces(box(mask))}}}, \"{coco_string(mask)}\"}},")


def remove_small(mask, area, holes):
    """Meta's remove_small_regions, in other words."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask ^ holes).astype(np.uint8), connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    small = [i + 1 for i, size in enumerate(sizes) if size < area]
    if not small:
        return mask
    if holes:
        return np.isin(labels, [0, *small])
    large = [i for i in range(1, count) if i not in small]
    return np.isin(labels, large or [int(np.argmax(sizes)) + 1])


def regions():
    for i, (size, level, area) in enumerate([((40, 51), 0.1, 12), ((40, 51), -0.1, 30), ((33, 20), 0.75, 400),
                                             ((17, 64), 0.5, 5), ((8, 8), 0.2, 1)]):
        mask = (golden(f"regions{i}input", size) > level).numpy()
        filled = remove_small(mask, area, True)
        yield (f"    {{{braces(size)}, {level}F, {area}, \"{coco_string(filled)}\", "
               f"\"{coco_string(remove_small(mask, area, False))}\", "
               f"\"{coco_string(remove_small(filled, area, False))}\"}},")


def suppressed():
    for i, (count, threshold, levels) in enumerate([(60, 0.3, 0), (200, 0.7, 6), (40, 0.0, 1)]):
        v = ((golden(f"boxes{i}input", (count, 5)) + 1) / 2).numpy()
        corner, extent = np.floor(v[:, :2] * 60), np.floor(v[:, 2:4] * 40)
        boxes = np.concatenate([corner, corner + extent], 1)
        scores = np.floor(v[:, 4] * levels) if levels else v[:, 4]  # few levels: many ties
        keep = nms(torch.from_numpy(boxes).float(), torch.from_numpy(scores).float(), threshold).tolist()
        yield f"    {{{count}, {threshold}, {levels}, {braces(keep)}}},"


lines = ["// SPDX-License-Identifier: Apache-2.0", "//", "// Written by make_masks.py. clang-format off", "#pragma once", "",
         "#include <efficientvit/images/masks.hpp>", "", "#include <vector>", "", "namespace mask_cases {", "",
         "struct Enlarged {", "    efficientvit::MaskGeometry geometry;", "    efficientvit::MaskStatistics statistics;",
         "    const char* coco;", "};", "inline const std::vector<Enlarged> enlarged{", *enlarged(), "};", "",
         "struct Regions {", "    efficientvit::ImageSize size;", "    float level;", "    int area;",
         "    const char *no_holes, *no_islands, *neither;", "};", "inline const std::vector<Regions> regions{",
         *regions(), "};", "", "struct Suppressed {", "    int count;", "    double threshold;", "    int levels;",
         "    std::vector<int> kept;", "};", "inline const std::vector<Suppressed> suppressed{", *suppressed(), "};", "",
         "}  // namespace mask_cases", ""]
OUT.write_text("\n".join(lines))

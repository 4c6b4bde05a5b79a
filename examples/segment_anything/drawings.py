#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random drawings: circles, boxes, polygons and stars that overlap on a background, each of a color of its own, and
which pixel belongs to which of them. A drawing follows from its seed alone; train_shapes.py trains and tests on them."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 128  # the long side of a drawing, in pixels
MIN_AREA = 300  # pixels of a shape that later ones leave visible
MIN_VISIBLE = 0.4  # and the share of it
COLOR_DISTANCE = 170  # of any two shapes of a drawing, the sum over red, green and blue


@dataclass
class Drawing:
    image: np.ndarray  # (H, W, 3) bytes
    labels: np.ndarray  # (H, W) int: 0 is the background, 1 … count the shapes, later ones above earlier ones
    count: int

    def mask(self, i):
        return self.labels == i


def random_color(rng, others):
    """A color that differs from those of `others`; None where luck does not find one."""
    for _ in range(60):
        color = rng.integers(10, 246, 3)
        if all(np.abs(color - other).sum() >= COLOR_DISTANCE for other in others):
            return color
    return None


def texture(rng, color, size, strength):
    """(H, W, 3) float: a plain color, a gradient, stripes or clouds around it."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    kind = rng.integers(0, 4)
    angle = rng.uniform(0, math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    if kind == 0:
        value = np.zeros((height, width), np.float32)
    elif kind == 1:
        value = along / max(height, width) * 2 - 1
    elif kind == 2:
        value = np.sin(along * rng.uniform(0.3, 1.2))
    else:
        cells = rng.integers(3, 12, 2)
        clouds = Image.fromarray(rng.normal(0, 0.6, cells).astype(np.float32), "F")
        value = np.asarray(clouds.resize((width, height), Image.BICUBIC))
    tint = rng.uniform(0.3, 1, 3) * strength
    return color + value[..., None] * tint


def outline(rng, kind, center, radius):
    """The corners of a shape, or the rectangle around a circle."""
    x, y = center
    turn = rng.uniform(0, 2 * math.pi)
    if kind == "circle":
        squeeze = rng.uniform(0.6, 1)
        return [(x - radius, y - radius * squeeze), (x + radius, y + radius * squeeze)]
    if kind == "box":
        shape = rng.uniform(0.45, 1)
        corners = [(-1, -shape), (1, -shape), (1, shape), (-1, shape)]
        return [(x + radius * (a * math.cos(turn) - b * math.sin(turn)),
                 y + radius * (a * math.sin(turn) + b * math.cos(turn))) for a, b in corners]
    if kind == "star":
        points = rng.integers(4, 8)
        radii = [radius, radius * rng.uniform(0.5, 0.65)] * points
    else:
        radii = radius * rng.uniform(0.75, 1, rng.integers(3, 8))
    steps = [turn + 2 * math.pi * i / len(radii) for i in range(len(radii))]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, steps)]


def coverage(size, kind, corners):
    """(H, W): how much of each pixel lies in a shape, in quarters."""
    canvas = Image.new("L", (2 * size[1], 2 * size[0]))
    corners = [(2 * x, 2 * y) for x, y in corners]
    if kind == "circle":
        ImageDraw.Draw(canvas).ellipse(corners, fill=255)
    else:
        ImageDraw.Draw(canvas).polygon(corners, fill=255)
    return np.asarray(canvas.reduce(2)).astype(np.float32) / 255


def draw(seed):
    """The drawing of this number. A shape that would hide too much of another is not drawn."""
    rng = np.random.default_rng(seed)
    size = (SIDE, SIDE)
    if rng.random() < 0.3:
        other = int(rng.integers(SIDE * 3 // 4, SIDE + 1))
        size = (other, SIDE) if rng.random() < 0.5 else (SIDE, other)
    colors = [random_color(rng, [])]
    image = texture(rng, colors[0], size, 12)
    labels = np.zeros(size, np.uint8)
    areas = [labels.size]
    for _ in range(rng.integers(2, 7)):
        kind = rng.choice(["circle", "box", "polygon", "star"], p=[0.3, 0.25, 0.25, 0.2])
        center = rng.uniform(0.1, 0.9) * size[1], rng.uniform(0.1, 0.9) * size[0]
        alpha = coverage(size, kind, outline(rng, kind, center, rng.uniform(18, 36)))
        color = random_color(rng, colors)
        drawn = np.where(alpha >= 0.5, len(areas), labels)
        visible = np.bincount(drawn.ravel(), minlength=len(areas) + 1)
        wanted = np.maximum(MIN_AREA, MIN_VISIBLE * np.array([*areas, 0]))
        if color is None or (visible < wanted).any():
            continue
        image = image + alpha[..., None] * (texture(rng, color, size, 12) - image)
        labels = drawn.astype(np.uint8)
        colors.append(color)
        areas.append(int(visible[-1]))
    return Drawing(np.clip(image, 0, 255).round().astype(np.uint8), labels, len(areas) - 1)


def box_around(mask):
    """x0, y0, x1, y1 of the set pixels, inclusive."""
    ys, xs = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    return np.array([xs[0], ys[0], xs[-1], ys[-1]], np.float32)


def inner_point(mask, rng):
    """x, y of one of the set pixels that lie furthest inside, where a user clicks."""
    kept = mask
    while True:
        smaller = kept.copy()
        smaller[1:] &= kept[:-1]
        smaller[:-1] &= kept[1:]
        smaller[:, 1:] &= kept[:, :-1]
        smaller[:, :-1] &= kept[:, 1:]
        smaller[[0, -1]] = False
        smaller[:, [0, -1]] = False
        if not smaller.any():
            break
        kept = smaller
    chosen = np.flatnonzero(kept)
    y, x = divmod(int(chosen[rng.integers(len(chosen))]), mask.shape[1])
    return np.array([x, y], np.float32)

# SPDX-License-Identifier: Apache-2.0
"""Random drawings: circles, boxes, polygons, stars and lines that overlap on textured backgrounds, and which pixel
belongs to which of them. A drawing follows from its seed alone; train_shapes.py trains and tests on them."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 128  # the long side of a drawing, in pixels
MIN_AREA = 100  # visible pixels without which a shape is nothing to segment
MIN_VISIBLE = 0.5  # and the share of a shape that must not be covered


@dataclass
class Drawing:
    image: np.ndarray  # (H, W, 3) bytes
    masks: np.ndarray  # (M, H, W) bool: the background, then each shape with the parts that lie on it
    is_part: np.ndarray  # (M,) bool: a smaller shape that belongs to another one
    whole: np.ndarray  # (M,) int: the mask of what a part belongs to; its own number for all else


def random_color(rng, others):
    """A color that differs from those of `others`."""
    color = rng.integers(0, 256, 3)
    for _ in range(30):
        if all(np.abs(color - other).sum() > 130 for other in others):
            break
        color = rng.integers(0, 256, 3)
    return color


def texture(rng, color, size, strength):
    """(H, W, 3) float: a plain color, a gradient, stripes, checks or clouds around it."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    kind = rng.integers(0, 5)
    angle = rng.uniform(0, math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    if kind == 0:
        value = np.zeros((height, width), np.float32)
    elif kind == 1:
        value = along / max(height, width)
    elif kind == 2:
        value = np.sin(along * rng.uniform(0.3, 1.2))
    elif kind == 3:
        cell = rng.integers(4, 14)
        value = ((x // cell + y // cell) % 2) * 2 - 1
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
        if rng.random() < 0.5:
            turn = 0
        corners = [(-1, -shape), (1, -shape), (1, shape), (-1, shape)]
        return [(x + radius * (a * math.cos(turn) - b * math.sin(turn)),
                 y + radius * (a * math.sin(turn) + b * math.cos(turn))) for a, b in corners]
    if kind == "line":
        dx, dy = math.cos(turn) * radius * 1.5, math.sin(turn) * radius * 1.5
        return [(x - dx, y - dy), (x + dx, y + dy)]
    if kind == "star":
        points = rng.integers(4, 8)
        radii = [radius, radius * rng.uniform(0.45, 0.65)] * points
    else:
        radii = radius * rng.uniform(0.65, 1, rng.integers(3, 8))
    steps = [turn + 2 * math.pi * i / len(radii) for i in range(len(radii))]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, steps)]


def coverage(size, kind, corners, thickness):
    """(H, W): how much of each pixel lies in a shape, in quarters."""
    canvas = Image.new("L", (2 * size[1], 2 * size[0]))
    draw = ImageDraw.Draw(canvas)
    corners = [(2 * x, 2 * y) for x, y in corners]
    if kind == "circle":
        draw.ellipse(corners, fill=255)
    elif kind == "line":
        draw.line(corners, fill=255, width=int(2 * thickness))
    else:
        draw.polygon(corners, fill=255)
    return np.asarray(canvas.reduce(2)).astype(np.float32) / 255


def random_parts(rng, size, scale):
    """A shape at a random place, perhaps with a smaller one on it: (kind, center, radius) each."""
    kind = rng.choice(["circle", "box", "polygon", "star", "line"], p=[0.25, 0.25, 0.2, 0.18, 0.12])
    radius = scale * rng.uniform(15, 34)
    center = rng.uniform(0.08, 0.92) * size[1], rng.uniform(0.08, 0.92) * size[0]
    parts = [(kind, center, radius)]
    if kind in ("circle", "box", "polygon") and radius > 22 and rng.random() < 0.4:
        shift = rng.uniform(-0.12, 0.12, 2) * radius
        parts.append((rng.choice(["circle", "box", "star"]), (center[0] + shift[0], center[1] + shift[1]),
                      radius * rng.uniform(0.38, 0.5)))
    return parts


def draw(seed):
    """The drawing of this number."""
    rng = np.random.default_rng(seed)
    size = (SIDE, SIDE)
    if rng.random() < 0.4:
        other = int(rng.integers(SIDE * 5 // 8, SIDE + 1))
        size = (other, SIDE) if rng.random() < 0.5 else (SIDE, other)
    colors = [random_color(rng, [])]
    image = texture(rng, colors[0], size, 28)
    labels = np.zeros(size, np.int32)
    drawn, whole = [labels.size], [0]
    scale = math.exp(rng.uniform(-0.2, 0.3))
    for _ in range(rng.integers(2, 6)):
        first = len(whole)
        for kind, center, radius in random_parts(rng, size, scale):
            alpha = coverage(size, kind, outline(rng, kind, center, radius), rng.uniform(7, 11))
            if len(whole) > first:
                alpha = alpha * (labels == first)
            colors.append(random_color(rng, colors))
            image = image + alpha[..., None] * (texture(rng, colors[-1], size, 24) - image)
            labels[alpha >= 0.5] = len(whole)
            drawn.append(int((alpha >= 0.5).sum()))
            whole.append(first)
    masks, is_part, number, belongs = [], [], {}, []
    for i, of in enumerate(whole):
        mask = np.isin(labels, [j for j in range(i, len(whole)) if j == i or whole[j] == i])
        if i > 0 and (mask.sum() < MIN_AREA or mask.sum() < MIN_VISIBLE * drawn[i]):
            continue
        number[i] = len(masks)
        masks.append(mask)
        is_part.append(of != i)
        belongs.append(of)
    belongs = [number.get(of, i) for i, of in enumerate(belongs)]
    return Drawing(np.clip(image, 0, 255).round().astype(np.uint8), np.array(masks), np.array(is_part),
                   np.array(belongs))


def box_around(mask):
    """x0, y0, x1, y1 of the set pixels, inclusive."""
    ys, xs = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    return np.array([xs[0], ys[0], xs[-1], ys[-1]], np.float32)


def point_in(mask, rng):
    """x, y of a set pixel, drawn at random."""
    chosen = np.flatnonzero(mask)
    y, x = divmod(int(chosen[rng.integers(len(chosen))]), mask.shape[1])
    return np.array([x, y], np.float32)


def inner_point(mask, rng):
    """The same, of those that lie furthest inside, where a user clicks."""
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
            return point_in(kept, rng)
        kept = smaller

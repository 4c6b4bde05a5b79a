#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pictures of 200 characters, drawn from Debian's fonts: turned, slanted, stretched and bent, on backgrounds with
gradients, stripes, clouds and edges, dark on light or light on dark. train_glyphs.py trains and tests on them."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

import fonts

SIDE = 64  # rows and columns of a picture, and of the glyph that it is made from
INK = 52  # the longer side of an undistorted glyph, in pixels
LEVELS = 16  # of gray
LATIN = "ABCDEFGHJKLMNOPQRSTUVWXYZabdefghijkmnqrty"
ACCENTS = "ÄÅÃĄÁÉÊËÈĘÎÖÔÕÓÜÛÚŮÑŃŠŞŚČĆŽŹĞŘŴÝŸñáäåãąéëęř"
LIGATURES = "ÆæŒœØÞĐŁÇð"
DIGITS = "123456789"
GREEK = "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπσω"
CYRILLIC = "БДЖИЙЦЧШЩЪЫЭЮЯЂЉЊЏ"
SYMBOLS = "!\"#$%&()*+/\\<=>?@[]{}~:;¢£¤¥§©®«»¬±¶¿÷½¼¾†‡…‰€™√∞∫≈≠≤≥◊"
# What looks alike in print, such as C and c, O and 0, A and Α, is there once.
CLASSES = LATIN + ACCENTS + LIGATURES + DIGITS + GREEK + CYRILLIC + SYMBOLS
assert len(CLASSES) == len(set(CLASSES)) == 200, len(CLASSES)


@dataclass
class Faces:
    """The glyphs of some fonts."""
    names: list[str]  # of the files
    glyphs: torch.Tensor  # (faces, classes, SIDE, SIDE) bytes, 255 where all of a pixel is ink
    weights: torch.Tensor  # (classes, faces): how often a face is taken; 0 where it lacks the character

    def of(self, classes):
        """For each class a random face that has it."""
        return torch.multinomial(self.weights[classes], 1)[:, 0]


def ink_of(font, character):
    """The rectangle with ink, an "L" image; None where there is none."""
    canvas = Image.new("L", (320, 320))
    ImageDraw.Draw(canvas).text((80, 60), character, fill=255, font=font)
    box = canvas.getbbox()
    return canvas.crop(box) if box else None


def glyphs_of(path):
    """(classes, SIDE, SIDE) bytes, and which of the classes the font has."""
    font = ImageFont.truetype(path, 128, layout_engine=ImageFont.Layout.BASIC)
    missing = ink_of(font, "\uffff")  # no character: what a font draws for those that it lacks
    glyphs, has = np.zeros((len(CLASSES), SIDE, SIDE), np.uint8), np.zeros(len(CLASSES), bool)
    for i, character in enumerate(CLASSES):
        drawn = ink_of(font, character)
        if drawn is None or drawn == missing:
            continue
        scale = INK / max(drawn.size)
        width, height = (max(1, round(scale * extent)) for extent in drawn.size)
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        glyphs[i, top:top + height, left:left + width] = drawn.resize((width, height), Image.Resampling.BOX)
        has[i] = True
    return glyphs, has


def load_faces(packages):
    """All faces of packages {name: pattern}, of which each is taken as often as another."""
    names, glyphs, weights = [], [], []
    for package, pattern in packages.items():
        paths = fonts.files_of(package, pattern)
        for path in paths:
            drawn, has = glyphs_of(path)
            names.append(path.stem)
            glyphs.append(drawn)
            weights.append(has / len(paths))
    faces = Faces(names, torch.from_numpy(np.stack(glyphs)), torch.from_numpy(np.stack(weights, 1)).float())
    lacking = [c for c, has in zip(CLASSES, faces.weights.any(1)) if not has]
    if lacking:
        raise SystemExit(f"no font has {' '.join(lacking)}")
    return faces


def uniform(n, low, high):
    return low + (high - low) * torch.rand(n, 1, 1)


def distorted(glyphs):
    """(n, SIDE, SIDE) coverage, 0 to 1, of glyphs (n, SIDE, SIDE) that are turned by up to 9 degrees, slanted, scaled,
    stretched, moved, bent and blurred."""
    n = len(glyphs)
    scale, stretch = uniform(n, 0.6, 0.98), uniform(n, -0.14, 0.14).exp()
    turn, slant = uniform(n, -0.16, 0.16), uniform(n, -0.2, 0.2)
    turned = torch.cat([torch.cat([turn.cos(), -turn.sin()], 2), torch.cat([turn.sin(), turn.cos()], 2)], 1)
    none = torch.zeros(n, 1, 1)
    slanted = torch.cat([torch.cat([stretch, slant], 2), torch.cat([none, 1 / stretch], 2)], 1)
    free = 1 - scale * (INK / SIDE)  # what is left beside the ink
    moved = torch.cat([uniform(n, -0.7, 0.7) * free, uniform(n, -0.7, 0.7) * free], 1)
    inverse = torch.cat([slanted @ turned / scale, none.expand(n, 2, 1)], 2)  # from the picture to the glyph
    inverse[:, :, 2:] = -inverse[:, :, :2] @ moved
    grid = functional.affine_grid(inverse, [n, 1, SIDE, SIDE], align_corners=False)
    bends = functional.interpolate(0.045 * torch.randn(n, 2, 4, 4), (SIDE, SIDE), mode="bicubic", align_corners=True)
    grid = grid + bends.permute(0, 2, 3, 1)
    drawn = functional.grid_sample(glyphs[:, None].float() / 255, grid, align_corners=False)
    blurred = functional.avg_pool2d(drawn, 3, 1, 1, count_include_pad=False)
    share = uniform(n, -0.8, 0.8).clamp(min=0)[..., None]  # half of them are sharp
    return torch.lerp(drawn, blurred, share)[:, 0]


def textures(n):
    """(n, SIDE, SIDE) around 0, up to about 1: nothing, a gradient, stripes, clouds or an edge."""
    at = torch.linspace(-1, 1, SIDE)
    angle = uniform(n, 0, 2 * np.pi)
    along = angle.cos() * at[None, None, :] + angle.sin() * at[None, :, None]
    stripes = (along * uniform(n, 5, 18) + uniform(n, 0, 2 * np.pi)).sin()
    edge = ((along - uniform(n, -0.6, 0.6)) * 16).tanh()
    cells = int(torch.randint(3, 8, ()))
    clouds = functional.interpolate(0.6 * torch.randn(n, 1, cells, cells), (SIDE, SIDE), mode="bicubic",
                                    align_corners=True)[:, 0]
    kinds = torch.stack([torch.zeros_like(along), along, stripes, clouds, edge], 1)
    return kinds[torch.arange(n), torch.randint(0, kinds.shape[1], (n,))]


def pictures(glyphs):
    """(n, SIDE, SIDE) gray levels, whole numbers from 0 to LEVELS - 1, of pictures of glyphs (n, SIDE, SIDE)."""
    n = len(glyphs)
    background, contrast = uniform(n, 0, 1), uniform(n, 0.35, 0.8)
    contrast = torch.where(torch.rand(n, 1, 1) < 0.5, contrast, -contrast)
    outside = (background + contrast < 0) | (background + contrast > 1)
    ink = (background + torch.where(outside, -contrast, contrast)).clamp(0, 1)
    texture = textures(n) * uniform(n, 0.03, 0.2)
    paper = background + texture
    value = torch.lerp(paper, ink + 0.3 * texture, distorted(glyphs))
    return (value.clamp(0, 1) * (LEVELS - 1)).round()

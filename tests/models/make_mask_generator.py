#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes mask_generator_cases.hpp: what the reference's automatic mask generator makes of a predictor of a few lines,
which mask_generator_test.cpp has too.

Needs torch, torchvision, opencv-python-headless, pycocotools, timm, and `pip install --no-deps efficientsam`.
"""
import pathlib

import numpy as np
import torch
from efficientsam.models.efficientvit import sam

OUT = pathlib.Path(__file__).resolve().parent / "mask_generator_cases.hpp"
FRAME, SIDE = 128, 32  # of prompts, of a low-resolution mask
WIDTH, HEIGHT = 150, 110
# Options in C++ and in Python.
CASES = [
    (".points_per_side = 8, .stability_score_offset = 0.125", {"points_per_side": 8, "stability_score_offset": 0.125}),
    (".points_per_side = 9, .points_per_batch = 5, .pred_iou_thresh = 0.6, .stability_score_thresh = 0.5",
     {"points_per_side": 9, "points_per_batch": 5, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.5}),
    (".points_per_side = 8, .pred_iou_thresh = 0.7, .stability_score_thresh = 0.8, .crop_n_layers = 1",
     {"points_per_side": 8, "pred_iou_thresh": 0.7, "stability_score_thresh": 0.8, "crop_n_layers": 1}),
    (".points_per_side = 9, .pred_iou_thresh = 0.5, .stability_score_thresh = 0.6, .stability_score_offset = 0.7, "
     ".box_nms_thresh = 0.5, .crop_n_layers = 2, .crop_nms_thresh = 0.4, .crop_overlap_ratio = 0.5, "
     ".crop_n_points_downscale_factor = 2",
     {"points_per_side": 9, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.6, "stability_score_offset": 0.7,
      "box_nms_thresh": 0.5, "crop_n_layers": 2, "crop_nms_thresh": 0.4, "crop_overlap_ratio": 0.5,
      "crop_n_points_downscale_factor": 2}),
    (".points_per_side = 8, .pred_iou_thresh = 0.6, .stability_score_thresh = 0.5, .crop_n_layers = 1, "
     ".min_mask_region_area = 40",
     {"points_per_side": 8, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.5, "crop_n_layers": 1,
      "min_mask_region_area": 40}),
    (".pred_iou_thresh = 0, .stability_score_thresh = 0, .point_grids = {{{0.125, 0.25}, {0.5, 0.5}, {0.96875, 0.75}}}",
     {"points_per_side": None, "pred_iou_thresh": 0, "stability_score_thresh": 0,
      "point_grids": [np.array([[0.125, 0.25], [0.5, 0.5], [0.96875, 0.75]])]}),
]


def picture():
    """Red: 16 objects in cells; green and blue: where a pixel is."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([y * 4 // HEIGHT * 4 + x * 4 // WIDTH, x, y], -1).astype(np.uint8)


class Predictor(sam.EfficientViTSamPredictor):
    """Masks are squares, for two objects of three with a hole or an island, around a place that the object chooses."""

    def __init__(self):
        class Model:
            mask_threshold = 0.0
            image_size = (FRAME, FRAME)
        self.model = Model()
        self.reset_image()

    @property
    def device(self):
        return torch.device("cpu")

    def set_image(self, image, image_format="RGB"):
        self.image = image
        self.original_size = image.shape[:2]
        scale = FRAME / max(self.original_size)
        self.input_size = tuple(int(side * scale + 0.5) for side in self.original_size)

    def predict_torch(self, points, labels, multimask_output, return_logits):
        height, width = self.original_size
        masks, ious = [], []
        for px, py in points[:, 0].tolist():
            px, py = px * width / self.input_size[1], py * height / self.input_size[0]
            id, _, _ = (int(v) for v in self.image[min(int(py + 1e-9), height - 1), min(int(px + 1e-9), width - 1)])
            _, left, top = (int(v) for v in self.image[0, 0])
            row, column = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
            x = left + (column + 0.5) * (FRAME / SIDE) * width / self.input_size[1]
            y = top + (row + 0.5) * (FRAME / SIDE) * height / self.input_size[0]
            cx, cy = (id % 4 + 0.5) * WIDTH / 4 + id % 3 - 1, (id // 4 + 0.5) * HEIGHT / 4 + id % 5 - 2
            for k in range(3):
                radius, slope = 7 + 5 * k + id % 4, 0.3 + 0.45 * ((id + k) % 4)
                away = np.maximum(abs(x - cx), abs(y - cy))
                logits = slope * (radius - away)
                if id % 3 == 1:  # a hole
                    logits = np.minimum(logits, slope * (away - 3))
                if id % 3 == 2:  # an island
                    logits = np.maximum(logits, slope * (3 - np.maximum(abs(x - cx - 30), abs(y - cy))))
                masks.append(np.round(logits * 4096) / 4096)
                ious.append(0.5 + ((id * 5 + k * 3) % 8) / 16 + (int(px + 1e-9) * 7 + int(py + 1e-9) * 13) % 32 / 1024)
        low = torch.tensor(np.array(masks)).float().view(-1, 3, SIDE, SIDE)
        wide = torch.nn.functional.interpolate(low, (FRAME, FRAME), mode="bilinear", align_corners=False)
        wide = wide[..., :self.input_size[0], :self.input_size[1]]
        out = torch.nn.functional.interpolate(wide, self.original_size, mode="bilinear", align_corners=False)
        return out, torch.tensor(ious).float().view(-1, 3), low


def main():
    lines = ["// SPDX-License-Identifier: Apache-2.0", "//", "// Written by make_mask_generator.py.\n// clang-format off",
             "#pragma once", "", "#include <efficientvit/models/mask_generator.hpp>", "", "#include <vector>", "",
             "struct GeneratorCase {", "    efficientvit::MaskGeneratorOptions options;",
             "    std::vector<efficientvit::MaskRecord> records;", "};",
             "inline const std::vector<GeneratorCase> generator_cases{"]
    for text, options in CASES:
        sam.EfficientViTSamPredictor = lambda model: Predictor()  # what the generator makes itself one of
        generator = sam.EfficientViTSamAutomaticMaskGenerator(None, output_mode="coco_rle", **options)
        records = generator.generate(picture())
        print(text, len(records))
        lines.append(f"    {{{{{text}}}, {{")
        for r in records:
            counts = r["segmentation"]["counts"].replace("\\", "\\\\")
            box, crop = (", ".join(str(int(v)) for v in r[name]) for name in ("bbox", "crop_box"))
            (px, py), = r["point_coords"]
            lines.append(f"        {{{{}}, {{}}, \"{counts}\", {r['area']}, {{{box}}}, {r['predicted_iou']:.9g}F, "
                         f"{{{px!r}, {py!r}}}, {r['stability_score']:.9g}F, {{{crop}}}}},")
        lines.append("    }},")
    OUT.write_text("\n".join([*lines, "};", ""]))


main()

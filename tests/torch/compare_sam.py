#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares examples/segment_anything with the reference's predictor and mask generator (PyPI's `efficientsam`).

By hand, since it needs PyTorch:

  python3 -m venv env && env/bin/pip install torch torchvision numpy pillow safetensors pycocotools opencv-python-headless timm
  env/bin/pip install --no-deps efficientsam
  env/bin/python compare_sam.py build/release/examples/segment_anything photo.jpg…                   # random weights, l0
  env/bin/python compare_sam.py --shapes build/release/examples/segment_anything drawing.png…       # the trained small SAM

20 prompts a picture, then everything without and with crops. Masks may differ in 0.1 % of their pixels; records must be
the same in the same order, but for ties.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from efficientsam.models.efficientvit.sam import EfficientViTSamAutomaticMaskGenerator, EfficientViTSamPredictor
from PIL import Image
from pycocotools import mask as coco
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "segment_anything"))


def random_model(name):
    """The whole network with random weights whose norms are not trivial."""
    from efficientsam.models.efficientvit import sam
    from efficientsam.models.nn.norm import set_norm_eps
    torch.manual_seed(0)
    model = getattr(sam, f"efficientvit_{name}")()
    set_norm_eps(model, 1e-6)
    for key, value in model.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return model.eval()


def random_prompts(size, rng, count=20):
    height, width = size
    prompts = []
    for i in range(count):
        x0, y0 = rng.uniform(0, width * 0.7), rng.uniform(0, height * 0.7)
        box = [x0, y0, rng.uniform(x0 + 2, width), rng.uniform(y0 + 2, height)]
        points = [[rng.uniform(0, width), rng.uniform(0, height), int(rng.integers(0, 2))] for _ in range(1 + i % 3)]
        prompts.append([{"points": points}, {"box": box}, {"points": points, "box": box, "multimask": True}][i % 3])
    return prompts


def run(program, weights, output, *options):
    begin = time.monotonic()
    subprocess.run([program, "--weights", weights, "--no-cache", "--output", output, *map(str, options)], check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def different(ours, mask):
    """The share of the picture in which two masks differ."""
    return float((coco.decode(ours["segmentation"]).astype(bool) != mask).mean())


def compare_prompts(program, weights, model, photo, image, folder):
    rng = np.random.default_rng(1)
    prompts = random_prompts(image.shape[:2], rng)
    (folder / "prompts.json").write_text(json.dumps({photo.name: prompts}))
    run(program, weights, folder / "prompts", "--prompts", folder / "prompts.json", photo)
    found = json.loads((folder / "prompts" / "annotations.json").read_text())["annotations"]
    predictor = EfficientViTSamPredictor(model)
    predictor.set_image(image)
    worst, worst_iou = 0, 0
    for prompt, ours in zip(prompts, found, strict=True):
        points = np.array(prompt["points"]) if "points" in prompt else None
        multimask = prompt.get("multimask", points is not None and len(points) == 1 and "box" not in prompt)
        masks, ious, _ = predictor.predict(
            None if points is None else points[:, :2], None if points is None else points[:, 2],
            np.array(prompt["box"]) if "box" in prompt else None, multimask_output=multimask)
        k = int(ious.argmax())
        worst = max(worst, different(ours, masks[k]))
        worst_iou = max(worst_iou, abs(ours["predicted_iou"] - float(ious[k])))
    print(f"{photo.name}: 20 prompts, at most {100 * worst:.4f} % of pixels differ, predicted IoU by {worst_iou:.1e}")
    return worst <= 1e-3


def compare_everything(program, weights, model, photo, image, folder, name, options):
    flags = {"points_per_side": "--points-per-side", "pred_iou_thresh": "--pred-iou",
             "stability_score_thresh": "--stability", "crop_n_layers": "--crop-layers",
             "min_mask_region_area": "--min-area"}
    seconds = run(program, weights, folder / name, "--everything", photo,
                  *(x for key, value in options.items() for x in (flags[key], value)))
    found = json.loads((folder / name / "annotations.json").read_text())["annotations"]
    begin = time.monotonic()
    expected = EfficientViTSamAutomaticMaskGenerator(model, **options).generate(image)
    reference_seconds = time.monotonic() - begin
    same_order, worst, left = 0, 0.0, 0
    if len(found) == len(expected):
        for ours, theirs in zip(found, expected):
            same_point = np.allclose(ours["point_coords"], theirs["point_coords"], atol=1e-6)
            same_order += same_point
            if same_point:
                worst = max(worst, different(ours, theirs["segmentation"]))
            else:
                left += 1
    print(f"{photo.name}: {name}: {len(found)} records, the reference {len(expected)}; {same_order} the same in the same "
          f"place, of which at most {100 * worst:.4f} % of pixels differ; {seconds:.1f} s, reference {reference_seconds:.1f} s")
    return len(found) == len(expected) and left == 0 and worst <= 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("photos", type=pathlib.Path, nargs="+")
    parser.add_argument("--shapes", action="store_true", help="the trained small SAM instead of random weights")
    parser.add_argument("--weights", type=pathlib.Path, help="of the small SAM, where not the committed ones")
    parser.add_argument("--name", default="sam_l0", help="network with random weights")
    parser.add_argument("--points", type=int, default=8, help="a side, for everything")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        if args.shapes:
            import train_shapes
            model = train_shapes.build_model()
            weights = args.weights or train_shapes.HERE / "shapes_sam.safetensors"
            model.load_state_dict({k: v.float() for k, v in load_file(weights).items()}, strict=False)
            model.eval()
            thresholds = {"pred_iou_thresh": 0.7, "stability_score_thresh": 0.6}
        else:
            model = random_model(args.name)
            weights = folder / f"efficientvit_{args.name}.safetensors"
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
            thresholds = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}  # all or nothing
        good = True
        for photo in args.photos:
            image = np.array(Image.open(photo).convert("RGB"))
            place = folder / photo.stem
            place.mkdir()
            good &= compare_prompts(args.program.resolve(), weights, model, photo, image, place)
            common = {"points_per_side": args.points, "min_mask_region_area": 0, **thresholds}
            for name, options in (("everything", common), ("with crops", common | {"crop_n_layers": 1}),
                                  ("with small regions", common | {"min_mask_region_area": 100})):
                good &= compare_everything(args.program.resolve(), weights, model, photo, image, place, name, options)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Segment anything from a picture's pixels: this library beside the reference in PyTorch, ONNX Runtime and OpenVINO.

  sam_pictures.py everything   the whole automatic mask generator, 32 points a side, beside the reference's own in
                               PyTorch: time, growth of memory, and whether the records are the same
  sam_pictures.py first-mask   l0, from files of weights to the first masks for a point, in fresh processes

Each side has a process of its own, of which one runs at a time. Beside what compare.py installs it needs scikit-learn,
for a photograph, and `pip install --no-deps efficientsam`.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import measure
import numpy as np
import sam_model

POINT = 320.0, 200.0
ALIKE = 1e-3  # share of a mask's pixels that may differ
TIE = 1e-5    # predicted IoUs so near are one: their order is free
COMMON = {"stability_score_thresh": 0.0, "box_nms_thresh": 0.7, "crop_nms_thresh": 0.7, "crop_n_layers": 0}
ALL_STAY = {"pred_iou_thresh": 0.0, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}
# Everything: model, and the generator's options. What l0's random weights predict says nothing about masks, and nearly
# every mask reaches through the whole picture: its thresholds only say how many masks are made, or that all stay.
CASES = {
    "all": ("sam_l0", {"pred_iou_thresh": 0.0}),
    "half": ("sam_l0", {}),  # pred_iou_thresh is the median of what they predict
    "shapes": ("shapes", {"pred_iou_thresh": 0.7, "stability_score_thresh": 0.6}),
    # Slow for what they time, and so of few points: that records are the same.
    "many": ("sam_l0", {**ALL_STAY, "points_per_side": 8}),
    "crops": ("sam_l0", {**ALL_STAY, "points_per_side": 4, "crop_n_layers": 1}),
    "shapes-crops": ("shapes", {"pred_iou_thresh": 0.7, "stability_score_thresh": 0.6, "crop_n_layers": 1}),
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["everything", "first-mask"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--picture", type=pathlib.Path, help="default: china.jpg of scikit-learn, 427 x 640")
    parser.add_argument("--points", type=int, default=32, help="everything: a side (default 32)")
    parser.add_argument("--cases", default="all,half,shapes",
                        help=f"everything: of {', '.join(CASES)} (default all,half,shapes; half needs all)")
    parser.add_argument("--runs", type=int, default=3, help="of this library; first-mask: of each (default 3)")
    parser.add_argument("--peer-runs", type=int, default=1, help="everything: of PyTorch, which takes minutes (default 1)")
    parser.add_argument("--folder", type=pathlib.Path, help="where weights, networks and the library are kept")
    parser.add_argument("--set-up-only", action="store_true", help="make these, measure nothing")
    return parser.parse_args()


def set_up(folder):
    """Weights, networks and this library, unless they are there."""
    library = folder / "libsam_whole_c.so"
    if not library.exists():
        include = measure.HERE.parents[1] / "include"
        eigen = os.environ.get("EIGEN3_INCLUDE", "/usr/include/eigen3")
        subprocess.run([os.environ.get("CXX", "c++"), "-std=c++20", "-O2", "-shared", "-fPIC", "-fvisibility=hidden",
                        "-pthread", f"-I{include}", "-isystem", eigen, str(measure.HERE / "sam_whole_c.cpp"), "-o",
                        str(library)], check=True)
    if not (folder / "decoder.onnx").exists():
        # Exporting needs much memory and leaves threads: not in this process.
        subprocess.run([sys.executable, "-c", "import pathlib, sys, sam_model; "
                        "sam_model.write_l0(pathlib.Path(sys.argv[1]))", str(folder)], check=True, cwd=measure.HERE)


def pixels(o):
    if o.picture is None:
        from sklearn.datasets import load_sample_image
        return np.ascontiguousarray(load_sample_image("china.jpg"))
    from PIL import Image
    return np.ascontiguousarray(Image.open(o.picture).convert("RGB"))


class Sides:
    """Workers by name."""

    def __init__(self, o, folder):
        self._o, self._folder = o, folder
        self._log = open(folder / "log.txt", "a")

    def result(self, side):
        return self._folder / f"{side.replace(' ', '_')}.npz"

    def start(self, side, model, first_mask=None):
        weights = self._folder / "sam_l0.safetensors" if model == "sam_l0" else sam_model.SHAPES / "shapes_sam.safetensors"
        spec = {"runtime": side.removesuffix(" bf16"), "bf16": side.endswith(" bf16"), "model": model,
                "weights": str(weights), "threads": self._o.threads, "first_mask": first_mask,
                "native": str(self._folder / "libsam_whole_c.so"), "picture": str(self._folder / "picture.npy"),
                "encoder": str(self._folder / "encoder.onnx"), "decoder": str(self._folder / "decoder.onnx"),
                "result": str(self.result(side)), "cpus": sorted(os.sched_getaffinity(0))[-self._o.threads:]}
        worker = measure.Worker("sam_worker.py", spec, {"OPENVINO_TELEMETRY_DISABLE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                                self._log)
        said = worker.ready()
        if "error" in said:
            raise SystemExit(f"{side}: {said['error']}; see {self._folder / 'log.txt'}")
        return worker, said


def difference(ours, theirs, size):
    """Two files of records in words, and whether they are the same: in the same order but for ties."""
    (mine, other) = (np.load(path) for path in (ours, theirs))
    count = len(other["values"])
    if len(mine["values"]) != count:
        return f"{len(mine['values'])} records, the reference {count}", False
    masks, others = (np.unpackbits(f["masks"], count=count * size[0] * size[1]).reshape(count, *size) for f in (mine, other))
    free, moved, worst = set(range(count)), 0, 0.0
    for i, (x, y, iou, _) in enumerate(mine["values"]):
        alike = {j: float((masks[i] != others[j]).mean()) for j in free
                 if np.allclose(other["values"][j, :2], (x, y), atol=1e-6) and abs(other["values"][j, 2] - iou) <= TIE}
        if not alike:
            return f"record {i} of {count} is none of the reference's", False
        j = i if alike.get(i, 1) <= ALIKE else min(alike, key=alike.get)
        free.remove(j)
        moved += i != j
        worst = max(worst, alike[j])
        if abs(other["values"][i, 2] - iou) > TIE:
            return f"record {i} of {count} stands elsewhere in the reference", False
    return (f"{count} records, {moved} of them in another place among ties; masks differ in at most {100 * worst:.4f} % of "
            "the pixels"), worst <= ALIKE


def middle_gap(values):
    """A threshold near the median that no value is near."""
    values = np.sort(values)
    near = values[int(0.4 * len(values)):int(0.6 * len(values)) + 1]
    i = int(np.diff(near).argmax())
    return float((near[i] + near[i + 1]) / 2)


def everything(o, folder, size):
    sides, good, median = Sides(o, folder), True, None
    for case in o.cases.split(","):
        model, options = CASES[case]
        options = {**COMMON, "points_per_side": o.points, **options}
        if case == "half":
            options["pred_iou_thresh"] = median
        workers = {side: sides.start(side, model)[0] for side in ("ours", "torch")}
        seconds, grown = {side: [] for side in workers}, {side: [] for side in workers}
        foreign = measure.Foreign(sorted(os.sched_getaffinity(0))[-o.threads:], list(workers.values()))
        for run in range(max(o.runs, o.peer_runs)):
            for side, worker in workers.items():
                if run < (o.runs if side == "ours" else o.peer_runs):
                    said = worker.ask(**options)
                    seconds[side].append(said["seconds"])
                    grown[side].append(said["grown_mb"])
        others = foreign.percent()
        for worker in workers.values():
            worker.close()
        words, same = difference(sides.result("ours"), sides.result("torch"), size)
        good &= same
        if case == "all":
            median = middle_gap(np.load(sides.result("torch"))["ious"])
        print(f"{case} ({model}, {options['points_per_side']} points a side, pred_iou_thresh "
              f"{options['pred_iou_thresh']:.4g}): {words}")
        for side in workers:
            print(f"  {side:6} median {statistics.median(seconds[side]):7.2f} s, min {min(seconds[side]):7.2f} s of "
                  f"{len(seconds[side])}; memory grows {max(grown[side]):.0f} MB")
        print(f"  torch / ours {statistics.median(seconds['torch']) / statistics.median(seconds['ours']):.2f} by median; "
              f"others took {others:.0f} % of the CPUs", flush=True)
    return good


def first_mask(o, folder):
    sides, names = Sides(o, folder), ("ours", "ours bf16", "onnxruntime", "openvino", "torch")
    seconds, grown = {side: [] for side in names}, {side: 0 for side in names}
    for _ in range(o.runs):
        for side in names:
            worker, said = sides.start(side, "sam_l0", POINT)
            worker.close()
            seconds[side].append(said["seconds"])
            grown[side] = max(grown[side], said["resident_mb"])
    reference, good = np.load(sides.result("torch"))["masks"], True
    ours = statistics.median(seconds["ours"])
    for side in names:
        differ = float((np.load(sides.result(side))["masks"] != reference).mean((1, 2)).max())
        good &= differ <= ALIKE or "bf16" in side
        print(f"{side:12} median {statistics.median(seconds[side]):6.3f} s, min {min(seconds[side]):6.3f}; / ours "
              f"{statistics.median(seconds[side]) / ours:.2f}; memory {grown[side]:.0f} MB; masks differ from torch's in at "
              f"most {100 * differ:.4f} % of the pixels", flush=True)
    return good


def main():
    o = parse()
    folder = (o.folder or pathlib.Path(tempfile.mkdtemp())).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    set_up(folder)
    picture = pixels(o)
    np.save(folder / "picture.npy", picture)
    if o.set_up_only:
        return
    begin = time.monotonic()
    good = everything(o, folder, picture.shape[:2]) if o.what == "everything" else first_mask(o, folder)
    print(f"{o.threads} threads, {picture.shape[0]} x {picture.shape[1]} pixels, {time.monotonic() - begin:.0f} s in all")
    if not good:
        raise SystemExit("not the same result: no comparison")


if __name__ == "__main__":
    main()

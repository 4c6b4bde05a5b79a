#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times what a user of a segmenter waits for: the bytes of a picture in, a label for each of its pixels out.

This library does all of it: preprocessing, the network (b0 for Cityscapes), labels at full size. Against it: ONNX
Runtime for the network, OpenCV for the rest. Environment, builds, exports and rounds are those of compare.py.
"""
import argparse
import json
import math
import pathlib
import sys
import tempfile

import compare

PICTURE = compare.ROOT / "tests/data/images/china.png"
OURS, THEIRS = "efficientvit", "onnxruntime"
MEMORY = "resident_mb", "peak_mb"
DIFFERING = 0.01  # share of labels that may: a resized picture may differ by a grey level here and there


def parse(arguments):
    import networks
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--picture", type=pathlib.Path, default=PICTURE, metavar="FILE",
                        help="resized to --size before anything is timed (default: one of the tests')")
    parser.add_argument("--size", default="1024x2048", metavar="HxW",
                        help="the picture's (default 1024x2048, the network's; others are resized to that in each run)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each side (default 1)")
    compare.add_common_arguments(parser)
    o = parser.parse_args(arguments)
    height, cross, width = o.size.partition("x")
    if not (cross and height.isdigit() and width.isdigit() and min(int(height), int(width)) >= 8):
        parser.error(f"--size {o.size}: expected height x width, at least 8 each, such as 720x1280")
    o.size = int(height), int(width)
    o.cases = [networks.Case.parse("seg_b0_cityscapes@1024x2048")]
    o.peers, o.threads, o.modes, o.isa, o.precision = [OURS, THEIRS], [o.threads], ["hot"], "", "f32"
    compare.check_common_arguments(parser, o)
    return o


def comparison(o, picture):
    """measure.Comparison, but that its workers are given a picture, and answer with labels."""
    import measure

    class PictureComparison(measure.Comparison):
        script = "segment_worker.py"

        def spec(self, *arguments, **named):
            return {**super().spec(*arguments, **named), "picture": picture}

    return PictureComparison(o)


def labels_of(worker):
    import numpy as np
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        worker.ask(do="output", path=file.name)
        return np.load(file.name)


def measure_all(o):
    import cv2
    import measure
    import numpy as np
    picture = cv2.imread(str(o.picture))
    if picture is None:
        compare.stop(f"{o.picture}: no picture that OpenCV reads")
    picture = cv2.cvtColor(cv2.resize(picture, o.size[::-1], interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    case, threads = o.cases[0], o.threads[0]
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, picture)
        c = comparison(o, file.name)
        c.export_all(o.cases)
        ready = c.start_all(case, threads)
        try:
            missing = {OURS, THEIRS} - {name for name, _ in ready}
            if missing:
                compare.stop(f"{', '.join(missing)} failed: {c.failures}; see {o.out / 'log.txt'}")
            chosen, tried = c.fastest_variants(case, ready)
            result = c.rounds(case, threads, "hot", {name: (worker, said) for name, (worker, said, _) in chosen.items()})
            labels = {name: labels_of(worker) for name, (worker, _, _) in chosen.items()}
        finally:
            for worker, *_ in ready.values():
                worker.close()
    return {**result, "picture": o.size, "rounds": o.rounds, "machine": measure.machine(c.cpus), "tried_ms": tried,
            "versions": {**c.versions, "opencv": cv2.__version__},
            "given_as": {name: key[1] for name, (_, _, key) in chosen.items()},
            "memory": {name: {field: said[field] for field in MEMORY} for name, (_, said, _) in chosen.items()},
            "labels_that_differ": int((labels[OURS] != labels[THEIRS]).sum()), "classes": len(np.unique(labels[OURS]))}


def told(data):
    import report
    ratio, versions = data["ratios"][THEIRS], data["versions"]
    titles = {OURS: f"this library {versions[OURS]}",
              THEIRS: f"ONNX Runtime {versions[THEIRS]} and OpenCV {versions['opencv']}"}
    rows = [[titles[name]] + [f"{data['times_ms'][name][field]:.1f}" for field in ("min", "median", "p95")]
            + [f"{data['memory'][name][field]:.0f}" for field in MEMORY] + [data["given_as"][name]]
            for name in (OURS, THEIRS)]
    noise = data["foreign_cpu_percent"]
    warning = f"**Others took {noise:.0f} % of the CPUs: do not quote this.**\n\n" if noise > report.NOISE_LIMIT else ""
    return (f"# {' x '.join(map(str, data['picture']))} RGB bytes to a label map, threads: {data['threads']}\n\n"
            f"{data['machine']['cpu']}, {data['machine']['system']}\n\n{warning}"
            + report.table(["", "min ms", "median", "p95", "resident MB", "at its peak", "given as"], rows)
            + f"\n\nTheirs / ours: {ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] by median over "
            f"{ratio['rounds']} rounds, {ratio['by_min']:.2f} by min. Labels differ at {data['labels_that_differ']} of "
            f"{math.prod(data['picture'])} pixels; {data['classes']} classes occur.\n")


def main():
    o = parse(sys.argv[1:])
    compare.prepare(o, "segment_c.cpp", [case.network for case in o.cases])
    data = measure_all(o)
    (o.out / "segment_images.json").write_text(json.dumps(data, indent=1) + "\n")
    (o.out / "segment_images.md").write_text(told(data))
    print(f"\n{told(data)}\nWritten to {o.out}: segment_images.json, segment_images.md")
    if data["labels_that_differ"] > DIFFERING * math.prod(o.size):
        compare.stop("the two sides' labels differ: no comparison")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nsegment_images: stopped")

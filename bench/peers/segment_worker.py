# SPDX-License-Identifier: Apache-2.0
"""A picture to a label map, by this library or by ONNX Runtime and OpenCV: a process of its own for segment_images.py,
driven as worker.py is."""
import ctypes
import gc
import json
import os
import pathlib
import statistics
import sys

from worker import SPEC, allowed_cpus, answers_to_driver, memory, one_line, time_runs  # first: it holds the process to its CPUs

import networks
import numpy as np
import runtimes


class Ours:
    """All of it in C++, behind segment_c.cpp."""

    def __init__(self, spec, case):
        self._library = library = ctypes.CDLL(str(pathlib.Path(spec["native"]) / f"libefficientvit_{case.network}.so"))
        library.evc_error.restype = ctypes.c_char_p
        library.evc_open.restype = ctypes.c_void_p
        library.evc_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p]
        library.evc_segment.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int] * 2 + [ctypes.c_void_p]
        self._model = library.evc_open(f"{spec['stem']}.safetensors".encode(), spec["threads"], b"f32")
        if not self._model:
            raise RuntimeError(library.evc_error().decode())

    def run(self, picture, labels):
        if self._library.evc_segment(self._model, picture.ctypes.data, *picture.shape[:2], labels.ctypes.data) != 0:
            raise RuntimeError(self._library.evc_error().decode())


class OnnxRuntimeOpenCv:
    """The fastest that was found of OpenCV's and NumPy's ways. Normalisation: a table look-up for each channel, faster
    than float arithmetic, NumPy's take and blobFromImage. Labels: a running maximum over classes, each enlarged by
    itself; bands of rows, channels last, and argmax over a stack, NumPy's or reduceArgMax, are slower."""

    def __init__(self, spec, case):
        import cv2
        cv2.setNumThreads(spec["threads"])
        self._cv2 = cv2
        runtime = runtimes.runtime("onnxruntime")
        variant = next(v for v in runtime.variants if v.name == spec["variant"])
        self._session = runtime.open(variant, spec["stem"], case, spec["threads"])
        self._input = np.zeros(case.shape, np.float32)
        self._session.set_input(self._input)  # which it reads where it lies
        mean, std = (np.array(v, np.float32)[:, None] for v in ((.485, .456, .406), (.229, .224, .225)))
        self._table = (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std
        self._scratch = None

    def run(self, picture, labels):
        cv2, (height, width) = self._cv2, picture.shape[:2]
        if self._scratch is None or self._scratch[0].shape != (height, width):
            self._scratch = [np.empty((height, width), kind) for kind in (np.float32, np.float32, np.uint8)]
        large, best, greater = self._scratch

        size = self._input.shape[:1:-1]
        resized = picture if (width, height) == size else cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        for channel in range(3):
            cv2.LUT(cv2.extractChannel(resized, channel), self._table[channel], dst=self._input[0, channel])
        self._session.run()
        logits = self._session.output()[0]
        cv2.resize(logits[0], (width, height), dst=best, interpolation=cv2.INTER_CUBIC)
        labels[:] = 0
        for label in range(1, len(logits)):
            cv2.resize(logits[label], (width, height), dst=large, interpolation=cv2.INTER_CUBIC)
            cv2.compare(large, best, cv2.CMP_GT, dst=greater)
            cv2.max(large, best, dst=best)
            cv2.bitwise_and(greater, label, dst=greater)  # labels rise: the greatest is the last that was greater
            cv2.max(labels, greater, dst=labels)


def imports(name):
    """What happens before memory is measured."""
    if name == "onnxruntime":
        import cv2  # noqa: F401
        runtimes.runtime(name).imports()


def main():
    answer = answers_to_driver()
    case = networks.Case.parse(SPEC["case"])
    picture = np.load(SPEC["picture"])
    labels = np.zeros(picture.shape[:2], np.uint8)
    try:
        imports(SPEC["runtime"])
        gc.collect()
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        before = memory("VmRSS")
        kind = Ours if SPEC["runtime"] == runtimes.OURS else OnnxRuntimeOpenCv
        pipeline = kind(SPEC, case)
        first = time_runs(lambda: pipeline.run(picture, labels), 3, 1)["ns"]
        answer(typical_ns=statistics.median(first), resident_mb=memory("VmRSS") - before, peak_mb=memory("VmHWM") - before,
               version=runtimes.runtime(SPEC["runtime"]).version(), isa="", cpus=allowed_cpus())
    except Exception as error:
        answer(error=one_line(error))
        return

    gc.disable()
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "runs":
            answer(**time_runs(lambda: pipeline.run(picture, labels), command["count"], command["warm"]))
        elif command["do"] == "output":
            np.save(command["path"], labels)
            answer()
        gc.collect()
    os._exit(0)


if __name__ == "__main__":
    main()

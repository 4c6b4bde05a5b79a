# SPDX-License-Identifier: Apache-2.0
"""A whole SAM by this library, by the reference in PyTorch, or by ONNX Runtime or OpenVINO with OpenCV: a process of its
own for sam_pictures.py, driven as worker.py is."""
import ctypes
import gc
import json
import os
import pathlib
import sys
import time

from worker import SPEC, answers_to_driver, memory, one_line  # first: it holds the process to its CPUs

import numpy as np
import sam_model


class Ours:
    """All of it in C++, behind sam_whole_c.cpp."""

    def __init__(self, spec):
        self._library = library = ctypes.CDLL(spec["native"])
        library.evw_error.restype = ctypes.c_char_p
        library.evw_open.restype = ctypes.c_void_p
        self._whole = ctypes.c_void_p(
            library.evw_open(spec["weights"].encode(), spec["model"].encode(), spec["threads"], int(spec["bf16"])))
        if not self._whole:
            raise RuntimeError(library.evw_error().decode())

    def _check(self, status):
        if status < 0:
            raise RuntimeError(self._library.evw_error().decode())
        return status

    def first_mask(self, picture, point):
        self._check(self._library.evw_set_image(self._whole, ctypes.c_void_p(picture.ctypes.data), *picture.shape[:2]))
        masks, ious = np.empty((3, *picture.shape[:2]), np.uint8), np.empty(3, np.float32)
        self._check(self._library.evw_point(self._whole, *map(ctypes.c_double, point), ctypes.c_void_p(masks.ctypes.data),
                                            ctypes.c_void_p(ious.ctypes.data)))
        return masks, ious

    def generate(self, picture, options):
        return self._check(self._library.evw_generate(
            self._whole, ctypes.c_void_p(picture.ctypes.data), *picture.shape[:2], options["points_per_side"],
            *(ctypes.c_double(options[f"{name}_thresh"])
              for name in ("pred_iou", "stability_score", "box_nms", "crop_nms")), options["crop_n_layers"]))

    def records(self, count, picture):
        masks, values = np.empty((count, *picture.shape[:2]), np.uint8), np.empty((count, 4))
        for i in range(count):
            self._library.evw_record(self._whole, i, ctypes.c_void_p(masks[i].ctypes.data),
                                     ctypes.c_void_p(values[i].ctypes.data))
        return masks, values


class Torch:
    """The reference's own predictor and mask generator (PyPI's `efficientsam`)."""

    def __init__(self, spec):
        import torch
        torch.set_num_threads(spec["threads"])
        self._model = sam_model.build(spec["model"])
        sam_model.load(self._model, spec["weights"])
        self.ious = []

    def first_mask(self, picture, point):
        from efficientsam.models.efficientvit.sam import EfficientViTSamPredictor
        predictor = EfficientViTSamPredictor(self._model)
        predictor.set_image(picture)
        return predictor.predict(np.array([point]), np.array([1]))[:2]

    def generate(self, picture, options):
        from efficientsam.models.efficientvit.sam import EfficientViTSamAutomaticMaskGenerator
        generator = EfficientViTSamAutomaticMaskGenerator(self._model, **options)
        predict = generator.predictor.predict_torch

        def seen(*arguments, **named):
            out = predict(*arguments, **named)
            self.ious += out[1].flatten().tolist()
            return out

        generator.predictor.predict_torch = seen
        return generator.generate(picture)

    @staticmethod
    def records(found, picture):
        masks = np.array([r["segmentation"] for r in found], np.uint8).reshape(-1, *picture.shape[:2])
        values = [[*r["point_coords"][0], r["predicted_iou"], r["stability_score"]] for r in found]
        return masks, np.array(values).reshape(-1, 4)


class _Exported:
    """Encoder and decoder as two networks, which a derived class runs, and OpenCV and NumPy around them."""

    def first_mask(self, picture, point):
        import cv2
        from PIL import Image
        height, width = picture.shape[:2]

        def fitted(side):
            return [int(n * side / max(height, width) + 0.5) for n in (height, width)]

        rows, columns = fitted(sam_model.SIDE)
        resized = np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BILINEAR))
        image = np.zeros((1, 3, sam_model.SIDE, sam_model.SIDE), np.float32)
        image[0, :, :rows, :columns] = ((resized - sam_model.MEAN) / sam_model.STD).transpose(2, 0, 1)
        rows, columns = fitted(sam_model.FRAME)
        at = np.array([[[point[0] * columns / width, point[1] * rows / height]]], np.float32)
        low_res, ious = self.decode(self.encode(image), at)
        masks = []
        for plane in low_res[0]:
            frame = cv2.resize(plane, (sam_model.FRAME, sam_model.FRAME), interpolation=cv2.INTER_LINEAR)
            masks.append(cv2.resize(frame[:rows, :columns], (width, height), interpolation=cv2.INTER_LINEAR) > 0)
        return np.array(masks, np.uint8), ious[0]


class OnnxRuntime(_Exported):
    def __init__(self, spec):
        import cv2
        import onnxruntime
        cv2.setNumThreads(spec["threads"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = spec["threads"], 1
        options.log_severity_level = 3
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(spec[part], options, providers=["CPUExecutionProvider"])
            for part in ("encoder", "decoder"))

    def encode(self, image):
        return self._encoder.run(None, {"image": image})[0]

    def decode(self, embedding, point):
        return self._decoder.run(None, {"embedding": embedding, "point": point})


class OpenVino(_Exported):
    def __init__(self, spec):
        import cv2
        import openvino
        cv2.setNumThreads(spec["threads"])
        settings = {"INFERENCE_NUM_THREADS": spec["threads"], "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
                    "INFERENCE_PRECISION_HINT": "f32"}
        core = openvino.Core()
        self._encoder, self._decoder = (core.compile_model(spec[part], "CPU", settings).create_infer_request()
                                        for part in ("encoder", "decoder"))

    def encode(self, image):
        return self._encoder.infer({"image": image}, share_inputs=True)[0]

    def decode(self, embedding, point):
        found = self._decoder.infer({"embedding": embedding, "point": point}, share_inputs=True)
        return found[0], found[1]


SIDES = {"ours": Ours, "torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}
IMPORTS = {"ours": [], "torch": ["torch", "efficientsam.models.efficientvit.sam", "safetensors.torch"],
           "onnxruntime": ["onnxruntime", "cv2", "PIL.Image"], "openvino": ["openvino", "cv2", "PIL.Image"]}


def main():
    answer = answers_to_driver()
    picture = np.load(SPEC["picture"])
    try:
        for name in IMPORTS[SPEC["runtime"]]:
            __import__(name)
        gc.collect()
        before, start = memory("VmRSS"), time.perf_counter()
        side = SIDES[SPEC["runtime"]](SPEC)
        if SPEC["first_mask"]:
            masks, ious = side.first_mask(picture, SPEC["first_mask"])
            seconds = time.perf_counter() - start
            np.savez(SPEC["result"], masks=masks, ious=ious)
            answer(seconds=seconds, resident_mb=memory("VmRSS") - before)
            answers.flush()
            os._exit(0)
        answer()
    except Exception as error:
        answer(error=one_line(error))
        return
    for line in sys.stdin:
        options = json.loads(line)
        gc.collect()
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        before, start = memory("VmRSS"), time.perf_counter()
        found = side.generate(picture, options)
        seconds, grown = time.perf_counter() - start, memory("VmHWM") - before
        masks, values = side.records(found, picture)
        np.savez_compressed(SPEC["result"], masks=np.packbits(masks), values=values, ious=getattr(side, "ious", []))
        answer(seconds=seconds, grown_mb=grown)
    os._exit(0)


if __name__ == "__main__":
    main()

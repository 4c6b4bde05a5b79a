# SPDX-License-Identifier: Apache-2.0
"""LiteRT (TensorFlow Lite) with its XNNPACK delegate, converted by litert-torch to NHWC."""
import numpy as np

from runtimes.base import Runtime, Session, Variant


class LiteRt(Runtime):
    title = "LiteRT (XNNPACK)"
    distributions = ("ai-edge-litert",)
    folders = ("/ai_edge_litert/",)
    variants = (Variant("timm"), Variant("products"))
    settings = "converted with channels last in and out, default XNNPACK delegate, num_threads = n"

    def export(self, variant, network, example, stem, threads, isa):
        import litert_torch
        network = litert_torch.to_channel_last_io(network, args=[0], outputs=[0])
        litert_torch.convert(network, (example.permute(0, 2, 3, 1).contiguous(),)).export(f"{stem}.tflite")

    def imports(self):
        from ai_edge_litert import interpreter  # noqa: F401

    def open(self, variant, stem, case, threads):
        return _Session(f"{stem}.tflite", threads)


class _Session(Session):
    def __init__(self, path, threads):
        from ai_edge_litert.interpreter import Interpreter
        self._interpreter = Interpreter(path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    def set_input(self, image):
        x = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
        if self._input["dtype"] != np.float32:  # a static quantizer's networks take and give integers
            scale, zero = self._input["quantization"]
            limits = np.iinfo(self._input["dtype"])
            x = np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(self._input["dtype"])
        self._interpreter.set_tensor(self._input["index"], x)

    def run(self):
        self._interpreter.invoke()

    def output(self):
        y = self._interpreter.get_tensor(self._output["index"])
        if self._output["dtype"] != np.float32:
            scale, zero = self._output["quantization"]
            y = (y.astype(np.float32) - zero) * np.float32(scale)
        return np.ascontiguousarray(y.transpose(0, 3, 1, 2))

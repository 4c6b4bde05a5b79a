# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime with networks that its static quantiser wrote."""
import quantization
from runtimes import onnx_file
from runtimes.base import Variant
from runtimes.onnxruntime import OnnxRuntime


class OnnxRuntimeInt8(OnnxRuntime):
    title = "ONNX Runtime, int8"
    variants = (Variant("products", "int8"),)  # attention as timm has it is slower
    settings = "quantize_static: QDQ, u8 activations, s8 weights per channel, MinMax; " + OnnxRuntime.settings
    tolerance = 0.5

    def export(self, variant, network, example, stem, threads, isa):
        path = onnx_file.write(network, example, stem, variant.form)
        quantization.onnxruntime(path, quantization.noise(example.shape), f"{stem}.onnx")

    def open(self, variant, stem, case, threads):
        return super().open(Variant(variant.form), stem, case, threads)

# SPDX-License-Identifier: Apache-2.0
"""OpenVINO with networks that NNCF quantised."""
import quantization
from runtimes import onnx_file
from runtimes.base import Variant
from runtimes.openvino import OpenVino


class OpenVinoInt8(OpenVino):
    title = "OpenVINO, int8"
    distributions = ("openvino", "nncf")
    variants = (Variant("products-nhwc", "int8"),)  # the order in which its 8-bit convolutions work
    precision = ""  # what is not quantised runs in what the plugin chooses: the fastest
    settings = ("NNCF's post-training quantisation, preset MIXED, fast bias correction; IR, latency hint, one stream, "
                "no INFERENCE_PRECISION_HINT, threads = n, pinned")
    tolerance = 0.5

    def export(self, variant, network, example, stem, threads, isa):
        path = onnx_file.write(network, example, stem, variant.form)
        quantization.openvino(path, quantization.noise(example.shape), f"{stem}.xml")

# SPDX-License-Identifier: Apache-2.0
"""LiteRT with networks that ai_edge_quantizer wrote."""
import quantization
from runtimes.base import Variant
from runtimes.litert import LiteRt


class LiteRtInt8(LiteRt):
    title = "LiteRT, int8"
    variants = (Variant("timm", "int8"), Variant("products", "int8"))
    settings = "ai_edge_quantizer's static_wi8_ai8; " + LiteRt.settings
    tolerance = 0.5

    calibrated = True

    def export(self, variant, network, example, stem, threads, isa):
        quantization.litert(network, example, quantization.noise(example.shape) if self.calibrated else None, stem)


class LiteRtDynamic(LiteRtInt8):
    title = "LiteRT, int8 without calibration"
    variants = (Variant("timm", "dynamic int8"), Variant("products", "dynamic int8"))
    settings = "ai_edge_quantizer's dynamic_wi8_afp32; " + LiteRt.settings
    calibrated = False

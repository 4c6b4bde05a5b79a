# SPDX-License-Identifier: Apache-2.0
"""The runtimes that are compared; base.py says what a module has to provide.

To add one, write its module and add a line here. Modules import their runtime only inside functions: every worker
process loads one runtime, and the driver none.
"""
import importlib

OURS = "efficientvit"

# Name: module and class. Two settings of one runtime, such as two precisions, are two classes in one module.
RUNTIMES = {
    OURS: ("efficientvit", "EfficientViT"),
    "onnxruntime": ("onnxruntime", "OnnxRuntime"),
    "openvino": ("openvino", "OpenVino"),
    "litert": ("litert", "LiteRt"),
    "ncnn": ("ncnn", "Ncnn"),
    "mnn": ("mnn", "Mnn"),
    "torch": ("torch", "Torch"),
}


def runtime(name):
    module, kind = RUNTIMES[name]
    return getattr(importlib.import_module(f"runtimes.{module}"), kind)()


def source(name):
    return f"runtimes/{RUNTIMES[name][0]}.py"

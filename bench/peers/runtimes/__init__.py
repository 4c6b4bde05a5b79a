# SPDX-License-Identifier: Apache-2.0
"""The runtimes that are compared; base.py says what a module has to provide.

To add one, write its module and add a line here. Modules import their runtime only inside functions: every worker
process loads one runtime, and the driver none.
"""
import importlib

OURS = "efficientvit"

# Name: module and class.
RUNTIMES = {
    OURS: ("efficientvit", "EfficientViT"),
    "onnxruntime": ("onnxruntime", "OnnxRuntime"),
    "openvino": ("openvino", "OpenVino"),
    "litert": ("litert", "LiteRt"),
    "ncnn": ("ncnn", "Ncnn"),
    "mnn": ("mnn", "Mnn"),
    "torch": ("torch", "Torch"),
}

# What stands for a runtime in another precision: classes of its module, or of "module.Class", by names of their own. Two
# settings of one runtime are two such classes. A runtime that is missing here has only f32, and takes part in that.
PRECISIONS = {
    "f32": {},
    "bf16": {
        OURS: {"efficientvit-bf16": "EfficientViTBf16", "efficientvit": "EfficientViT"},
        "openvino": {"openvino-bf16": "OpenVinoBf16", "openvino-default": "OpenVinoDefault"},
        "ncnn": {"ncnn-bf16": "NcnnBf16"},
        "torch": {"torch-bf16": "TorchBf16"},
    },
    "int8": {
        OURS: {"efficientvit-int8": "EfficientViTInt8", "efficientvit": "EfficientViT"},
        "openvino": {"openvino-int8": "openvino_int8.OpenVinoInt8", "openvino-bf16": "OpenVinoBf16"},
        "onnxruntime": {"onnxruntime-int8": "onnxruntime_int8.OnnxRuntimeInt8"},
        "litert": {"litert-int8": "litert_int8.LiteRtInt8", "litert-dynamic": "litert_int8.LiteRtDynamic"},
    },
}
_CLASSES = dict(RUNTIMES)
for _precision in PRECISIONS.values():
    for _name, _kinds in _precision.items():
        for _other, _kind in _kinds.items():
            _module, _, _class = _kind.rpartition(".")
            _CLASSES[_other] = _module or RUNTIMES[_name][0], _class


def in_precision(names, precision):
    """The names that stand for these runtimes in a precision."""
    return [other for name in names for other in PRECISIONS[precision].get(name, [name])]


def is_ours(name):
    return _CLASSES[name][0] == OURS


def order(name):
    return list(_CLASSES).index(name)


def runtime(name):
    module, kind = _CLASSES[name]
    return getattr(importlib.import_module(f"runtimes.{module}"), kind)()


def sources(name):
    """The files that what it exports depends on, its module first."""
    module = _CLASSES[name][0]
    return (f"runtimes/{module}.py",) + (("quantization.py",) if module.endswith("_int8") else ())

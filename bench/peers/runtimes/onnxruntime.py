# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, CPU execution provider."""
import shutil

import numpy as np

from runtimes import onnx_file
from runtimes.base import Runtime, Session, Variant


class OnnxRuntime(Runtime):
    title = "ONNX Runtime"
    distributions = ("onnxruntime",)
    folders = ("/onnxruntime/",)
    variants = (Variant("timm"), Variant("products"), Variant("products", "optimised offline", startup_only=True))
    settings = "ORT_ENABLE_ALL (NCHWc layout), intra_op threads = n, spinning allowed, input and output bound"

    def export(self, variant, network, example, stem, threads, isa):
        import onnxruntime
        path = onnx_file.write(network, example, stem, variant.form)
        shutil.copyfile(path, f"{stem}.onnx")
        if variant.option:
            options = self._options(1)
            options.optimized_model_filepath = f"{stem}.optimised.onnx"
            onnxruntime.InferenceSession(f"{stem}.onnx", options, providers=["CPUExecutionProvider"])

    def imports(self):
        import onnxruntime  # noqa: F401

    def open(self, variant, stem, case, threads):
        options = self._options(threads)
        if variant.option:
            import onnxruntime
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return _Session(stem + (".optimised.onnx" if variant.option else ".onnx"), options)

    @staticmethod
    def _options(threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.log_severity_level = 3
        return options


class _Session(Session):
    def __init__(self, path, options):
        import onnxruntime
        self._ort = onnxruntime
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._binding = self._session.io_binding()

    def set_input(self, image):
        self._image = self._ort.OrtValue.ortvalue_from_numpy(image)
        shape = self._session.get_outputs()[0].shape
        self._result = self._ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32)
        self._binding.bind_ortvalue_input(onnx_file.INPUT, self._image)
        self._binding.bind_ortvalue_output(onnx_file.OUTPUT, self._result)

    def run(self):
        self._session.run_with_iobinding(self._binding)

    def output(self):
        return self._result.numpy().copy()

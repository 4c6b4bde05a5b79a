# SPDX-License-Identifier: Apache-2.0
"""MNN."""
import numpy as np

from runtimes import onnx_file
from runtimes.base import Runtime, Session, Variant


class Mnn(Runtime):
    title = "MNN"
    distributions = ("MNN",)
    folders = ("/_mnncengine", "/MNN/", "/MNN.libs/", "/mnn.libs/")
    variants = (Variant("timm"), Variant("products"))
    settings = "optimizePrefer 2, precision high, memory high, power high, numThread = n; the input is copied in for each run, since a run overwrites it"

    def export(self, variant, network, example, stem, threads, isa):
        # The converter's binary module. Not MNN.tools: importing that installs packages with pip and reports to a server.
        import _tools
        path = onnx_file.write(network, example, stem, variant.form)
        _tools.mnnconvert(["MNNConvert", "-f", "ONNX", "--modelFile", path, "--MNNModel", f"{stem}.mnn",
                           "--optimizePrefer", "2", "--bizCode", "compare"])

    def imports(self):
        import MNN  # noqa: F401

    def open(self, variant, stem, case, threads):
        return _Session(f"{stem}.mnn", threads)


class _Session(Session):
    def __init__(self, path, threads):
        import MNN
        self._mnn = MNN
        self._interpreter = MNN.Interpreter(path)
        self._session = self._interpreter.createSession({"backend": "CPU", "numThread": threads, "precision": "high",
                                                         "memory": "high", "power": "high"})

    def set_input(self, image):
        self._image = image
        self._host = self._mnn.Tensor(image.shape, self._mnn.Halide_Type_Float, image, self._mnn.Tensor_DimensionType_Caffe)
        self._input = self._interpreter.getSessionInput(self._session)

    def run(self):
        # A run overwrites its input: the memory serves for what comes later in the network.
        self._input.copyFrom(self._host)
        if self._interpreter.runSession(self._session) != 0:
            raise RuntimeError("MNN: runSession failed")

    def output(self):
        result = self._interpreter.getSessionOutput(self._session)
        shape = result.getShape()
        memory = np.zeros(shape, np.float32)
        host = self._mnn.Tensor(shape, self._mnn.Halide_Type_Float, memory, self._mnn.Tensor_DimensionType_Caffe)
        result.copyToHostTensor(host)
        return np.array(host.getNumpyData()).reshape(shape)

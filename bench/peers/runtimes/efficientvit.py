# SPDX-License-Identifier: Apache-2.0
"""This library, through efficientvit_c.cpp and ctypes."""
import ctypes
import pathlib

import numpy as np

from runtimes.base import Runtime, Session, Variant

Size4 = ctypes.c_ssize_t * 4


def _library(network, folder):
    library = ctypes.CDLL(str(pathlib.Path(folder) / f"libefficientvit_{network}.so"))
    library.evc_error.restype = ctypes.c_char_p
    library.evc_open.restype = ctypes.c_void_p
    library.evc_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p]
    library.evc_precision.restype = ctypes.c_char_p
    library.evc_precision.argtypes = [ctypes.c_void_p]
    library.evc_isa.restype = ctypes.c_char_p
    library.evc_isa.argtypes = [ctypes.c_void_p]
    library.evc_forward.argtypes = [ctypes.c_void_p] * 5
    return library


class EfficientViT(Runtime):
    title = "this library"
    precision = "f32"
    folders = ("/native-",)
    variants = (Variant("timm"),)
    settings = "-O2, no -m flags; Context({.threads = n}), forward_final on caller's memory"
    native = None  # where the driver built the libraries; handed to workers by environment()

    def version(self):
        import re
        header = pathlib.Path(__file__).parents[3] / "include/efficientvit/config.hpp"
        return re.search(r'EFFICIENTVIT_VERSION "(.*)"', header.read_text()).group(1)

    def environment(self, threads, isa):
        return {"EFFICIENTVIT_ISA": isa} if isa else {}

    def honours(self, isa):
        return True

    def export(self, variant, network, example, stem, threads, isa):
        from safetensors.torch import save_file
        save_file({name: t.contiguous() for name, t in network.weights().items()}, f"{stem}.safetensors")

    def imports(self):
        pass

    def open(self, variant, stem, case, threads):
        return _Session(stem, case, threads, self.native, self.precision)


class EfficientViTBf16(EfficientViT):
    title = "this library, bf16"
    precision = "bf16"
    settings = EfficientViT.settings + "; loaded with Precision::bf16"
    tolerance = 5e-2


class EfficientViTInt8(EfficientViT):
    title = "this library, int8"
    precision = "int8"
    settings = EfficientViT.settings + "; loaded with Precision::int8, from the same file of floats"
    tolerance = 0.2


class _Session(Session):
    def __init__(self, stem, case, threads, native, precision):
        self._library = _library(case.network, native)
        weights = b"" if case.network == "identity" else f"{stem}.safetensors".encode()
        self._model = self._library.evc_open(weights, threads, precision.encode())
        if not self._model:
            raise RuntimeError(self._library.evc_error().decode())
        self._in, self._out = Size4(*case.shape), Size4()
        if self._library.evc_output_shape(self._in, self._out) != 0:
            raise RuntimeError(self._library.evc_error().decode())
        self._y = _aligned(tuple(self._out))

    def set_input(self, image):
        self._x = _aligned(image.shape)
        self._x[...] = image
        self._arguments = (self._model, self._x.ctypes.data, ctypes.addressof(self._in), self._y.ctypes.data,
                           ctypes.addressof(self._out))
        self._forward = self._library.evc_forward

    def run(self):
        if self._forward(*self._arguments) != 0:
            raise RuntimeError(self._library.evc_error().decode())

    def output(self):
        return self._y.copy()

    def isa(self):
        """With what multiplies, where that is not float: "avx512, bf16 (AMX)"."""
        names = self._library.evc_isa(self._model), self._library.evc_precision(self._model)
        return ", ".join(name.decode() for name in names if name != b"f32")


def _aligned(shape):
    """Zeros at an address that 64 divides."""
    count = int(np.prod(shape))
    memory = np.zeros(count + 16, np.float32)
    first = (-memory.ctypes.data % 64) // 4
    return memory[first:first + count].reshape(shape)

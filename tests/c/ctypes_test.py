# SPDX-License-Identifier: Apache-2.0
"""The shared library (argument 1) by Python's ctypes, with the files of reference.cpp in the folder of argument 2:
structures as the guide declares them, the same bits as in C++."""
import ctypes
import pathlib
import sys
import threading
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_double, c_float, c_int, c_size_t, c_void_p, sizeof

ev = ctypes.CDLL(sys.argv[1])
folder = pathlib.Path(sys.argv[2])


class Error(Structure):
    _fields_ = [("status", c_int), ("message", c_char * 4092)]


class Shape(Structure):
    _fields_ = [("n", c_int), ("c", c_int), ("h", c_int), ("w", c_int)]


class LoadOptions(Structure):
    _fields_ = [("size", c_size_t), ("network", c_char_p), ("entry", c_char_p), ("prefix", c_char_p), ("threads", c_int),
                ("precision", c_int), ("isa", c_int)]


class ModelInfo(Structure):
    _fields_ = [("network", c_char_p), ("task", c_int), ("in_channels", c_int), ("n_classes", c_int), ("height", c_int),
                ("width", c_int), ("size_multiple", c_int), ("outputs", c_int), ("crop_ratio", c_double),
                ("mean", c_float * 3), ("std", c_float * 3), ("isa", c_char_p), ("precision", c_char_p)]


ev.ev_network.restype = ev.ev_version.restype = c_char_p
ev.ev_model_load.argtypes = [c_char_p, POINTER(LoadOptions), POINTER(c_void_p), POINTER(Error)]
ev.ev_model_forward.argtypes = [c_void_p, c_void_p, Shape, c_void_p, c_size_t, POINTER(Error)]
ev.ev_model_get_info.argtypes = [c_void_p, POINTER(ModelInfo), c_size_t, POINTER(Error)]
ev.ev_model_free.argtypes = [c_void_p]

assert ev.ev_abi_version() == 1, ev.ev_abi_version()
print(ev.ev_version().decode())

error, model, options, info = Error(), c_void_p(), LoadOptions(), ModelInfo()
assert ev.ev_model_load(b"no such file", None, byref(model), byref(error)) == 2 and not model
assert b"no such file" in error.message, error.message

ev.ev_load_options_init(byref(options), c_size_t(sizeof(options)))
assert options.size == sizeof(options) and options.threads == 1 and options.network is None
options.threads = 2
path = str(folder / "cls_b0.safetensors").encode()
assert ev.ev_model_load(path, byref(options), byref(model), byref(error)) == 0, error.message
assert ev.ev_model_get_info(model, byref(info), sizeof(info), byref(error)) == 0, error.message
assert (info.network, info.task, info.n_classes, info.height) == (b"cls_b0", 1, 1000, 224)
assert info.precision == b"f32" and abs(info.std[2] - 0.225) < 1e-6

x = (folder / "input.f32").read_bytes()
expected = (folder / "logits.f32").read_bytes()


def forward():
    logits = ctypes.create_string_buffer(len(expected))
    assert ev.ev_model_forward(model, x, Shape(1, 3, 64, 96), logits, 1000, byref(Error())) == 0
    answers.append(logits.raw)


answers = []
threads = [threading.Thread(target=forward) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert answers == [expected] * 8
assert ev.ev_model_forward(model, x, Shape(1, 4, 64, 96), b"", 1000, byref(error)) == 3 and error.status == 3
ev.ev_model_free(model)

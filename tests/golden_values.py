# SPDX-License-Identifier: Apache-2.0
"""What golden_values.hpp says of weights and inputs, for the scripts that let PyTorch compute with them."""
import math

import numpy


def golden_hash(text):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return value


def golden_tensor(name, shape, seed=""):
    """The values of the tensor `name` as an array of float32. `seed` is put before the name for the hash."""
    scale, offset = 1.0, 0.0
    if name.endswith(("running_mean", "bias")):
        scale = 0.1
    elif name.endswith("running_var"):
        scale, offset = 0.5, 1.0
    elif name == "mask_input":
        scale = 4.0
    elif name.endswith("gaussian_matrix"):
        scale = 2.0
    elif name not in ("input", "embedding") and len(shape) == 1:
        scale, offset = (0.1, 0.15) if "_module." in name else (0.2, 0.85)
    elif name not in ("input", "embedding"):
        scale = math.sqrt(6 / math.prod(shape[1:]))
    z = numpy.uint64(golden_hash(seed + name)) + numpy.arange(1, math.prod(shape) + 1, dtype=numpy.uint64) * numpy.uint64(
        0x9E3779B97F4A7C15)
    z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
    z = z ^ z >> numpy.uint64(31)
    v = (z >> numpy.uint64(40)).astype(float) * 2.0**-23 - 1
    return (offset + scale * v).astype(numpy.float32).reshape(shape)

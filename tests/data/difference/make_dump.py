#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes timm_b0_40x56.safetensors beside it: what dump_activations.py stores of timm's efficientvit_b0, for the weights
of tests/golden_values.hpp, without these and without what is inside blocks. Needs torch, timm and safetensors."""
import json
import math
import pathlib
import re
import sys

import numpy
import timm
import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[2] / "examples" / "difference"))
from dump_activations import dump  # noqa: E402

BLOCKS = r"(stem\.\w+|stages\.\d\.blocks\.\d(\.\w+_module)?|head\.(in_conv|global_pool|classifier\.[24]))"


def golden_tensor(name, shape):
    """As in tests/golden_values.hpp."""
    state = 0xcbf29ce484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001b3 % 2**64
    z = numpy.uint64(state) + numpy.arange(1, math.prod(shape) + 1, dtype=numpy.uint64) * numpy.uint64(0x9e3779b97f4a7c15)
    z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xbf58476d1ce4e5b9)
    z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94d049bb133111eb)
    z ^= z >> numpy.uint64(31)
    v = (z >> numpy.uint64(40)).astype(numpy.float64) * 2.0**-23 - 1
    if name.endswith(("running_mean", "bias")):
        v = 0.1 * v
    elif name.endswith("running_var"):
        v = 1 + 0.5 * v
    elif len(shape) == 1:
        v = 0.15 + 0.1 * v if "_module." in name else 0.85 + 0.2 * v
    elif name != "input":
        v = v * math.sqrt(6 / math.prod(shape[1:]))
    return torch.from_numpy(v.astype(numpy.float32).reshape(shape))


model = timm.create_model("efficientvit_b0", pretrained=False)
names = {timm_name: name for name, timm_name in
         json.loads((HERE.parent / "names" / "timm_names_cls_b0.json").read_text()).items()}
model.load_state_dict({name: golden_tensor(names[name], list(values.shape)) if name in names else values
                       for name, values in model.state_dict().items()})
output = HERE / "timm_b0_40x56.safetensors"
dump(model, golden_tensor("input", [1, 3, 40, 56]), output)
save_file({name: values for name, values in load_file(output).items()
           if name == "input" or re.fullmatch(r"activations\." + BLOCKS, name)}, output)

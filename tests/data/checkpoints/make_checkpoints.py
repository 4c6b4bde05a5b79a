#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the checkpoints of this directory with the PyTorch that runs it, whose version their names carry.

The committed ones are from PyTorch 2.0.1 (the oldest with today's names for storages) and 2.14.1:

    python3.11 -m venv old && old/bin/pip install torch==2.0.1 'numpy<2' && old/bin/python make_checkpoints.py
    python3 -m venv new && new/bin/pip install torch && new/bin/python make_checkpoints.py

What is in them is repeated, as values, in tests/weights/torch_checkpoint_test.cpp.
"""
import pathlib
from collections import OrderedDict
from unittest import mock

import torch

HERE = pathlib.Path(__file__).parent
VERSION = ".".join(torch.__version__.split(".")[:2])


def save(name, value, **options):
    torch.save(value, HERE / f"{name}_torch{VERSION}.pt", **options)


def count(*shape, dtype=torch.float32):
    """0, 1, 2, … in that shape."""
    return torch.arange(torch.Size(shape).numel()).to(dtype).reshape(shape)


def module():
    """Its state dict is an OrderedDict with attributes, and has a counter."""
    out = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.BatchNorm2d(2))
    for parameter in out.parameters():
        parameter.data = count(*parameter.shape) * 0.5
    out[1].num_batches_tracked.fill_(9)
    return out


def tensors():
    """Every element type that is read, and every way to lie in a storage."""
    shared = count(8)
    return {
        "f64": count(2, 3, dtype=torch.float64) / 4 + 1e-9,
        "f32": count(2, 3) - 2.5,
        "f16": count(2, 3, dtype=torch.float16) * 0.5,
        "bf16": count(2, 3, dtype=torch.bfloat16) * 0.5,
        "i64": torch.tensor(12345678901234),
        "i32": count(3, dtype=torch.int32) - 1,
        "i16": count(3, dtype=torch.int16) - 1,
        "i8": count(3, dtype=torch.int8) - 1,
        "u8": count(3, dtype=torch.uint8) + 253,
        "bool": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(count(4)),
        "buffer_of_no_gradient": torch.nn.Parameter(count(4), requires_grad=False),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
        "transposed": count(2, 3).t(),
        "permuted": count(2, 3, 4).permute(2, 0, 1),
        "sliced": count(4, 6, dtype=torch.float16)[1:4:2, ::3],
        "channels_last": count(1, 2, 2, 2).contiguous(memory_format=torch.channels_last),
        "expanded": torch.tensor([7.0]).expand(2, 3),
        "shared": shared,
        "shared.front": shared[:4],
        "shared.back": shared[4:].view(2, 2),
        "shared.odd": shared[1::2],
    }


def training():
    """What a training loop saves; its tensors pretend to come from a GPU."""
    model = module()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer.step()
    return {
        "epoch": 7,
        "best": 71.5,
        "arch": "b0",
        "history": [3.5, 2.5, (1, None)],
        "big": 1 << 70,
        "negative": -(1 << 40),
        "state_dict": OrderedDict(state),
        "optimizer": optimizer.state_dict(),
        "ema": {"state_dict": {name: tensor + 1 for name, tensor in state.items()}, "decay": 0.9998},
    }


save("tensors", tensors())
save("module", module().state_dict())
save("module_protocol4", module().state_dict(), pickle_protocol=4)
save("legacy", {"a": count(2)}, _use_new_zipfile_serialization=False)
with mock.patch("torch.serialization.location_tag", lambda storage: "cuda:1"):
    save("training", training())

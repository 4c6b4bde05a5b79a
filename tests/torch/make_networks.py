#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stores what PyTorch computes, in float64, for networks dealt from a seed.

    python3 -m venv env && env/bin/pip install torch numpy safetensors && env/bin/python make_networks.py

writes ../data/networks/random.safetensors, and the networks' C++ types as ../nn/random_blocks.inc and
../nn/random_networks.inc. The file carries the types too, and the test refuses one that is not the compiler's, so that
the two cannot drift apart. Weights and inputs are made from their names (tests/golden_values.hpp), with the network's
own name as the seed.
"""
import json
import pathlib
import textwrap

import numpy
import safetensors.numpy
import torch

import dealing
import networks

SEED = 7
# Values of an output that are stored, at most.
KEPT = 200
TESTS = pathlib.Path(__file__).resolve().parent.parent


def hash_of(text):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return value


def golden_tensor(seed, name, shape):
    """As tests/golden_values.hpp has it."""
    scale, offset = 1.0, 0.0
    if name.endswith(("running_mean", "bias")):
        scale = 0.1
    elif name.endswith("running_var"):
        scale, offset = 0.5, 1.0
    elif name != "input" and len(shape) == 1:
        scale, offset = (0.1, 0.15) if "_module." in name else (0.2, 0.85)
    elif name != "input":
        scale = (6 / numpy.prod(shape[1:], dtype=float))**0.5
    count = int(numpy.prod(shape))
    z = numpy.uint64(hash_of(seed + name)) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(
        0x9E3779B97F4A7C15)
    z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
    z = z ^ z >> numpy.uint64(31)
    v = (z >> numpy.uint64(40)).astype(float) * 2.0**-23 - 1
    return torch.from_numpy((offset + scale * v).astype(numpy.float32).reshape(shape)).double()


def outputs_of(network, name, shape):
    """The network's outputs, in order, and its parameters as lines of text."""
    module = network.build(networks).double().eval()
    state = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    for key, value in state.items():
        value.copy_(golden_tensor(name, key, tuple(value.shape)))
    outputs = module(golden_tensor(name, "input", shape))
    lines = [" ".join([key, *map(str, value.shape)]) + "\n" for key, value in state.items()]
    return outputs if isinstance(outputs, list) else [outputs], "".join(lines)


def sample(values):
    """At most KEPT values, a step apart that has no factor in common with their number, so that no row or channel is
    left out; and the step."""
    step = -(-len(values) // KEPT)
    while numpy.gcd(step, len(values)) != 1:
        step += 1
    return values[::step], step


def inc(makers):
    lines = [
        "// SPDX-License-Identifier: Apache-2.0",
        "//",
        f"// Written by tests/torch/make_networks.py from seed {SEED}. Included where NETWORK(name, type) says what for.",
    ]
    for found, name, network, _ in dealing.deal(SEED):
        if found is makers:
            lines += textwrap.wrap(f"NETWORK({name}, {network.type()})", 120, subsequent_indent="        ",
                                   break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def main():
    torch.set_num_threads(1)
    tensors, metadata = {}, {"seed": str(SEED), "torch": torch.__version__}
    with torch.no_grad():
        for _, name, network, shape in dealing.deal(SEED):
            outputs, parameters = outputs_of(network, name, shape)
            steps, shapes = [], []
            for i, output in enumerate(outputs):
                values = output.contiguous().numpy().ravel()
                kept, step = sample(values)
                moments = [values.mean(), (values**2).mean()**0.5, abs(values).max()]
                tensors[f"{name}.{i}"] = numpy.concatenate([moments, kept]).astype(numpy.float32)
                steps.append(step)
                shapes.append(list(output.shape))
            metadata[name] = json.dumps(dict(type=network.type(), parameters=f"{hash_of(parameters):016x}",
                                             input=shape, outputs=shapes, steps=steps))
    (TESTS / "data/networks").mkdir(exist_ok=True)
    safetensors.numpy.save_file(tensors, TESTS / "data/networks/random.safetensors", metadata)
    (TESTS / "nn/random_blocks.inc").write_text(inc(dealing.BLOCKS))
    (TESTS / "nn/random_networks.inc").write_text(inc(dealing.NETWORKS))


main()

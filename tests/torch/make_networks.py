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
import sys
import textwrap

import numpy
import safetensors.numpy
import torch

import dealing
import networks

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(TESTS))
from golden_values import golden_hash, golden_tensor  # noqa: E402

SEED = 7
# Values of an output that are stored, at most.
KEPT = 200


def tensor(name, shape, seed):
    return torch.from_numpy(golden_tensor(name, shape, seed)).double()


def outputs_of(network, name, shape):
    """The network's outputs, in order, and its parameters as lines of text."""
    module = network.build(networks).double().eval()
    state = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    for key, value in state.items():
        value.copy_(tensor(key, tuple(value.shape), name))
    outputs = module(tensor("input", shape, name))
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
            metadata[name] = json.dumps(dict(type=network.type(), parameters=f"{golden_hash(parameters):016x}",
                                             input=shape, outputs=shapes, steps=steps))
    (TESTS / "data/networks").mkdir(exist_ok=True)
    safetensors.numpy.save_file(tensors, TESTS / "data/networks/random.safetensors", metadata)
    (TESTS / "nn/random_blocks.inc").write_text(inc(dealing.BLOCKS))
    (TESTS / "nn/random_networks.inc").write_text(inc(dealing.NETWORKS))


main()

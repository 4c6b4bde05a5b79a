# SPDX-License-Identifier: Apache-2.0
"""Writes ONNX, for the runtimes that start from it. No runtime itself."""
import pathlib

INPUT, OUTPUT = "image", "final"


def write(network, example, stem, form):
    """The file's path: beside the folders of the runtimes, which share it. `stem` is what export() was given.
    Opset 18: new enough for HardSwish as one operator, old enough for every runtime here."""
    import torch
    path = pathlib.Path(stem).parents[1] / f"{form}.onnx"
    if not path.exists():
        part = path.with_suffix(".part")
        torch.onnx.export(network, (example,), str(part), dynamo=True, verbose=False, external_data=False,
                          input_names=[INPUT], output_names=[OUTPUT], opset_version=18)
        part.rename(path)
    return str(path)

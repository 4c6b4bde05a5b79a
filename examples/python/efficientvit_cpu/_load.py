# SPDX-License-Identifier: Apache-2.0
"""Weights from files, bytes and PyTorch modules to networks."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping

from ._core import Model, Sam, StateDict
from ._errors import WeightsError

#: A file's path, a file's bytes, or tensors by name.
Weights = typing.Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, Mapping[str, typing.Any]]


def _state_dict(weights: Weights, entry: str | None) -> StateDict | dict[str, typing.Any]:
    if isinstance(weights, (str, os.PathLike)):
        os.stat(weights)  # FileNotFoundError and PermissionError, as open() raises them
        return StateDict.read(os.fsencode(weights), entry or "")
    if isinstance(weights, (bytes, bytearray, memoryview)):
        return StateDict.parse(weights, entry or "")
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights is a {type(weights).__name__}, expected a path, a file's bytes or a dict of arrays")
    if entry is None:
        return _arrays(weights)
    if not isinstance(weights.get(entry), Mapping):
        found = f"is a {type(weights[entry]).__name__}" if entry in weights else "is missing"
        raise WeightsError(f"the entry {entry!r} of weights {found}, expected a dict of arrays; {_entries(weights)}")
    return _arrays(weights[entry])


def _entries(weights: Mapping[str, typing.Any]) -> str:
    """Which of them may be a state dict."""
    names = [repr(name) for name, value in weights.items() if isinstance(value, Mapping)]
    return f"dicts in it are {', '.join(names)}" if names else "there is no dict in it"


def _arrays(tensors: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    return {name: _tensor(name, tensor) for name, tensor in tensors.items()}


def _tensor(name: str, tensor: typing.Any) -> typing.Any:
    if isinstance(tensor, Mapping):
        kind = type(tensor).__name__
        raise WeightsError(f"weights[{name!r}] is a {kind}, expected an array: give entry={name!r}, or that {kind} alone")
    plain = _plain(tensor)
    if getattr(getattr(plain, "dtype", None), "kind", "") in tuple("OSU"):
        found = f"{type(tensor).__name__} of {plain.dtype.name}" if plain is tensor else type(tensor).__name__
        raise WeightsError(f"the tensor {name!r} is a {found}, expected an array of numbers")
    return plain


def _plain(tensor: typing.Any) -> typing.Any:
    """A tensor as an array without gaps in the CPU's memory. PyTorch's are seen without a copy where they are that."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu().contiguous()
    elif not hasattr(tensor, "__dlpack__") or not getattr(tensor, "flags", {"C_CONTIGUOUS": True})["C_CONTIGUOUS"]:
        import numpy

        tensor = numpy.asarray(tensor, order="C")
    return tensor


def load(
    weights: Weights,
    name: str | None = None,
    *,
    threads: int = 1,
    precision: str = "f32",
    isa: str | None = None,
    entry: str | None = None,
    prefix: str = "",
) -> Model:
    """A network with its weights.

    weights    a path or a file's bytes: safetensors, their index, or what torch.save wrote (nothing in it is executed); or
               a dict of arrays
    name       of model_names(), or as it is published ("efficientvit_b1.r288_in1k"), which also says what pictures it
               expects; None: the network that the weights look like. A whole SAM gives its image encoder here: see load_sam()
    threads    that work on one call; 0: as many as there are CPUs for
    precision  "f32", "bf16", "bf16_weights", "int8" or "f16"
    isa        "scalar", "avx2", "avx512" or "neon"; None: the best there is, or what EFFICIENTVIT_ISA says
    entry      of a PyTorch checkpoint, or of a dict that has dicts, what to read: "ema"; None: the file's state dict, the dict
               itself
    prefix     only tensors whose names begin so are looked at

    Raises WeightsError, ConfigError, FileNotFoundError.
    """
    return Model(_state_dict(weights, entry), name or "", threads, precision, isa or "", prefix)


def load_sam(
    weights: Weights,
    name: str | None = None,
    *,
    threads: int = 1,
    precision: str = "f32",
    isa: str | None = None,
    entry: str | None = None,
    prefix: str = "",
) -> Sam:
    """A whole EfficientViT-SAM with its weights: "sam_l0", ..., "sam_xl1". Arguments and errors are those of load()."""
    return Sam(_state_dict(weights, entry), name or "", threads, precision, isa or "", prefix)


def from_torch(module: typing.Any, name: str | None = None, **options: typing.Any) -> Model | Sam:
    """The network of a PyTorch module, timm's or the reference's, with the weights that it has now: a Model, or a Sam
    where the module is a whole SAM. What the module computes is not looked at, only its state dict. `options` are those of
    load(). timm's classifiers keep the pictures that their tag was trained on.

    Raises WeightsError where the weights are of no network that there is.
    """
    weights = _arrays(module.state_dict())
    if any(key.startswith("mask_decoder.") for key in weights):
        return load_sam(weights, name, **options)
    model = load(weights, name, **options)
    published = getattr(module, "pretrained_cfg", None) or {}
    if name is None and model.task == "classification" and published.get("architecture") and published.get("tag"):
        return load(weights, f"{published['architecture']}.{published['tag']}", **options)
    return model

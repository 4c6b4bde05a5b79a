# SPDX-License-Identifier: Apache-2.0
"""What the repository's C++ tests store: outputs of the reference in float64, for weights that are made of their names."""

import importlib.util
import json
import pathlib
import struct

import numpy
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
_SPEC = importlib.util.spec_from_file_location("golden_values", ROOT / "tests" / "golden_values.py")
_VALUES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_VALUES)
golden_tensor = _VALUES.golden_tensor

DATA = ROOT / "tests" / "data"
#: Of a tensor's largest value, as in the C++ tests.
BOUND = 4e-6


def read_safetensors(path):
    """Tensors by name, and the metadata."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    dtypes = {"F32": numpy.float32, "I64": numpy.int64}
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = numpy.frombuffer(data[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def write_safetensors(path, tensors):
    """float32 tensors to a file."""
    header, offset = {}, 0
    for name, x in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [offset, offset + 4 * x.size]}
        offset += 4 * x.size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(x.astype("<f4").tobytes() for x in tensors.values()))


def golden(name):
    """Outputs and metadata of tests/data/golden/<name>.safetensors."""
    return read_safetensors(DATA / "golden" / f"{name}.safetensors")


def golden_weights(network):
    """The golden weights of a published network: "cls_b0", "sam_l0_whole"."""
    keys = json.loads((DATA / "names" / f"keys_{network}.json").read_text())
    return {name: golden_tensor(name, shape) for name, shape in keys.items()}


def error(found, expected):
    """The largest difference, of the largest value; infinite where shapes differ or a value is NaN."""
    if found.shape != expected.shape or not numpy.isfinite(found).all():
        return numpy.inf
    return numpy.abs(found.astype(float) - expected).max() / numpy.abs(expected).max()


@pytest.fixture(scope="session")
def b0_weights():
    return golden_weights("cls_b0")


@pytest.fixture(scope="session")
def b0_file(b0_weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "b0.safetensors"
    write_safetensors(path, b0_weights)
    return path


@pytest.fixture(scope="session")
def photo():
    """(H, W, 3), uint8."""
    image = pytest.importorskip("PIL.Image")
    return numpy.array(image.open(DATA / "images" / "chelsea.png").convert("RGB"))

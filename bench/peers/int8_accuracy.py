#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What 8 bits cost trained networks: classifies the held-out pictures of examples/glyphs and examples/digits by this library
and by what each runtime's own quantizer makes of the same weights, calibrated on 300 pictures like those of training.

Run it with the Python of the environment that `compare.py --precision int8` made. The glyphs' calibration pictures are
drawn, in fonts that `examples/glyphs/fonts.py` names.
"""
import argparse
import csv
import itertools
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "examples"
sys.path[:0] = [str(HERE), str(EXAMPLES / "glyphs"), str(EXAMPLES / "digits")]
sys.dont_write_bytecode = True

import compare  # noqa: E402
import networks  # noqa: E402
import numpy as np  # noqa: E402
import quantization  # noqa: E402
import runtimes  # noqa: E402
import torch  # noqa: E402
from report import table  # noqa: E402
from runtimes import onnx_file  # noqa: E402
from runtimes.base import Variant  # noqa: E402

CALIBRATION = 300
FORM = "products"


def glyphs():
    """A model, its held-out pictures (n, 3, 64, 64), their classes, and pictures to calibrate with."""
    import drawing
    import fonts
    import train_glyphs as t
    with open(t.HERE / "held_out.csv", newline="") as file:
        classes = np.array([int(row["class"]) for row in csv.DictReader(file)])
    torch.manual_seed(0)
    faces = drawing.load_faces(fonts.TRAINED)
    drawn = [t.draw(faces, part)[0] for part in torch.randint(len(drawing.CLASSES), (CALIBRATION,)).split(50)]
    pictures = t.to_input(t.read_sheet(t.HERE / "held_out.png"))
    return t.read_model(t.HERE / "glyphs_b0.safetensors"), pictures.numpy(), classes, t.to_input(torch.cat(drawn)).numpy()


def digits():
    """The same."""
    import train_digits as t
    gray, labels, train, held_out = t.load_split(0)
    model = t.build_model().eval()
    model.load_state_dict(t.read_state(EXAMPLES / "digits/digits_b0.safetensors"))
    return model, t.preprocess(gray[held_out]).numpy(), labels[held_out], t.preprocess(gray[train[:CALIBRATION]]).numpy()


READERS = {"digits": digits, "glyphs": glyphs}


class Logits(torch.nn.Module):
    """A classifier whose result is a map, (n, classes, 1, 1), as the modules of runtimes/ want it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)[:, :, None, None]


class Network:
    """A trained network, its pictures, and what it computes of them in float64."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        model, self.pictures, self.labels, calibration = READERS[name]()
        self.calibration = [np.ascontiguousarray(picture[None]) for picture in calibration]
        self.example = torch.from_numpy(self.calibration[0])
        with torch.inference_mode():
            model.double()
            self.expected = torch.cat([model(part.double()) for part in torch.from_numpy(self.pictures).split(50)]).numpy()
        self.model = Logits(networks.FORMS[FORM](model.float(), self.example.shape)).eval()

    def stem(self, runtime):
        stem = self.folder / self.name / runtime / FORM
        stem.parent.mkdir(parents=True, exist_ok=True)
        return str(stem)

    def logits(self, session):
        found = []
        for picture in self.pictures:
            session.set_input(np.ascontiguousarray(picture[None]))
            try:
                session.run()
                found.append(session.output().reshape(-1))
            except RuntimeError as error:  # as LiteRT's where attention divides by what has become 0
                print(f"{self.name}: {error}", file=sys.stderr)
                found.append(np.full(self.expected.shape[1], np.nan))
        return np.array(found, np.float64)

    def row(self, title, logits):
        there = np.isfinite(logits).all(1)
        rms = np.sqrt(np.square(logits - self.expected)[there].mean() / np.square(self.expected)[there].mean())
        best, float_best = np.where(there, np.nan_to_num(logits).argmax(1), -1), self.expected.argmax(1)
        right = f"{(best == self.labels).sum()} of {len(self.labels)}"
        if not there.all():
            title += f" (no result for {(~there).sum()})"
        return [self.name, title, right, (best != float_best).sum(), f"{rms:.1e}"]


class OurCase:
    """What runtimes/efficientvit.py asks of a case."""

    def __init__(self, network):
        self.network, self.shape = network.name, tuple(network.example.shape)


def ours(o, network):
    from runtimes import efficientvit
    header = EXAMPLES / network.name / "network.hpp"
    library = network.folder / f"libefficientvit_{network.name}.so"
    subprocess.run([o.cxx, "-std=c++20", "-O2", "-fPIC", "-shared", "-pthread", f"-I{ROOT / 'include'}",
                    *compare.eigen_flags(o), "-DEVC_INT8", f"-DEVC_NETWORK={network.name}::Network", "-include", header,
                    HERE / "efficientvit_c.cpp", "-o", library], check=True)
    for kind in efficientvit.EfficientViT, efficientvit.EfficientViTInt8:
        runtime = kind()
        runtime.native = network.folder
        stem = EXAMPLES / network.name / f"{network.name}_b0"
        yield network.row(runtime.title, network.logits(runtime.open(runtime.variants[0], str(stem), OurCase(network), 1)))


def peers(network):
    source = onnx_file.write(network.model, network.example, network.stem("onnx"), FORM)
    for name in "openvino-int8", "onnxruntime-int8", "litert-int8", "litert-dynamic":
        runtime = runtimes.runtime(name)
        stem = network.stem(name)
        if name == "openvino-int8":
            quantization.openvino(source, network.calibration, f"{stem}.xml")
        elif name == "onnxruntime-int8":
            quantization.onnxruntime(source, network.calibration, f"{stem}.onnx")
        else:
            pictures = network.calibration if runtime.calibrated else None
            quantization.litert(network.model, network.example, pictures, stem)
        yield network.row(runtime.title, network.logits(runtime.open(Variant(FORM), stem, None, 1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--networks", default="digits,glyphs", metavar="LIST", help="of digits, glyphs (default: both)")
    parser.add_argument("--cxx", default="g++", help="compiler for this library")
    parser.add_argument("--eigen", metavar="DIR", help="where Eigen's headers are, if pkg-config does not know")
    o = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in o.networks.split(","):
            network = Network(name, pathlib.Path(folder))
            for one in itertools.chain(ours(o, network), peers(network)):
                print(*one, file=sys.stderr, flush=True)
                rows.append(one)
    print(table(["network", "runtime", "right", "other than float64", "rms of logits"], rows))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""ncnn, converted by pnnx. It has no batches: a batch runs image by image, as its users do it."""
import pathlib
import subprocess

import numpy as np

from runtimes.base import Runtime, Session, Variant


class Ncnn(Runtime):
    title = "ncnn"
    distributions = ("ncnn",)
    folders = ("/ncnn/", "/ncnn.libs/")
    variants = (Variant("timm"), Variant("products"))
    bf16 = False
    settings = "pnnx, activations fused; packing, Winograd, sgemm on; fp16 and bf16 off; pool allocators; threads = n"

    def export(self, variant, network, example, stem, threads, isa):
        import pnnx
        import torch
        one = example[:1]
        with torch.no_grad():
            torch.jit.trace(network, one).save(f"{stem}.pt")
        shape = ",".join(str(n) for n in one.shape)
        subprocess.run([pnnx.EXEC_PATH, f"{stem}.pt", f"inputshape=[{shape}]", "fp16=0"], check=True, capture_output=True)
        param = pathlib.Path(f"{stem}.ncnn.param")
        fused = fuse_activations(param.read_text())
        param.write_text(fused)
        pathlib.Path(f"{stem}.bf16.param").write_text(keep_groups_in_float(fused))

    def imports(self):
        import ncnn  # noqa: F401

    def open(self, variant, stem, case, threads):
        return _Session(stem, threads, self.bf16)


class NcnnBf16(Ncnn):
    title = "ncnn, bf16 storage"
    bf16 = True
    settings = "pnnx, activations fused; packing, Winograd, sgemm on; bf16 storage and packing on, but for grouped 1x1 convolutions; pool allocators; threads = n"
    tolerance = 5e-2


def fuse_activations(param):
    """Does to ncnn's network text what its tool ncnnoptimize does, and pnnx does not: convolutions take over
    the HardSwish behind them."""
    magic, _, *lines = param.splitlines()
    kept, producer = [], {}
    for words in (line.split() for line in lines):
        inputs, outputs = int(words[2]), int(words[3])
        names = words[4:4 + inputs + outputs]
        before = producer.get(names[0])
        if words[0] == "HardSwish" and before is not None and before[0].startswith("Convolution"):
            values = dict(word.split("=") for word in words[4 + len(names):])
            before[before.index(names[0], 4)] = names[1]
            before += ["9=6", f"-23310=2,{values.get('0', '2.000000e-01')},{values.get('1', '5.000000e-01')}"]
            producer[names[1]] = before
            continue
        kept.append(words)
        producer.update((name, words) for name in names[inputs:])
    blobs = sum(int(words[3]) for words in kept)
    return "\n".join([magic, f"{len(kept)} {blobs}"] + [" ".join(words) for words in kept]) + "\n"


def keep_groups_in_float(param):
    """Without this ncnn gives nothing but NaN: its grouped convolutions that are not depthwise do so with bf16 storage
    (1.0.20261020, AVX-512). 31=4 turns that off for one layer."""
    lines = param.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("ConvolutionDepthWise"):
            values = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if values["0"] != values["7"]:  # channels, groups
                lines[i] += " 31=4"
    return "\n".join(lines) + "\n"


class _Session(Session):
    def __init__(self, stem, threads, bf16):
        import ncnn
        self._ncnn = ncnn
        # The network frees what these gave, so they must outlive it.
        self._allocators = ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator()
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
            setattr(options, f"use_{name}", bf16 and name.startswith("bf16"))
        for name in ("packing_layout", "winograd_convolution", "sgemm_convolution"):
            setattr(options, f"use_{name}", True)
        options.lightmode = True
        options.blob_allocator, options.workspace_allocator = self._allocators
        if self._net.load_param(f"{stem}.{'bf16' if bf16 else 'ncnn'}.param") != 0 or self._net.load_model(f"{stem}.ncnn.bin") != 0:
            raise RuntimeError("ncnn cannot load the network")

    def set_input(self, image):
        # Copies in ncnn's own memory: some of its layers take alignment for granted.
        self._mats = [self._ncnn.Mat(np.ascontiguousarray(one)).clone() for one in image]

    def run(self):
        self._results = []
        for mat in self._mats:
            extractor = self._net.create_extractor()
            extractor.input("in0", mat)
            status, result = extractor.extract("out0")
            if status != 0:
                raise RuntimeError(f"ncnn: extract returned {status}")
            self._results.append(result)

    def output(self):
        return np.stack([np.array(result) for result in self._results])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A prompt on a ready embedding: this library's decoder beside ONNX Runtime, OpenVINO and PyTorch.

The others run the reference's decoder from embedding and point to low-resolution masks and IoU, exported to ONNX with all
that does not depend on these folded into constants. Weights are random. Needs `efficientsam` (pip install --no-deps), torch,
onnx, onnxscript, onnxruntime, openvino, safetensors. Rounds are interleaved; the median and the minimum of each are told.

    sam_decoder.py --threads 1 --rounds 30 --repeat 10
"""
import argparse
import ctypes
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy

HERE = pathlib.Path(__file__).resolve().parent


def reference():
    """The reference's prompt encoder and mask decoder, and both as one module from embedding and point."""
    import torch
    from efficientsam.segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

    torch.manual_seed(0)
    prompts = PromptEncoder(embed_dim=256, image_embedding_size=(64, 64), input_image_size=(1024, 1024), mask_in_chans=16)
    masks = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        transformer_dim=256,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    for module in masks.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6

    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.prompts, self.masks = prompts, masks
            self.register_buffer("positions", prompts.get_dense_pe().detach())
            dense = prompts.no_mask_embed.weight.detach().reshape(1, -1, 1, 1).expand(1, 256, 64, 64)
            self.register_buffer("dense", dense.contiguous())

        def forward(self, embedding, point):  # (1, 256, 64, 64), (1, 1, 2) in the frame of 1024
            code = prompts.pe_layer._pe_encoding((point + 0.5) / 1024)
            token = code + prompts.point_embeddings[1].weight
            none = prompts.not_a_point_embed.weight.unsqueeze(0)  # the point that is none, without a box
            low_res, iou = self.masks.predict_masks(embedding, self.positions, torch.cat([token, none], 1), self.dense)
            return low_res[:, 1:], iou[:, 1:]

    return prompts, masks, Decoder().eval()


def save_weights(prompts, masks, path):
    from safetensors.torch import save_file

    tensors = {f"prompt_encoder.{k}": v for k, v in prompts.state_dict().items()}
    tensors.update({f"mask_decoder.{k}": v for k, v in masks.state_dict().items()})
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)


class Ours:
    def __init__(self, folder, weights, threads, bf16):
        library = folder / "libsam_c.so"
        if not library.exists():
            include = HERE.parent.parent / "include"
            eigen = os.environ.get("EIGEN3_INCLUDE", "/usr/include/eigen3")
            subprocess.run(
                [os.environ.get("CXX", "c++"), "-std=c++20", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread"]
                + [f"-I{include}", "-isystem", eigen, str(HERE / "sam_c.cpp"), "-o", str(library)],
                check=True,
            )
        self.library = ctypes.CDLL(str(library))
        self.library.evs_open.restype = ctypes.c_void_p
        self.library.evs_error.restype = ctypes.c_char_p
        self.decoder = ctypes.c_void_p(self.library.evs_open(str(weights).encode(), threads, int(bf16)))
        if not self.decoder:
            raise RuntimeError(self.library.evs_error().decode())
        self.low_res = numpy.empty((1, 3, 256, 256), numpy.float32)
        self.iou = numpy.empty((1, 3), numpy.float32)

    def set(self, embedding):
        pointer = embedding.ctypes.data_as(ctypes.c_void_p)
        if self.library.evs_embedding(self.decoder, pointer):
            raise RuntimeError(self.library.evs_error().decode())

    def run(self, x, y):
        arguments = (a.ctypes.data_as(ctypes.c_void_p) for a in (self.low_res, self.iou))
        if self.library.evs_point(self.decoder, ctypes.c_double(x), ctypes.c_double(y), *arguments):
            raise RuntimeError(self.library.evs_error().decode())
        return self.low_res


class OnnxRuntime:
    def __init__(self, model, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def set(self, embedding):
        self.embedding = embedding

    def run(self, x, y):
        return self.session.run(None, {"embedding": self.embedding, "point": numpy.array([[[x, y]]], numpy.float32)})[0]


class OpenVino:
    def __init__(self, model, threads, precision):
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        settings["INFERENCE_PRECISION_HINT"] = precision
        self.request = core.compile_model(core.read_model(str(model)), "CPU", settings).create_infer_request()

    def set(self, embedding):
        self.embedding = embedding

    def run(self, x, y):
        point = numpy.array([[[x, y]]], numpy.float32)
        return self.request.infer({"embedding": self.embedding, "point": point}, share_inputs=True)[0]


class Torch:
    def __init__(self, module):
        self.module = module

    def set(self, embedding):
        import torch

        self.embedding = torch.from_numpy(embedding)

    def run(self, x, y):
        import torch

        with torch.inference_mode():
            return self.module(self.embedding, torch.tensor([[[x, y]]], dtype=torch.float32))[0].numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--repeat", type=int, default=10, help="prompts a round")
    parser.add_argument("--folder", type=pathlib.Path, help="where model, weights and library are kept")
    options = parser.parse_args()
    folder = options.folder or pathlib.Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)

    import torch

    torch.set_num_threads(options.threads)
    prompts, masks, module = reference()
    weights, model = folder / "decoder.safetensors", folder / "decoder.onnx"
    save_weights(prompts, masks, weights)
    embedding = numpy.random.default_rng(1).standard_normal((1, 256, 64, 64)).astype(numpy.float32)
    example = (torch.from_numpy(embedding), torch.tensor([[[500.0, 375.0]]]))
    names = {"input_names": ["embedding", "point"], "output_names": ["low_res", "iou"]}
    torch.onnx.export(module, example, str(model), dynamo=True, external_data=False, **names)

    peers = {
        "ours": Ours(folder, weights, options.threads, False),
        "ours bf16": Ours(folder, weights, options.threads, True),
        "onnxruntime": OnnxRuntime(model, options.threads),
        "openvino": OpenVino(model, options.threads, "f32"),
        "openvino bf16": OpenVino(model, options.threads, "bf16"),
        "torch": Torch(module),
    }
    with torch.inference_mode():
        double = module.double()(example[0].double(), example[1].double())[0].numpy()
    module.float()
    for name, peer in peers.items():
        peer.set(embedding)
        found = numpy.asarray(peer.run(500, 375))
        error = abs(found - double).max() / abs(double).max()
        print(f"{name}: error {error:.2g} of the largest value", flush=True)
    times = {name: [] for name in peers}
    for _ in range(options.rounds):
        for name, peer in peers.items():
            begin = time.perf_counter()
            for i in range(options.repeat):
                peer.run(100 + 10 * i, 300)
            times[name].append((time.perf_counter() - begin) / options.repeat * 1e3)
    ours = statistics.median(times["ours"]), min(times["ours"])
    for name, values in times.items():
        median, least = statistics.median(values), min(values)
        print(f"{name:14} median {median:7.2f} ms, min {least:7.2f}; / ours {median / ours[0]:.2f}, {least / ours[1]:.2f}")


if __name__ == "__main__":
    main()

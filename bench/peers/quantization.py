# SPDX-License-Identifier: Apache-2.0
"""Post-training quantisation by each runtime's own tool, with the settings that its documentation gives for CPUs with 8-bit
dot products. Shared by compare.py's modules in runtimes/ and by int8_accuracy.py. No runtime itself.

Pictures are arrays (1, 3, height, width) of float32, of the kind that the network will see.
"""
import pathlib
import platform
import tempfile
import zlib

import cpu_info
import numpy as np


def noise(shape):
    """Calibration pictures of a network of networks.py: uniform in [-1, 1), as its input is, but none of them its input.
    32 of 224x224, fewer where a picture has more pixels: ranges of noise need no more."""
    rng = np.random.default_rng(zlib.crc32(b"calibration"))
    count = max(8, min(32, 32 * 224 * 224 // (shape[2] * shape[3])))
    return [rng.uniform(-1, 1, (1, *shape[1:])).astype(np.float32) for _ in range(count)]


def openvino(source, pictures, path):
    """ONNX to OpenVINO's IR by NNCF. MIXED: zero points for activations, which NNCF recommends where these are not ReLU's;
    fast bias correction is its default."""
    import nncf
    import openvino as ov
    quantised = nncf.quantize(ov.Core().read_model(source), nncf.Dataset(pictures), preset=nncf.QuantizationPreset.MIXED,
                              target_device=nncf.TargetDevice.CPU, subset_size=len(pictures))
    ov.save_model(quantised, path, compress_to_fp16=False)


def has_dot_products():
    """Whether this CPU adds four products of bytes to 32 bits. AVX2 alone adds two to 16, where they may not fit."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    _, flags = cpu_info.name_and_flags()
    return "avx512_vnni" in flags or "avx_vnni" in flags


def onnxruntime(source, pictures, path):
    """ONNX to ONNX with QDQ nodes, unsigned activations, weights signed and per channel; weights of 7 bits where the CPU's
    products of bytes saturate, as its documentation asks for."""
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process
    import onnx

    name = onnx.load(source, load_external_data=False).graph.input[0].name

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            self._left = iter(pictures)

        def get_next(self):
            picture = next(self._left, None)
            return None if picture is None else {name: picture}

    with tempfile.NamedTemporaryFile(suffix=".onnx") as prepared:
        quant_pre_process(source, prepared.name, skip_symbolic_shape=True)
        q.quantize_static(prepared.name, path, Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True,
                          activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8, reduce_range=not has_dot_products())


def litert(network, example, pictures, stem):
    """A torch module to LiteRT with channels last; without pictures activations are quantised as they come ("dynamic")."""
    from ai_edge_quantizer import quantizer, recipe
    from runtimes.litert import LiteRt
    LiteRt().export(None, network, example, f"{stem}.float", 1, "")
    source = pathlib.Path(f"{stem}.float.tflite")
    calibration = None
    if pictures is None:
        q = quantizer.Quantizer(str(source), recipe.dynamic_wi8_afp32())
    else:
        from ai_edge_litert.interpreter import Interpreter
        (signature, names), = Interpreter(str(source)).get_signature_list().items()
        inputs = [{names["inputs"][0]: np.ascontiguousarray(picture.transpose(0, 2, 3, 1))} for picture in pictures]
        q = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
        calibration = q.calibrate({signature: inputs}, num_threads=1)
    q.quantize(calibration).export_model(f"{stem}.tflite", overwrite=True)
    source.unlink()

# SPDX-License-Identifier: Apache-2.0
"""OpenVINO, CPU plugin."""
import pathlib

from runtimes import onnx_file
from runtimes.base import Runtime, Session, Variant


class OpenVino(Runtime):
    title = "OpenVINO"
    distributions = ("openvino",)
    folders = ("/openvino/",)
    variants = (Variant("timm"), Variant("products"), Variant("products-nhwc"),
                Variant("products-nhwc", "model cache", startup_only=True))
    precision = "f32"  # INFERENCE_PRECISION_HINT; empty: the plugin's choice
    settings = "IR, latency hint, one stream, INFERENCE_PRECISION_HINT f32, threads = n, pinned"

    def environment(self, threads, isa):
        return {"ONEDNN_MAX_CPU_ISA": isa.upper()} if isa else {}

    def honours(self, isa):
        return True

    def export(self, variant, network, example, stem, threads, isa):
        import openvino
        path = onnx_file.write(network, example, stem, variant.form)
        openvino.save_model(openvino.Core().read_model(path), f"{stem}.xml", compress_to_fp16=False)
        if variant.option:  # fills the cache
            _compile(f"{stem}.xml", 1, f"{stem}.cache", self.precision)

    def imports(self):
        import openvino  # noqa: F401

    def open(self, variant, stem, case, threads):
        cache = f"{stem}.cache" if variant.option else None
        return _Session(_compile(f"{stem}.xml", threads, cache, self.precision))


class OpenVinoBf16(OpenVino):
    title = "OpenVINO, bf16"
    precision = "bf16"
    settings = "IR, latency hint, one stream, INFERENCE_PRECISION_HINT bf16, threads = n, pinned"
    tolerance = 5e-2


class OpenVinoDefault(OpenVino):
    """As a user has it who sets nothing: the plugin picks the precision, and says which."""
    title = "OpenVINO, its default"
    precision = ""
    settings = "IR, latency hint, one stream, no INFERENCE_PRECISION_HINT, threads = n, pinned"
    tolerance = 5e-2


def _compile(path, threads, cache, precision):
    import openvino
    import openvino.properties as properties
    import openvino.properties.hint as hint
    options = {
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        hint.enable_cpu_pinning: True,
        properties.inference_num_threads: threads,
        properties.num_streams: 1,
    }
    if precision:
        options[hint.inference_precision] = getattr(openvino.Type, precision)
    core = openvino.Core()
    if cache:
        pathlib.Path(cache).mkdir(exist_ok=True)
        core.set_property({properties.cache_dir: cache})
    # From a path, not a model that was read: only so is the cache asked before the file is parsed.
    return core.compile_model(path, "CPU", options)


class _Session(Session):
    def __init__(self, compiled):
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def set_input(self, image):
        import openvino
        self._image = image
        self._request.set_input_tensor(openvino.Tensor(image, shared_memory=True))

    def run(self):
        self._request.infer(share_outputs=True)

    def output(self):
        return self._request.get_output_tensor().data.copy()

    def isa(self):
        return f"precision {self._compiled.get_property('INFERENCE_PRECISION_HINT').get_type_name()}"

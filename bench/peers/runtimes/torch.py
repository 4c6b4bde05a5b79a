# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the CPU: compiled ahead of time by Inductor in channels-last order, and TorchScript as the older way."""
from runtimes.base import Runtime, Session, Variant


class Torch(Runtime):
    title = "PyTorch"
    distributions = ("torch",)
    folders = ("/torch/", "/torch.libs/")
    left_out = ("cuda", "/nvidia/")
    variants = (Variant("products-nhwc", "AOTInductor", compiled=True), Variant("products", "TorchScript"))
    bfloat16 = False
    settings = "AOTInductor with freezing, channels last; or TorchScript, optimize_for_inference; threads = n"

    def environment(self, threads, isa):
        held = {"ATEN_CPU_CAPABILITY": isa, "ONEDNN_MAX_CPU_ISA": isa.upper()} if isa else {}
        return {"OMP_NUM_THREADS": str(threads), **held}

    def honours(self, isa):
        return isa == "avx2"

    def export(self, variant, network, example, stem, threads, isa):
        import torch
        torch.set_num_threads(threads)
        if self.bfloat16:
            network = _in_bfloat16(network)
        with torch.no_grad():
            if variant.option.startswith("TorchScript"):
                traced = torch.jit.freeze(torch.jit.trace(network, example))
                traced.save(f"{stem}.pt")
                return
            from torch._inductor import aoti_compile_and_package
            network = network.to(memory_format=torch.channels_last)
            example = example.to(memory_format=torch.channels_last)
            options = {"freezing": True}
            if isa == "avx2":
                options["cpp.simdlen"] = 256
            exported = torch.export.export(network, (example,))
            aoti_compile_and_package(exported, package_path=f"{stem}.pt2", inductor_configs=options)

    def imports(self):
        import torch  # noqa: F401

    def open(self, variant, stem, case, threads):
        return _Session(variant, stem, threads)


class TorchBf16(Torch):
    title = "PyTorch, bfloat16"
    variants = (Variant("products-nhwc", "AOTInductor bfloat16", compiled=True), Variant("products", "TorchScript bfloat16"))
    bfloat16 = True
    settings = Torch.settings + "; the module in bfloat16, input and output converted in each run"
    tolerance = 5e-2


def _in_bfloat16(network):
    """Float in and out, as with all others."""
    import torch

    class InBfloat16(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network.bfloat16()

        def forward(self, x):
            return self.network(x.bfloat16()).float()

    return InBfloat16().eval()


class _Session(Session):
    def __init__(self, variant, stem, threads):
        import torch
        self._torch = torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._compiled = variant.option.startswith("AOTInductor")
        if self._compiled:
            self._network = torch._inductor.aoti_load_package(f"{stem}.pt2")
        else:
            self._network = torch.jit.optimize_for_inference(torch.jit.load(f"{stem}.pt"))

    def set_input(self, image):
        self._image = self._torch.from_numpy(image)
        if self._compiled:
            self._image = self._image.to(memory_format=self._torch.channels_last)

    def run(self):
        self._result = self._network(self._image)

    def output(self):
        return self._result.contiguous().numpy().copy()

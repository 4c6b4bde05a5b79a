# SPDX-License-Identifier: Apache-2.0
"""EfficientViT on CPUs: backbones, classifiers, segmenters and segment anything, with NumPy arrays in and out.

    import efficientvit_cpu as ev
    model = ev.load("b0.safetensors")      # the network is found from the weights
    y = model(x)                           # float32, (N, 3, H, W): NumPy, DLPack or the buffer protocol

load() gives a Model, load_sam() a Sam for SamPredictor and SamAutomaticMaskGenerator, from_torch() takes the weights of a
PyTorch module in memory. efficientvit_cpu.compat has the names of the reference's Python code.
"""

from ._core import Model, Sam, build_info, model_names, version
from ._errors import ConfigError, EfficientViTError, ImageError, PromptError, ShapeError, WeightsError
from ._load import from_torch, load, load_sam
from ._sam import SamAutomaticMaskGenerator, SamPredictor

__version__ = version()

__all__ = [
    "ConfigError",
    "EfficientViTError",
    "ImageError",
    "Model",
    "PromptError",
    "Sam",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "ShapeError",
    "WeightsError",
    "__version__",
    "build_info",
    "from_torch",
    "load",
    "load_sam",
    "model_names",
    "version",
]

# SPDX-License-Identifier: Apache-2.0
"""The reference's names, so that its programs and notebooks run with their imports changed to

    from efficientvit_cpu.compat import EfficientViTSamPredictor, EfficientViTSamAutomaticMaskGenerator
    from efficientvit_cpu.compat import create_efficientvit_sam_model

Models take and give PyTorch tensors where they are called with such, else NumPy arrays. Devices and modes (.cuda(),
.eval(), .to(), ...) are accepted and change nothing: all is computed in float32 on the CPU.
"""

from __future__ import annotations

import os
import sys
import typing

import numpy

from ._core import Model, Sam
from ._errors import ConfigError
from ._load import _plain, load, load_sam
from ._sam import SamAutomaticMaskGenerator, SamPredictor

__all__ = [
    "EfficientViTCls",
    "EfficientViTSam",
    "EfficientViTSamAutomaticMaskGenerator",
    "EfficientViTSamPredictor",
    "EfficientViTSeg",
    "create_cls_model",
    "create_efficientvit_cls_model",
    "create_efficientvit_sam_model",
    "create_efficientvit_seg_model",
    "create_sam_model",
    "create_seg_model",
]

Array = typing.Any


def _is_torch(x: Array) -> bool:
    return type(x).__module__.partition(".")[0] == "torch"


def _like(x: Array, *arrays: numpy.ndarray) -> typing.Any:
    """The arrays as x's kind: tensors where x is one."""
    out = arrays
    if _is_torch(x):
        out = tuple(sys.modules["torch"].from_numpy(array) for array in arrays)
    return out[0] if len(out) == 1 else out


class _Module:
    """What a torch.nn.Module has and inference needs."""

    def __init__(self, name: str, **options: typing.Any) -> None:
        self.name = name
        self.training = False
        self._options = options
        self._loaded: typing.Any = None

    def _load(self, weights: typing.Any) -> typing.Any:
        raise NotImplementedError

    def load_state_dict(self, state_dict: typing.Any, strict: bool = True) -> None:
        """Takes weights: tensors by name, a path or a file's bytes. They must fit."""
        self._loaded = self._load(state_dict)

    def _network(self) -> typing.Any:
        if self._loaded is None:
            raise ConfigError(f"{self.name} has no weights yet: load_state_dict(), or create it with pretrained=True")
        return self._loaded

    def _self(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """Accepted, and changes nothing."""
        return self

    cuda = cpu = to = eval = float = half = requires_grad_ = _self


class _Network(_Module):
    """A network of one output."""

    def _load(self, weights: typing.Any) -> Model:
        return load(weights, self.name, **self._options)

    def __call__(self, x: Array) -> Array:
        """The output of x, (N, 3, H, W)."""
        return _like(x, self._network()(_plain(x)))

    forward = __call__


class EfficientViTCls(_Network):
    """A classifier: x to logits (N, classes)."""


class EfficientViTSeg(_Network):
    """A segmenter: x to logits (N, classes, H / 8, W / 8)."""


class EfficientViTSam(_Module):
    """A whole SAM, for the predictor and the mask generator below."""

    mask_threshold = 0.0
    image_format = "RGB"
    device = "cpu"

    def _load(self, weights: typing.Any) -> Sam:
        return load_sam(weights, self.name, **self._options)

    @property
    def image_size(self) -> tuple[int, int]:
        """The long side of the frame of prompts, and of the image encoder's input."""
        return (1024, self._network().image_size)


def _sam_of(model: EfficientViTSam | Sam) -> Sam:
    return model._network() if isinstance(model, EfficientViTSam) else model


class EfficientViTSamPredictor(SamPredictor):
    """SamPredictor with the reference's predict_torch()."""

    def __init__(self, sam_model: EfficientViTSam | Sam) -> None:
        super().__init__(_sam_of(sam_model))

    @property
    def transform(self) -> EfficientViTSamPredictor:
        """Has apply_coords() and apply_boxes()."""
        return self

    @property
    def device(self) -> str:
        """The CPU."""
        return "cpu"

    def predict_torch(
        self,
        point_coords: Array | None = None,
        point_labels: Array | None = None,
        boxes: Array | None = None,
        mask_input: Array | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Array, Array, Array]:
        """predict_batch() with coordinates in the frame of prompts, as apply_coords() and apply_boxes() give them. Tensors
        in, tensors out."""
        image = self._image()
        (height, width), (new_height, new_width) = image.original_size, image.input_size
        back = numpy.array([width / new_width, height / new_height])

        def picture(x: Array | None, shape: tuple[int, ...]) -> numpy.ndarray | None:
            if x is None:
                return None
            points = numpy.asarray(_plain(x), numpy.float64).reshape(*shape, 2) * back
            # Rounding may lead a point of the edge out of the picture.
            edge = points < (width + 0.01, height + 0.01)
            inside: numpy.ndarray = numpy.where(edge, numpy.minimum(points, (width, height)), points)
            return inside

        points = picture(point_coords, () if point_coords is None else tuple(point_coords.shape[:-1]))
        corners = picture(boxes, (-1, 2))
        out = self.predict_batch(
            points,
            None if point_labels is None else numpy.asarray(_plain(point_labels)),
            None if corners is None else corners.reshape(-1, 4),
            None if mask_input is None else _plain(mask_input),
            multimask_output,
            return_logits,
        )
        given = [x for x in (point_coords, boxes, mask_input) if x is not None]
        masks, iou, low_res = _like(given[0], *out)
        return masks, iou, low_res


class EfficientViTSamAutomaticMaskGenerator(SamAutomaticMaskGenerator):
    """SamAutomaticMaskGenerator of an EfficientViTSam."""

    def __init__(self, model: EfficientViTSam | Sam, *args: typing.Any, **kwargs: typing.Any) -> None:
        super().__init__(_sam_of(model), *args, **kwargs)


# ---- The model zoo -----------------------------------------------------------------------------------------------------


def _give_weights(model: _Module, folder: str, pretrained: bool, weight_url: str | None) -> None:
    if not pretrained:
        return
    if weight_url is None:
        weight_url = os.path.join("assets", "checkpoints", folder, model.name.replace("-", "_") + ".pt")
    elif "://" in os.fspath(weight_url):
        raise ConfigError(f"weight_url is {weight_url!r}: download it, and give the file's path")
    model.load_state_dict(os.path.expanduser(weight_url))


def create_efficientvit_cls_model(
    name: str, pretrained: bool = True, weight_url: str | None = None, **options: typing.Any
) -> EfficientViTCls:
    """A classifier: "efficientvit-b1-r288", "efficientvit-l2". Weights are read from weight_url, a path, or from where the
    reference keeps them, assets/checkpoints/efficientvit_cls; `options` are those of load(): threads, precision, isa."""
    model = EfficientViTCls(name, **options)
    _give_weights(model, "efficientvit_cls", pretrained, weight_url)
    return model


def create_efficientvit_seg_model(
    name: str, dataset: str | None = None, pretrained: bool = True, weight_url: str | None = None, **options: typing.Any
) -> EfficientViTSeg:
    """A segmenter: "efficientvit-seg-l1-ade20k", or "efficientvit-seg-l1" and dataset="ade20k"."""
    full = name if dataset is None or name.endswith(dataset) else f"{name}-{dataset}"
    model = EfficientViTSeg(full, **options)
    _give_weights(model, "efficientvit_seg", pretrained, weight_url)
    return model


def create_efficientvit_sam_model(
    name: str, pretrained: bool = True, weight_url: str | None = None, **options: typing.Any
) -> EfficientViTSam:
    """A SAM: "efficientvit-sam-l0"."""
    model = EfficientViTSam(name, **options)
    _give_weights(model, "efficientvit_sam", pretrained, weight_url)
    return model


def create_cls_model(name: str, pretrained: bool = True, weight_url: str | None = None, **options: typing.Any) -> EfficientViTCls:
    """As the reference had it before: "b1-r288"."""
    return create_efficientvit_cls_model(f"efficientvit-{name}", pretrained, weight_url, **options)


def create_seg_model(
    name: str, dataset: str, pretrained: bool = True, weight_url: str | None = None, **options: typing.Any
) -> EfficientViTSeg:
    """As the reference had it before: "l1" and "ade20k"."""
    return create_efficientvit_seg_model(f"efficientvit-seg-{name}", dataset, pretrained, weight_url, **options)


def create_sam_model(name: str, pretrained: bool = True, weight_url: str | None = None, **options: typing.Any) -> EfficientViTSam:
    """As the reference had it before: "l0"."""
    return create_efficientvit_sam_model(f"efficientvit-sam-{name}", pretrained, weight_url, **options)

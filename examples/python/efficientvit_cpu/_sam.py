# SPDX-License-Identifier: Apache-2.0
"""Segment anything with the reference's method names: a predictor and the automatic mask generator."""

from __future__ import annotations

import operator
import typing

import numpy

from ._core import EncodedImage, Sam, generate_masks
from ._errors import ConfigError, PromptError, ShapeError

Array = typing.Any


class SamPredictor:
    """Answers prompts about one picture at a time. Any number of predictors share a Sam, and threads may share a predictor.

    Coordinates are pixels of the picture: x to the right, y down.
    """

    def __init__(self, sam: Sam) -> None:
        self.model = sam
        self._encoded: EncodedImage | None = None

    # ---- The picture ----

    def set_image(self, image: Array, image_format: str = "RGB") -> None:
        """Encodes a picture: one of PIL, or an array (H, W, 3) or (H, W) of uint8, red first, or blue with image_format="BGR".
        Until that is done, or if it fails, prompts are about the picture before.

        Raises ImageError, ShapeError, TypeError.
        """
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"image_format is {image_format!r}, expected 'RGB' or 'BGR'")
        if image_format == "BGR":
            image = _turned(image)
        self._encoded = EncodedImage.of_image(self.model, image)

    def set_image_embedding(self, embedding: Array, original_size: tuple[int, int]) -> None:
        """An embedding of before, (1, 256, 64, 64) as get_image_embedding() gave it, in place of a picture of this size."""
        self._encoded = EncodedImage.of_embedding(self.model, embedding, *original_size)

    def get_image_embedding(self) -> numpy.ndarray:
        """The picture's embedding, (1, 256, 64, 64)."""
        return self._image().embedding()

    def reset_image(self) -> None:
        """Forgets the picture."""
        self._encoded = None

    @property
    def is_image_set(self) -> bool:
        """Whether there is a picture."""
        return self._encoded is not None

    @property
    def features(self) -> numpy.ndarray | None:
        """get_image_embedding(), or None without a picture."""
        return self._encoded.embedding() if self._encoded is not None else None

    @property
    def original_size(self) -> tuple[int, int] | None:
        """The picture's rows and columns, or None."""
        return self._encoded.original_size if self._encoded is not None else None

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Its size in the frame of prompts, whose long side is 1024, or None."""
        return self._encoded.input_size if self._encoded is not None else None

    # ---- Prompts ----

    def predict(
        self,
        point_coords: Array | None = None,
        point_labels: Array | None = None,
        box: Array | None = None,
        mask_input: Array | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """Masks for one prompt.

        point_coords      (N, 2), x and y; point_labels (N): 1 object, 0 background
        box               (4): x0, y0, x1, y1
        mask_input        (1, 256, 256): one mask of an earlier answer's low_res_masks
        multimask_output  three masks, for an ambiguous prompt such as a point; else one
        return_logits     logits in place of masks

        Returns masks (C, H, W), bool or with return_logits float32; iou_predictions (C); low_res_masks (C, 256, 256), logits.
        Raises PromptError, ShapeError.
        """
        masks, iou, low_res = self.predict_batch(
            None if point_coords is None else numpy.asarray(point_coords, numpy.float64)[None],
            None if point_labels is None else numpy.asarray(point_labels)[None],
            None if box is None else _box(box),
            None if mask_input is None else numpy.asarray(mask_input, numpy.float32)[None],
            multimask_output,
            return_logits,
        )
        return masks[0], iou[0], low_res[0]

    def predict_batch(
        self,
        point_coords: Array | None = None,
        point_labels: Array | None = None,
        boxes: Array | None = None,
        mask_input: Array | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """Masks for B prompts at once, shared out among the Sam's threads: point_coords (B, N, 2), point_labels (B, N), boxes
        (B, 4), mask_input (B, 1, 256, 256). B may be 0, of a detector that found nothing.

        Returns masks (B, C, H, W), iou_predictions (B, C), low_res_masks (B, C, 256, 256). Raises as predict().
        """
        return self._image().predict(
            _points(point_coords, point_labels),
            None if boxes is None else _array(boxes, "boxes", (None, 4)),
            mask_input,
            bool(multimask_output),
            bool(return_logits),
        )

    def apply_coords(self, coords: Array, im_size: typing.Any = None) -> numpy.ndarray:
        """Points (..., 2) of the picture in the frame of prompts, whose long side is 1024: what predict_torch() of the
        reference takes."""
        image = self._image()
        (height, width), (new_height, new_width) = image.original_size, image.input_size
        return numpy.asarray(coords, numpy.float64) * (new_width / width, new_height / height)

    def apply_boxes(self, boxes: Array, im_size: typing.Any = None) -> numpy.ndarray:
        """The same of boxes (B, 4)."""
        return self.apply_coords(numpy.asarray(boxes, numpy.float64).reshape(-1, 2, 2)).reshape(-1, 4)

    def _image(self) -> EncodedImage:
        encoded = self._encoded
        if encoded is None:
            raise PromptError("there is no picture: call set_image() before")
        return encoded


def _array(values: Array, name: str, shape: tuple[int | None, ...]) -> numpy.ndarray:
    out = numpy.ascontiguousarray(values, numpy.float64)
    if out.ndim != len(shape) or any(want is not None and want != have for want, have in zip(shape, out.shape)):
        wanted = ", ".join("any" if extent is None else str(extent) for extent in shape)
        raise ShapeError(f"{name} has the shape {out.shape}, expected ({wanted})")
    return out


def _turned(image: Array) -> numpy.ndarray:
    """Blue first to red first. Of shapes that are no picture's encoding complains."""
    if hasattr(image, "convert") and hasattr(image, "mode"):  # PIL's may be palettes or have alpha
        image = image.convert("RGB")
    pixels = numpy.asarray(image)
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


def _box(box: Array) -> numpy.ndarray:
    """(1, 4), of one that may be in a list of its own, as the reference takes it."""
    out = numpy.asarray(box, numpy.float64)
    if out.shape not in ((4,), (1, 4)):
        raise ShapeError(f"box has the shape {out.shape}, expected (4): predict_batch() takes other numbers of boxes")
    return out.reshape(1, 4)


def _points(coords: Array | None, labels: Array | None) -> numpy.ndarray | None:
    """(B, N, 3): x, y and the label."""
    if coords is None and labels is None:
        return None
    if coords is None or labels is None:
        raise PromptError("point_coords and point_labels go together, and one of them is None")
    coords = _array(coords, "point_coords", (None, None, 2))
    labels = _array(labels, "point_labels", coords.shape[:2])
    if not numpy.isin(labels, (-1, 0, 1)).all():
        raise PromptError("point_labels has labels other than 1, 0 and -1")
    return numpy.concatenate([coords, labels[..., None]], axis=-1)


def _whole(value: typing.Any, name: str) -> int:
    """As an int of C++."""
    try:
        out = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, expected an int") from None
    if abs(out) >= 2**31:
        raise ConfigError(f"{name} is {value!r}, expected less than 2147483648")
    return out


def _number(value: typing.Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}, expected a number") from None


def _pixels(value: typing.Any, name: str) -> int:
    """An area, which the reference takes as a float too."""
    number = _number(value, name)
    if not numpy.isfinite(number):
        raise ConfigError(f"{name} is {value!r}, expected a number of pixels")
    return _whole(int(number), name)


class SamAutomaticMaskGenerator:
    """Masks of everything in a picture. Arguments are the reference's.

    output_mode is "binary_mask", "uncompressed_rle" or "coco_rle"; point_grids, one for the picture and each layer of crops,
    are arrays (N, 2) from 0 to 1 in place of points_per_side.

    Raises TypeError, ValueError, ConfigError, ShapeError.
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: typing.Sequence[Array] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise ValueError("exactly one of points_per_side and point_grids must be given, the other None")
        if not isinstance(output_mode, str):
            raise TypeError(f"output_mode is {output_mode!r}, expected a str")
        self.model = model
        self._options: dict[str, typing.Any] = {
            "points_per_batch": _whole(points_per_batch, "points_per_batch"),
            "pred_iou_thresh": _number(pred_iou_thresh, "pred_iou_thresh"),
            "stability_score_thresh": _number(stability_score_thresh, "stability_score_thresh"),
            "stability_score_offset": _number(stability_score_offset, "stability_score_offset"),
            "box_nms_thresh": _number(box_nms_thresh, "box_nms_thresh"),
            "crop_n_layers": _whole(crop_n_layers, "crop_n_layers"),
            "crop_nms_thresh": _number(crop_nms_thresh, "crop_nms_thresh"),
            "crop_overlap_ratio": _number(crop_overlap_ratio, "crop_overlap_ratio"),
            "crop_n_points_downscale_factor": _whole(crop_n_points_downscale_factor, "crop_n_points_downscale_factor"),
            "min_mask_region_area": _pixels(min_mask_region_area, "min_mask_region_area"),
            "output_mode": output_mode,
        }
        if point_grids is None:
            self._options["points_per_side"] = _whole(points_per_side, "points_per_side")
        else:
            self._options["point_grids"] = [
                _array(grid, f"point_grids[{i}]", (None, 2)).tolist() for i, grid in enumerate(point_grids)
            ]

    def generate(self, image: Array) -> list[dict[str, typing.Any]]:
        """A record for each mask, by falling predicted IoU: segmentation (bool (H, W), or run lengths), area in pixels, bbox
        and crop_box (x, y, width, height), predicted_iou, stability_score, point_coords.

        Raises ImageError, ConfigError.
        """
        return generate_masks(self.model, image, self._options)

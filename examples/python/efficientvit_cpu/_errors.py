# SPDX-License-Identifier: Apache-2.0
"""The library's exceptions. Their texts say what was found, what was expected and where."""


class EfficientViTError(RuntimeError):
    """Base of what the library raises on purpose."""


class WeightsError(EfficientViTError, ValueError):
    """Weights that cannot be read, or are another network's."""


class ShapeError(EfficientViTError, ValueError):
    """An array whose shape does not fit."""


class ConfigError(EfficientViTError, ValueError):
    """An option that makes no sense or that this machine cannot honour, an unknown network."""


class PromptError(EfficientViTError, ValueError):
    """A prompt that says nothing or points out of the picture, or one before there is a picture."""


class ImageError(EfficientViTError, ValueError):
    """A picture of a size that none has."""

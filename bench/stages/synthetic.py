"""Checks of a method's synthetic images before they are written: size, type, label and source image."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from bench.abilities import OwnSize, Translator
from bench.errors import BenchError
from bench.types import Size, SyntheticImage, height_width


def synthetic_size(method: object, image_size_px: int) -> tuple[int, int]:
    """Return (height, width) in px of the images that a method makes: as it declares, else the suite's side."""
    size: Size = image_size_px
    if isinstance(method, OwnSize):
        size = method.synthetic_size_px(image_size_px)
    elif isinstance(method, Translator):
        size = method.translation_size_px(image_size_px)
    return height_width(size)


def require_image(name: str, image: object, size: tuple[int, int]) -> None:
    """Raise ``BenchError`` naming the method unless ``image`` is an array uint8 [height, width, 3] of that size."""
    shape = (*size, 3)
    if not isinstance(image, np.ndarray):
        got = f"{type(image).__name__} of mode {image.mode}" if hasattr(image, "mode") else type(image).__name__
    elif image.dtype != np.uint8:
        span = f", values {image.min():g} to {image.max():g}" if image.size and image.dtype.kind in "iufb" else ""
        got = f"{image.dtype} {list(image.shape)}{span}"
    elif image.shape != shape:
        got = f"uint8 {list(image.shape)}"
    else:
        return
    raise BenchError(
        f"method {name} made an image that is {got}; expected an array uint8 {list(shape)} (height, width, RGB), "
        "values 0 to 255. A method with another image size declares it by `synthetic_size_px`"
    )


def require_synthetic(
    name: str, item: SyntheticImage, size: tuple[int, int], labels: Collection[int], sources: Collection[str]
) -> None:
    """Raise ``BenchError`` naming the method unless an item is valid.

    Its image must have that size, its label must be one of ``labels``, and its source, if any, a training image.
    """
    require_image(name, item.image, size)
    if item.label not in labels:
        raise BenchError(f"method {name} made an image of label {item.label!r}; expected one of {sorted(labels)}")
    if item.source_path and item.source_path not in sources:
        raise BenchError(
            f"method {name} made an image from {item.source_path!r}; expected the path of one of its training images"
        )

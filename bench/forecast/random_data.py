"""Random images of two classes, in the place of a data set."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.types import ImageRecord, Size, Uint8Images, height_width

CLASSES = ("first", "second")
SAMPLES = 32  # number of images for timing of sampling


class RandomData:
    """``TrainingData`` of random images of two classes."""

    classes, grey = CLASSES, False

    def __init__(self, image_size_px: int, n: int = SAMPLES) -> None:
        self.image_size_px = image_size_px
        self.labels: npt.NDArray[np.int64] = np.arange(n) % len(CLASSES)
        self.records = tuple(ImageRecord(f"{i}.png", int(y), f"p{i}", f"{i:064x}") for i, y in enumerate(self.labels))

    def images(self, size_px: Size | None = None) -> Uint8Images:
        """Return uint8 [N, H, W, 3]."""
        return random_images(len(self.labels), size_px or self.image_size_px)

    def unlabelled_images(self, size_px: Size | None = None) -> Uint8Images:
        """Return uint8 [M, H, W, 3], as many as there are labelled ones."""
        return self.images(size_px)


def random_images(n: int, size_px: Size) -> Uint8Images:
    """Return uint8 [n, H, W, 3]."""
    return np.random.default_rng(0).integers(0, 256, (n, *height_width(size_px), 3), dtype=np.uint8)

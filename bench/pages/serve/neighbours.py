"""Nearest images of a query among those that a classifier was trained on, with two distances.

By features: ``bench.pages.serve.alike``. By colours and rough shapes, in this module: the root mean square difference
of pixels, 0 to 255, after both images were resized to 32 × 32. It finds duplicates reliably; other images are near if
their mean colours are similar.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bench.data.cache import ImageCache
from bench.data.loaders import load_synthetic, ratio_counts
from bench.data.pixels import as_rgb, open_image
from bench.errors import DataError
from bench.pages.uploads import fitted
from bench.stages.common import Inputs
from bench.stages.memorised import flagged_paths
from bench.types import GreyWindow, Resize, Uint8Images

SIDE_PX = 32
CHUNK = 1024  # images compared at once
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Known:
    """One image that the classifier was trained on; ``source`` is the training image that it was translated from.

    ``window`` is that of its data set; None for synthetic images.
    """

    path: Path
    name: str
    label: int
    resize: Resize = "squash"
    source: str = ""
    window: GreyWindow | None = None

    def read(self, size_px: int) -> npt.NDArray[np.uint8]:
        """Return its pixels as used by the classifier, uint8 [S, S, 3]. Raises ``DataError`` if it is missing."""
        try:
            return fitted(as_rgb(open_image(self.path.read_bytes()), self.window), size_px, self.resize)[0]
        except (OSError, SyntaxError) as e:
            raise DataError(f"image {self.path} can no longer be read: {e}") from e


@dataclass(frozen=True)
class Seen:
    """The training images of a ``classify`` cell: real ones of its fold, and synthetic ones of its arm, if any.

    ``made`` are all images of the arm's generator, sorted by class as in the stages that evaluate them.
    """

    real: tuple[Known, ...]
    synthetic: tuple[Known, ...] | None
    made: tuple[Known, ...] = ()


class Distances(NamedTuple):
    """Distances of one image to the real and the synthetic training images, [N] and [M]; None without any."""

    real: Floats
    synthetic: Floats | None


class Space(Protocol):
    """A distance between images."""

    def distances(self, image: Uint8Images) -> Distances:
        """Return the distances of one image uint8 [1, H, W, 3]."""


def nearest(images: tuple[Known, ...], distances: Floats, count: int) -> list[tuple[Known, float]]:
    """Return the nearest images with their distances, the nearest first."""
    rows = np.argsort(distances, kind="stable")[:count]
    return [(images[row], float(distances[row])) for row in rows.tolist()]


def seen_by(inputs: Inputs) -> Seen:
    """Return the training images of a ``classify`` cell."""
    fold, root, arm = inputs.fold(), inputs.index.root, inputs.cell.arm
    window = inputs.index.window
    real = tuple(Known(root / r.path, r.path, r.label, inputs.resize, window=window) for r in fold.records)
    if arm.ratio == "0":
        return Seen(real, None)
    found = load_synthetic(inputs.upstream("synthesize"))
    records = sorted(found.records, key=lambda r: r.label)
    made = tuple(Known(found.folder / r.path, r.path, r.label, source=r.source_path) for r in records)
    left_out = flagged_paths(inputs.upstream("memorised"), fold.fold_parts) if arm.exclude_memorised else frozenset()
    chosen: list[Known] = []
    for label, n in sorted(ratio_counts(arm.ratio, fold.labels).items()):
        first = [k for k in made if k.label == label][:n]
        chosen += [k for k in first if k.name not in left_out]
    return Seen(real, tuple(chosen), made)


def real_pixels(inputs: Inputs, seen: Seen) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the training images, uint8 [S, S, 3], in their order."""
    everything = ImageCache(inputs.env.out / "cache").load(inputs.index, inputs.settings.image_size_px, inputs.resize)
    row = {r.path: i for i, r in enumerate(inputs.index.records)}
    return (everything[row[known.name]] for known in seen.real)


@dataclass(frozen=True)
class ByPixels:
    """Comparison by thumbnails uint8 [N, 32, 32, 3]."""

    real: Uint8Images
    synthetic: Uint8Images | None

    @classmethod
    def of(cls, inputs: Inputs, seen: Seen) -> ByPixels:
        """Return the thumbnails of a classifier's training images. Raises ``DataError`` if an image is missing."""
        real = _stack([thumbnail(pixels) for pixels in real_pixels(inputs, seen)])
        if seen.synthetic is None:
            return cls(real, None)
        size = inputs.settings.image_size_px
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter lock
            return cls(real, _stack(list(pool.map(lambda k: thumbnail(k.read(size)), seen.synthetic))))

    def distances(self, image: Uint8Images) -> Distances:
        """Return the distances of one image uint8 [1, H, W, 3], 0 to 255."""
        wanted = thumbnail(image[0]).astype(np.float32)
        synthetic = None if self.synthetic is None else _differences(self.synthetic, wanted)
        return Distances(_differences(self.real, wanted), synthetic)


def thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image uint8 [H, W, 3] as uint8 [32, 32, 3]."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR), dtype=np.uint8)


def chunks(values: npt.NDArray[np.generic], kind: type[np.floating]) -> Iterator[Floats]:
    """Yield chunks of up to ``CHUNK`` rows of an array as floats; at least one chunk, which may be empty."""
    for start in range(0, max(len(values), 1), CHUNK):
        yield values[start : start + CHUNK].astype(kind)


def _differences(thumbnails: Uint8Images, wanted: Floats) -> Floats:
    found = [np.sqrt(np.square(c - wanted).mean(axis=(1, 2, 3))) for c in chunks(thumbnails, np.float32)]
    return np.concatenate(found)


def _stack(thumbnails: list[npt.NDArray[np.uint8]]) -> Uint8Images:
    return np.stack(thumbnails) if thumbnails else np.zeros((0, SIDE_PX, SIDE_PX, 3), np.uint8)

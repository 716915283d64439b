"""The images nearest to one, among those that a classifier was trained on: by colours and rough shapes.

Distance: the root mean square difference of pixels, 0–255, after both images were shrunk to 32 × 32. It finds copies
and look-alikes; it does not say what the classifier finds alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.cache import ImageCache
from bench.data.loaders import load_synthetic, ratio_counts
from bench.data.records import as_rgb, open_image
from bench.errors import DataError
from bench.ratios import NOCOPIES, amount
from bench.stages.common import Inputs
from bench.stages.copies import flagged_paths
from bench.types import Resize, Uint8Images
from bench.web.uploads import fitted

SIDE_PX = 32
CHUNK = 1024  # images compared at a time


@dataclass(frozen=True)
class Known:
    """One image that the classifier was trained on; ``source`` is the training image that it is a translation of."""

    path: Path
    name: str
    label: int
    resize: Resize = "squash"
    source: str = ""

    def read(self, size_px: int) -> npt.NDArray[np.uint8]:
        """Return its pixels as the classifier got them, uint8 [S, S, 3]. Raises ``DataError`` when it is gone."""
        try:
            return fitted(as_rgb(open_image(self.path.read_bytes())), size_px, self.resize)[0]
        except (OSError, SyntaxError) as e:
            raise DataError(f"the image {self.path} cannot be read any more: {e}") from e


@dataclass(frozen=True)
class Crowd:
    """Images to look among, and how they look: thumbnails uint8 [N, 32, 32, 3]."""

    images: tuple[Known, ...]
    thumbnails: Uint8Images

    def nearest(self, image: Uint8Images, count: int) -> list[tuple[Known, float]]:
        """Return the nearest to one image uint8 [1, H, W, 3] with their distances, the nearest first."""
        wanted = thumbnail(image[0]).astype(np.float32)
        found = [np.sqrt(np.square(chunk - wanted).mean(axis=(1, 2, 3))) for chunk in self._chunks()]
        distance = np.concatenate(found) if found else np.zeros(0, np.float32)
        rows = np.argsort(distance, kind="stable")[:count]
        return [(self.images[row], float(distance[row])) for row in rows.tolist()]

    def _chunks(self) -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, len(self.thumbnails), CHUNK):
            yield self.thumbnails[start : start + CHUNK].astype(np.float32)


@dataclass(frozen=True)
class Seen:
    """What a ``classify`` cell was trained on: its fold's training images, and its arm's synthetic ones, if any."""

    real: Crowd
    synthetic: Crowd | None


def seen_by(inputs: Inputs) -> Seen:
    """Return what the classifier of a ``classify`` cell was trained on."""
    fold, root, size = inputs.fold(), inputs.index.root, inputs.settings.image_size_px
    everything = ImageCache(inputs.env.out / "cache").load(inputs.index, size, inputs.resize)
    row = {r.path: i for i, r in enumerate(inputs.index.records)}
    real = tuple(Known(root / r.path, r.path, r.label, inputs.resize) for r in fold.records)
    thumbnails = _stack([thumbnail(everything[row[known.name]]) for known in real])
    return Seen(Crowd(real, thumbnails), _synthetic(inputs, fold.labels))


def _synthetic(inputs: Inputs, labels: npt.NDArray[np.int64]) -> Crowd | None:
    """Return the synthetic images that the cell's arm adds; None for an arm without any."""
    ratio = str(inputs.cell.ratio)
    if amount(ratio) == "0":
        return None
    made = load_synthetic(inputs.upstream("synthesize"))
    borders = inputs.fold().borders
    left_out = flagged_paths(inputs.upstream("copies"), borders) if ratio.endswith(NOCOPIES) else frozenset()
    chosen: list[Known] = []
    for label, n in sorted(ratio_counts(amount(ratio), labels).items()):
        first = [r for r in made.records if r.label == label][:n]
        kept = [r for r in first if r.path not in left_out]
        chosen += [Known(made.folder / r.path, r.path, label, source=r.source_path) for r in kept]
    size = inputs.settings.image_size_px
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter lock
        return Crowd(tuple(chosen), _stack(list(pool.map(lambda k: thumbnail(k.read(size)), chosen))))


def thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image uint8 [H, W, 3] as uint8 [32, 32, 3]."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR), dtype=np.uint8)


def _stack(thumbnails: Sequence[npt.NDArray[np.uint8]]) -> Uint8Images:
    return np.stack(thumbnails) if thumbnails else np.zeros((0, SIDE_PX, SIDE_PX, 3), np.uint8)

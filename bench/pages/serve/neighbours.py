"""Images that a classifier was trained on, and the nearest of them; distances are in ``bench.pages.serve.alike``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data.cache import ImageCache
from bench.data.image_files import open_image
from bench.data.loaders import ratio_counts
from bench.data.pixels import as_rgb
from bench.errors import DataError
from bench.pages.uploads import fitted
from bench.stages.common import Inputs
from bench.stages.memorised import flagged_paths
from bench.stages.select import synthetic_of
from bench.types import DEFAULT_POLICY, PixelPolicy, Resize

CHUNK = 1024  # images compared at once
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Known:
    """One image that the classifier was trained on; ``source`` is the training image that it was translated from.

    ``policy`` is that of its data set.
    """

    path: Path
    name: str
    label: int
    resize: Resize = "squash"
    source: str = ""
    policy: PixelPolicy = DEFAULT_POLICY

    def read(self, size_px: int) -> npt.NDArray[np.uint8]:
        """Return its pixels as used by the classifier, uint8 [S, S, 3]. Raises ``DataError`` if it is missing."""
        try:
            return fitted(
                as_rgb(open_image(self.path.read_bytes(), self.policy.page), self.policy), size_px, self.resize
            )[0]
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


def nearest(images: tuple[Known, ...], distances: Floats, count: int) -> list[tuple[Known, float]]:
    """Return the nearest images with their distances, the nearest first."""
    rows = np.argsort(distances, kind="stable")[:count]
    return [(images[row], float(distances[row])) for row in rows.tolist()]


def seen_by(inputs: Inputs) -> Seen:
    """Return the training images of a ``classify`` cell."""
    fold, root, arm = inputs.fold(), inputs.index.root, inputs.cell.arm
    real = tuple(Known(root / r.path, r.path, r.label, inputs.resize, policy=inputs.index.pixels) for r in fold.records)
    if arm.ratio == "0":
        return Seen(real, None)
    found = synthetic_of(inputs, fold.fold_parts)
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


def chunks(values: npt.NDArray[np.generic], kind: type[np.floating]) -> Iterator[Floats]:
    """Yield chunks of up to ``CHUNK`` rows of an array as floats; at least one chunk, which may be empty."""
    for start in range(0, max(len(values), 1), CHUNK):
        yield values[start : start + CHUNK].astype(kind)

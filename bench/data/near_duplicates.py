"""Near duplicates: one picture stored twice, resized, recompressed, recoloured, rotated, mirrored or slightly cropped.

``near_candidates`` finds for each picture the few that are most alike; ``near_check`` aligns each candidate pair and
correlates its detail. What a high correlation is depends on the set: two ultrasound scans correlate at 0.1, two chest
X-rays of different patients, whose anatomy is aligned, at 0.6.

**The threshold is the set's own.** The correlations of each picture with its fourth nearest candidate show how alike
different images of the set are. With z = arctanh(correlation) (Fisher 1921), the threshold is their median plus 3
times the distance from the median to the 90 % quantile: 3.8 standard deviations of a normal distribution. It lies
between 0.6 and 0.95. In addition, all but two of a pair's 16 blocks must be found in place (``lowest`` at least 0.6).

**How these numbers were chosen**, by eye, on copies (recompressed, resized, recoloured, mirrored, cropped by 5 % of a
side or of each side) and on the pairs nearest to the threshold, in six real sets:

| set | images | threshold | copies: 5 % quantile | different images: highest |
| --- | ---: | ---: | ---: | ---: |
| chest X-rays | 4,180 | 0.89 | 0.97 | 0.86 |
| malaria cells | 9,530 | 0.95 | 0.95 | 0.93 |
| skin lesions (ISIC) | 2,241 | 0.70 | 0.94 | 0.71 (one pair with one vignette) |
| breast ultrasound | 586 | 0.60 | 0.97 | 0.3 |
| breast histology | 353 | 0.60 | 0.97 | 0.20 |
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.data.near_candidates import Candidates, Indices, candidates
from bench.data.near_check import BLOCKS, MIN_TEXTURED_BLOCKS, SIDE, Floats, check
from bench.data.reading_progress import counted
from bench.store.disk import write_cache

if TYPE_CHECKING:
    from PIL import Image

Thumbnail = npt.NDArray[np.uint8]  # [64, 64], grey

ORIENTATIONS = (
    "same",
    "turned 90°",
    "turned 180°",
    "turned 270°",
    "mirrored",
    "mirrored, turned 90°",
    "mirrored, turned 180°",
    "mirrored, turned 270°",
)
MIN_CORRELATION, MAX_THRESHOLD = 0.6, 0.95  # limits of the threshold
MIN_LOWEST = 0.6
_TAIL = 3.0
_WITHOUT_STATISTICS = 0.9  # threshold for a set of too few images to know how alike they are
_MIN_STATISTICS = 20  # pairs
_NULL_RANK = 3  # the fourth nearest candidate
_MORE = 12  # candidates checked for a picture that has a near duplicate
_BATCH = 128  # pairs
_VERSION = 3  # increase it when other pairs would be found: cached pairs are then not reused


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two contents (``first`` < ``second``, by SHA-256) that show one picture.

    ``correlation`` in [0.6, 1]: result of the pixel check (``near_check``). ``orientation``: the transformation,
    counter-clockwise, that aligns the second with the first.
    """

    first: str
    second: str
    correlation: float
    orientation: str

    def swapped(self) -> NearPair:
        """Return the same pair with both contents exchanged: a quarter turn changes its direction."""
        k = ORIENTATIONS.index(self.orientation)
        back = ORIENTATIONS[k if k >= 4 else -k % 4]  # a mirrored turn is its own inverse
        return replace(self, first=self.second, second=self.first, orientation=back)

    def describe(self) -> str:
        """Return the measurements for a message."""
        turned = "" if self.orientation == ORIENTATIONS[0] else f", {self.orientation}"
        return f"correlation {self.correlation:.2f}{turned}"


@dataclass(frozen=True, slots=True)
class NearPairs:
    """The near duplicates of a set, sorted, and the threshold that decided.

    ``threshold`` is the lowest correlation of a pair. ``usual``: the correlation that 10 % of different, but most
    similar images exceed; None for a set of too few images.
    """

    pairs: tuple[NearPair, ...]
    threshold: float
    usual: float | None


def look_at(image: Image.Image) -> tuple[bool, Thumbnail]:
    """Return whether a picture has enough texture to be compared, and its thumbnail, uint8 [64, 64]."""
    from PIL import Image as Pillow

    thumbnail = np.asarray(image.convert("L").resize((SIDE, SIDE), Pillow.Resampling.BICUBIC, reducing_gap=3.0))
    step = SIDE // BLOCKS
    spread = thumbnail.astype(np.float32).reshape(BLOCKS, step, BLOCKS, step).std(axis=(1, 3))
    return bool((spread >= 1.0).sum() >= MIN_TEXTURED_BLOCKS), thumbnail  # grey levels


def turn(picture: npt.NDArray[np.generic], orientation: int) -> npt.NDArray[np.generic]:
    """Return a picture [H, W], mirrored left to right for orientations from 4, then rotated by quarter turns."""
    return np.rot90(picture[:, ::-1] if orientation >= 4 else picture, orientation % 4)


def near_pairs(contents: Iterable[str], thumbnail: Callable[[str], Thumbnail], cache: Path) -> NearPairs:
    """Return the pairs of contents that show one picture.

    ``contents``: the SHA-256 of each textured picture (``look_at``). ``thumbnail`` is called for each of them, from
    several threads. The result is stored below ``cache`` for this set of contents.
    """
    names = sorted(contents)
    key = hashlib.sha256("\n".join([str(_VERSION), *names]).encode()).hexdigest()[:16]
    memory = cache / f"near-{key}.json"
    known = _load(memory)
    if known is not None:
        return known
    with ThreadPoolExecutor(max_workers=cpu_count()) as pool:
        pictures = np.empty((len(names), SIDE, SIDE), dtype=np.uint8)
        for i, picture in enumerate(counted("reading thumbnails", pool.map(thumbnail, names), len(names))):
            pictures[i] = picture
        found = _search(names, pictures, pool)
    write_cache(memory, json.dumps({"version": _VERSION, **asdict(found)}))
    return found


def own_threshold(correlations: npt.NDArray[np.floating]) -> tuple[float, float | None]:
    """Return ``threshold`` and ``usual`` (see ``NearPairs``) from the correlations [P] of different, similar images."""
    if len(correlations) < _MIN_STATISTICS:
        return _WITHOUT_STATISTICS, None
    z = np.arctanh(np.clip(correlations, -0.999, 0.999).astype(np.float64))
    middle, high = np.quantile(z, (0.5, 0.9))
    threshold = float(np.tanh(middle + _TAIL * (high - middle)))
    return round(min(max(threshold, MIN_CORRELATION), MAX_THRESHOLD), 4), round(float(np.tanh(high)), 4)


def clusters(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the connected sets of names, each sorted, the sets sorted by their first (union-find)."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    by_root: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(parent):
        by_root[root(name)].append(name)
    return sorted(by_root.values())


def _search(names: Sequence[str], pictures: npt.NDArray[np.uint8], pool: ThreadPoolExecutor) -> NearPairs:
    """Check each picture's nearest candidates, then more candidates of those that have a near duplicate."""
    found = candidates(pictures)
    near = found.rank <= _NULL_RANK
    correlation, lowest = np.zeros((2, len(near)), dtype=np.float32)
    correlation[near], lowest[near] = _checked(pictures, found, np.flatnonzero(near), pool)
    threshold, usual = own_threshold(correlation[found.rank == _NULL_RANK])
    hit = (correlation >= threshold) & (lowest >= MIN_LOWEST)
    copied = np.zeros(len(names), dtype=np.bool_)
    copied[found.first[hit]] = copied[found.second[hit]] = True
    more = ~near & (found.rank < _MORE) & (copied[found.first] | copied[found.second])
    correlation[more], lowest[more] = _checked(pictures, found, np.flatnonzero(more), pool)
    hit = (correlation >= threshold) & (lowest >= MIN_LOWEST)
    pairs = tuple(
        NearPair(names[i], names[j], round(float(value), 4), ORIENTATIONS[k])
        for i, j, value, k in zip(
            found.first[hit], found.second[hit], correlation[hit], found.orientation[hit], strict=True
        )
    )
    return NearPairs(pairs, threshold, usual)


def _checked(
    pictures: npt.NDArray[np.uint8], found: Candidates, chosen: Indices, pool: ThreadPoolExecutor
) -> tuple[Floats, Floats]:
    """Return the pixel check of the chosen candidates, in batches."""

    def check_batch(batch: Indices) -> tuple[Floats, Floats]:
        turned = [turn(pictures[found.second[p]], int(found.orientation[p])) for p in batch]
        return check(pictures[found.first[batch]], np.stack(turned).astype(np.uint8))

    batches = [chosen[i : i + _BATCH] for i in range(0, len(chosen), _BATCH)]
    results = list(counted("comparing similar images", pool.map(check_batch, batches), len(chosen), _BATCH))
    if not results:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    return np.concatenate([r[0] for r in results]), np.concatenate([r[1] for r in results])


def _load(path: Path) -> NearPairs | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != _VERSION:
            return None
        return NearPairs(tuple(NearPair(**p) for p in stored["pairs"]), stored["threshold"], stored["usual"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: computed again

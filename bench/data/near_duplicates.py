"""Near duplicates: one picture stored twice, resized, recompressed, recoloured, rotated, mirrored or slightly cropped.

Candidates come from a perceptual hash: 64 bits of the low frequencies of the discrete cosine transform (Zauner,
"Implementation and benchmarking of perceptual image hash functions", 2010), compared in all 8 rotations by 90° and
mirror images. Because a 64-bit hash matches many different pictures, every candidate is then compared pixel by pixel.

**The pixel check.** Both pictures are converted to grey, 64 × 64, and their detail is divided by the local contrast, so
that exposure, colour and a common bright centre have no effect. The first picture is divided into 4 × 4 blocks of 16
pixels. Each block is searched for in the second within ± 3 pixels, and the third lowest of the 16 best cosines is the
pair's ``correlation``. So all but two blocks (text, callipers) must be found at their place; a black surround that a
whole set shares is not enough. Blocks that are flat in both pictures are ignored; pictures with fewer than 6 textured
blocks cannot be compared and match nothing.

**How the thresholds were chosen.** By eye, on the pairs of BreakHis (353 images), BUSI (586) and ISIC's nine classes
(2,241) nearest to the threshold. ``MIN_CORRELATION = 0.35``: all pairs above it show one picture (another exposure,
colour or crop, other callipers, a neighbouring frame of one scan). Two different pictures reach 0.264 at most: two
moles in the same black vignette, whose whole pictures correlate at 0.94. Of 176 pairs that show one picture, 155 pass;
the missed ones are more distant frames or crops. ``MAX_DISTANCE = 16``: true pairs were found at every distance up to
it, and one beyond. The mean difference of colours would not separate them: it is 1 to 26 grey levels for true pairs,
and as low as 12 for different pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.store.disk import write_cache

if TYPE_CHECKING:
    from PIL import Image

Thumbnail = npt.NDArray[np.uint8]  # [64, 64], grey
Floats = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]  # [N, 8], a perceptual hash per orientation

MAX_DISTANCE = 16  # bits of 64
MIN_CORRELATION = 0.35
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
_SIDE, _BLOCK, _REACH = 64, 16, 3  # pixels
_BLOCKS = _SIDE // _BLOCK
_MIN_TEXTURED_BLOCKS = 6
_FLAT = 0.2  # root mean square of a block's normalised detail; about one grey level of noise
_ODD = np.array([(-1.0) ** u for u in range(1, 9)], dtype=np.float32)  # effect of mirroring on the frequencies 1 to 8
_NOISE = 2.0  # grey levels: contrast below it counts as none
_SIGMA = 1.5  # pixels at 64 × 64
_VERSION = 2  # increase it when other pairs would be found: cached pairs are then not reused


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two contents (``first`` < ``second``, by SHA-256) that show one picture.

    ``distance``: number of the 64 hash bits that differ. ``correlation`` in [0.35, 1]: result of the pixel check (see
    the module). ``orientation``: the transformation, counter-clockwise, that aligns the second with the first.
    """

    first: str
    second: str
    distance: int
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
        return f"distance {self.distance}, correlation {self.correlation:.2f}{turned}"


def look_at(image: Image.Image) -> tuple[str, Thumbnail]:
    """Return a picture's hashes (128 hex digits: 64 bits in each orientation) and thumbnail.

    The hashes are '' for a picture without texture, which cannot be compared.
    """
    from PIL import Image as Pillow

    thumbnail = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Pillow.Resampling.BOX))
    grey = thumbnail.astype(np.float32)
    spread = grey.reshape(_BLOCKS, _BLOCK, _BLOCKS, _BLOCK).std(axis=(1, 3))
    if (spread >= 1.0).sum() < _MIN_TEXTURED_BLOCKS:  # grey levels
        return "", thumbnail
    return "".join(f"{h:016x}" for h in perceptual_hashes(grey)), thumbnail


def perceptual_hashes(grey: Floats) -> npt.NDArray[np.uint64]:
    """Return the pHash of a grey picture [64, 64] in its 8 orientations, uint64 [8].

    The cosine transform of a rotated or mirrored picture is that of the picture, transposed and with other signs.
    """
    from scipy.fft import dctn

    low = dctn(grey.reshape(32, 2, 32, 2).mean(axis=(1, 3)), norm="ortho")[1:9, 1:9]
    versions = []
    for version in (low, low * _ODD):
        for _ in range(4):
            versions.append(version.ravel())
            version = version.T * _ODD[:, None]
    values = np.stack(versions)
    bits = values > np.median(values, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def turn(picture: npt.NDArray[np.generic], orientation: int) -> npt.NDArray[np.generic]:
    """Return a picture [H, W], mirrored left to right for orientations from 4, then rotated by quarter turns."""
    return np.rot90(picture[:, ::-1] if orientation >= 4 else picture, orientation % 4)


def near_pairs(hashes: Mapping[str, str], thumbnail: Callable[[str], Thumbnail], cache: Path) -> list[NearPair]:
    """Return the pairs of contents that show one picture, sorted.

    ``hashes`` maps a content's SHA-256 to the result of ``look_at``; ``thumbnail`` is called for candidates only, from
    several threads. The result is stored below ``cache`` for this set of contents.
    """
    names = sorted(sha for sha, text in hashes.items() if text)
    key = hashlib.sha256("\n".join([str(_VERSION), *names]).encode()).hexdigest()[:16]
    memory = cache / f"near-{key}.json"
    known = _load(memory)
    if known is not None:
        return known
    table = np.array([[int(hashes[n][i : i + 16], 16) for i in range(0, 128, 16)] for n in names], dtype=np.uint64)
    found = _confirmed(names, list(candidates(table.reshape(-1, 8))), thumbnail)
    write_cache(memory, json.dumps({"version": _VERSION, "pairs": [asdict(p) for p in found]}))
    return found


def candidates(hashes: Hashes, max_distance: int = MAX_DISTANCE) -> Iterable[tuple[int, int, int, int]]:
    """Yield (i, j, orientation, distance) with i < j where hash i is near that of j in an orientation.

    All pairs are compared in blocks of rows, so that memory stays at a few MB: 8,000 pictures take about a second.
    """
    rows = max(1, 500_000 // max(1, len(hashes)))
    for start in range(0, len(hashes), rows):
        first = hashes[start : start + rows, 0, None]
        for k in range(len(ORIENTATIONS)):
            distance = np.bitwise_count(first ^ hashes[None, start:, k])
            near_i, near_j = np.nonzero(distance <= max_distance)
            later = near_j > near_i
            for i, j in zip(near_i[later].tolist(), near_j[later].tolist(), strict=True):
                yield start + i, start + j, k, int(distance[i, j])


def correlations(first: Floats, second: Floats) -> Floats:
    """Return the pixel check of pictures' details [P, 64, 64] against one [64, 64], float32 [P]; 0 for flat ones."""
    padded = np.pad(second, _REACH, mode="reflect")
    down, right = padded.strides
    reach = 2 * _REACH + 1
    shape = (_BLOCKS, _BLOCKS, reach, reach, _BLOCK, _BLOCK)  # the possible positions of each block
    strides = (_BLOCK * down, _BLOCK * right, down, right, down, right)
    windows = np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)
    windows = windows.reshape(_BLOCKS**2, reach**2, _BLOCK**2)
    split = first.reshape(-1, _BLOCKS, _BLOCK, _BLOCKS, _BLOCK)
    blocks = split.transpose(1, 3, 2, 4, 0).reshape(_BLOCKS**2, _BLOCK**2, -1)
    there, here = np.sqrt(np.einsum("bsp,bsp->bs", windows, windows)), np.sqrt(np.einsum("bpn,bpn->bn", blocks, blocks))
    cosines = (windows @ blocks) / np.maximum(there[:, :, None] * here[:, None, :], 1e-6)
    flat = (here < _FLAT * _BLOCK) & (there[:, reach**2 // 2, None] < _FLAT * _BLOCK)
    return _low_values(cosines.max(axis=1), ~flat)


def _low_values(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    """Return the third lowest of each column's 16 values, scaled to the blocks counted; 0 for too few blocks."""
    n = counted.sum(axis=0)
    ordered = np.sort(np.where(counted, values, 2.0), axis=0)
    low = ordered[n // 8, np.arange(values.shape[1])]
    return np.where(n >= _MIN_TEXTURED_BLOCKS, low, 0.0).astype(np.float32)


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


def detail_of(grey: npt.NDArray[np.generic]) -> Floats:
    """Return the detail of a grey picture [64, 64] over its local contrast, float32, about -3 to 3."""
    from scipy.ndimage import gaussian_filter

    values = grey.astype(np.float32)
    high = values - gaussian_filter(values, _SIGMA)
    return high / np.sqrt(gaussian_filter(high * high, _SIGMA) + _NOISE**2)


def _confirmed(
    names: Sequence[str], found: Sequence[tuple[int, int, int, int]], thumbnail: Callable[[str], Thumbnail]
) -> list[NearPair]:
    """Check the candidates pixel by pixel, grouped by second picture; keep the best orientation of each pair."""
    partners: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for i, j, k, distance in found:
        partners[j].append((i, k, distance))
    needed = sorted({i for i, *_ in found} | set(partners))

    def check(j: int) -> list[NearPair]:
        # The windows of the second picture are the expensive part, so its partners are rotated instead, in reverse.
        turned = [turn(details[i], k if k >= 4 else -k % 4) for i, k, _ in partners[j]]
        values = correlations(np.stack(turned).astype(np.float32), details[j].astype(np.float32))
        return [
            NearPair(names[i], names[j], distance, round(float(value), 4), ORIENTATIONS[k])
            for (i, k, distance), value in zip(partners[j], values, strict=True)
            if value >= MIN_CORRELATION
        ]

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        details = dict(
            zip(needed, pool.map(lambda i: detail_of(thumbnail(names[i])).astype(np.float16), needed), strict=True)
        )
        checked = [pair for pairs in pool.map(check, partners) for pair in pairs]
    best: dict[tuple[str, str], NearPair] = {}
    for pair in sorted(checked, key=lambda p: (-p.correlation, p.distance, ORIENTATIONS.index(p.orientation))):
        best.setdefault((pair.first, pair.second), pair)
    return [best[key] for key in sorted(best)]


def _load(path: Path) -> list[NearPair] | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return [NearPair(**p) for p in stored["pairs"]] if stored["version"] == _VERSION else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: computed again

"""Candidates for near duplicates: for each picture, the few that are most alike in what distinguishes the set.

**Descriptor.** The 16 × 16 low frequencies (discrete cosine transform) of a picture's detail over its local contrast.
Turning and mirroring a picture transposes them and changes signs, so all 8 orientations cost one transform.

**Nearness relative to the set.** Images of aligned anatomy are alike everywhere, so descriptors are projected on the
directions in which the set's images differ most in units of what copying changes: Fisher's linear discriminant
("The use of multiple measurements in taxonomic problems", 1936), S_between v = λ S_within v. S_between is the set's
covariance; S_within comes from copies made of up to 500 of its pictures (cropped, another exposure, noise).

**Search.** A k-d tree on the 16 best directions gives the 8 nearest pictures in each orientation; 64 directions then
rank them. Time grows as N log N: 30,000 pictures take about a minute of one core.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.data.near_check import SIDE, Floats, Thumbnails, resample, smooth
from bench.data.reading_progress import counted

Indices = npt.NDArray[np.int64]

NEIGHBOURS = 8  # in each orientation
_FREQUENCIES = 16
_SEARCHED, _RANKED = 16, 64  # directions
_MADE_FROM, _MADE_EACH = 500, 6
_ODD = np.array([(-1.0) ** u for u in range(_FREQUENCIES)], dtype=np.float32)  # mirroring changes these signs
_ROWS = 512  # pictures at a time, for memory


@dataclass(frozen=True)
class Candidates:
    """Pairs of pictures, [P] each: ``second`` in ``orientation`` may show what ``first`` shows.

    ``rank``: how many candidates are nearer, for the picture of the two for which fewer are. Sorted by first, second.
    """

    first: Indices
    second: Indices
    orientation: Indices
    rank: Indices


def descriptors(thumbnails: npt.NDArray[np.generic]) -> Floats:
    """Return the descriptors of grey pictures [N, 64, 64], float32 [N, 16, 16]."""
    from scipy.fft import dctn

    parts = []
    for start in range(0, len(thumbnails), _ROWS):
        values = thumbnails[start : start + _ROWS].astype(np.float32)
        high = values - smooth(values, 4.0)
        detail = high / np.sqrt(smooth(high * high, 8.0) + 4.0)
        parts.append(dctn(detail, axes=(1, 2), norm="ortho")[:, :_FREQUENCIES, :_FREQUENCIES].astype(np.float32))
    return np.concatenate(parts)


def orientations(described: Floats) -> list[Floats]:
    """Return descriptors [N, 16, 16] of the same pictures in the 8 orientations of ``near_duplicates.turn``."""
    found = []
    for version in (described, described * _ODD):
        for _ in range(4):
            found.append(version)
            version = version.transpose(0, 2, 1) * _ODD[:, None]
    return found


def candidates(thumbnails: Thumbnails) -> Candidates:
    """Return the candidates among grey pictures, uint8 [N, 64, 64]; the same for the same pictures in one order."""
    if len(thumbnails) < 2:
        none = np.zeros(0, dtype=np.int64)
        return Candidates(none, none, none, none)
    described = descriptors(thumbnails)
    axes = _directions(thumbnails, described)
    projected = np.empty((8, len(thumbnails), _RANKED), dtype=np.float32)
    for start in range(0, len(thumbnails), _ROWS):
        part = np.s_[start : start + _ROWS]
        for k, version in enumerate(orientations(described[part])):
            projected[k, part] = version.reshape(len(version), -1) @ axes
    first, second, orientation = _nearest(projected)
    distance = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), _ROWS):
        part = np.s_[start : start + _ROWS]
        distance[part] = ((projected[0, first[part]] - projected[orientation[part], second[part]]) ** 2).sum(axis=1)
    swapped = first > second  # a mirrored turn is its own inverse
    orientation = np.where(swapped & (orientation < 4), -orientation % 4, orientation)
    first, second = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((orientation, distance, second, first))
    pair = first[order] * len(thumbnails) + second[order]
    best = order[np.r_[True, pair[1:] != pair[:-1]]] if len(order) else order
    first, second, orientation, distance = first[best], second[best], orientation[best], distance[best]
    return Candidates(first, second, orientation, _ranks(first, second, distance))


def _directions(thumbnails: Thumbnails, described: Floats) -> Floats:
    """Return the discriminant directions, float32 [256, 64], scaled so that copying has variance 1 in each."""
    from scipy.linalg import eigh

    rng = np.random.default_rng(0)
    n = min(len(thumbnails), _MADE_FROM)
    chosen = np.sort(rng.choice(len(thumbnails), n, replace=False))
    pictures = thumbnails[chosen].astype(np.float32)
    changes = []
    for _ in range(_MADE_EACH):
        scale = rng.uniform(0.9, 1.0, n)
        offset = rng.uniform(-0.5, 0.5, (2, n)) * SIDE * (1 - scale)
        made = resample(pictures, offset[0], scale, offset[1], scale)[0]
        exposed = 255 * (np.clip(made, 0, 255) / 255) ** rng.uniform(0.7, 1.4, (n, 1, 1))
        changes.append(descriptors(exposed + rng.normal(0, 3, exposed.shape)) - described[chosen])
    change = np.concatenate(changes).reshape(len(changes) * n, -1).astype(np.float64)
    within = change.T @ change / (2 * len(change))
    shrinkage = min(1.0, max(1e-3, _RANKED / len(change)))  # few copies do not show how all directions vary
    within += shrinkage * np.trace(within) / len(within) * np.eye(len(within))
    flat = described.reshape(len(described), -1).astype(np.float64)
    between = np.cov(flat, rowvar=False)
    values = eigh(between, within, subset_by_index=(len(within) - _RANKED, len(within) - 1))[1]
    return values[:, ::-1].astype(np.float32)


def _nearest(projected: Floats) -> tuple[Indices, Indices, Indices]:
    """Return first, second, orientation of the nearest pictures to each picture in each orientation."""
    from scipy.spatial import KDTree

    n = len(projected[0])
    tree = KDTree(projected[0][:, :_SEARCHED])
    parts = []
    for k, version in enumerate(counted("searching for similar images", projected, len(projected) * n, n)):
        near = tree.query(version[:, :_SEARCHED], NEIGHBOURS + 1, workers=os.cpu_count() or 1)[1].reshape(n, -1)
        second, column = np.nonzero((near < n) & (near != np.arange(n)[:, None]))
        parts.append((near[second, column], second, np.full(len(second), k)))
    first, second, orientation = (np.concatenate(p).astype(np.int64) for p in zip(*parts, strict=True))
    return first, second, orientation


def _ranks(first: Indices, second: Indices, distance: npt.NDArray[np.floating]) -> Indices:
    """Return, for each pair, its place among the candidates of the picture in whose list it comes earlier."""
    picture = np.concatenate([first, second])
    order = np.lexsort((np.tile(np.arange(len(first)), 2), np.tile(distance, 2), picture))
    ordered = picture[order]
    starts = np.r_[0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1]
    place = np.empty(len(picture), dtype=np.int64)
    place[order] = np.arange(len(picture)) - np.repeat(starts, np.diff(np.r_[starts, len(picture)]))
    return np.minimum(place[: len(first)], place[len(first) :])

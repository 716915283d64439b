"""Does a generator copy its training images? Nearest training images, AuthPct and a calibrated test for copies.

On plain arrays. Distances are Euclidean, in one of two spaces: features of a network, or pixels, which are thumbnails
(``thumbnails``) compared in all eight turned and mirrored versions (``TURNED``), for translations are made of turned
sources. Three measures, for an image s with nearest training images x1, x2, … at distances d1 <= d2 <= …:

authentic   d1 > distance of x1 to its own nearest other training image (Alaa et al. 2022, "How Faithful is your
            Synthetic Data?"; AuthPct, the authentic images in per cent, as in Stein et al. 2023, "Exposing flaws of
            generative model evaluation metrics"). A perfect generator does not reach 100: read it beside the AuthPct
            of held-out real images.
relative    r = d1 / mean(d1, …, d10), in [0, 1] (Carlini et al. 2023, "Extracting Training Data from Diffusion
distance    Models", whose set has 50 neighbours; training sets are small here). It asks whether one training image is
            singled out, so that neither a stain shared by all nor an empty field counts as a copy.
copy        r is below the threshold that only a small share (``quantile``) of the training images themselves are
            below, each against the others, and below 0.7. So of new real images, even of the training patients, at most
            that share is called a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.types import Uint8Images

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.floating]
NEIGHBOURS = 10
SAME_PICTURE = 0.5  # Carlini et al.'s own bound: training images so near to one another are the same picture twice
# No threshold is above this: where all training images are equally far from one another, as in noise, the quantile is
# nearly 1, and a blurred or averaged image would pass for a copy of whichever image is dullest.
SINGLED_OUT = 0.7
THUMBNAIL_PX = 32
BLOCK = 2**22  # distances held at a time: 32 MiB
ROUNDING = 1e-12  # of squared norms: what is left of the distance of equal vectors


@dataclass(frozen=True)
class Neighbours:
    """The K nearest references of every query, nearest first, [M, K] each; the distance is inf where there is none."""

    distance: Floats
    index: Ints

    @property
    def relative(self) -> Floats:
        """Nearest distance over the mean of all K, in [0, 1]; 0 for an exact copy, NaN where there is no reference."""
        known = np.isfinite(self.distance)
        distance = np.where(known, self.distance, 0.0)
        total, count = distance.sum(axis=1), known.sum(axis=1)
        ratio = np.divide(distance[:, 0] * count, total, out=np.zeros(len(total)), where=total > 0)
        return np.where(count > 0, np.minimum(ratio, 1.0), np.nan)


@dataclass(frozen=True)
class Threshold:
    """A relative distance below ``value`` is a copy; at most a share ``promised`` of novel images fall below it."""

    value: float
    promised: float


def nearest(
    queries: Vectors,
    references: Vectors,
    query_groups: npt.ArrayLike | None = None,
    reference_groups: npt.ArrayLike | None = None,
    neighbours: int = NEIGHBOURS,
    versions: Ints | None = None,
) -> Neighbours:
    """Return the nearest of the references [N, D] for each of the queries [M, D].

    With groups [M] and [N] a query's own group is left out: an image itself (``arange``), or a whole patient. With
    ``versions`` [V, D], permutations such as ``TURNED``, a query's distance is that of its nearest version. Works in
    float64 and through blocks of ``BLOCK`` distances. Raises ``DataError`` on other shapes, on values that are not
    finite, and when there is no reference.
    """
    if queries.ndim != 2 or references.ndim != 2 or queries.shape[1] != references.shape[1] or not len(references):
        raise DataError(f"expected vectors [M, D] and [N >= 1, D]; got {queries.shape} and {references.shape}")
    if not (np.isfinite(queries).all() and np.isfinite(references).all()):
        raise DataError("features are not finite: the extractor overflowed, or its weights are damaged")
    target = references.astype(np.float64, copy=False)
    own, other = (None if g is None else np.asarray(g) for g in (query_groups, reference_groups))
    k, rows = min(neighbours, len(target)), max(1, BLOCK // len(target))
    distance, index = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), rows):
        at = slice(start, start + rows)
        block = _squared(queries[at].astype(np.float64, copy=False), target, versions)
        if own is not None and other is not None:
            block[own[at, None] == other] = np.inf
        chosen = np.argpartition(block, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(block, chosen, axis=1)
        order = np.lexsort((chosen, found), axis=1)  # of equal distances the first reference
        distance[at] = np.sqrt(np.take_along_axis(found, order, axis=1))
        index[at] = np.take_along_axis(chosen, order, axis=1)
    return Neighbours(distance, index)


def _squared(queries: Floats, references: Floats, versions: Ints | None) -> Floats:
    """Return squared distances [M, N], those of the nearest version of each query."""
    scale = np.square(queries).sum(axis=1)[:, None] + np.square(references).sum(axis=1)
    best: Floats | None = None
    for version in [slice(None)] if versions is None else versions:
        squared = scale - 2 * (queries[:, version] @ references.T)
        best = squared if best is None else np.minimum(best, squared, out=best)
    assert best is not None
    best[best < ROUNDING * scale] = 0.0
    return best


def authentic(synthetic: Neighbours, training: Neighbours) -> Bools:
    """Return which images are authentic, bool [M]: d(s, x1) > d(x1, nearest training image but x1 itself).

    ``synthetic`` are the neighbours of the images among the training images, ``training`` those of the training images
    among each other, each without itself.
    """
    return synthetic.distance[:, 0] > training.distance[synthetic.index[:, 0], 0]


def memorisation_threshold(training: Neighbours, quantile: float) -> Threshold:
    """Return the relative distance below which an image is a copy, from the training images' own, each without itself.

    The j-th smallest of n is taken, j = floor(quantile (n + 1)), at least 1, but no more than ``SINGLED_OUT``. Training
    images that are the same picture twice (``TWINS``) are left out of those n, for a set with duplicates would else
    excuse copies; where no others are, ``TWINS`` is the threshold.

    ``promised`` counts all N training images: (1 + those below the threshold) / (N + 1), the chance that an image which
    could as well have been one of them falls below it. It is above ``quantile`` where N < 1 / quantile and where there
    are twins, whose share a novel image has as well; so it also tells where the test is of no use.
    """
    relative = training.relative
    single = np.sort(relative[relative >= SAME_PICTURE])
    rank = max(1, int(quantile * (len(single) + 1)))
    value = min(float(single[rank - 1]), SINGLED_OUT) if len(single) else SAME_PICTURE
    return Threshold(value, _promise(training, value))


def _promise(training: Neighbours, threshold: float) -> float:
    known = training.relative[~np.isnan(training.relative)]
    return float((1 + (known < threshold).sum()) / (len(known) + 1))


@dataclass(frozen=True)
class Judged:
    """What a test says of M images: ``copied`` is its verdict, ``nearness`` the relative distance over the threshold.

    ``patient_like``: nearer than (nearly) all training images are to those of other patients; so the patient was learnt
    if not one image of his.
    """

    near: Neighbours
    authentic: Bools
    copied: Bools
    patient_like: Bools
    nearness: Floats

    @property
    def authpct(self) -> float:
        """The authentic images in per cent, in [0, 100]; NaN where there is no image."""
        return 100.0 * float(self.authentic.mean()) if len(self.authentic) else float("nan")


class MemorisationTest:
    """The test for copies in one space, fitted on the vectors [N, D] of training images and their patients [N].

    ``threshold`` leaves out a training image itself, ``across_patients`` its whole patient; the first decides. A copy
    is of one image, and by the second, a new image of a training patient would be called one too often.
    ``promised_across_patients`` is what the first promises of images of new patients.
    """

    def __init__(
        self, training: Vectors, patients: npt.ArrayLike, quantile: float, versions: Ints | None = None
    ) -> None:
        self._training, self._versions = training, versions
        itself = np.arange(len(training))
        self._own = nearest(training, training, itself, itself, versions=versions)
        self._other = nearest(training, training, patients, patients, versions=versions)
        self.threshold = memorisation_threshold(self._own, quantile)
        self.across_patients = memorisation_threshold(self._other, quantile)
        self.promised_across_patients = _promise(self._other, self.threshold.value)

    def judge(self, vectors: Vectors) -> Judged:
        """Judge images by their vectors [M, D]."""
        near = nearest(vectors, self._training, versions=self._versions)
        return Judged(
            near,
            authentic(near, self._own),
            near.relative < self.threshold.value,
            near.relative < self.across_patients.value,
            near.relative / self.threshold.value,
        )

    def values(self) -> dict[str, float]:
        """Return what was fitted, finite numbers only: thresholds, what they promise, median nearest distances."""
        values = {
            "threshold": self.threshold.value,
            "promised": self.threshold.promised,
            "across_patients_threshold": self.across_patients.value,
            "promised_across_patients": self.promised_across_patients,
            "median_distance": float(np.median(self._own.distance[:, 0])),
            "across_patients_median_distance": float(np.median(self._other.distance[:, 0])),
        }
        return {name: value for name, value in values.items() if np.isfinite(value)}


def thumbnails(images: Uint8Images) -> Floats:
    """Return uint8 [N, H, W, 3] as vectors [N, 3072]: 32 × 32 px by area, each without its own mean colour.

    Scaled so that a Euclidean distance is the root mean square difference in grey levels, 0..255. Noise and
    compression fade at that size, and without its mean colour a copy in another stain is still near its source. Smaller
    ones would call every translation that keeps its source's layout a copy, larger ones would miss noisy copies.
    """
    from PIL import Image

    side = (THUMBNAIL_PX, THUMBNAIL_PX)
    x = np.empty((len(images), *side, 3))
    for i, image in enumerate(images):
        x[i] = np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BOX))
    x -= x.mean(axis=(1, 2), keepdims=True)
    return x.reshape(len(x), 3 * THUMBNAIL_PX**2) / np.sqrt(3 * THUMBNAIL_PX**2)


def _turned() -> Ints:
    places = np.arange(THUMBNAIL_PX * THUMBNAIL_PX * 3).reshape(THUMBNAIL_PX, THUMBNAIL_PX, 3)
    return np.stack([np.rot90(m, turns).ravel() for m in (places, places[:, ::-1]) for turns in range(4)])


TURNED = _turned()  # [8, 3072]: a thumbnail's quarter turns and mirror images as permutations; the first is as it is

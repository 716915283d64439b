"""Memorisation of training images by a generator: nearest training images, AuthPct and a calibrated test.

On plain arrays. Distances are Euclidean, in one of two spaces: features of a network, or pixels, which are thumbnails
(``thumbnails``) compared in all eight rotated and mirrored versions (``TURNED``), because translations are made from
augmented sources. Three measures, for an image s with nearest training images x1, x2, … at distances d1 <= d2 <= …:

authentic
  d1 > distance of x1 to its nearest other training image (Alaa et al. 2022, "How Faithful is your Synthetic Data?").
  AuthPct is the percentage of authentic images, as in Stein et al. 2023, "Exposing flaws of generative model
  evaluation metrics". A perfect generator does not reach 100: compare it with the AuthPct of held-out real images.

relative distance
  r = d1 / mean(d1, …, d10), in [0, 1] (Carlini et al. 2023, "Extracting Training Data from Diffusion Models", with 50
  neighbours; training sets are small here). It is small only if one training image is much nearer than the others, so
  a stain shared by all images or an empty field does not count as memorised.

memorised
  r is below 0.7 and below the threshold that only a small share (``quantile``) of the training images, each compared
  with the others, fall below. So at most that share of new real images, even of training patients, is flagged.
  One space alone is not enough (``confirmed``): noise has features near those of one blurred training image. So this
  training image must be near in the other space too: at most ``reach`` times as far as its own ten nearest training
  images are on average. Pixels 1; features 1.5, because noise, compression and turning change features more.
  Measured on BreakHis and chest X-rays at 48 to 64 px: noise and flat images 0 to 2 % (by features alone, up to 57 %),
  blurred new images 0 to 6 %; exact, compressed, mirrored and recoloured copies 100 %; noisy copies 100 and
  93 %, turned ones 100 and 50 % (a chest X-ray on its side has other features).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.types import Uint8Images

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.floating]
NEIGHBOURS = 10
SAME_PICTURE = 0.5  # The bound of Carlini et al.: training images so near to one another are duplicates.
# Upper limit of the threshold: if all training images are equally far from one another, as in noise, the quantile
# is nearly 1, and a blurred or averaged image would be flagged as a memorised sample.
SINGLED_OUT = 0.7
THUMBNAIL_PX = 32
BLOCK = 2**22  # distances computed per block: 32 MiB
ROUNDING = 1e-12  # of squared norms: rounding error of the distance of equal vectors


@dataclass(frozen=True)
class Neighbours:
    """The K nearest references of every query, nearest first, [M, K] each; the distance is inf if there is none."""

    distance: Floats
    index: Ints

    @property
    def relative(self) -> Floats:
        """Nearest distance over the mean of all K, in [0, 1]; 0 for an exact copy, NaN without references."""
        known = np.isfinite(self.distance)
        distance = np.where(known, self.distance, 0.0)
        total, count = distance.sum(axis=1), known.sum(axis=1)
        ratio = np.divide(distance[:, 0] * count, total, out=np.zeros(len(total)), where=total > 0)
        return np.where(count > 0, np.minimum(ratio, 1.0), np.nan)


@dataclass(frozen=True)
class Threshold:
    """A relative distance below ``value`` is a copy; at most a share ``promised`` of new images fall below it."""

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
    """Return the nearest references [N, D] of each query [M, D].

    With groups [M] and [N] references of the query's group are excluded: the image itself (``arange``), or its patient.
    With ``versions`` [V, D], permutations such as ``TURNED``, a query's distance is that of its nearest version.
    Computed in float64, in blocks of ``BLOCK`` distances. Raises ``DataError`` on other shapes, on values that are not
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
        order = np.lexsort((chosen, found), axis=1)  # among equal distances the first reference
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
    """Return which images are authentic, bool [M]: d(s, x1) > d(x1, nearest other training image of x1).

    ``synthetic`` are the neighbours of the images among the training images, ``training`` those of the training images
    among each other, each without itself.
    """
    return synthetic.distance[:, 0] > training.distance[synthetic.index[:, 0], 0]


def memorisation_threshold(training: Neighbours, quantile: float) -> Threshold:
    """Return the relative distance below which an image counts as memorised, from the training images' relative
    distances.

    ``training`` are the neighbours of the training images among each other. The j-th smallest of n is taken, j =
    floor(quantile (n + 1)), at least 1, but no more than ``SINGLED_OUT``. Duplicate training images (below
    ``SAME_PICTURE``) are excluded from those n, because otherwise a set with duplicates would have too low a threshold;
    if no others remain, the threshold is ``SAME_PICTURE``.

    ``promised`` counts all N training images: (1 + those below the threshold) / (N + 1), the chance that a new image
    from the same distribution falls below it. It exceeds ``quantile`` if N < 1 / quantile or if there are duplicates,
    because new images include duplicates at the same rate. A large value means that the test is not useful.
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
class MemorisationResult:
    """Result of the test for M images: ``copied`` flags those nearer than the threshold in this space, ``nearness`` is
    relative distance / threshold. ``memorised`` flags those that ``confirmed`` finds near in the other space too.

    ``patient_like``: nearer than (nearly) all training images are to those of other patients; the generator then
    reproduces the patient, if not a single image.
    """

    near: Neighbours
    authentic: Bools
    copied: Bools
    patient_like: Bools
    nearness: Floats
    memorised: Bools

    @property
    def authpct(self) -> float:
        """The authentic images in per cent, in [0, 100]; NaN without images."""
        return 100.0 * float(self.authentic.mean()) if len(self.authentic) else float("nan")


class MemorisationTest:
    """The memorisation test in one space, fitted on the vectors [N, D] of training images and their patients [N].

    ``threshold`` excludes the training image itself, ``across_patients`` its whole patient. The first decides, because
    a memorised sample copies one image; by the second, new images of a training patient would be flagged too often.
    ``promised_across_patients`` is the false positive rate of the first for images of new patients.
    """

    def __init__(
        self,
        training: Vectors,
        patients: npt.ArrayLike,
        quantile: float,
        versions: Ints | None = None,
        reach: float = 1.0,
    ) -> None:
        self._training, self._versions, self._reach = training, versions, reach
        itself = np.arange(len(training))
        self._own = nearest(training, training, itself, itself, versions=versions)
        self._other = nearest(training, training, patients, patients, versions=versions)
        self.threshold = memorisation_threshold(self._own, quantile)
        self.across_patients = memorisation_threshold(self._other, quantile)
        self.promised_across_patients = _promise(self._other, self.threshold.value)

    def evaluate(self, vectors: Vectors) -> MemorisationResult:
        """Evaluate images by their vectors [M, D]."""
        near = nearest(vectors, self._training, versions=self._versions)
        return MemorisationResult(
            near,
            authentic(near, self._own),
            near.relative < self.threshold.value,
            near.relative < self.across_patients.value,
            near.relative / self.threshold.value,
            near.relative < self.threshold.value,
        )

    def is_near(self, vectors: Vectors, index: Ints) -> Bools:
        """Return whether each image [M, D] is near training image ``index`` [M] in this space, bool [M].

        Near: at most ``reach`` times as far as that image's nearest training images are from it on average.
        """
        target = self._training[index].astype(np.float64, copy=False)
        turned = [slice(None)] if self._versions is None else self._versions
        squared = [np.square(vectors[:, v] - target).sum(axis=1) for v in turned]
        own = self._own.distance[index]
        known = np.isfinite(own)
        mean = np.where(known, own, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return np.asarray(np.sqrt(np.min(squared, axis=0)) <= self._reach * mean) | ~known.any(axis=1)

    def values(self) -> dict[str, float]:
        """Return the fitted values, finite only: thresholds, false positive rates, median nearest distances."""
        values = {
            "threshold": self.threshold.value,
            "promised": self.threshold.promised,
            "across_patients_threshold": self.across_patients.value,
            "promised_across_patients": self.promised_across_patients,
            "median_distance": float(np.median(self._own.distance[:, 0])),
            "across_patients_median_distance": float(np.median(self._other.distance[:, 0])),
        }
        return {name: value for name, value in values.items() if np.isfinite(value)}


def confirmed(
    results: Mapping[str, MemorisationResult], tests: Mapping[str, MemorisationTest], vectors: Mapping[str, Vectors]
) -> dict[str, MemorisationResult]:
    """Return the results of the same images in each space, flagged as memorised only if near in every space."""
    found = {}
    for space, result in results.items():
        index = result.near.index[:, 0]
        near = [tests[other].is_near(vectors[other], index) for other in results if other != space]
        found[space] = replace(result, memorised=np.logical_and.reduce([result.copied, *near]))
    return found


def thumbnails(images: Uint8Images) -> Floats:
    """Return uint8 [N, H, W, 3] as vectors [N, 3072]: 32 × 32 px by area, without the mean colour of each image.

    Scaled so that a Euclidean distance is the root mean square difference in grey levels, 0..255. At this size noise
    and compression have little effect, and without the mean colour a copy in another stain is still near its source.
    Smaller thumbnails would flag every translation that keeps the layout of its source, larger ones would miss noisy
    copies.
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


TURNED = (
    _turned()
)  # [8, 3072]: the rotations and mirror images of a thumbnail as permutations; the first is the identity

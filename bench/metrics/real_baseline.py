"""The real-vs-real baseline of FID and similar metrics: the score of real images in place of synthetic ones.

FID falls as images are added, on either side, so a baseline is only meaningful for the same set sizes as the score.
Real images of the patients in the reference set would be too easy, so images of other patients are used:

- against test images: real *training* images, as many of each class as there are synthetic ones. There are always
  enough, and sizes are equal.
- against training images: only held-out (validation and test) images can be used, and there are mostly fewer of them
  than synthetic ones. Then as many are used as keep the class proportions of the synthetic images, and the synthetic
  images are scored again on a draw of equal size, so that baseline and score have equal sizes, both reported.

The excess over the baseline is the effect of the generator; the baseline itself is due to sampling and differences
between patients.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bench.metrics.fidelity import Features, check_features, fidelity_metrics, frechet_distance_low_rank

Ints = npt.NDArray[np.int64]


def real_baseline_of_halves(
    real: Features, synthetic: Features, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the baseline from a single set of real images [N, D], and the synthetic images' score at the same size.

    min(M, N // 2) real images replace as many of the M synthetic ones, against the other real ones; both are
    ``fidelity_metrics`` at those sizes. The two halves may share patients, so a baseline with disjoint patients is
    higher. NaN if the parts are too small.
    """
    real, synthetic = check_features(real, synthetic)
    rng = np.random.default_rng(seed)
    k = min(len(synthetic), len(real) // 2)
    order = rng.permutation(len(real))
    drawn = np.sort(rng.choice(len(synthetic), k, replace=False))
    reference, stand_ins = real[np.sort(order[k:])], real[np.sort(order[:k])]
    return real_baseline_metrics(reference, stand_ins), real_baseline_metrics(reference, synthetic[drawn])


def real_baseline_metrics(reference: Features, stand_ins: Features) -> dict[str, float]:
    """Return ``fidelity_metrics`` with the fast exact FID, because baselines are only compared within a report."""
    return fidelity_metrics(reference, stand_ins, fid=frechet_distance_low_rank)


def counts_of(labels: Ints) -> dict[int, int]:
    """Return the number of images of each label."""
    values, n = np.unique(labels, return_counts=True)
    return {int(y): int(k) for y, k in zip(values, n, strict=True)}


def matched_counts(wanted: Mapping[int, int], available: Mapping[int, int]) -> dict[int, int]:
    """Return the largest counts in the proportions of ``wanted`` (rounded down) that ``available`` allows.

    >>> matched_counts({0: 60, 1: 100}, {0: 30, 1: 80}), matched_counts({0: 10, 1: 10}, {0: 50, 1: 11})
    ({0: 30, 1: 50}, {0: 10, 1: 10})
    """
    scarce = min(wanted, key=lambda y: available.get(y, 0) / wanted[y])
    have, need = min(available.get(scarce, 0), wanted[scarce]), wanted[scarce]
    return {y: n * have // need for y, n in wanted.items()}


def draw_rows(labels: Ints, counts: Mapping[int, int], rng: np.random.Generator) -> Ints:
    """Return the sorted rows of a random draw without replacement: ``counts[y]`` of the images with label y."""
    rows = [rng.choice(np.flatnonzero(labels == y), n, replace=False) for y, n in sorted(counts.items())]
    return np.sort(np.concatenate(rows)).astype(np.int64)

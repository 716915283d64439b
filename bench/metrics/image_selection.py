"""Rules that select synthetic images by their features, on plain arrays.

Each rule chooses among images of one class. Real features are those of training patients only. ``realism`` and
``diversity`` use features scaled to length 1: images that a network does not respond to, such as noise, have short
feature vectors, which lie in the balls of a few plain real images (``bench.metrics.fidelity``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.metrics.label_agreement import feature_classifier

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
NEIGHBOURS = 3  # of Kynkäänniemi et al. (2019)


def selected(rule: str, real: Floats, labels: Ints, made: Floats, label: int, count: int) -> tuple[Ints, Floats]:
    """Return the rows of the ``count`` selected images of one class, int64 [count] ascending, and a score of every one.

    ``real`` [N, D] and ``labels`` [N] are the training images of all classes, ``made`` [M, D] the drawn images of class
    ``label``. Scores [M], a higher one is selected first: of ``classifier_agreement`` and ``realism`` the functions of
    these names; of ``diversity`` minus the place in ``farthest_points``. Ties keep the order of drawing.
    Raises ``DataError`` for too few images.
    """
    if count > len(made):
        raise DataError(f"selection by {rule}: {count} of {len(made)} images were requested; expected at least as many")
    if rule == "classifier_agreement":
        scores = classifier_agreement(real, labels, made, label)
    elif rule == "realism":
        scores = realism(real[labels == label], made)
    elif rule == "diversity":
        scores = np.full(len(made), -float(count))
        scores[farthest_points(made, real[labels == label].mean(axis=0), count)] = -np.arange(count, dtype=np.float64)
    else:
        raise DataError(f"unknown selection rule {rule!r}; expected classifier_agreement, realism or diversity")
    return np.sort(np.argsort(-scores, kind="stable")[:count]), scores


def classifier_agreement(real: Floats, labels: Ints, made: Floats, label: int) -> Floats:
    """Return the log-odds of class ``label``, float64 [M], by a classifier of the real images.

    The classifier is that of ``label_agreement``. Log-odds order images as probabilities do, and also where these round
    to 1. Xue et al. 2021 ("Selective synthetic augmentation with
    HistoGAN") select by the agreement of a trained classifier and by features.
    """
    from scipy.special import logsumexp

    if not len(made):
        return np.zeros(0)
    found = feature_classifier(real, labels)
    logits = found.decision_function(np.asarray(made, np.float64))
    if logits.ndim == 1:
        return logits if found.classes_[1] == label else -logits
    own = found.classes_ == label
    return logits[:, own][:, 0] - logsumexp(logits[:, ~own], axis=1)


def realism(real: Floats, made: Floats, neighbours: int = NEIGHBOURS) -> Floats:
    """Return the realism score of each image, float64 [M] (Kynkäänniemi et al. 2019, eq. 3); > 1: inside a ball.

    The maximum over real images r of (distance of r to its k-th nearest real image) / (distance of the image to r).
    Only the half of the balls with the smaller radii counts. With k or fewer other real images k is their number.
    Raises ``DataError`` with fewer than two real images.
    """
    from scipy.spatial.distance import cdist

    if len(real) < 2:
        raise DataError(f"realism: got {len(real)} training images of a class, expected at least 2; use another rule")
    a, b = _unit(real), _unit(made)
    k = min(neighbours, len(a) - 1)
    radii = np.partition(cdist(a, a), k, axis=1)[:, k]  # column 0 is the image itself
    dense = radii <= np.median(radii)
    distances = np.maximum(cdist(b, a[dense]), np.finfo(np.float64).eps)
    return (radii[dense] / distances).max(axis=1)


def farthest_points(made: Floats, start: Floats, count: int) -> Ints:
    """Return ``count`` rows of ``made`` [M, D], the greedy farthest points in order (Gonzalez 1985), int64 [count].

    The first image is the one nearest to ``start`` [D]. Each further image is the one whose distance to the nearest
    chosen image is largest.
    """
    points, order = _unit(made), list[int]()
    nearest = -np.linalg.norm(points - _unit(start[None]), axis=1)
    for _ in range(count):
        chosen = int(np.argmax(nearest))
        order.append(chosen)
        distances = np.linalg.norm(points - points[chosen], axis=1)
        nearest = np.minimum(nearest, distances) if len(order) > 1 else distances
        nearest[order] = -1.0  # an equal image may still be chosen, the same one not
    return np.array(order, dtype=np.int64)


def _unit(features: Floats) -> Floats:
    """Return the rows scaled to length 1, float64; rows of zeros stay."""
    x = np.asarray(features, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).eps)

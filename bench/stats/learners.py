"""Closed-form binary classifiers, fitted to many simulated training sets at once: fast, real and deterministic.

A learner takes x float [..., N, D] (rows are images), y int [N] in {0, 1} and weight float [..., N] (0 leaves a row
out); leading axes are broadcast. It returns a ``Linear`` model per leading index. Both penalise the weights, so a
column of zeros gets the weight 0: set a column to zero to hide it from a learner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
NEWTON_STEPS = 6


@dataclass(frozen=True, eq=False)
class Linear:
    """Linear models: logit = x @ weights + offset; weights [..., D], offset [...]."""

    weights: Floats
    offset: Floats

    def logits(self, x: Floats) -> Floats:
        """Return the logits [..., N] of class 1 for rows x [..., N, D]."""
        return np.asarray((x @ self.weights[..., None])[..., 0] + self.offset[..., None])


Learner = Callable[[Floats, Ints, Floats], Linear]


def lda(x: Floats, y: Ints, weight: Floats, penalty: float = 0.1) -> Linear:
    """Fit linear discriminant analysis (Fisher 1936) with ``penalty`` added to the diagonal of the pooled covariance.

    weights = (S + penalty I)^-1 (m1 - m0), offset = log(n1 / n0) - weights (m0 + m1) / 2. Every training set needs rows
    of both classes.
    """
    n, total, means = weight.sum(axis=-1), [], []
    for label in (0, 1):
        w = weight * (y == label)
        total.append(w.sum(axis=-1))
        means.append((w[..., None, :] @ x)[..., 0, :] / total[label][..., None])
    scatter = (weight[..., None] * x).swapaxes(-1, -2) @ x
    for count, mean in zip(total, means, strict=True):
        scatter = scatter - count[..., None, None] * mean[..., :, None] * mean[..., None, :]
    covariance = scatter / np.maximum(n - 2, 1)[..., None, None] + penalty * np.eye(x.shape[-1], dtype=x.dtype)
    weights = np.linalg.solve(covariance, (means[1] - means[0])[..., None])[..., 0]
    middle = (weights * (means[0] + means[1])).sum(axis=-1) / 2
    return Linear(weights, np.log(total[1] / total[0]) - middle)


def logistic(x: Floats, y: Ints, weight: Floats, penalty: float = 5.0) -> Linear:
    """Fit logistic regression by ``NEWTON_STEPS`` Newton steps from 0; the loss has penalty |weights|^2 / 2.

    Each step solves (X' D X + penalty I) step = X' (y - p) - penalty weights (McCullagh & Nelder 1989, section 4.4.4);
    the offset is not penalised.
    """
    z = np.concatenate([x, np.ones((*x.shape[:-1], 1), dtype=x.dtype)], axis=-1)
    diagonal = np.full(z.shape[-1], penalty, dtype=x.dtype)
    diagonal[-1] = 1e-6
    shape = np.broadcast_shapes(z.shape[:-2], weight.shape[:-1])
    beta = np.zeros((*shape, z.shape[-1]), dtype=x.dtype)
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-(z @ beta[..., None])[..., 0]))
        gradient = ((weight * (y - p))[..., None, :] @ z)[..., 0, :] - diagonal * beta
        curvature = ((weight * p * (1 - p))[..., None] * z).swapaxes(-1, -2) @ z + np.diag(diagonal)
        beta = beta + np.linalg.solve(curvature, gradient[..., None])[..., 0]
    return Linear(beta[..., :-1], beta[..., -1])


def patient_probability(logits: Floats, images: int) -> Floats:
    """Return the mean probability [..., P] of class 1 over the images of each patient, logits [..., P * images]."""
    probability = 1 / (1 + np.exp(-logits))
    return np.asarray(probability.reshape(*logits.shape[:-1], -1, images).mean(axis=-1))


def two_classes(probability: Floats) -> Floats:
    """Return the probabilities of both classes [P, 2] from those of class 1 [P]."""
    return np.stack([1 - probability, probability], axis=1)

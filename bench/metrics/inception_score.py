"""Inception score (Salimans et al. 2016): torch-fidelity's value, on plain logits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SPLITS, SEED = 10, 2020  # torch-fidelity's defaults, so that its command line gives the same number


def inception_score(logits: npt.NDArray[np.floating], splits: int = SPLITS, seed: int = SEED) -> float:
    """Return the mean over random splits of exp(E_x KL(p(y|x) || p(y))), from logits [N, K]; in [1, K], higher is
    better.

    It is high if a classifier is certain about each image and the predicted classes vary over the set. The classes are
    those of ImageNet, which mean little for tissue: real images have no maximal score, and a better generator need not
    score higher. It is included because papers report it. It ignores real images, and falls with n: a split of m images
    cannot exceed m. So compare it only with the score of as many real images, under its extractor's name (the papers'
    network is inception; others give other values). NaN with fewer than two images per split, or without a classifier
    (K < 2).
    """
    if len(logits) < 2 * splits or logits.shape[1] < 2:
        return float("nan")
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    result = isc_features_to_metric(torch.from_numpy(np.asarray(logits)), splits, shuffle=True, rng_seed=seed)
    return float(result[KEY_METRIC_ISC_MEAN])

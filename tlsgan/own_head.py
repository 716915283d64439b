"""D_a as a classifier, the way TL-S-CycleGAN was evaluated: by its class head, or, without one, by real against fake.

D_a's own domain is class 0. A PatchGAN (Isola et al. 2017) that takes an image for a real one of its domain, its map's
mean above 0.5, says class 0. Trained to tell real from translated images of that domain, it has seen no real image of
the other class; and the published class head has only ever been told class 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from bench.types import Uint8Images
from tlsgan.data import to_device, to_float
from tlsgan.discriminators import Discriminator, Verdict

BATCH = 8  # always full, so that an image's bits do not depend on how many there are
THRESHOLD = 0.5


def class_probabilities(network: Discriminator, images: Uint8Images, device: str) -> npt.NDArray[np.float64]:
    """Return float64 [N, 2], rows summing to 1, of images uint8 [N, H, W, 3]; the network is in evaluation mode."""
    found = np.zeros((len(images), 2))
    for start in range(0, len(images), BATCH):
        rows = np.arange(start, start + BATCH).clip(max=len(images) - 1)
        with torch.inference_mode():
            verdict = network(to_float(to_device(images[rows], device)))
        found[start : start + BATCH] = _probabilities(verdict)[: len(images) - start]
    return found


def _probabilities(verdict: Verdict) -> npt.NDArray[np.float64]:
    if verdict.classes is not None:
        return verdict.classes.double().softmax(dim=1).cpu().numpy()
    own = verdict.real.double().flatten(1).mean(dim=1).clamp(0, 1).cpu().numpy()
    own = np.where(own == THRESHOLD, np.nextafter(THRESHOLD, 0), own)  # only above it an image is of D_a's domain
    return np.stack([own, 1 - own], axis=1)

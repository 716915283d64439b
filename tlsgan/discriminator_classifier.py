"""D_a as discriminator classifier, as TL-S-CycleGAN was evaluated: by its class head, or else by its real/fake output.

D_a's domain is class 0. A PatchGAN (Isola et al. 2017) predicts class 0 if the mean of its map is above 0.5, that is if
the image looks like a real image of its domain. In training D_a gets no real image of class 1, and the published class
head gets label 0 only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from bench.types import Uint8Images
from tlsgan.data import to_device, to_float
from tlsgan.discriminators import Discriminator, DiscriminatorOutput

BATCH = 8  # always full, so that a result does not depend on the number of images
THRESHOLD = 0.5


def class_probabilities(network: Discriminator, images: Uint8Images, device: str) -> npt.NDArray[np.float64]:
    """Return class probabilities float64 [N, 2] of images uint8 [N, H, W, 3]; the network is in evaluation mode."""
    channels = int(getattr(network, "channels", 3))
    probabilities = np.zeros((len(images), 2))
    for start in range(0, len(images), BATCH):
        rows = np.arange(start, start + BATCH).clip(max=len(images) - 1)
        with torch.inference_mode():
            output = network(to_float(to_device(images[rows], device, channels)))
        probabilities[start : start + BATCH] = _probabilities(output)[: len(images) - start]
    return probabilities


def _probabilities(output: DiscriminatorOutput) -> npt.NDArray[np.float64]:
    if output.classes is not None:
        return output.classes.double().softmax(dim=1).cpu().numpy()
    own = output.real.double().flatten(1).mean(dim=1).clamp(0, 1).cpu().numpy()
    own = np.where(own == THRESHOLD, np.nextafter(THRESHOLD, 0), own)  # a mean of exactly 0.5 is class 1
    return np.stack([own, 1 - own], axis=1)

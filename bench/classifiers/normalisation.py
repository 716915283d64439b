"""Channel statistics for networks that are trained from scratch: of a fold's real training images, and of no others."""

from __future__ import annotations

import numpy as np

from bench.interfaces import TrainingData
from bench.leakage import FittedStatistics, SourceImages

LEAST_SD = 1 / 255  # one grey level: flat images must not be blown up without end


def channel_statistics(data: TrainingData) -> FittedStatistics:
    """Return 'mean' and 'sd' (three floats each, of images in [0, 1]) over all pixels, and the images they are of.

    In float64 and image by image, so that a large fold needs no float copy of itself.
    """
    images = data.images()
    total, squares = np.zeros(3), np.zeros(3)
    for image in images:
        x = image.reshape(-1, 3) / 255.0
        total += x.sum(axis=0)
        squares += (x**2).sum(axis=0)
    pixels = images.size / 3
    mean = total / pixels
    sd = np.maximum(np.sqrt(np.maximum(squares / pixels - mean**2, 0)), LEAST_SD)
    values = {"mean": mean.tolist(), "sd": sd.tolist()}
    return FittedStatistics("the normalisation constants", values, SourceImages.of(data.records))

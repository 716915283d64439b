"""Channel statistics for networks trained from scratch, from a fold's real training images only."""

from __future__ import annotations

import numpy as np

from bench.interfaces import TrainingData
from bench.leakage import FittedStatistics, SourceImages

LEAST_SD = 1 / 255  # one grey level: avoids large values for flat images


def channel_statistics(data: TrainingData) -> FittedStatistics:
    """Return 'mean' and 'sd' (three floats each, of images in [0, 1]) over all pixels, and their source images.

    In float64 and image by image, so that a large fold needs no float copy.
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

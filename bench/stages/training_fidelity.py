"""KID and FID of a generator's images during training, against the training images of its fold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from bench.interfaces import TrainingData
from bench.stages.common import Features, RunEnv
from bench.types import Uint8Images


class TrainingFidelity:
    """Scores images by the suite's feature extractor, which is loaded at the first call.

    FID is the exact distance (``frechet_distance_low_rank``), within a relative 1e-6 of the final evaluation's value.
    """

    def __init__(self, env: RunEnv, data: TrainingData) -> None:
        self._env, self._data = env, data
        self._features: Features | None = None

    def __call__(self, images: Uint8Images, labels: npt.NDArray[np.int64]) -> dict[str, float]:
        """Return 'kid_<tag>' and 'fid_<tag>' of images uint8 [N, H, W, 3] with labels ``labels`` [N]."""
        from bench.metrics.fidelity import check_features, frechet_distance_low_rank, kernel_distance

        with random_numbers_kept(self._env.device):
            features = self._features = self._features or Features(self._env)
            rows = np.isin(self._data.labels, np.unique(labels))
            real = features(self._data.images()[rows])  # cached by content
            real, made = check_features(real, features.extract(images))
            found = {"kid": kernel_distance(real, made)[0], "fid": frechet_distance_low_rank(real, made)}
        return {f"{name}_{features.tag}": value for name, value in found.items()}


@contextmanager
def random_numbers_kept(device: str) -> Iterator[None]:
    """Restore the random states of Python, NumPy and torch: building a network draws its initial weights."""
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)

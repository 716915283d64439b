"""The images of each step's batch: a pure function of (seed, step), so that no state needs a checkpoint."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from bench.errors import DataError
from bench.seeding import derive_seed


class BatchOrder:
    """Batches of ``batch_size`` indices into ``n`` images.

    Without ``weights``: an endless sequence of shuffles divided into batches, so that after k·n draws each image was
    drawn k times. With ``weights`` [n] (not negative): independent draws with replacement.
    """

    def __init__(self, n: int, batch_size: int, seed: int, weights: npt.NDArray[np.float64] | None = None) -> None:
        if weights is not None and (len(weights) != n or (weights < 0).any() or not weights.sum() > 0):
            raise DataError(f"sampling weights: expected {n} numbers >= 0 with a sum above 0, got {len(weights)}")
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
        self._shuffles: dict[int, torch.Tensor] = {}

    def indices(self, step: int) -> torch.Tensor:
        """Return int64 [batch_size] for step 0, 1, ..."""
        if self.weights is not None:
            generator = torch.Generator().manual_seed(derive_seed("weighted batch", self.seed, step))
            return torch.multinomial(self.weights, self.batch_size, replacement=True, generator=generator)
        positions = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)
        passes = range(int(positions[0]) // self.n, int(positions[-1]) // self.n + 1)
        self._shuffles = {p: self._shuffle(p) for p in passes}
        return torch.cat([self._shuffles[p][positions[positions // self.n == p] % self.n] for p in passes])

    def _shuffle(self, number: int) -> torch.Tensor:
        if number in self._shuffles:
            return self._shuffles[number]
        generator = torch.Generator().manual_seed(derive_seed("shuffle", self.seed, number))
        return torch.randperm(self.n, generator=generator)

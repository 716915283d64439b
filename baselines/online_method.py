"""Common code of online methods that use torchvision.transforms.v2: uniform sampling, and seeding of each batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


class OnlineMethod:
    """An online method that samples all training images equally often."""

    kind: ClassVar[Literal["online"]] = "online"
    version: ClassVar[int] = 1

    def sampling_weights(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
        """Return None: every image has the same weight."""
        return None


@contextmanager
def seeded_from(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global CPU generator, from which torchvision draws, with a number drawn from ``generator``.

    Its state before the block is restored at the end. Generators of other devices are not changed.
    """
    import torch

    seed, before = int(torch.randint(2**62, (), generator=generator)), torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)

"""Seeds that derive from what they are for, never from the order in which things run.

Split, generator and classifier seeds derive from (purpose, fold, repeat) and not from the method, so that
the arms of a comparison are paired: the same initialisation and the same order of images wherever possible.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np


def derive_seed(purpose: str, *parts: object) -> int:
    """Return a seed in [0, 2**31) that depends on ``purpose`` and ``parts`` only.

    >>> derive_seed("split", 0, 1) == derive_seed("split", 0, 1)
    True
    """
    text = "\x1f".join([purpose, *(repr(p) for p in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy's legacy generator and torch (all devices); make torch's choices deterministic."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True

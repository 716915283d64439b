"""The order of images: every image once per pass, the same for the same seed, optionally weighted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mistaken import Bytes, Labels, NoConfig

from bench.classifiers.batches import BatchOrder
from bench.classifiers.trainer import augmented
from bench.errors import BenchError, DataError


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), passes=st.integers(1, 4))
def test_every_image_is_drawn_once_per_pass(n: int, batch_size: int, passes: int) -> None:
    order = BatchOrder(n, batch_size, seed=1)
    steps = -(-n * passes // batch_size)
    drawn = torch.cat([order.indices(s) for s in range(steps)])
    assert len(drawn) == steps * batch_size
    for p in range(passes):
        assert sorted(drawn[p * n : (p + 1) * n].tolist()) == list(range(n))


def test_a_batch_depends_on_seed_and_step_only() -> None:
    forwards = BatchOrder(10, 4, seed=7)
    first = [forwards.indices(s).tolist() for s in range(8)]
    jumped = BatchOrder(10, 4, seed=7)
    assert [jumped.indices(s).tolist() for s in (5, 2, 7)] == [first[5], first[2], first[7]]
    assert [BatchOrder(10, 4, seed=8).indices(s).tolist() for s in range(8)] != first


def test_weights_are_frequencies() -> None:
    order = BatchOrder(3, 500, seed=0, weights=np.array([0.0, 1.0, 3.0]))
    counts = torch.cat([order.indices(s) for s in range(20)]).bincount(minlength=3) / 10_000
    assert counts[0] == 0
    assert counts[2] == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("weights", [np.ones(2), np.array([1.0, -1.0, 1.0]), np.zeros(3)])
def test_bad_weights_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected 3 numbers"):
        BatchOrder(3, 4, seed=0, weights=weights)


@pytest.mark.parametrize(
    ("method", "words"),
    [(Bytes, "values 0 to 255; expected images float"), (Labels, r"targets torch.int64 \[2\]; expected")],
)
def test_what_an_online_method_returns_is_checked(method: type, words: str) -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 4, 4, 3)
    with pytest.raises(BenchError, match=rf"^{method.__name__}\.transform returned .*{words}"):
        augmented(method(NoConfig()), images, torch.eye(2), torch.Generator(), with_range=True)

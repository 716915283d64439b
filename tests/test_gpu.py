"""What only a CUDA device can show; skipped with a reason where there is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FakeContext, Interrupt, KnownPart, two_class_data

from bench import registry
from bench.cost.timers import PeakMemory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]
METHODS = ["cgan", "cyclegan", "tlsgan_lite0", "tlsgan_resnet50_scratch", "tlsgan_vgg16_scratch"]


def on_cuda(name: str, folder: Path, interrupt_at: int | None = None) -> tuple[object, FakeContext]:
    cls = registry.load("method", name)
    wanted = {"steps": 6, "batch_size": 2, "filters": 8, "blocks": 1, "disc_filters": 8, "head_width": 8, "amp": True}
    wanted |= {"checkpoint_every": 2, "log_every": 1}
    fields = {f.name for f in dataclasses.fields(cls.Config)}
    ctx = FakeContext(folder, interrupt_at=interrupt_at)
    ctx.device = "cuda"
    return cls(cls.Config(**{k: v for k, v in wanted.items() if k in fields})), ctx


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_resumes_and_samples_on_cuda(name: str, tmp_path: Path) -> None:
    method, ctx = on_cuda(name, tmp_path / "fit", interrupt_at=5)
    data = two_class_data(16, 64)
    with pytest.raises(Interrupt):
        method.fit(data, ctx)
    ctx.interrupt_at = None
    method.fit(data, ctx)
    assert all(np.isfinite(v) for _, losses in ctx.history for v in losses.values())
    made = list(method.synthesize(data, {0: 3, 1: 3}, tmp_path / "fit", ctx))
    assert len(made) == 6
    assert all(np.ptp(i.image) > 0 for i in made)


def test_a_classifier_learns_on_cuda(tmp_path: Path) -> None:
    from bench.classifiers.trainer import predict, train_classifier

    cls = registry.load("classifier", "small_cnn")
    config = cls.Config(steps=40, batch_size=8, evaluate_every=10)
    none = registry.load("method", "none")
    data, ctx = two_class_data(32, 32), FakeContext(tmp_path)
    ctx.device = "cuda"
    network = cls(config).build(2, 32, None)
    train, validation = KnownPart(data, "train"), KnownPart(data, "validation")
    train_classifier(network, train, validation, 2, config, none(none.Config()), ctx)
    y_prob = predict(network, data.images(), "cuda", 8)
    assert (y_prob.argmax(1) == data.labels).mean() > 0.9


def test_peak_memory_is_what_was_allocated() -> None:
    with PeakMemory("cuda") as memory:
        block = torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda")
        del block
    assert 64 * 2**20 <= memory.costs()["peak_memory_bytes"] < 2**31

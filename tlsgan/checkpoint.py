"""The whole state of a training, so that a resumed one goes on exactly; and the finished generators.

The authors' own checkpoints are read by ``tlsgan.published_checkpoint``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.errors import WeightsError
from bench.types import Size
from bench.weights import describe_mismatch
from tlsgan.config import CycleGANConfig
from tlsgan.data import UnpairedStream
from tlsgan.discriminators import Discriminator, build_discriminator
from tlsgan.ema import GeneratorAverage
from tlsgan.fast_layers import quicken
from tlsgan.meter import LossMeter
from tlsgan.networks import Networks, build_generator
from tlsgan.step import Team


@dataclass(frozen=True)
class Training:
    """All that the next step depends on, but for torch's random generators and its number."""

    team: Team  # weights, moments, pools
    stream: UnpairedStream  # order of the images
    meter: LossMeter  # losses not yet read
    average: GeneratorAverage | None  # None: not wanted


def collect(step: int, training: Training) -> dict[str, Any]:
    """Return the state of a training after so many steps, torch's random generators included."""
    team = training.team
    return {
        "step": step,
        "networks": {name: net.state_dict() for name, net in team.nets.named().items()},
        "optimisers": {name: _plain(optimiser.state_dict()) for name, optimiser in team.optimisers.named().items()},
        "pools": {"a": team.pools.a.state_dict(), "b": team.pools.b.state_dict()},
        "stream": training.stream.state_dict(),
        "meter": training.meter.state_dict(),
        "average": training.average.state_dict() if training.average else None,
        "rng_cpu": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """Learning rates as numbers: on CUDA they may be tensors, which belong to a recorded graph."""
    return {**state, "param_groups": [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]}


def restore(state: Mapping[str, Any], training: Training, device: str) -> int:
    """Put a collected state back and return the number of steps done."""
    team = training.team
    for name, net in team.nets.named().items():
        net.load_state_dict(state["networks"][name], strict=True)
    for name, optimiser in team.optimisers.named().items():
        optimiser.load_state_dict(state["optimisers"][name])
    team.pools.a.load_state_dict(state["pools"]["a"], device)
    team.pools.b.load_state_dict(state["pools"]["b"], device)
    training.stream.load_state_dict(state["stream"])
    training.meter.load_state_dict(state["meter"], device)
    if training.average:
        training.average.load_state_dict(state["average"])
    torch.set_rng_state(state["rng_cpu"].cpu())
    if torch.cuda.is_available() and len(state["rng_cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["rng_cuda"]])
    return int(state["step"])


def save_generators(folder: Path, nets: Networks) -> None:
    """Write ``G_ab.safetensors`` and ``G_ba.safetensors``."""
    for name in ("G_ab", "G_ba"):
        _save(nets.named()[name], folder / f"{name}.safetensors")


def save_discriminator(folder: Path, nets: Networks) -> None:
    """Write ``D_a.safetensors``."""
    _save(nets.D_a, folder / "D_a.safetensors")


def _save(network: torch.nn.Module, path: Path) -> None:
    save_file({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, path)


def load_generator(folder: Path, name: str, config: CycleGANConfig, device: str) -> torch.nn.Module:
    """Return ``name`` ('G_ab' or 'G_ba') in evaluation mode. Raises ``WeightsError`` when missing or of other shape."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(f"no trained generator at {path}; fit the method first")
    generator = build_generator(config)
    _load(generator, path, f"generator than {config.filters} filters, {config.blocks} blocks")
    return quicken(generator, device).eval()


def load_discriminator(folder: Path, config: CycleGANConfig, image_size_px: Size, device: str) -> Discriminator:
    """Return D_a for images of a size in evaluation mode. Raises ``WeightsError`` when missing or of other shape."""
    path = folder / "D_a.safetensors"
    if not path.is_file():
        raise WeightsError(f"no trained discriminator at {path}; fit the method with keep_discriminator")
    network = build_discriminator(config, image_size_px)
    _load(network, path, f"discriminator than {config.discriminator} for {image_size_px} px")
    network.to(device).eval()
    return network


def _load(network: torch.nn.Module, path: Path, what: str) -> None:
    state = load_file(path)
    problem = describe_mismatch(network.state_dict(), state)
    if problem:
        raise WeightsError(f"{path} is of another {what}: {problem}")
    network.load_state_dict(state, strict=True)

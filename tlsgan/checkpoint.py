"""Checkpoints from which a training resumes with the same bits, and the weights of finished networks.

``tlsgan.published.checkpoint`` reads the checkpoints of the authors of TL-S-CycleGAN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file

from bench.errors import WeightsError
from bench.types import Size
from bench.weights import describe_mismatch
from tlsgan.config import CycleGANConfig, TranslatorConfig
from tlsgan.data import UnpairedStream, WithUnlabelled
from tlsgan.discriminators import Discriminator, build_discriminator
from tlsgan.ema import GeneratorAverage
from tlsgan.fast_layers import to_fast_layout
from tlsgan.meter import LossMeter
from tlsgan.networks import Networks, build_generator
from tlsgan.step import TrainState

Options = TypeVar("Options", bound=TranslatorConfig)


@dataclass(frozen=True)
class Training:
    """Everything that the next step depends on, except its number and torch's global random generators."""

    train_state: TrainState  # weights, moments, pools
    stream: UnpairedStream | WithUnlabelled  # order of the images
    meter: LossMeter  # losses since the last log entry
    average: GeneratorAverage | None  # None: the config has no ema_decay


def collect(step: int, training: Training) -> dict[str, Any]:
    """Return the state of a training after ``step`` steps, with the states of torch's random generators."""
    train_state = training.train_state
    return {
        "step": step,
        "networks": {name: net.state_dict() for name, net in train_state.nets.named().items()},
        "optimisers": {
            name: _plain(optimiser.state_dict()) for name, optimiser in train_state.optimisers.named().items()
        },
        "pools": {"a": train_state.pools.a.state_dict(), "b": train_state.pools.b.state_dict()},
        "stream": training.stream.state_dict(),
        "meter": training.meter.state_dict(),
        "average": training.average.state_dict() if training.average else None,
        "rng_cpu": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """Convert learning rates to numbers; on CUDA they may be tensors of a recorded graph."""
    return {**state, "param_groups": [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]}


def restore(state: Mapping[str, Any], training: Training, device: str) -> int:
    """Load a collected state and return the number of finished steps."""
    train_state = training.train_state
    for name, net in train_state.nets.named().items():
        net.load_state_dict(state["networks"][name], strict=True)
    for name, optimiser in train_state.optimisers.named().items():
        optimiser.load_state_dict(state["optimisers"][name])
    train_state.pools.a.load_state_dict(state["pools"]["a"], device)
    train_state.pools.b.load_state_dict(state["pools"]["b"], device)
    training.stream.load_state_dict(state["stream"])
    training.meter.load_state_dict(state["meter"], device)
    if training.average:
        training.average.load_state_dict(state["average"])
    torch.set_rng_state(state["rng_cpu"].cpu())
    if torch.cuda.is_available() and len(state["rng_cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["rng_cuda"]])
    return int(state["step"])


def save_generators(folder: Path, G_ab: torch.nn.Module, G_ba: torch.nn.Module) -> None:
    """Write ``G_ab.safetensors`` and ``G_ba.safetensors``."""
    for name, generator in (("G_ab", G_ab), ("G_ba", G_ba)):
        _save(generator, folder / f"{name}.safetensors")


def save_discriminator(folder: Path, nets: Networks) -> None:
    """Write ``D_a.safetensors``."""
    _save(nets.D_a, folder / "D_a.safetensors")


def _save(network: torch.nn.Module, path: Path) -> None:
    save_file({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, path)


def load_generator(folder: Path, name: str, config: TranslatorConfig, device: str) -> torch.nn.Module:
    """Return 'G_ab' or 'G_ba' in evaluation mode. Raises ``WeightsError`` if it is missing or has another shape."""
    return to_fast_layout(load_plain_generator(folder, name, config), device).eval()


def load_plain_generator(folder: Path, name: str, config: TranslatorConfig) -> torch.nn.Module:
    """Return 'G_ab' or 'G_ba' on the CPU, in evaluation mode, with torch's own layers. Raises ``WeightsError``."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(f"no trained generator at {path}, expected a file; fit the method first")
    state = load_file(path)
    generator = build_generator(_with_channels(config, state, "model.1."))
    _load(generator, path, state, f"generator with {config.filters} filters and {config.blocks} blocks")
    return generator.eval()


def load_discriminator(folder: Path, config: CycleGANConfig, image_size_px: Size, device: str) -> Discriminator:
    """Return D_a in evaluation mode. Raises ``WeightsError`` if it is missing or has another shape."""
    path = folder / "D_a.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"no trained discriminator at {path}, expected a file; fit the method with keep_discriminator: true"
        )
    state = load_file(path)
    network = build_discriminator(_with_channels(config, state, "model.0."), image_size_px)
    _load(network, path, state, f"{config.discriminator} discriminator for {image_size_px} px")
    network.to(device).eval()
    return network


def _with_channels(config: Options, state: Mapping[str, torch.Tensor], first: str) -> Options:
    """Replace channels 'auto' by those of the saved first convolution, whose tensors' names begin with ``first``."""
    if config.channels != "auto":
        return config
    kernels = [t for name, t in state.items() if name.startswith(first) and t.ndim == 4]
    return replace(config, channels=1 if kernels and kernels[0].shape[1] == 1 else 3)


def _load(network: torch.nn.Module, path: Path, state: Mapping[str, torch.Tensor], expected: str) -> None:
    problem = describe_mismatch(network.state_dict(), state)
    if problem:
        raise WeightsError(f"{path} does not fit a {expected}: {problem}; use the config that it was trained with")
    network.load_state_dict(state, strict=True)

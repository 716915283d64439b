"""The whole state of a training, so that a resumed one goes on exactly; and the finished generators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.errors import WeightsError
from bench.weights import describe_mismatch
from tlsgan.config import CycleGANConfig
from tlsgan.data import UnpairedStream
from tlsgan.meter import LossMeter
from tlsgan.networks import Networks, Optimisers, build_generator
from tlsgan.step import Pools


def collect(
    step: int, nets: Networks, optimisers: Optimisers, pools: Pools, stream: UnpairedStream, meter: LossMeter
) -> dict[str, Any]:
    """Return all that the next step depends on: weights, moments, pools, data order, unread losses, generators."""
    return {
        "step": step,
        "networks": {name: net.state_dict() for name, net in nets.named().items()},
        "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.named().items()},
        "pools": {"a": pools.a.state_dict(), "b": pools.b.state_dict()},
        "stream": stream.state_dict(),
        "meter": meter.state_dict(),
        "rng_cpu": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(
    state: Mapping[str, Any],
    nets: Networks,
    optimisers: Optimisers,
    pools: Pools,
    stream: UnpairedStream,
    meter: LossMeter,
    device: str,
) -> int:
    """Put a collected state back and return the number of steps done."""
    for name, net in nets.named().items():
        net.load_state_dict(state["networks"][name], strict=True)
    for name, optimiser in optimisers.named().items():
        optimiser.load_state_dict(state["optimisers"][name])
    pools.a.load_state_dict(state["pools"]["a"], device)
    pools.b.load_state_dict(state["pools"]["b"], device)
    stream.load_state_dict(state["stream"])
    meter.load_state_dict(state["meter"], device)
    torch.set_rng_state(state["rng_cpu"].cpu())
    if torch.cuda.is_available() and len(state["rng_cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["rng_cuda"]])
    return int(state["step"])


def save_generators(folder: Path, nets: Networks) -> None:
    """Write ``G_ab.safetensors`` and ``G_ba.safetensors``."""
    for name in ("G_ab", "G_ba"):
        tensors = {k: v.detach().cpu().contiguous() for k, v in nets.named()[name].state_dict().items()}
        save_file(tensors, folder / f"{name}.safetensors")


def load_generator(folder: Path, name: str, config: CycleGANConfig, device: str) -> torch.nn.Module:
    """Return ``name`` ('G_ab' or 'G_ba') in evaluation mode. Raises ``WeightsError`` when missing or of other shape."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(f"no trained generator at {path}; fit the method first")
    state, generator = load_file(path), build_generator(config)
    problem = describe_mismatch(generator.state_dict(), state)
    if problem:
        raise WeightsError(
            f"{path} is of another generator than {config.filters} filters, {config.blocks} blocks: {problem}"
        )
    generator.load_state_dict(state, strict=True)
    return generator.to(device).to(memory_format=torch.channels_last).eval()

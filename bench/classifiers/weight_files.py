"""Weights of trained networks on disk, as safetensors."""

from __future__ import annotations

from pathlib import Path

from torch import nn


def save_network(network: nn.Module, path: Path) -> None:
    """Write the network's state dict as safetensors (no code, readable anywhere)."""
    from safetensors.torch import save_file

    save_file({k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}, path)


def load_network(network: nn.Module, path: Path) -> None:
    """Load what ``save_network`` wrote into a network of the same architecture."""
    from safetensors.torch import load_file

    network.load_state_dict(load_file(path))

"""Strict loading of pretrained weights, without their classifier, into the backbones of discriminators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from bench.errors import WeightsError
from bench.weights import backbone_state_dict, describe_mismatch
from tlsgan.config import PATCHGAN, CycleGANConfig
from tlsgan.discriminators import TransferDiscriminator


def load_pretrained(
    discriminators: tuple[nn.Module, ...], config: CycleGANConfig, weights: Path | None
) -> dict[str, str]:
    """Load the pretrained weights into the backbone of each discriminator; return their name and source.

    Without ``config.pretrained`` nothing is loaded, and the source is 'random initialisation'. Raises ``WeightsError``
    when the weights are not available or do not fit; then no discriminator changes.
    """
    if config.discriminator == PATCHGAN or not config.pretrained:
        return {"discriminator": config.discriminator, "source": "random initialisation"}
    state, source = backbone_state_dict(config.discriminator, weights)
    for discriminator in discriminators:
        assert isinstance(discriminator, TransferDiscriminator)
        load_backbone(discriminator.backbone, config.discriminator, state)
    return {"discriminator": config.discriminator, **source}


def load_backbone(backbone: nn.Module, name: str, state: Mapping[str, torch.Tensor]) -> None:
    """Load a network's state dict into a backbone without classifier. Raises ``WeightsError`` if it does not fit."""
    state = without_classifier(backbone, name, state)
    problem = describe_mismatch(backbone.state_dict(), state)
    if problem:
        raise WeightsError(
            f"the weights for {name!r} do not fit the network: {problem}; use weights of that architecture"
        )
    backbone.load_state_dict(dict(state), strict=True)


def without_classifier(backbone: nn.Module, name: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state without the classification layer; of VGG-16 only ``features.*``, without this prefix."""
    if name == "vgg16" and any(k.startswith("features.") for k in state):
        return {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    classifier = getattr(backbone, "default_cfg", {}).get("classifier", "fc")
    layers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return {k: v for k, v in state.items() if not k.startswith(tuple(f"{layer}." for layer in layers))}

"""Pretrained weights into a discriminator's backbone: strictly, without the classifier, with their provenance."""

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
    """Load each discriminator's own copy of the pretrained backbone; return what was loaded and from where.

    Without ``config.pretrained`` nothing is loaded, and the returned record says so. Raises ``WeightsError`` when the
    weights are not to be had, or do not fit; nothing is loaded in part.
    """
    if config.discriminator == PATCHGAN or not config.pretrained:
        return {"discriminator": config.discriminator, "source": "random initialisation"}
    state, provenance = backbone_state_dict(config.discriminator, weights)
    for discriminator in discriminators:
        assert isinstance(discriminator, TransferDiscriminator)
        load_backbone(discriminator.backbone, config.discriminator, state)
    return {"discriminator": config.discriminator, **provenance}


def load_backbone(backbone: nn.Module, name: str, state: Mapping[str, torch.Tensor]) -> None:
    """Load a full network's state dict into a backbone that has no classifier. Raises ``WeightsError`` on a misfit."""
    state = without_classifier(backbone, name, state)
    problem = describe_mismatch(backbone.state_dict(), state)
    if problem:
        raise WeightsError(f"the weights given for {name!r} do not fit it: {problem}")
    backbone.load_state_dict(dict(state), strict=True)


def without_classifier(backbone: nn.Module, name: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Drop the classification layer; for VGG-16 keep ``features.`` only and without that prefix."""
    if name == "vgg16" and any(k.startswith("features.") for k in state):
        return {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    classifier = getattr(backbone, "default_cfg", {}).get("classifier", "fc")
    layers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return {k: v for k, v in state.items() if not k.startswith(tuple(f"{layer}." for layer in layers))}

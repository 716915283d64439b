"""Builds timm networks; separate from their config so that planning a run does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from bench.errors import ConfigError, WeightsError
from bench.weights import ADVICE, StateDict, backbone_state_dict


def require_size(network: nn.Module, name: str, image_size_px: int, training: bool = False) -> None:
    """Raise ``ConfigError`` unless the network takes square images of this size; many fail only at run time.

    With ``training`` it must train on a batch of one; that draws from torch's global generator.
    """
    try:
        with torch.no_grad():
            network.train(training)(torch.zeros(1, 3, image_size_px, image_size_px))
    except (AssertionError, RuntimeError, ValueError) as e:
        how = ", one at a time," if training else ""
        raise ConfigError(f"timm's {name!r} cannot take images of {image_size_px} px{how}: {e}") from e


class TimmNetwork(nn.Module):
    """Wraps a timm model so that it takes float [B, 3, H, W] in [0, 1] and uses the model's normalisation."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        statistics: Any = model.pretrained_cfg
        for name in ("mean", "std"):  # not learned, and known from the model's name: not part of saved weights
            self.register_buffer(name, torch.tensor(statistics[name]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [B, num_classes]."""
        return self.model((x - self.mean) / self.std)


def create(name: str, num_classes: int, image_size_px: int, **options: Any) -> nn.Module:
    """Return timm's model for square images; ``img_size`` is passed to those that are built for one size (ViT, Swin).

    Raises ``ConfigError`` when the model cannot be built for that size.
    """
    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.fixed_input_size:
        options["img_size"] = image_size_px
    try:
        return timm.create_model(name, num_classes=num_classes, **options)
    except (AssertionError, TypeError, ValueError) as e:
        raise ConfigError(f"timm cannot build {name!r} for images of {image_size_px} px: {e}") from e


def create_pretrained(name: str, num_classes: int, image_size_px: int, weights: Path | None) -> nn.Module:
    """Return timm's model with pretrained weights and a new head.

    The weights are loaded strictly, with their original head (if any), before that head is replaced: a file that does
    not belong to the model must not be accepted. Raises ``WeightsError``.
    """
    state, provenance = backbone_state_dict(name, weights)
    problem: Exception | None = None
    for source_classes in _source_heads(name, state):
        overlay = {"state_dict": dict(state), "num_classes": source_classes, "label_offset": 0}
        try:
            model = create(name, source_classes, image_size_px, pretrained=True, pretrained_cfg_overlay=overlay)
        except (RuntimeError, KeyError) as e:  # errors of load_state_dict and of timm's renaming
            problem = e
            continue
        model.reset_classifier(num_classes)  # type: ignore[operator]
        return model
    first = str(problem).strip().splitlines()
    raise WeightsError(
        f"the weights from {provenance['source']} do not fit {name!r}: {' '.join(first[:2])[:300]}; {ADVICE}"
    )


def _source_heads(name: str, state: StateDict) -> list[int]:
    """Return the head sizes to try: the one in the weights; else the one timm expects; else no head at all."""
    cfg = timm.get_pretrained_cfg(name)
    head = cfg.classifier if cfg is not None else None
    head = head if isinstance(head, str) or head is None else head[0]
    if head is not None and f"{head}.weight" in state:
        return [int(state[f"{head}.weight"].shape[0])]
    return [cfg.num_classes if cfg is not None else 1000, 0]

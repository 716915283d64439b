"""Linear probe: logistic regression on the frozen features of a pretrained network.

Alain & Bengio 2017, "Understanding intermediate layers using linear classifier probes"; as a test of transfer:
Kornblith et al. 2019, "Do Better ImageNet Models Transfer Better?". The fit is convex and runs until it has converged,
so the only random numbers are those of the augmentation arm: none for unchanged images. The strength of the L2 penalty
is chosen on the validation images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.classifiers.config import FineTuneConfig, require
from bench.classifiers.timm_names import is_timm_model
from bench.errors import ConfigError
from bench.types import Choice, FloatRange, SearchRange

if TYPE_CHECKING:
    import torch

SMALLEST_PX = 32  # most timm networks halve an image five times


@dataclass(frozen=True)
class LinearProbeConfig(FineTuneConfig):
    """Options of the features and of the fit.

    ``steps`` limits the evaluations of the loss over all penalties; the fit usually converges earlier. Not used:
    ``evaluate_every``, ``checkpoint_every`` and ``patience``.
    """

    saves_backbone: ClassVar[bool] = False
    images_per_step: ClassVar[None] = None  # fitted until it has converged, so it has no epochs

    select_by: Literal["balanced_accuracy", "loss"] = "loss"  # on validation: chooses the penalty
    backbone: str = "tf_efficientnet_lite0"  # any timm network
    input_size_px: int = 96  # side that images are resized to before the network
    views: int = 4  # augmented views of each training image, if the arm changes images

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be used."""
        super().__post_init__()
        require(self.input_size_px >= SMALLEST_PX, self, "input_size_px", f"at least {SMALLEST_PX}")
        require(self.views >= 1, self, "views", "at least 1")
        for name in ("learning_rate", "weight_decay", "warmup_fraction"):
            unused = getattr(FineTuneConfig, name)
            require(getattr(self, name) == unused, self, name, f"{unused}: the probe is not trained by gradient steps")


class LinearProbe:
    """A frozen timm network and one linear layer; see ``bench.classifiers.linear_probe_network``."""

    version: ClassVar[int] = 1
    Config: ClassVar[type] = LinearProbeConfig

    def __init__(self, config: LinearProbeConfig) -> None:
        self.config = config

    def search_space(self) -> dict[str, SearchRange]:
        """Return what is not chosen on the validation images already."""
        return {
            "views": Choice((1, 2, 4, 8)),
            "label_smoothing": FloatRange(0.0, 0.2),
            "class_weights": Choice((False, True)),
        }

    def check(self) -> None:
        """Raise ``ConfigError`` when timm does not know the network."""
        if not is_timm_model(self.config.backbone):
            raise ConfigError(
                f"backbone: timm has no network called {self.config.backbone!r}; timm.list_models() lists all names"
            )

    def build(self, num_classes: int, image_size_px: int, weights: Path | None) -> torch.nn.Module:
        """Return the network: float [B, 3, H, W] in [0, 1] -> logits [B, num_classes]; any H and W.

        Without ``pretrained`` the features are those of random weights that are always the same, for tests. Raises
        ``WeightsError`` when the pretrained weights cannot be had, and ``ConfigError`` when the network cannot take
        images of ``input_size_px``.
        """
        import torch

        from bench.classifiers.linear_probe_network import LinearProbeNetwork
        from bench.classifiers.timm_network import TimmNetwork, create, create_pretrained, require_size

        self.check()
        config, side = self.config, self.config.input_size_px
        if config.pretrained:
            backbone = create_pretrained(config.backbone, 0, side, weights)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                backbone = create(config.backbone, 0, side)
        network = TimmNetwork(backbone).eval()
        require_size(network, config.backbone, side)
        return LinearProbeNetwork(network, num_classes, side, config.views)

"""Any image network of timm (Wightman, "PyTorch Image Models", 2019) by its name, with a new head.

ImageNet weights come from ``bench.weights``: a local file or folder, an installed package, or a hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.classifiers.config import FineTuneConfig, fine_tuning_space
from bench.classifiers.timm_names import is_timm_model
from bench.errors import ConfigError
from bench.types import SearchRange

if TYPE_CHECKING:
    import torch


TAKES = {  # networks of the shipped suites: any side of at least 33 px that is a multiple of this number of pixels
    **dict.fromkeys(("resnet18", "resnet50", "resnet152", "vgg19", "convnext_base", "test_resnet"), 1),
    **dict.fromkeys(("efficientnet_b0", "tf_efficientnet_lite0", "tf_efficientnet_b7", "tf_efficientnetv2_s"), 1),
    "vit_base_patch16_224": 16,
}


@dataclass(frozen=True)
class TimmConfig(FineTuneConfig):
    """Fine-tuning options, and the network's name in timm."""

    model: str = "resnet18"


class TimmClassifier:
    """A timm network; see ``bench.classifiers.timm_network``."""

    version: ClassVar[int] = 1
    Config: ClassVar[type] = TimmConfig

    def __init__(self, config: TimmConfig) -> None:
        self.config = config

    def search_space(self) -> dict[str, SearchRange]:
        """Return the fine-tuning's settings; the network itself is not searched."""
        return fine_tuning_space(self.config)

    def check(self) -> None:
        """Raise ``ConfigError`` with the nearest names when timm does not know this one."""
        if not is_timm_model(self.config.model):
            import timm

            close = get_close_matches(self.config.model, [*timm.list_models(), "small_cnn"], n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "timm.list_models() lists all names"
            raise ConfigError(f"neither a classifier nor a timm model is called {self.config.model!r}; {hint}")

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` when the network cannot be trained on such images with its batch size.

        Unless it is known to support them, it is built and tried: for its shapes only, and with numbers if that fails,
        because some networks need them.
        """
        self.check()
        name, one = self.config.model, self.config.batch_size == 1  # a batch norm needs two values per channel
        if image_size_px >= (33 if one else 32) and image_size_px % TAKES.get(name, image_size_px + 1) == 0:
            return
        import torch

        from bench.classifiers.timm_network import TimmNetwork, create, require_size

        for device in ("meta", "cpu"):
            try:
                with torch.random.fork_rng(devices=[]), torch.device(device):
                    require_size(TimmNetwork(create(name, 2, image_size_px)), name, image_size_px, training=one)
                return
            except (ConfigError, NotImplementedError):
                if device == "cpu":
                    raise

    def build(self, num_classes: int, image_size_px: int, weights: Path | None) -> torch.nn.Module:
        """Return the network: float [B, 3, H, W] in [0, 1] -> logits [B, num_classes].

        The new head's weights (all weights when ``pretrained`` is off) come from torch's global generator, which the
        caller has seeded. Raises ``WeightsError`` when the pretrained weights cannot be had or do not fit, and
        ``ConfigError`` when the network cannot take images of ``image_size_px``.
        """
        from bench.classifiers.timm_network import TimmNetwork, create, create_pretrained, require_size

        self.check()
        name = self.config.model
        if self.config.pretrained:
            model = create_pretrained(name, num_classes, image_size_px, weights)
        else:
            model = create(name, num_classes, image_size_px)
        network = TimmNetwork(model)
        require_size(network, name, image_size_px)
        return network

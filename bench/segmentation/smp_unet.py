"""U-Nets by segmentation-models-pytorch: plain, residual, and with attention.

Ronneberger, Fischer & Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation"; with a VGG encoder
as Iglovikov & Shvets 2018, "TernausNet"; with residual blocks (He et al. 2016) in the encoder as a residual U-Net.
Attention is the concurrent spatial and channel squeeze and excitation of Roy, Navab & Wachinger 2018, "Concurrent
Spatial and Channel 'Squeeze & Excitation' in Fully Convolutional Networks", in every decoder block. It is not the
attention gate on the skip connections of Oktay et al. 2018, "Attention U-Net".
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bench.errors import ConfigError, WeightsError
from bench.segmentation.network_config import SegmentationNetworkConfig
from bench.weights import describe_mismatch, local_state_dict

MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in R, G, B: expected by encoders' weights


class SegmentationNetwork(nn.Module):
    """Images float [B, 3, H, W] in [0, 1] -> logits [B, H, W] of the foreground; H and W as ``check_size`` allows."""

    mean: torch.Tensor
    sd: torch.Tensor

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        for name, values in (("mean", MEAN), ("sd", SD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the foreground, [B, H, W]."""
        logits: torch.Tensor = self.unet((x - self.mean) / self.sd)
        return logits.squeeze(1)


def build_segmentation_network(config: SegmentationNetworkConfig, weights: Path | None = None) -> SegmentationNetwork:
    """Return a new network; its random weights come from torch's global generator.

    Raises ``ConfigError`` for an encoder that does not exist or has too few downsamplings, ``WeightsError`` when its
    weights are requested but are not among the local ``weights``.
    """
    import segmentation_models_pytorch as smp

    try:
        unet = smp.Unet(
            config.encoder,
            encoder_depth=len(config.decoder_filters),
            encoder_weights=None,
            decoder_channels=config.decoder_filters,
            decoder_attention_type=None if config.attention == "none" else config.attention,
            classes=1,
        )
    except Exception as e:  # the library and timm each raise other errors
        raise ConfigError(
            f"encoder {config.encoder!r} with {len(config.decoder_filters)} decoder_filters cannot be built by "
            f"segmentation-models-pytorch: {type(e).__name__}: {str(e)[:300]}"
        ) from e
    if config.encoder_weights == "local":
        _load_encoder(unet.encoder, config.encoder, weights)
    return SegmentationNetwork(unet)


def _load_encoder(encoder: nn.Module, name: str, weights: Path | None) -> None:
    """Load an encoder's local weights; weights that only a classifier needs are ignored."""
    found, wanted = local_state_dict(name.removeprefix("tu-"), weights), encoder.state_dict()
    prefix = "model." if name.startswith("tu-") else ""  # the library wraps timm's networks
    kept = {prefix + key: value for key, value in found.items() if prefix + key in wanted}
    if mismatch := describe_mismatch(wanted, kept):
        raise WeightsError(f"local weights of {name} do not fit segmentation-models-pytorch's encoder: {mismatch}")
    nn.Module.load_state_dict(encoder, kept)

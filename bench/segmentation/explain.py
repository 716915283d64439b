"""Grad-CAM of a segmentation network: which image regions support its predicted mask.

Vinogradova, Dibrov & Myers 2020, "Towards Interpretable Semantic Segmentation via Gradient-weighted Class Activation
Mapping": Grad-CAM of the sum of the logits over a set of pixels (eq. 3), here the predicted foreground, on the deepest
layer of the encoder. Qualitative, like Grad-CAM of a classifier.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from bench.classifiers.explain import LEAST_CELLS, Layer, NoLayerError, ScalarOutput, layout_of, maps_of, outputs_of
from bench.errors import DataError
from bench.segmentation.smp_unet import SegmentationNetwork
from bench.types import Uint8Images


def seg_grad_cam(
    network: SegmentationNetwork, images: Uint8Images, found: npt.NDArray[np.uint8], layer: Layer, device: str = "cpu"
) -> npt.NDArray[np.float32]:
    """Return the maps of masks uint8 [N, H, W] predicted for images uint8 [N, H, W, 3], float32 [N, H, W] in [0, 1].

    ``layer`` is the result of ``deepest_layer``. A map is all zero if the mask is empty or no region supports it.
    Raises ``DataError`` for other images or masks.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or found.shape != images.shape[:3]:
        raise DataError(
            f"Grad-CAM of a segmentation: got {images.dtype} {images.shape} with masks {found.shape}, expected uint8 "
            "[N, H, W, 3] with masks [N, H, W]"
        )
    return maps_of(network, images, [_logits_in(mask != 0, device) for mask in found], layer, device)


def _logits_in(mask: npt.NDArray[np.bool_], device: str) -> ScalarOutput:
    inside = torch.tensor(mask, device=device)
    return lambda logits: logits[inside].sum()


def deepest_layer(network: SegmentationNetwork, size_px: tuple[int, ...], device: str = "cpu") -> Layer:
    """Return the last module of the encoder with spatial resolution, for images of ``size_px`` (height, width).

    Its output is among the features that the decoder gets. Raises ``NoLayerError`` when none has a grid of at least
    ``LEAST_CELLS`` per side.
    """
    encoder = network.unet.encoder
    assert isinstance(encoder, torch.nn.Module)
    widths: list[int] = encoder.out_channels  # type: ignore[assignment]
    names = [f"unet.encoder.{name}" for name, _ in encoder.named_modules() if name]
    for name, shape in reversed(outputs_of(network.to(device).eval(), names, size_px, device).items()):
        for channels in reversed(widths[1:]):  # the first is the image
            read = layout_of(shape, channels)
            if read is not None and read[0] != "tokens" and min(read[1]) >= LEAST_CELLS:
                return Layer(name, network.get_submodule(name), *read)
    raise NoLayerError(
        f"no layer of the encoder with a grid of {LEAST_CELLS} × {LEAST_CELLS} cells or more for images of "
        f"{size_px[0]} × {size_px[1]} px"
    )

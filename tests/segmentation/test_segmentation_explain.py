"""Grad-CAM of a segmentation: the formula by hand, evidence at the object, empty masks, and the layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.classifiers.explain import NoLayerError
from bench.errors import DataError
from bench.segmentation.explain import deepest_layer, seg_grad_cam
from bench.segmentation.network_config import SegmentationNetworkConfig
from bench.segmentation.smp_unet import SegmentationNetwork, build_segmentation_network


def unet(encoder: str = "tu-test_resnet", filters: tuple[int, ...] = (16, 8, 8)) -> SegmentationNetwork:
    torch.manual_seed(0)
    return build_segmentation_network(SegmentationNetworkConfig(encoder=encoder, decoder_filters=filters))


def noise(n: int, side: int = 64) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def boxes(n: int, side: int = 64) -> npt.NDArray[np.uint8]:
    masks = np.zeros((n, side, side), np.uint8)
    for i, mask in enumerate(masks):
        mask[4 + 8 * i : 24 + 8 * i, 10:30] = 1
    return masks


def test_a_map_is_the_papers_formula() -> None:
    network, images, masks = unet(), noise(3), boxes(3)
    layer = deepest_layer(network, (64, 64))
    maps = seg_grad_cam(network, images, masks, layer)
    assert (maps.dtype, maps.shape) == (np.float32, (3, 64, 64))
    assert len({m.tobytes() for m in maps}) == 3
    for image, mask, found in zip(images, masks, maps, strict=True):
        kept: list[torch.Tensor] = []
        handle = layer.module.register_forward_hook(lambda module, inputs, output, kept=kept: kept.append(output))
        logits = network.eval()(torch.tensor(image[None]).permute(0, 3, 1, 2) / 255)
        handle.remove()
        gradient = torch.autograd.grad((logits[0] * torch.tensor(mask)).sum(), kept[0])[0]
        cam = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu().detach()
        cam = F.interpolate(cam, image.shape[:2], mode="bilinear")[0, 0]
        expected = (cam - cam.min()) / (cam.max() - cam.min()).clamp_min(1e-12)
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


class Bright(nn.Module):
    """An encoder with three downsamplings and a decoder that detects bright pixels."""

    class Encoder(nn.Module):
        out_channels = (3, 1)

        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AvgPool2d(8)
            self.mix = nn.Conv2d(3, 1, 1)
            nn.init.constant_(self.mix.weight, 1.0)
            nn.init.constant_(self.mix.bias, 0.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mix(self.pool(x)).relu()

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self.Encoder()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.encoder(x), x.shape[2:], mode="bilinear") - 0.5


def test_the_evidence_lies_where_the_object_is() -> None:
    image = np.full((1, 64, 64, 3), 40, np.uint8)
    image[0, 8:24, 40:56] = 255
    network = SegmentationNetwork(Bright())
    with torch.no_grad():
        found = (network(torch.tensor(image).permute(0, 3, 1, 2) / 255) > 0).numpy().astype(np.uint8)
    assert 100 < found.sum() < 600
    layer = deepest_layer(network, (64, 64))
    assert (layer.name, layer.grid) == ("unet.encoder.mix", (8, 8))
    (map_,) = seg_grad_cam(network, image, found, layer)
    y, x = np.unravel_index(map_.argmax(), map_.shape)
    assert 8 <= y < 24
    assert 40 <= x < 56
    assert map_[40:, :32].max() < 0.05


def test_empty_masks_have_empty_maps_and_maps_are_independent() -> None:
    network, images, masks = unet(), noise(3), boxes(3)
    masks[1] = 0
    layer = deepest_layer(network, (64, 64))
    maps = seg_grad_cam(network, images, masks, layer)
    assert not maps[1].any()
    np.testing.assert_array_equal(maps[2], seg_grad_cam(network, images[2:], masks[2:], layer)[0])
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


@pytest.mark.parametrize(
    ("encoder", "filters", "size_px", "grid"),
    [
        ("tu-test_resnet", (16, 8, 8), 64, (8, 8)),
        ("tu-test_resnet", (16, 8, 8, 8, 8), 64, (4, 4)),  # the last two of its five levels are coarser
        ("vgg11_bn", (16, 8, 8), 32, (4, 4)),
    ],
)
def test_the_layer_is_the_deepest_of_the_encoder_with_spatial_resolution(
    encoder: str, filters: tuple[int, ...], size_px: int, grid: tuple[int, int]
) -> None:
    layer = deepest_layer(unet(encoder, filters), (size_px, size_px))
    assert layer.name.startswith("unet.encoder.")
    assert layer.grid == grid


def test_networks_that_cannot_be_explained_are_reported() -> None:
    network = SegmentationNetwork(Bright())
    with pytest.raises(NoLayerError, match="4 × 4"):
        deepest_layer(network, (24, 24))
    layer = deepest_layer(network, (64, 64))
    with pytest.raises(DataError, match=r"masks \(1, 64, 64\)"):
        seg_grad_cam(network, noise(2), boxes(1), layer)

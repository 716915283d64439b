"""Grad-CAM: the formula by hand, evidence in one corner, independence of images, and the chosen layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.classifiers.explain import Layer, NoLayerError, find_layer, grad_cam
from bench.classifiers.small_cnn_network import SmallCNNNetwork
from bench.classifiers.timm_network import TimmNetwork, create
from bench.errors import DataError


@pytest.fixture
def network() -> SmallCNNNetwork:
    torch.manual_seed(0)
    return SmallCNNNetwork(3, 4, 0.5)


def noise(n: int, side: int = 32, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def by_hand(network: nn.Module, layer: Layer, image: npt.NDArray[np.uint8], target: int) -> npt.NDArray[np.float32]:
    """Equations 1 and 2 of the paper, bilinear to the image's size, scaled to [0, 1] by the map's range."""
    kept: list[torch.Tensor] = []
    handle = layer.module.register_forward_hook(lambda module, inputs, output: kept.append(output))
    logits = network.eval()(torch.tensor(image[None]).permute(0, 3, 1, 2) / 255)
    handle.remove()
    gradient = layer.maps(torch.autograd.grad(logits[0, target], kept[0])[0])
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    cam = (weights * layer.maps(kept[0])).sum(dim=1, keepdim=True).relu().detach()
    cam = F.interpolate(cam, image.shape[:2], mode="bilinear")[0, 0]
    return ((cam - cam.min()) / (cam.max() - cam.min()).clamp_min(1e-12)).numpy()


@pytest.mark.parametrize("target", [0, 1, 2])
def test_a_map_is_the_papers_formula(network: SmallCNNNetwork, target: int) -> None:
    layer = find_layer(network, (32, 32))
    assert layer.module is network.blocks[-1][0], "the last convolution"
    images = noise(4, seed=target)
    maps = grad_cam(network, images, [target] * 4)
    for image, found in zip(images, maps, strict=True):
        np.testing.assert_allclose(found, by_hand(network, layer, image, target), atol=1e-4)
    assert (maps.dtype, maps.shape, maps.min()) == (np.float32, (4, 32, 32), 0)
    assert maps.max() > 0.999


class Rectified(nn.Module):
    """A convolution whose output the next module may overwrite."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=in_place), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x - 0.5).flatten(1))


class Marked(nn.Module):
    """Detects a white square at any position."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(3, 1, 1), nn.ReLU(inplace=True))
        nn.init.constant_(self.features[1].weight, 1 / 3)
        nn.init.constant_(self.features[1].bias, -0.8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.features(x).mean(dim=(1, 2, 3))
        return torch.stack([-y, y], dim=1)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 24), (24, 0), (24, 24)])
def test_the_mass_of_a_map_lies_where_the_decision_was_made(top: int, left: int) -> None:
    image = np.full((1, 32, 32, 3), 60, np.uint8)
    image[:, top : top + 8, left : left + 8] = 255
    (found,) = grad_cam(Marked(), image, [1])
    corner = found[top // 24 * 16 :, left // 24 * 16 :][:16, :16]
    assert corner.sum() > 0.99 * found.sum() > 0
    assert found[top + 4, left + 4] > 0.9
    (other,) = grad_cam(Marked(), image, [0])
    assert other[top + 4, left + 4] == 0, "nothing there speaks for the other class"


def test_a_network_may_work_in_place() -> None:
    images, targets = noise(2), [0, 1]
    maps = grad_cam(Rectified(True), images, targets)
    np.testing.assert_array_equal(maps, grad_cam(Rectified(False), images, targets))
    assert maps.any()


def test_a_map_depends_on_no_other_image(network: SmallCNNNetwork) -> None:
    images, targets = noise(4), [0, 1, 2, 1]
    overall = grad_cam(network, images, targets)
    alone = [grad_cam(network, images[i : i + 1], targets[i : i + 1])[0] for i in (3, 1, 0, 2)]
    np.testing.assert_array_equal(overall[[3, 1, 0, 2]], alone)
    assert not np.array_equal(overall[1], overall[3])


def test_the_network_is_left_as_it_was(network: SmallCNNNetwork) -> None:
    network.head.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    grad_cam(network, noise(2), [0, 1])
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [n for n, p in network.named_parameters() if not p.requires_grad] == ["head.bias"]
    assert all(p.grad is None for p in network.parameters())
    assert not network.blocks[-1][0]._forward_hooks


@pytest.mark.parametrize(
    ("name", "size_px", "layer", "grid"),
    [
        ("test_resnet", 128, "model.layer4", (4, 4)),
        ("test_resnet", 64, "model.layer3", (4, 4)),  # the last stage would be 2 × 2
        ("test_efficientnet", 128, "model.blocks.4", (4, 4)),
        ("test_convnext", 128, "model.stages.3", (4, 4)),
        ("test_vit", 160, "model.blocks.5.norm1", (10, 10)),
    ],
)
def test_networks_of_timm(name: str, size_px: int, layer: str, grid: tuple[int, int]) -> None:
    torch.manual_seed(1)
    network = TimmNetwork(create(name, 3, size_px))
    found = find_layer(network, (size_px, size_px))
    assert (found.name, found.grid) == (layer, grid)
    images = noise(3, size_px)
    maps = grad_cam(network, images, [0, 1, 2])
    for target in (0, 1, 2):
        np.testing.assert_allclose(maps[target], by_hand(network, found, images[target], target), atol=1e-4)
    assert maps.max() > 0.99


def test_layouts_of_outputs_without_a_network() -> None:
    grid = torch.arange(2 * 3 * 4.0).view(1, 2, 3, 4)  # [B, C, rows, columns]
    last = Layer("", nn.Identity(), "channels last", (3, 4))
    assert torch.equal(last.maps(grid.permute(0, 2, 3, 1)), grid)
    tokens = torch.cat(
        [torch.full((1, 2, 2), -1.0), grid.flatten(2).transpose(1, 2)], dim=1
    )  # two tokens that are not patches
    assert torch.equal(Layer("", nn.Identity(), "tokens", (3, 4)).maps(tokens), grid)


def test_a_network_without_a_grid_is_refused_with_the_reason() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    with pytest.raises(NoLayerError, match="4 × 4 cells or more for images of 16 × 16 px; none with a grid"):
        grad_cam(flat, noise(1, 16), [0])
    coarse = nn.Sequential(nn.Conv2d(3, 2, 8, stride=8), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(NoLayerError, match="px; 0: 2 × 2"):
        grad_cam(coarse, noise(1, 16), [0])


def test_wrong_images_and_targets_are_refused(network: SmallCNNNetwork) -> None:
    with pytest.raises(DataError, match=r"expected uint8 \[N, H, W, 3\]"):
        grad_cam(network, noise(1).astype(np.float32), [0])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="with N targets"):
        grad_cam(network, noise(2), [0])

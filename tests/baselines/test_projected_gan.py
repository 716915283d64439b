"""Projected GAN: both networks against plain layers, what stays frozen, pretrained weights, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from helpers import FakeContext, two_class_data

from baselines.gan_loop import make_state, train_step, training_images
from baselines.projected_gan import ProjectedGAN, ProjectedGANConfig
from baselines.projected_networks import FastGenerator, MapDiscriminator, ProjectedDiscriminator, feature_network
from bench.errors import ConfigError, WeightsError
from bench.weights import LITE0, backbone_state_dict

TINY: dict[str, Any] = {"batch_size": 4, "filters": 4, "disc_filters": 4, "z_dim": 8, "feature_size_px": 32}


@pytest.fixture(scope="module")
def discriminator() -> ProjectedDiscriminator:
    torch.manual_seed(0)
    network = ProjectedDiscriminator(2, 64, 4)
    network.projector.load_backbone(backbone_state_dict(LITE0, None)[0])
    return network.train()


def plain_norm(state: dict[str, torch.Tensor], key: str, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    scale, shift = F.linear(condition, state[f"{key}.modulation.weight"], state[f"{key}.modulation.bias"]).chunk(2, 1)
    return F.batch_norm(x, None, None, training=True) * (1 + scale[..., None, None]) + shift[..., None, None]


def plain_generator(state: dict[str, torch.Tensor], z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the generator for 32 px layer by layer: 4 to 32 pixels, the first map scales the last."""
    z = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    condition = torch.cat([z, state["label.weight"][labels]], 1)
    x = F.conv_transpose2d(z[..., None, None], state["first.weight"])
    first = x = F.glu(plain_norm(state, "first_norm", x, condition), 1)
    for i in range(3):
        x = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), state[f"doublings.{i}.conv.weight"], padding=1)
        x = F.glu(plain_norm(state, f"doublings.{i}.norm", x, condition), 1)
    key = "skips.0.layers"
    scales = F.leaky_relu(F.conv2d(first, state[f"{key}.1.weight"], state[f"{key}.1.bias"]), 0.1)
    x = x * F.conv2d(scales, state[f"{key}.3.weight"], state[f"{key}.3.bias"]).sigmoid()
    return F.conv2d(x, state["last.weight"], state["last.bias"], padding=1).tanh()


def test_the_generator_has_fastgans_layers() -> None:
    torch.manual_seed(0)
    generator = FastGenerator(2, 32, 8, 4, 1).train()
    z, labels = torch.randn(4, 8), torch.tensor([0, 1, 1, 0])
    made = generator(z, labels)
    assert made.shape == (4, 1, 32, 32)
    torch.testing.assert_close(made, plain_generator(dict(generator.state_dict()), z, labels), atol=1e-5, rtol=1e-4)


def test_gradients_of_the_generator_stay_channels_last() -> None:
    """Else the gradient of batch norm is much slower on a CPU."""
    generator = FastGenerator(2, 32, 8, 4, 3).to(memory_format=torch.channels_last)
    found: list[bool] = []

    def watch(module: torch.nn.Module, inputs: object, out: torch.Tensor) -> None:
        out.register_hook(lambda gradient: found.append(gradient.is_contiguous(memory_format=torch.channels_last)))

    for double in generator.doublings:
        double.norm.norm.register_forward_hook(watch)
    generator(torch.randn(4, 8), torch.tensor([0, 1, 1, 0])).sum().backward()
    assert found == [True] * 3


@pytest.mark.parametrize(("side", "skips"), [(16, 0), (48, 2), (64, 2), (256, 4)])
def test_the_generator_makes_images_of_every_size(side: int, skips: int) -> None:
    generator = FastGenerator(3, side, 4, 1, 3)
    assert len(generator.skips) == skips
    assert generator(torch.randn(2, 4), torch.tensor([0, 2])).shape == (2, 3, side, side)


def test_the_features_are_those_of_the_pretrained_network_mixed(discriminator: ProjectedDiscriminator) -> None:
    projector = discriminator.projector
    network = timm.create_model(LITE0, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    weights = backbone_state_dict(LITE0, None)[0]
    network.load_state_dict({k: v for k, v in weights.items() if k in network.state_dict()})
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = [conv(f) for conv, f in zip(projector.within, network(x), strict=True)]
    for i in (2, 1, 0):
        above = F.conv2d(expected[i + 1], projector.between[i].weight, padding=1)
        side = expected[i].shape[-1]
        expected[i] = expected[i] + F.interpolate(above, size=(side, side), mode="bilinear", align_corners=False)
    for found, right, side in zip(projector(x), expected, (16, 8, 4, 2), strict=True):
        assert found.shape[2:] == (side, side)
        torch.testing.assert_close(found, right, atol=1e-4, rtol=1e-4)


def plain_scores(network: MapDiscriminator, y: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute a small discriminator layer by layer: each halving, a 3×3 convolution, scores with a class term."""
    layers = network.layers
    for i in range(0, len(layers), 3):
        y = F.conv2d(y, layers[i].weight, stride=2, padding=1)
        y = F.leaky_relu(F.group_norm(y, min(8, y.shape[1]), layers[i + 1].weight, layers[i + 1].bias), 0.2)
    y = F.leaky_relu(F.conv2d(y, network.features.weight, network.features.bias, padding=1), 0.2)
    score = (y * network.score.weight[0, :, :, :]).sum(1) + network.score.bias
    return (score + torch.einsum("bchw,bc->bhw", y, network.label.weight[labels]) / y.shape[1] ** 0.5).flatten(1)


def test_a_small_discriminator_has_spectral_norm_and_a_class_term() -> None:
    torch.manual_seed(0)
    network, x = MapDiscriminator(2, [4, 8, 8]).eval(), torch.randn(3, 4, 8, 8)
    layers, labels = network.layers, torch.tensor([0, 1, 1])
    torch.testing.assert_close(network(x, labels), plain_scores(network, x, labels), atol=1e-5, rtol=1e-4)
    for conv in (layers[0], layers[3], network.features, network.score):
        torch.manual_seed(1)
        for _ in range(30):
            conv.train()(torch.randn(1, conv.in_channels, 8, 8))  # power iterations
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_each_map_has_a_discriminator_of_its_own(discriminator: ProjectedDiscriminator) -> None:
    """Grey images of 32 px are enlarged to 64; widths double from map to map; all are halved to the smallest."""
    x, labels = torch.rand(3, 1, 32, 32) * 2 - 1, torch.tensor([0, 1, 0])
    with torch.no_grad():
        discriminator.eval()
        images = F.interpolate(x.repeat(1, 3, 1, 1), size=(64, 64), mode="bilinear", align_corners=False)
        maps = discriminator.projector(images)
        assert [m.shape[1] for m in maps] == [4, 8, 16, 32]
        assert [len(d.layers) // 3 for d in discriminator.discriminators] == [3, 2, 1, 0]
        expected = [plain_scores(d, m, labels) for d, m in zip(discriminator.discriminators, maps, strict=True)]
        torch.testing.assert_close(discriminator(x, labels), torch.cat(expected, 1), atol=1e-5, rtol=1e-4)


def test_gradients_of_the_features_are_those_of_the_pretrained_network(discriminator: ProjectedDiscriminator) -> None:
    """The discriminators' network has no batch norms left: they are part of its convolutions."""
    backbone = discriminator.projector.backbone
    assert not [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    network = feature_network()
    network.load_state_dict(backbone_state_dict(LITE0, None)[0], strict=False)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    gradients = []
    for one in (backbone, network):
        x = images.clone().requires_grad_()
        one.blocks(one.bn1(one.conv_stem(x))).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, atol=1e-4 * float(gradients[1].abs().max()), rtol=1e-3)


def test_every_scale_has_as_many_scores_and_none_depends_on_the_batch(discriminator: ProjectedDiscriminator) -> None:
    x, labels = torch.rand(3, 1, 32, 32) * 2 - 1, torch.tensor([0, 1, 0])
    with torch.no_grad():
        discriminator.eval()
        scores, alone = discriminator(x, labels), discriminator(x[1:2], labels[1:2])
        assert scores.shape == (3, 4 * 4)
        torch.testing.assert_close(scores[1:2], alone, atol=1e-4, rtol=1e-3)
        assert not torch.allclose(scores, discriminator(x, 1 - labels))


def test_only_generator_and_small_discriminators_are_trained() -> None:
    gan = ProjectedGAN(ProjectedGANConfig(**TINY))
    state = make_state(gan, 2, 32, "cpu", 0)
    before = {name: value.clone() for name, value in state.D.state_dict().items()}
    for step in range(2):
        train_step(gan, state, training_images(gan, two_class_data(8, 32), "cpu"), 0, step)
    changed = {name for name, value in state.D.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("discriminators.") for name in changed), "also no statistics of batch norms"
    assert not any(p.requires_grad for p in state.D.projector.parameters())
    trained = {id(p) for group in state.optimizer_D.param_groups for p in group["params"]}
    assert trained == {id(p) for p in state.D.discriminators.parameters()}


def test_it_says_which_weights_it_used_and_refuses_others(tmp_path: Path) -> None:
    ctx = FakeContext(tmp_path)
    ProjectedGAN(ProjectedGANConfig(**TINY, steps=1)).fit(two_class_data(8, 16), ctx)
    found = json.loads((tmp_path / "weights.json").read_text(encoding="utf-8"))
    assert (found["features"], len(found["sha256"])) == (LITE0, 64)
    with pytest.raises(WeightsError, match=r"do not fit: missing: conv_stem\.weight"):
        ProjectedDiscriminator(2, 32, 4).projector.load_backbone({})  # type: ignore[arg-type]


@pytest.mark.parametrize(("side", "seen"), [(32, 64), (64, 64), (96, 96), (100, 128), (256, 224)])
def test_the_feature_network_sees_images_of_a_suitable_size(side: int, seen: int) -> None:
    assert ProjectedGAN(ProjectedGANConfig())._feature_size(side) == seen


def test_unusable_options_and_sizes_are_refused() -> None:
    for options in ({"disc_filters": 0}, {"feature_size_px": 48}, {"diffaug": "rotation"}, {"ema": 1.0}):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}: got"):
            ProjectedGANConfig(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="got images of 36 px, expected a multiple of 8"):
        ProjectedGAN(ProjectedGANConfig()).check_size(36)

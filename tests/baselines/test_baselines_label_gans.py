"""``cgan_skin``, ``medsyngan`` and ``simple_cnn``, layer by layer as their sources name them; what they learn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData, FakeContext, two_class_data
from torch import nn

from baselines.cgan_skin import SkinGAN
from baselines.gan_loop import make_state, train_step
from baselines.gan_model import TrainingImages, epoch_positions
from baselines.label_gan import LabelGAN
from baselines.medsyngan import MedSynGAN
from bench.classifiers.simple_cnn import SimpleCNN
from bench.errors import ConfigError, DataError

METHODS: list[type[LabelGAN]] = [SkinGAN, MedSynGAN]


def shapes(network: nn.Module, *inputs: torch.Tensor) -> list[tuple[str, tuple[int, ...], int]]:
    """Return (layer, shape of an image's output, parameters) of every leaf layer in the order of the forward pass."""
    found: list[tuple[str, tuple[int, ...], int]] = []

    def note(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        found.append((type(module).__name__, tuple(output.shape[1:]), sum(p.numel() for p in module.parameters())))

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(note)
    network(*inputs)
    return found


def test_the_generator_of_cgan_skin_is_the_published_one() -> None:
    G, _ = SkinGAN(SkinGAN.Config()).networks(9, 64)
    assert shapes(G, torch.randn(2, 100), torch.tensor([0, 8])) == [
        ("Linear", (16384,), 109 * 16384 + 16384),
        ("BatchNorm1d", (16384,), 2 * 16384),
        ("LeakyReLU", (256, 8, 8), 0),
        ("ConvTranspose2d", (128, 16, 16), 256 * 128 * 16 + 128),
        ("BatchNorm2d", (128, 16, 16), 256),
        ("LeakyReLU", (128, 16, 16), 0),
        ("ConvTranspose2d", (64, 32, 32), 128 * 64 * 16 + 64),
        ("BatchNorm2d", (64, 32, 32), 128),
        ("LeakyReLU", (64, 32, 32), 0),
        ("ConvTranspose2d", (3, 64, 64), 64 * 3 * 16 + 3),
        ("Tanh", (3, 64, 64), 0),
    ]
    assert sum(p.numel() for p in G.parameters()) == 2_494_019


def test_the_discriminator_of_cgan_skin_is_the_published_one() -> None:
    _, D = SkinGAN(SkinGAN.Config()).networks(9, 64)
    assert shapes(D, torch.randn(2, 3, 64, 64), torch.tensor([0, 8])) == [
        ("Conv2d", (64, 32, 32), 12 * 64 * 16 + 64),
        ("LeakyReLU", (64, 32, 32), 0),
        ("Conv2d", (128, 16, 16), 64 * 128 * 16 + 128),
        ("BatchNorm2d", (128, 16, 16), 256),
        ("LeakyReLU", (128, 16, 16), 0),
        ("Conv2d", (256, 8, 8), 128 * 256 * 16 + 256),
        ("BatchNorm2d", (256, 8, 8), 512),
        ("LeakyReLU", (256, 8, 8), 0),
        ("Flatten", (16384,), 0),
        ("Linear", (1,), 16385),
    ]
    assert {m.negative_slope for m in D.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}


def test_the_networks_of_medsyngan_are_the_published_ones() -> None:
    G, D = MedSynGAN(MedSynGAN.Config()).networks(2, 128)
    labels = torch.tensor([0, 1])
    assert [(kind, shape) for kind, shape, _ in shapes(G, torch.randn(2, 100), labels)] == [
        ("Embedding", (100,)),
        ("Linear", (65536,)),
        ("ReLU", (256, 16, 16)),
        ("ConvTranspose2d", (128, 32, 32)),
        ("ReLU", (128, 32, 32)),
        ("ConvTranspose2d", (64, 64, 64)),
        ("ReLU", (64, 64, 64)),
        ("ConvTranspose2d", (3, 128, 128)),
        ("Tanh", (3, 128, 128)),
    ]
    assert [(kind, shape) for kind, shape, _ in shapes(D, torch.randn(2, 3, 128, 128), labels)] == [
        ("Embedding", (16384,)),  # one more channel of the image
        ("Conv2d", (64, 64, 64)),
        ("LeakyReLU", (64, 64, 64)),
        ("Conv2d", (128, 32, 32)),
        ("LeakyReLU", (128, 32, 32)),
        ("Conv2d", (256, 16, 16)),
        ("LeakyReLU", (256, 16, 16)),
        ("Flatten", (65536,)),
        ("Linear", (1,)),
    ]
    assert [sum(p.numel() for p in n.parameters()) for n in (G, D)] == [13_831_563, 758_209]


def test_adam_has_what_each_source_says_of_it_and_its_defaults_else() -> None:
    skin, med = SkinGAN.Config(), MedSynGAN.Config()
    assert [(c.learning_rate, c.beta1, c.beta2) for c in (skin, med)] == [(2e-4, 0.5, 0.999), (2e-4, 0.9, 0.999)]


def test_simple_cnn_is_the_published_one() -> None:
    network = SimpleCNN(SimpleCNN.Config()).build(2, 128, None)
    assert shapes(network, torch.rand(1, 3, 128, 128)) == [
        ("Conv2d", (32, 128, 128), 896),
        ("ReLU", (32, 128, 128), 0),
        ("MaxPool2d", (32, 64, 64), 0),
        ("Conv2d", (64, 64, 64), 18_496),
        ("ReLU", (64, 64, 64), 0),
        ("MaxPool2d", (64, 32, 32), 0),
        ("Flatten", (65_536,), 0),
        ("Linear", (128,), 8_388_736),
        ("ReLU", (128,), 0),
        ("Linear", (2,), 258),
    ]
    with pytest.raises(ConfigError, match="expected 4 or more"):
        SimpleCNN(SimpleCNN.Config()).build(2, 3, None)


def test_the_losses_of_a_step_are_binary_cross_entropy() -> None:
    """By hand, from copies of the networks as they were: each loss is read before its own update."""
    method = SkinGAN(SkinGAN.Config(batch_size=4))
    state = make_state(method, 2, 64, "cpu", 0)
    images = torch.randint(256, (8, 64, 64, 3), dtype=torch.uint8)
    labels = torch.arange(8) % 2
    by_class = [(labels == label).nonzero().flatten() for label in (0, 1)]
    losses = train_step(method, state, TrainingImages(images, labels, by_class), 0, 0)

    again = make_state(method, 2, 64, "cpu", 0)
    from bench.seeding import derive_seed

    draw = torch.Generator().manual_seed(derive_seed("cgan_skin", "step", 0, 0))
    z, asked = torch.randn(4, 100, generator=draw), torch.randint(2, (4,), generator=draw)
    chosen = epoch_positions(8, 4, 0, 0)
    fake = again.G(z, asked)
    real = images[chosen].permute(0, 3, 1, 2) / 127.5 - 1
    p_real, p_fake = again.D(real, labels[chosen]).sigmoid(), again.D(fake, asked).sigmoid()
    by_hand = -(p_real.log().mean() + (1 - p_fake).log().mean()) / 2
    assert float(losses[0]) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    assert float(losses[2]) == pytest.approx(float(p_real.mean().detach()), rel=1e-5)
    p_fooled = state.D(fake, asked).sigmoid()  # the discriminator as its update left it
    assert float(losses[1]) == pytest.approx(float(-p_fooled.log().mean().detach()), rel=0.05)


def test_an_epoch_shows_every_image_once_and_in_another_order_each_time() -> None:
    seen = torch.cat([epoch_positions(10, 4, 0, step) for step in range(5)]).tolist()
    assert Counter(seen[:10]) == Counter(seen[10:]) == Counter(range(10))
    assert seen[:10] != seen[10:]
    assert Counter(epoch_positions(3, 8, 0, 1).tolist()).most_common()[0][1] == 3  # a batch of almost three epochs


@pytest.mark.slow
def test_cgan_skin_learns_the_colour_of_the_images(tmp_path: Path) -> None:
    data = two_class_data(32, 16)
    real = data.images().mean(axis=(0, 1, 2))
    distance = {}
    for steps in (1, 30):
        method, ctx = SkinGAN(SkinGAN.Config(steps=steps, batch_size=8)), FakeContext(tmp_path / str(steps))
        method.fit(data, ctx)
        made = [s.image for s in method.synthesize(data, {0: 8, 1: 8}, ctx.folder, ctx)]
        distance[steps] = np.abs(np.mean(made, axis=(0, 1, 2)) - real).mean()
    assert distance[30] < 0.5 * distance[1], distance


def test_fidelity_by_step_is_logged_at_the_size_of_the_method(tmp_path: Path) -> None:
    ctx = FakeContext(tmp_path)
    SkinGAN(SkinGAN.Config(steps=3, batch_size=2, fid_every=2)).fit(two_class_data(6, 16), ctx)
    assert [step for step, values in ctx.history if "fidelity/kid_fake" in values] == [2, 3]
    assert {images.shape for images, _ in ctx.scored} == {(6, 64, 64, 3)}
    assert [labels.tolist() for _, labels in ctx.scored] == [[0, 0, 0, 1, 1, 1]] * 2


@pytest.mark.parametrize("cls", METHODS)
def test_every_class_must_have_an_image(cls: type[LabelGAN], tmp_path: Path) -> None:
    data = ArrayData(np.zeros((4, 16, 16, 3), np.uint8), np.zeros(4), ("benign", "malignant"))
    with pytest.raises(DataError, match="'malignant'"):
        cls(cls.Config(steps=1)).fit(data, FakeContext(tmp_path))


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("batch_size", 1), ("learning_rate", 0.0), ("beta1", 1.0)])
def test_a_config_that_cannot_train_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field}: got {value}"):
        MedSynGAN.Config(**{field: value})

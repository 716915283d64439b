"""Policies and mixing give torchvision's own outputs from the same seed, within the limits of the modality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import FakeContext, Interrupt, KnownPart, two_class_data
from torchvision.transforms import v2

from baselines.cutmix import CutMix
from baselines.mixup import MixUp
from baselines.policy import Policy
from baselines.randaugment import RandAugment
from baselines.trivialaugment import TrivialAugment
from bench.classifiers.small_cnn import SmallCNN
from bench.classifiers.trainer import train_classifier
from bench.errors import ConfigError
from bench.suite.suite import parse_suite

BILINEAR = v2.InterpolationMode.BILINEAR
TARGETS = torch.eye(2)[torch.arange(8) % 2]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 8, size: int = 32) -> torch.Tensor:
    return torch.randint(256, (n, 3, size, size), generator=generator(1)) / 255


def seed_torch_as(seed: int) -> None:
    """Seed the global generator as a method seeds it for a batch."""
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator(seed))))


@pytest.mark.parametrize(
    ("method", "own"),
    [
        (TrivialAugment(TrivialAugment.Config()), v2.TrivialAugmentWide(interpolation=BILINEAR)),
        (RandAugment(RandAugment.Config(operations=3, magnitude=5)), v2.RandAugment(3, 5, interpolation=BILINEAR)),
    ],
    ids=["trivialaugment", "randaugment"],
)
def test_a_policy_is_that_of_torchvision(method: Policy, own: Any) -> None:
    changed, targets = method.transform(images(), TARGETS, generator(7))
    seed_torch_as(7)
    expected = torch.stack([own(image) for image in (images() * 255).round().to(torch.uint8)])
    assert torch.equal(changed, expected / 255)
    assert torch.equal(targets, TARGETS)
    assert (changed != images()).flatten(1).any(dim=1).sum() >= 4


def limited_space() -> dict[str, Any]:
    """Return torchvision's operations with turns up to 15°, shears up to 0.1 and shifts up to a tenth of a side."""
    space = dict(v2.TrivialAugmentWide._AUGMENTATION_SPACE)
    space["Rotate"] = (lambda bins, height, width: torch.linspace(0, 15, bins), True)
    space["ShearX"] = space["ShearY"] = (lambda bins, height, width: torch.linspace(0, 0.1, bins), True)
    space["TranslateX"] = (lambda bins, height, width: torch.linspace(0, width / 10, bins), True)
    space["TranslateY"] = (lambda bins, height, width: torch.linspace(0, height / 10, bins), True)
    return space


def test_a_limited_policy_is_that_of_torchvision_with_other_limits() -> None:
    own = v2.TrivialAugmentWide(interpolation=BILINEAR)
    own._AUGMENTATION_SPACE = limited_space()
    before = torch.randint(256, (48, 3, 90, 160), generator=generator(1)) / 255
    method = TrivialAugment(TrivialAugment.Config(geometry="limited"))
    changed, _ = method.transform(before, torch.eye(2)[torch.zeros(48, dtype=torch.long)], generator(7))
    seed_torch_as(7)
    expected = torch.stack([own(image) for image in (before * 255).round().to(torch.uint8)])
    assert torch.equal(changed, expected / 255)


@pytest.mark.parametrize(
    ("method", "own"),
    [
        (MixUp(MixUp.Config(alpha=0.7)), v2.MixUp(alpha=0.7, num_classes=2)),
        (CutMix(CutMix.Config(alpha=0.7)), v2.CutMix(alpha=0.7, num_classes=2)),
    ],
    ids=["mixup", "cutmix"],
)
def test_mixing_is_that_of_torchvision(method: Any, own: Any) -> None:
    before = images()
    mixed, soft = method.transform(before, TARGETS, generator(7))
    seed_torch_as(7)
    expected, targets = own(images(), TARGETS.argmax(dim=1))
    torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(soft, targets, atol=1e-6, rtol=0)
    assert ((soft > 0) & (soft < 1)).all()
    assert torch.equal(before, images()), "the batch that was given is unchanged"


@pytest.mark.parametrize("cls", [TrivialAugment, RandAugment, MixUp, CutMix])
def test_only_the_given_generator_is_drawn_from(cls: Any) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = cls(cls.Config()).transform(images(), TARGETS, generator(1))[0]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert torch.equal(cls(cls.Config()).transform(images(), TARGETS, generator(1))[0], first)
    assert not torch.equal(cls(cls.Config()).transform(images(), TARGETS, generator(2))[0], first)


def config_for(dataset: str, method: str, **own: object) -> Any:
    data = {"dataset": {"name": dataset}, "methods": {"none": {}, method: own}, "classifiers": {"small_cnn": {}}}
    return parse_suite("made_up", data).method(method).config


@pytest.mark.parametrize("method", ["trivialaugment", "randaugment"])
def test_geometry_is_limited_for_chests_and_ultrasound(method: str) -> None:
    assert config_for("chest_xray", method).geometry == config_for("busi", method).geometry == "limited"
    assert config_for("breakhis", method).geometry == "any"
    assert config_for("busi", method, geometry="any").geometry == "any"


def upright_share(geometry: str) -> float:
    """Return the share of images with a bright upper half whose halves still differ more than their sides."""
    halves = torch.full((256, 3, 32, 32), 0.3)
    halves[:, :, :16] = 0.7
    method = TrivialAugment(TrivialAugment.Config(geometry=geometry))
    changed = method.transform(halves, torch.eye(2)[:1].expand(256, 2), generator())[0].mean(dim=1)
    vertical = (changed[:, :16].mean((1, 2)) - changed[:, 16:].mean((1, 2))).abs()
    horizontal = (changed[:, :, :16].mean((1, 2)) - changed[:, :, 16:].mean((1, 2))).abs()
    return float((vertical >= 2 * horizontal).float().mean())


def test_limited_geometry_turns_no_image_on_its_side() -> None:
    assert upright_share("limited") == 1.0
    assert upright_share("any") < 0.97


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (TrivialAugment, {"geometry": "none"}),
        (RandAugment, {"operations": 0}),
        (RandAugment, {"magnitude": 31}),
        (MixUp, {"alpha": 0.0}),
        (CutMix, {"alpha": -1.0}),
    ],
)
def test_settings_out_of_range_are_config_errors(cls: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: got"):
        cls.Config(**options)


@pytest.mark.parametrize("cls", [RandAugment, CutMix])
def test_a_classifier_is_trained_with_it_and_resumes_exactly(cls: Any, tmp_path: Path) -> None:
    config = SmallCNN.Config(steps=4, batch_size=8, width=4, evaluate_every=2, checkpoint_every=1)
    data = two_class_data(16, 16)

    def train(ctx: FakeContext) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        network = SmallCNN(config).build(2, 16, None)
        parts = (KnownPart(data, "train"), KnownPart(data, "validation"))
        train_classifier(network, *parts, 2, config, cls(cls.Config()), ctx)
        return network.state_dict()

    whole = train(FakeContext(tmp_path / "whole"))
    broken = FakeContext(tmp_path / "broken", interrupt_at=4)
    with pytest.raises(Interrupt):
        train(broken)
    assert broken.checkpoint is not None
    broken.interrupt_at = None
    resumed = train(broken)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())

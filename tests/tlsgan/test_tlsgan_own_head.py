"""D_a as a classifier: the rules on hand-made verdicts, and what a fitted method keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FakeContext, two_class_data

from bench.errors import WeightsError
from bench.interfaces import SelfClassifier
from bench.metrics.classification import classification_metrics
from tlsgan.augmenter import CycleGAN, TLSGANLite0Scratch
from tlsgan.config import CycleGANConfig, TLSGANLite0ScratchConfig
from tlsgan.discriminators import Verdict
from tlsgan.own_head import class_probabilities

SMALL: dict[str, Any] = {
    "steps": 2, "batch_size": 2, "filters": 4, "blocks": 1, "log_every": 1, "norm": "instance"
}  # fmt: skip
IMAGES = np.repeat(np.array([0, 128, 255], np.uint8), 8 * 12 * 3).reshape(3, 8, 12, 3)  # black, grey, white


class Brightness(torch.nn.Module):
    """A discriminator whose map is ``scale`` × brightness in [0, 1] + ``shift``, without or with class logits."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0, logits: bool = False) -> None:
        super().__init__()
        self.scale_, self.shift_, self.logits = scale, shift, logits

    def forward(self, x: torch.Tensor) -> Verdict:
        real = ((x.mean(dim=1, keepdim=True) + 1) / 2) * self.scale_ + self.shift_
        level = real.flatten(1).mean(dim=1)
        return Verdict(real, torch.stack([4 * level, torch.zeros_like(level)], dim=1) if self.logits else None)


def test_a_patchgans_map_is_thresholded_at_a_mean_of_one_half() -> None:
    found = class_probabilities(Brightness(), IMAGES, "cpu")  # type: ignore[arg-type]
    assert found.argmax(axis=1).tolist() == [1, 0, 0], "black looks fake to D_a: malignant; white real: benign"
    assert found[:, 0] == pytest.approx([0, 128 / 255, 1])
    assert found.sum(axis=1) == pytest.approx(1)
    at_threshold = class_probabilities(Brightness(0, 0.5), IMAGES, "cpu")  # type: ignore[arg-type]
    assert at_threshold.argmax(axis=1).tolist() == [1, 1, 1], "only a mean above 0.5 is its own domain"
    wild = class_probabilities(Brightness(9, -4), IMAGES, "cpu")  # type: ignore[arg-type]
    assert (wild >= 0).all()
    assert (wild <= 1).all(), "least squares may leave [0, 1]"


def test_the_mean_of_the_map_counts_not_its_pixels() -> None:
    halves = np.zeros((1, 8, 12, 3), np.uint8)
    halves[:, :, :7] = 255  # 7 of 12 columns look real
    assert class_probabilities(Brightness(), halves, "cpu")[0, 0] == pytest.approx(7 / 12)  # type: ignore[arg-type]


def test_a_class_head_goes_before_real_and_fake() -> None:
    found = class_probabilities(Brightness(-1, 0, logits=True), IMAGES, "cpu")  # type: ignore[arg-type]
    assert found[2, 0] == pytest.approx(1 / (1 + np.exp(4)), abs=1e-6)
    assert (found[:, 1] >= 0.5).all()


def test_published_measures_come_out_of_such_verdicts() -> None:
    """4 of 10 malignant found and nothing else called so: the published accuracy, precision and recall."""
    prob = np.array([[0.9, 0.1]] * 10 + [[0.2, 0.8]] * 4 + [[0.7, 0.3]] * 6)
    m = classification_metrics([0] * 10 + [1] * 10, prob, ["p"] * 20)
    assert (m["accuracy"], m["precision"], m["sensitivity"]) == pytest.approx((0.7, 1.0, 0.4))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    method = CycleGAN(CycleGANConfig(**SMALL, disc_filters=4, keep_discriminator=True))
    method.fit(two_class_data(8, 32), FakeContext(folder))
    return folder


def test_a_kept_discriminator_classifies_image_by_image(fitted: Path, tmp_path: Path) -> None:
    method = CycleGAN(CycleGANConfig(**SMALL, disc_filters=4, keep_discriminator=True))
    assert isinstance(method, SelfClassifier)
    assert "real and fake" in method.own_head
    images = two_class_data(20, 32, seed=5).images()
    found = method.classify(images, fitted, FakeContext(tmp_path))
    assert found.shape == (20, 2)
    assert len(np.unique(found[:, 0])) > 10
    assert (method.classify(images[[17, 3]], fitted, FakeContext(tmp_path)) == found[[17, 3]]).all()


def test_without_the_switch_nothing_is_kept(tmp_path: Path) -> None:
    method = CycleGAN(CycleGANConfig(**SMALL, disc_filters=4))
    method.fit(two_class_data(8, 32), FakeContext(tmp_path))
    assert not list(tmp_path.glob("D_*"))
    assert method.own_head == ""
    with pytest.raises(WeightsError, match="keep_discriminator"):
        method.classify(two_class_data(4, 32).images(), tmp_path, FakeContext(tmp_path))


def test_a_class_head_survives_saving(tmp_path: Path) -> None:
    from tlsgan.checkpoint import load_discriminator, save_discriminator
    from tlsgan.networks import build_networks

    config = TLSGANLite0ScratchConfig(**SMALL, head_width=8, keep_discriminator=True)
    torch.manual_seed(3)
    nets = build_networks(config, (32, 40))
    save_discriminator(tmp_path, nets)
    x = torch.rand(2, 3, 32, 40) * 2 - 1
    nets.D_a.eval()
    loaded = load_discriminator(tmp_path, config, (32, 40), "cpu")
    with torch.no_grad():
        here, there = nets.D_a(x), loaded(x)
    assert torch.equal(here.classes, there.classes)
    assert TLSGANLite0Scratch(config).own_head == "class head of D_a"
    with pytest.raises(WeightsError, match="another discriminator"):
        load_discriminator(tmp_path, TLSGANLite0ScratchConfig(**SMALL, head_width=16), (32, 40), "cpu")

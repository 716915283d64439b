"""D_a as discriminator classifier: its rules on given outputs, and saving by a fitted method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FakeContext, two_class_data

from bench.abilities import SelfClassifier
from bench.errors import WeightsError
from bench.metrics.classification import classification_metrics
from tlsgan.augmenter import CycleGAN, TLSGANLite0Scratch
from tlsgan.config import CycleGANConfig, TLSGANLite0ScratchConfig
from tlsgan.discriminator_classifier import class_probabilities
from tlsgan.discriminators import DiscriminatorOutput

SMALL: dict[str, Any] = {
    "steps": 2, "batch_size": 2, "filters": 4, "blocks": 1, "log_every": 1, "norm": "instance"
}  # fmt: skip
IMAGES = np.repeat(np.array([0, 128, 255], np.uint8), 8 * 12 * 3).reshape(3, 8, 12, 3)  # black, grey, white


class Brightness(torch.nn.Module):
    """A discriminator with the map ``scale`` × brightness in [0, 1] + ``shift``, and optional class logits."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0, logits: bool = False) -> None:
        super().__init__()
        self.scale_, self.shift_, self.logits = scale, shift, logits

    def forward(self, x: torch.Tensor) -> DiscriminatorOutput:
        real = ((x.mean(dim=1, keepdim=True) + 1) / 2) * self.scale_ + self.shift_
        level = real.flatten(1).mean(dim=1)
        return DiscriminatorOutput(
            real, torch.stack([4 * level, torch.zeros_like(level)], dim=1) if self.logits else None
        )


def test_a_patchgans_map_is_thresholded_at_a_mean_of_one_half() -> None:
    prob = class_probabilities(Brightness(), IMAGES, "cpu")  # type: ignore[arg-type]
    assert prob.argmax(axis=1).tolist() == [1, 0, 0], "D_a predicts fake for black: malignant; real for white: benign"
    assert prob[:, 0] == pytest.approx([0, 128 / 255, 1])
    assert prob.sum(axis=1) == pytest.approx(1)
    at_threshold = class_probabilities(Brightness(0, 0.5), IMAGES, "cpu")  # type: ignore[arg-type]
    assert at_threshold.argmax(axis=1).tolist() == [1, 1, 1], "only a mean above 0.5 is class 0"
    clipped = class_probabilities(Brightness(9, -4), IMAGES, "cpu")  # type: ignore[arg-type]
    assert (clipped >= 0).all()
    assert (clipped <= 1).all(), "outputs outside [0, 1] are clipped"


def test_the_mean_of_the_map_is_used() -> None:
    halves = np.zeros((1, 8, 12, 3), np.uint8)
    halves[:, :, :7] = 255  # 7 of 12 columns are white, that is real
    assert class_probabilities(Brightness(), halves, "cpu")[0, 0] == pytest.approx(7 / 12)  # type: ignore[arg-type]


def test_a_class_head_is_used_instead_of_real_or_fake() -> None:
    prob = class_probabilities(Brightness(-1, 0, logits=True), IMAGES, "cpu")  # type: ignore[arg-type]
    assert prob[2, 0] == pytest.approx(1 / (1 + np.exp(4)), abs=1e-6)
    assert (prob[:, 1] >= 0.5).all()


def test_such_predictions_give_the_published_measures() -> None:
    """4 of 10 malignant and 10 of 10 benign correct: the published accuracy, precision and recall."""
    prob = np.array([[0.9, 0.1]] * 10 + [[0.2, 0.8]] * 4 + [[0.7, 0.3]] * 6)
    m = classification_metrics([0] * 10 + [1] * 10, prob, ["a"] * 10 + ["b"] * 10)
    assert (m["accuracy"], m["precision"], m["sensitivity"]) == pytest.approx((0.7, 1.0, 0.4))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    method = CycleGAN(CycleGANConfig(**SMALL, disc_filters=4, keep_discriminator=True))
    method.fit(two_class_data(8, 32), FakeContext(folder))
    return folder


def test_a_saved_discriminator_classifies_each_image_independently(fitted: Path, tmp_path: Path) -> None:
    method = CycleGAN(CycleGANConfig(**SMALL, disc_filters=4, keep_discriminator=True))
    assert isinstance(method, SelfClassifier)
    assert method.discriminator_classifier == "real/fake output of D_a, class 0 if its mean is above 0.5"
    images = two_class_data(20, 32, seed=5).images()
    prob = method.classify(images, fitted, FakeContext(tmp_path))
    assert prob.shape == (20, 2)
    assert len(np.unique(prob[:, 0])) > 10
    assert (method.classify(images[[17, 3]], fitted, FakeContext(tmp_path)) == prob[[17, 3]]).all()


def test_without_keep_discriminator_none_is_saved(tmp_path: Path) -> None:
    method = CycleGAN(CycleGANConfig(**SMALL, disc_filters=4))
    method.fit(two_class_data(8, 32), FakeContext(tmp_path))
    assert not list(tmp_path.glob("D_*"))
    assert method.discriminator_classifier == ""
    with pytest.raises(WeightsError, match="keep_discriminator"):
        method.classify(two_class_data(4, 32).images(), tmp_path, FakeContext(tmp_path))


def test_a_class_head_is_saved_and_loaded(tmp_path: Path) -> None:
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
        expected, output = nets.D_a(x), loaded(x)
    assert torch.equal(expected.classes, output.classes)
    assert TLSGANLite0Scratch(config).discriminator_classifier == "class head of D_a"
    with pytest.raises(WeightsError, match="does not fit a tf_efficientnet_lite0 discriminator"):
        load_discriminator(tmp_path, TLSGANLite0ScratchConfig(**SMALL, head_width=16), (32, 40), "cpu")

"""Methods that learn from images without labels: losses by hand, resuming, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import ArrayData, FakeContext, Interrupt, two_class_data

from baselines.flow_config import FlowMatchingConfig
from baselines.flow_loop import make_state, train_step, training_images
from baselines.flow_matching import FlowMatching
from baselines.flow_processes import RectifiedFlow
from baselines.gan_loop import training_images as gan_images
from baselines.projected_gan import ProjectedGAN, ProjectedGANConfig
from baselines.projected_networks import MapDiscriminator
from bench.abilities import UsesUnlabelled
from bench.errors import ConfigError
from tlsgan import losses
from tlsgan.augmenter import TLSGANLite0Scratch
from tlsgan.config import CLASSES_AND_FAKE, CycleGANConfig, TLSGANLite0ScratchConfig
from tlsgan.data import UnpairedStream, WithUnlabelled, to_float
from tlsgan.discriminators import DiscriminatorOutput

LOOP: dict[str, Any] = {"steps": 2, "sample_every": 4, "checkpoint_every": 1, "log_every": 1}
METHODS: dict[str, Any] = {
    "flow_matching": lambda: FlowMatching(
        FlowMatchingConfig(**LOOP, batch_size=4, filters=8, sample_steps=2, unlabelled=True)
    ),
    "projected_gan": lambda: ProjectedGAN(
        ProjectedGANConfig(steps=2, sample_every=4, checkpoint_every=1, batch_size=4, filters=4, disc_filters=4,
                           pretrained=False, unlabelled=True)
    ),
    "tlsgan": lambda: TLSGANLite0Scratch(
        TLSGANLite0ScratchConfig(**LOOP, batch_size=2, filters=4, blocks=1, norm="instance", head_width=8,
                                 discriminator="test_resnet", head=CLASSES_AND_FAKE, unlabelled=True)
    ),
}  # fmt: skip


def data_with(unlabelled: int, size_px: int = 32) -> ArrayData:
    data = two_class_data(8, size_px)
    data.unlabelled = unlabelled
    return data


@pytest.mark.parametrize("name", METHODS)
def test_resumed_equals_uninterrupted_and_other_unlabelled_images_give_another_generator(
    name: str, tmp_path: Path
) -> None:
    method, data = METHODS[name](), data_with(6)
    assert isinstance(method, UsesUnlabelled)
    assert method.uses_unlabelled
    whole, broken = FakeContext(tmp_path / "whole"), FakeContext(tmp_path / "broken", interrupt_at=2)
    method.fit(data, whole)
    with pytest.raises(Interrupt):
        METHODS[name]().fit(data, broken)
    broken.interrupt_at = None
    METHODS[name]().fit(data, broken)
    other = data_with(6)
    other.unlabelled_images = lambda size_px=None: 255 - data.images(size_px)[:6]  # type: ignore[method-assign]
    METHODS[name]().fit(other, changed := FakeContext(tmp_path / "changed"))
    weights = sorted(p.name for p in whole.folder.glob("*.safetensors"))
    assert weights
    for file in weights:
        assert (whole.folder / file).read_bytes() == (broken.folder / file).read_bytes()
        assert (whole.folder / file).read_bytes() != (changed.folder / file).read_bytes()
    made = list(method.synthesize(data, {0: 1, 1: 1}, whole.folder, whole))
    assert [s.label for s in made] == [0, 1]


@pytest.mark.parametrize("name", METHODS)
def test_without_unlabelled_images_training_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unlabelled is true, but there are no images without labels; set split\."):
        METHODS[name]().fit(data_with(0), FakeContext(tmp_path))


def test_half_of_a_flow_batch_has_the_null_label() -> None:
    config = FlowMatchingConfig(**LOOP, batch_size=4, filters=8, unlabelled=True)
    state = make_state(config, 2, 16, 3, "cpu", 0)
    images = training_images(RectifiedFlow(), data_with(6, 16), 3, "cpu", unlabelled=True)
    assert images.unlabelled is not None
    assert images.unlabelled.tolist() == list(range(8, 14))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Recorded(RectifiedFlow):
        def loss(self, network: Any, real: torch.Tensor, labels: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
            seen.append((real, labels))
            return super().loss(network, real, labels, draw)

    for step in range(10):
        train_step(Recorded(), config, state, images, seed=0, step=step)
    pixels = to_float(images.pixels.permute(0, 3, 1, 2))
    for real, labels in seen:
        assert labels[2:].tolist() == [2, 2]
        assert set(labels[:2].tolist()) <= {0, 1}
        at = [int((pixels == image).flatten(1).all(dim=1).nonzero()[-1]) for image in real]
        assert all(i < 8 or i - 8 in range(6) for i in at[:2])
        assert all(i >= 8 for i in at[2:]), "the second half are unlabelled images"
    assert len({int((pixels == real[3]).flatten(1).all(dim=1).nonzero()[-1]) for real, _ in seen}) > 3


def test_projected_discriminators_have_no_class_term_without_label() -> None:
    network = MapDiscriminator(2, [4, 8], unlabelled=True).eval()
    x = torch.randn(3, 4, 8, 8)
    f = F.leaky_relu(network.features(network.layers(x)), 0.2)
    torch.testing.assert_close(network(x, torch.tensor([2, 2, 2])), network.score(f).squeeze(1).flatten(1))
    network(x, torch.tensor([2, 2, 0])).sum().backward()
    gradient = network.label.weight.grad
    assert gradient is not None
    assert gradient[2].abs().max() == 0 < gradient[0].abs().max()
    assert not torch.equal(network(x, torch.tensor([0, 1, 0])), network(x, torch.tensor([2, 2, 2])))


def test_half_of_the_real_images_of_projected_gan_are_unlabelled() -> None:
    gan = METHODS["projected_gan"]()
    images = gan_images(gan, data_with(6), "cpu")
    assert images.labels.tolist() == [0, 1] * 4 + [2] * 6
    batch = gan.batch(images, torch.Generator().manual_seed(0), 0, 0)
    assert batch.real_labels[2:].tolist() == [2, 2]
    assert all(8 <= i < 14 for i in batch.chosen[2:])
    assert all(images.labels[i] == y for i, y in zip(batch.chosen, batch.real_labels, strict=True))
    assert set(batch.fake_labels.tolist()) <= {0, 1}


def test_the_loss_of_the_head_with_a_fake_class() -> None:
    """Against the formulas of Salimans et al. 2016 for softmax outputs (class 0, class 1, fake), in float64."""
    config = TLSGANLite0ScratchConfig(head=CLASSES_AND_FAKE, unlabelled=True)
    rng = np.random.default_rng(0)
    outputs = {name: rng.normal(size=(5, 3)) for name in ("real", "fake", "unlabelled")}

    def split(logits: np.ndarray) -> DiscriminatorOutput:
        classes = torch.tensor(logits[:, :2], dtype=torch.float32)
        real = classes.logsumexp(dim=1, keepdim=True) - torch.tensor(logits[:, 2:], dtype=torch.float32)
        return DiscriminatorOutput(real, classes)

    p = {name: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for name, x in outputs.items()}
    labelled = -np.log(1 - p["real"][:, 2]).mean()
    without = -np.log(1 - p["unlabelled"][:, 2]).mean()
    of_class = -np.log(p["real"][:, 1] / (1 - p["real"][:, 2])).mean()
    expected = ((labelled + without) / 2 - np.log(p["fake"][:, 2]).mean() + of_class) / 2
    found = losses.discriminator(
        split(outputs["real"]), split(outputs["fake"]), 1, config, unlabelled=split(outputs["unlabelled"])
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_head_without_fake_class_cannot_use_them() -> None:
    for config in (TLSGANLite0ScratchConfig, CycleGANConfig):
        with pytest.raises(ConfigError, match="unlabelled is True, expected false, or head: classes_and_fake"):
            config(unlabelled=True)


def test_the_stream_adds_a_batch_and_resumes() -> None:
    pixels = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(12, 3, 4, 4)

    def stream() -> WithUnlabelled:
        masks = torch.ones(4), torch.ones(4)
        pairs = UnpairedStream(pixels[:4], pixels[4:8], 2, True, (0, 1), masks)
        return WithUnlabelled(pairs, pixels[8:], seed=2)

    first = stream()
    batches = [first.next() for _ in range(3)]
    assert all(len(b) == 5 and b[4].shape == (2, 3, 4, 4) for b in batches)
    shown = {round((float(x) + 1) * 127.5) for b in batches for x in b[4][:, 0, 0, 0]}
    assert shown <= {8, 9, 10, 11}
    second = stream()
    second.next()
    third = stream()
    third.load_state_dict(second.state_dict())
    for a, b in zip(third.next(), batches[1], strict=True):
        assert torch.equal(a, b)

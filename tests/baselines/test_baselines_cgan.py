"""The conditional GAN: learns class colours, resumes exactly, and makes each image from its own seed."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData, FakeContext, Interrupt, two_class_data
from safetensors.torch import load_file

from baselines.adaptive_augmentation import AdaptiveDiscriminator
from baselines.cgan import ConditionalGAN
from baselines.cgan_attention import SelfAttention, attended_side
from baselines.cgan_networks import Discriminator, Generator, map_sides, stages
from baselines.cgan_progressive import Growth, ProgressiveDiscriminator, ProgressiveGenerator, at_growth, growth
from baselines.gan_loop import make_state, train_step, training_images
from baselines.label_gan import WEIGHTS_FILE
from baselines.pixels import to_float, to_uint8
from bench.config import stable_hash
from bench.errors import ConfigError, DataError, DivergedError

TINY: dict[str, Any] = {"steps": 12, "batch_size": 4, "filters": 4, "z_dim": 8, "checkpoint_every": 5}
FAST: dict[str, Any] = {"learning_rate": 1e-3, "discriminator_learning_rate": 1e-3, "beta1": 0.0}
KEY_OF_OLD = "fd3db5e1a6d9366a"  # since grey images have one channel
WISHES: dict[str, dict[str, Any]] = {
    "self_attention": {"self_attention": True},
    "spectral_norm": {"spectral_norm": True},
    "progressive": {"progressive": True},
    "upsample": {"upsample": "resize"},
    "diffaug": {"diffaug": "color,translation,cutout"},
    "adaptive_augmentation": {"adaptive_augmentation": True, "ada_images": 40},
    "all": {
        "self_attention": True,
        "spectral_norm": True,
        "progressive": True,
        "fid_every": 6,
        "diffaug": "color",
        "upsample": "resize",
    },
}
# Together: one without exact state would change the weights also beside others. "all" has the progressive networks.
RESUMED = {
    "plain networks": {**WISHES["self_attention"], **WISHES["spectral_norm"], **WISHES["upsample"]}
    | WISHES["adaptive_augmentation"],
    "all": WISHES["all"],
}


def fitted(folder: Path, data: ArrayData | None = None, **options: Any) -> tuple[ConditionalGAN, FakeContext]:
    gan, ctx = ConditionalGAN(ConditionalGAN.Config(**{**TINY, **options})), FakeContext(folder)
    gan.fit(data or two_class_data(), ctx)
    return gan, ctx


def test_learns_the_mean_colour_of_each_class(tmp_path: Path) -> None:
    data = two_class_data(32, 16)
    options = {"steps": 180, "batch_size": 8, "filters": 8, "z_dim": 16, **FAST, "learning_rate": 5e-4}
    gan, ctx = fitted(tmp_path, data, **options)
    made = list(gan.synthesize(data, {0: 8, 1: 8}, tmp_path, ctx))
    for label in (0, 1):
        synthetic = np.mean([s.image for s in made if s.label == label], axis=(0, 1, 2))
        real = data.images()[data.labels == label].mean(axis=(0, 1, 2))
        assert np.abs(synthetic - real).max() < 20, (label, synthetic, real)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    fitted(tmp_path / "whole")
    ctx = FakeContext(tmp_path / "parts", interrupt_at=10)
    gan = ConditionalGAN(ConditionalGAN.Config(**TINY))
    with pytest.raises(Interrupt):
        gan.fit(two_class_data(), ctx)
    assert ctx.checkpoint is not None
    assert ctx.checkpoint["step"] == 5
    ctx.interrupt_at = None
    torch.manual_seed(99)
    gan.fit(two_class_data(), ctx)
    whole, parts = (load_file(tmp_path / f / WEIGHTS_FILE) for f in ("whole", "parts"))
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


@pytest.mark.parametrize("progressive", [False, True])
def test_grey_data_are_trained_with_one_channel(progressive: bool, tmp_path: Path) -> None:
    colour = two_class_data()
    grey = ArrayData(colour.images()[..., :1].repeat(3, axis=3), colour.labels)
    gan, ctx = fitted(tmp_path / "grey", grey, progressive=progressive, diffaug="color,translation,cutout")
    made = list(gan.synthesize(grey, {0: 2, 1: 2}, ctx.folder, ctx))
    assert all(s.image.shape == (32, 32, 3) and np.ptp(s.image, axis=2).max() == 0 for s in made)
    assert all(image.shape[-1] == 3 for _, _, image in ctx.images)
    gan, ctx = fitted(tmp_path / "three", grey, progressive=progressive, channels=3)
    made = list(gan.synthesize(grey, {0: 2}, ctx.folder, ctx))
    assert max(np.ptp(s.image, axis=2).max() for s in made) > 0


def test_an_image_does_not_depend_on_how_many_are_asked_for(tmp_path: Path) -> None:
    gan, ctx = fitted(tmp_path)
    few = list(gan.synthesize(two_class_data(), {1: 3}, tmp_path, ctx))
    many = list(gan.synthesize(two_class_data(), {0: 5, 1: 40}, tmp_path, ctx))
    assert [s.label for s in many] == [0] * 5 + [1] * 40
    ones = [s for s in many if s.label == 1]
    for a, b in zip(few, ones[:3], strict=True):
        assert a.seed == b.seed
        assert (a.image == b.image).all()
    assert len({s.seed for s in many}) == 45
    assert {s.source_path for s in many} == {None}
    assert ones[0].image.shape == (32, 32, 3)
    assert ones[0].image.dtype == np.uint8
    assert any((ones[0].image != s.image).any() for s in ones[1:])


def test_logs_losses_and_a_grid_of_each_class(tmp_path: Path) -> None:
    _, ctx = fitted(tmp_path, sample_every=6)
    assert [s for s, _ in ctx.history] == [5, 10, 12]
    assert set(ctx.history[0][1]) == {"loss/D", "loss/G", "score/real", "score/fake"}
    assert [(n, s) for n, s, _ in ctx.images] == [(f"class_{c}", s) for s in (6, 12) for c in (0, 1)]


@pytest.mark.parametrize("size", [16, 24, 40, 48, 64, 72, 96])
def test_networks_fit_every_multiple_of_eight(size: int) -> None:
    side, doublings = stages(size)
    assert side * 2**doublings == size
    images = Generator(3, size, 8, 4)(torch.randn(2, 8), torch.tensor([0, 2]))
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    assert Discriminator(3, size, 4)(images, torch.tensor([0, 2])).shape == (2,)


def test_both_networks_hear_the_label() -> None:
    G, D = Generator(2, 16, 8, 4).eval(), Discriminator(2, 16, 4).eval()
    z = torch.randn(1, 8)
    a, b = (G(z, torch.tensor([c])) for c in (0, 1))
    assert not torch.equal(a, b)
    assert D(a, torch.tensor([0])) != D(a, torch.tensor([1]))


def test_pixels_survive_the_way_there_and_back() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    x = to_float(torch.tensor(images))
    assert (x.min(), x.max()) == (-1, 1)
    assert (to_uint8(x) == images).all()


def test_images_of_an_odd_size_or_a_class_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got images of 20 px, expected a multiple of 8"):
        fitted(tmp_path, two_class_data(4, 20))
    with pytest.raises(DataError, match="no training image of class 'malignant'"):
        fitted(tmp_path, ArrayData(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(2)))


def test_diverging_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="lower learning_rate"):
        fitted(tmp_path, discriminator_learning_rate=1e30, learning_rate=1e30)


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"ema": 1.0}, {"fid_every": -1}, {"diffaug": "colour"}],
)
def test_values_out_of_range_are_config_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: got"):
        ConditionalGAN.Config(**options)


def test_a_config_without_wishes_has_the_key_that_it_had_before_there_were_any() -> None:
    Config = ConditionalGAN.Config
    assert stable_hash(Config()) == stable_hash(Config(progressive=False, fid_every=0)) == KEY_OF_OLD
    assert len({stable_hash(Config(**{**options})) for options in WISHES.values()} | {KEY_OF_OLD}) == len(WISHES) + 1


def attended(network: torch.nn.Module, *inputs: torch.Tensor) -> list[int]:
    """Return the sides of the maps that the network's attention saw."""
    seen: list[int] = []
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.register_forward_hook(lambda _, __, out: seen.append(out.shape[-1]))
    network(*inputs)
    return seen


@pytest.mark.parametrize(
    ("name", "size"), [*((name, 64) for name in WISHES), *product(("self_attention", "all"), (128, 256))]
)
def test_every_wish_makes_images_of_the_sizes_that_were_wished_for(name: str, size: int) -> None:
    options = {k: v for k, v in WISHES[name].items() if k != "fid_every"}
    config = ConditionalGAN.Config(filters=2, z_dim=4, **options)
    state = make_state(ConditionalGAN(config), 9, size, "cpu", seed=0)
    labels = torch.tensor([0, 8])
    images = state.G(torch.randn(2, 4), labels)
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    assert state.D(images, labels).shape == (2,)
    kinds = (ProgressiveGenerator, ProgressiveDiscriminator) if "progressive" in options else (Generator, Discriminator)
    discriminator = state.D.network if isinstance(state.D, AdaptiveDiscriminator) else state.D
    assert (type(state.G), type(discriminator)) == kinds
    for network in (state.G, state.D):
        attentions = [m for m in network.modules() if isinstance(m, SelfAttention)]
        assert len(attentions) == ("self_attention" in options)
        inputs = (torch.randn(2, 4),) if network is state.G else (images,)
        assert attended(network, *inputs, labels) == [32] * len(attentions)


@pytest.mark.parametrize("name", RESUMED)
def test_with_wishes_interrupted_and_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    options = {**TINY, **RESUMED[name]}
    gan = ConditionalGAN(ConditionalGAN.Config(**options))
    whole, parts = FakeContext(tmp_path / "whole"), FakeContext(tmp_path / "parts", interrupt_at=10)
    gan.fit(two_class_data(), whole)
    with pytest.raises(Interrupt):
        gan.fit(two_class_data(), parts)
    parts.interrupt_at = None
    torch.manual_seed(99)
    gan.fit(two_class_data(), parts)
    found = [load_file(c.folder / WEIGHTS_FILE) for c in (whole, parts)]
    assert found[0].keys() == found[1].keys()
    for key, tensor in found[0].items():
        assert torch.equal(tensor, found[1][key]), key
    images = [[s.image for s in gan.synthesize(two_class_data(), {1: 2}, c.folder, c)] for c in (whole, parts)]
    assert np.array_equal(images[0], images[1])
    assert images[0][0].shape == (32, 32, 3)


def test_growing_it_learns_which_colour_is_whose(tmp_path: Path) -> None:
    data = two_class_data(16, 32)
    rates = {"learning_rate": 2e-3, "discriminator_learning_rate": 2e-3}
    options = {"steps": 60, "batch_size": 8, "filters": 8, "z_dim": 16, "checkpoint_every": 200, **FAST, **rates}
    gan, ctx = fitted(tmp_path, data, **options, progressive=True, spectral_norm=True)
    made = list(gan.synthesize(data, {0: 8, 1: 8}, tmp_path, ctx))
    real = [data.images()[data.labels == label].mean(axis=(0, 1, 2)) for label in (0, 1)]
    for label in (0, 1):
        mean = np.mean([s.image for s in made if s.label == label], axis=(0, 1, 2))
        own, other = (np.linalg.norm(mean - real[c]) for c in (label, 1 - label))
        assert own < other / 2, (label, mean, real)


def test_fidelity_by_step_is_logged_and_changes_nothing_that_is_trained(tmp_path: Path) -> None:
    labels = np.array([0] * 30 + [1] * 10)
    data = ArrayData(two_class_data(40, 16).images(), labels)
    for name, every in (("without", 0), ("with", 5)):
        fitted(tmp_path / name, data, fid_every=every, batch_size=8)
    _, ctx = fitted(tmp_path / "again", data, fid_every=5, batch_size=8)
    without, scored = (load_file(tmp_path / f / WEIGHTS_FILE) for f in ("without", "with"))
    assert all(torch.equal(without[k], scored[k]) for k in without)
    logged = [(s, m) for s, m in ctx.history if "fidelity/kid_fake" in m]
    assert [s for s, _ in logged] == [5, 10, 12]
    assert all(m.keys() == {"fidelity/kid_fake", "fidelity/fid_fake"} for _, m in logged)
    assert len({m["fidelity/kid_fake"] for _, m in logged}) == 3
    for images, claimed in ctx.scored:
        assert images.shape == (40, 16, 16, 3)
        assert images.dtype == np.uint8
        assert np.array_equal(claimed, labels)


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 7, 60, 1000])
def test_every_size_gets_its_share_of_the_steps_and_fades_in_during_half_of_it(levels: int, steps: int) -> None:
    found = [growth(step, steps, levels) for step in range(steps)]
    assert (found[-1].level, found[-1].alpha) == (levels, 1)
    assert all(a.level <= b.level for a, b in pairwise(found))
    for level in {g.level for g in found}:
        share = [g for g in found if g.level == level]
        assert abs(len(share) - steps / levels) <= 1
        assert {g.start for g in share} == {found.index(share[0])}
        alphas = [g.alpha for g in share]
        assert alphas == sorted(alphas)
        assert min(alphas) > 0
        fading = sum(a < 1 for a in alphas)
        assert fading == 0 if level == 1 else abs(fading - len(share) / 2) <= 1


def test_a_size_begins_as_the_one_before_enlarged_and_ends_alone() -> None:
    torch.manual_seed(0)
    G, D = ProgressiveGenerator(2, 32, 8, 4, attention=True).eval(), ProgressiveDiscriminator(2, 32, 4, attention=True)
    for network in (G, D):
        network.attention.gamma.data.fill_(0.5)
    z, labels, images = torch.randn(3, 8), torch.tensor([0, 1, 1]), torch.rand(3, 3, 32, 32) * 2 - 1
    assert [ProgressiveGenerator(2, s, 8, 4).levels for s in (16, 24, 32, 64, 128, 256)] == [1, 2, 2, 3, 4, 5]
    with torch.no_grad():
        G.grow(1, 1.0)
        D.grow(1, 1.0)
        small = G(z, labels)
        halved = torch.nn.functional.avg_pool2d(images, 2)
        score = D(halved, labels)
        assert small.shape == (3, 3, 16, 16)
        G.grow(2, 0.0)
        D.grow(2, 0.0)
        torch.testing.assert_close(G(z, labels), small.repeat_interleave(2, 2).repeat_interleave(2, 3))
        torch.testing.assert_close(D(images, labels), score)
        G.grow(2, 1.0)
        D.grow(2, 1.0)
        assert not torch.allclose(G(z, labels), small.repeat_interleave(2, 2).repeat_interleave(2, 3))
        enlarged = halved.repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(at_growth(images, Growth(1, 1.0, 0), 2), halved)
        torch.testing.assert_close(at_growth(images, Growth(2, 0.25, 0), 2), 0.75 * enlarged + 0.25 * images)
        assert at_growth(images, Growth(2, 1.0, 0), 2) is images


def test_layers_of_a_size_to_come_are_not_trained_yet() -> None:
    config = ConditionalGAN.Config(**{**TINY, "progressive": True})
    gan = ConditionalGAN(config)
    state = make_state(gan, 2, 32, "cpu", seed=0)
    before = {k: v.clone() for k, v in state.G.state_dict().items()}
    train_step(gan, state, training_images(gan, two_class_data(), "cpu"), 0, 0)
    after = state.G.state_dict()
    changed = {name for name, _ in state.G.named_parameters() if not torch.equal(before[name], after[name])}
    assert {"to_rgb.0.weight", "ups.0.weight", "dense.weight"} <= changed
    assert not {n for n in changed if n.startswith(("to_rgb.1", "ups.1", "modulations.2"))}
    with pytest.raises(ConfigError, match="set progressive to false"):
        gan.training_steps(32, 4, "cpu")


def test_attention_is_the_formula_of_the_paper_and_begins_as_nothing() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16), torch.randn(2, 16, 3, 4)
    assert torch.equal(layer(x), x)
    layer.gamma.data.fill_(0.7)
    wf, wg, wh, wv = (c.weight[:, :, 0, 0] for c in (layer.key, layer.query, layer.value, layer.out))
    for image, got in zip(x, layer(x), strict=True):
        places = image.flatten(1).T  # [12, 16]
        for j, place in enumerate(places):
            s = torch.stack([(wf @ other) @ (wg @ place) for other in places])
            beta = s.exp() / s.exp().sum()
            o = wv @ sum(b * (wh @ other) for b, other in zip(beta, places, strict=True))
            torch.testing.assert_close(got.flatten(1)[:, j], 0.7 * o + place)
    assert [attended_side(map_sides(s)) for s in (16, 32, 64, 72, 128, 256, 264)] == [8, 16, 32, 18, 32, 32, 33]


def test_spectral_norm_holds_every_weight_of_the_discriminator_at_one() -> None:
    torch.manual_seed(0)
    kinds: tuple[type[Discriminator | ProgressiveDiscriminator], ...] = (Discriminator, ProgressiveDiscriminator)
    for D in (kind(3, 32, 4, attention=True, spectral=True) for kind in kinds):
        x, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 2])
        for _ in range(30):  # a power iteration each
            D(x, labels)
        layers = [m for m in D.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.Embedding))]
        largest = [torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() for m in layers]
        assert len(layers) >= 9
        assert largest == pytest.approx([1] * len(layers), abs=0.02)
        assert not [m for m in D.modules() if isinstance(m, torch.nn.InstanceNorm2d)]


def test_serves_any_number_of_classes() -> None:
    gan = ConditionalGAN(ConditionalGAN.Config())
    gan.check([str(i) for i in range(9)])
    with pytest.raises(ConfigError, match="no classes"):
        gan.check([])

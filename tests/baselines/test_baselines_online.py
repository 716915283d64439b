"""none, oversample and classical: what they draw, what they keep, and that every image gets its own change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from skimage.color import hed_from_rgb

from baselines.classical import HED, Classical, jitter_stain, orient, rotate_and_zoom
from baselines.classical import _Draws as Draws
from baselines.none import NoAugmentation
from baselines.oversample import Oversample
from bench.errors import ConfigError
from bench.suite.suite import parse_suite

TARGETS = torch.eye(2)[torch.arange(8) % 2]
OFF: dict[str, Any] = {
    "orientation": "none",
    "rotate_deg": 0,
    "zoom": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "stain": 0,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tissue(n: int = 8, size: int = 32, same: bool = False) -> torch.Tensor:
    x = torch.rand(1 if same else n, 3, size, size, generator=generator(1)) * 0.6 + 0.3
    return x.expand(n, -1, -1, -1).clone()


def classical(images: torch.Tensor, seed: int = 0, **options: Any) -> torch.Tensor:
    return Classical(Classical.Config(**options)).transform(images, TARGETS, generator(seed))[0]


def test_none_changes_nothing() -> None:
    arm, x = NoAugmentation(NoAugmentation.Config()), tissue()
    images, targets = arm.transform(x, TARGETS, generator())
    assert torch.equal(images, x)
    assert torch.equal(targets, TARGETS)
    assert arm.sampling_weights(np.array([0, 1])) is None


def test_oversample_gives_every_class_the_same_weight() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [3])
    weights = Oversample(Oversample.Config()).sampling_weights(labels)
    assert [weights[labels == c].sum() for c in (0, 1, 3)] == pytest.approx([1, 1, 1])
    assert len(set(weights[labels == 0])) == 1


def test_oversample_draws_classes_equally_often() -> None:
    from bench.classifiers.batches import BatchOrder

    labels = np.array([0] * 90 + [1] * 10)
    order = BatchOrder(100, 50, 0, Oversample(Oversample.Config()).sampling_weights(labels))
    drawn = labels[torch.cat([order.indices(s) for s in range(100)])]
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)


def test_classical_keeps_shape_range_targets_and_its_input() -> None:
    x = torch.cat([tissue(6), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)])
    before = x.clone()
    arm = Classical(Classical.Config(brightness=0.5, contrast=0.5, saturation=0.9, stain=0.5))
    images, targets = arm.transform(x, TARGETS, generator())
    assert images.shape == x.shape
    assert images.dtype == torch.float32
    assert torch.isfinite(images).all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(targets, TARGETS)
    assert torch.equal(x, before)


def test_classical_is_drawn_from_the_generator_only() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = classical(tissue(), seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(classical(tissue(), seed=3), first)
    assert not torch.equal(classical(tissue(), seed=4), first)


@pytest.mark.parametrize("part", [k for k in OFF if k != "orientation"])
def test_every_image_of_a_batch_gets_its_own_draw(part: str) -> None:
    images = classical(tissue(same=True), **{**OFF, part: 30.0 if part == "rotate_deg" else 0.3})
    for i in range(8):
        for j in range(i):
            assert not torch.equal(images[i], images[j])


def test_all_off_is_the_identity() -> None:
    torch.testing.assert_close(classical(tissue(), **OFF), tissue(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("how", "count"), [("any", 8), ("mirror", 2), ("none", 1)])
def test_orientations_are_the_symmetries_of_the_square(how: str, count: int) -> None:
    x = tissue(1, 8).expand(400, -1, -1, -1)
    out = orient(x, Draws(x, generator()), how)
    kinds, frequency = torch.unique(out.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == count
    assert frequency.min() > 400 / count * 0.5
    assert torch.equal(out.flatten(1).sort(dim=1).values[0], x[0].flatten().sort().values)  # pixels only move


def test_a_quarter_turn_by_interpolation_is_a_quarter_turn() -> None:
    x = tissue(2, 17)
    turned = rotate_and_zoom(x, torch.tensor([90.0, -90.0]), torch.ones(2))
    torch.testing.assert_close(turned[0], torch.rot90(x[0], 1, (1, 2)), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned[1], torch.rot90(x[1], -1, (1, 2)), atol=1e-4, rtol=0)


def test_zoom_magnifies_about_the_centre() -> None:
    disc = ((torch.arange(64) - 31.5) ** 2)[:, None] + ((torch.arange(64) - 31.5) ** 2) < 10**2
    x = disc.float().expand(1, 3, 64, 64)
    area = rotate_and_zoom(x, torch.zeros(1), torch.tensor([1.5])).sum() / x.sum()
    assert area == pytest.approx(1.5**2, rel=0.05)


def test_stain_jitter_scales_the_density_of_one_stain() -> None:
    x = tissue(1)
    factor = torch.tensor([[1.2, 1.0, 1.0]]).view(1, 3, 1, 1)
    out = jitter_stain(x, factor, torch.zeros(1, 3, 1, 1))
    stains = np.array(HED) / np.linalg.norm(HED, axis=1, keepdims=True)
    apart = [-np.log(i[0].permute(1, 2, 0).numpy().astype(np.float64)) @ np.linalg.inv(stains) for i in (x, out)]
    inside = (out > 0).all(dim=1)[0].numpy() & (out < 1).all(dim=1)[0].numpy()
    np.testing.assert_allclose(apart[1][inside], (apart[0] * [1.2, 1, 1])[inside], atol=1e-4)


def test_stains_are_those_of_ruifrok_and_johnston() -> None:
    published = np.linalg.inv(hed_from_rgb)  # skimage's third row is DAB, which stands for the residual
    rows = np.array(HED)
    np.testing.assert_allclose(published[:2] / published[0, 0] * rows[0, 0], rows[:2], atol=0.02)


@pytest.mark.parametrize("options", [{"orientation": "up"}, {"rotate_deg": 181.0}, {"zoom": 1.0}, {"stain": -0.1}])
def test_strengths_out_of_range_are_config_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: got"):
        Classical.Config(**options)


def test_orientations_depend_on_the_modality_and_the_suite_has_priority() -> None:
    def config(dataset: str, **own: object) -> Any:
        data = {"dataset": {"name": dataset}, "methods": {"none": {}, "classical": own}}
        return parse_suite("made_up", {**data, "classifiers": {"small_cnn": {}}}).method("classical").config

    chest, cells, tissue = config("chest_xray"), config("malaria"), config("breakhis")
    assert (chest.orientation, chest.saturation, chest.stain) == ("mirror", 0.0, 0.0)
    assert (cells.orientation, cells.stain) == ("any", 0.0)
    assert tissue == type(tissue)()
    assert config("chest_xray", orientation="none").orientation == "none"
    upright = torch.zeros(1, 3, 16, 16)
    upright[..., :4, :] = 1.0  # bright at the top
    moved = [
        Classical(replace(chest, rotate_deg=0.0, zoom=0.0)).transform(
            upright, torch.eye(2)[:1], torch.Generator().manual_seed(seed)
        )[0]
        for seed in range(20)
    ]
    assert all(image[..., 0, :].mean() > image[..., -1, :].mean() for image in moved)

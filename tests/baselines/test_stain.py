"""Stain: colour spaces of scikit-image, known stains are found, glass stays glass, statistics of training patients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData
from skimage import color
from toy import write_suite

from baselines import macenko, stain_colours
from baselines.classical import HED, jitter_stain
from baselines.stain import Stain
from bench.classifiers import trainer
from bench.engine.session import prepare
from bench.errors import ConfigError, DataError, LeakageError
from bench.leakage import FittedStatistics
from bench.plan.make import make_plan
from bench.stages import STAGE
from bench.stages.augmentation import STATISTICS, augmenter_of, prepared
from bench.stages.common import Inputs
from bench.stages.context import CellContext
from bench.suite.suite import parse_suite
from bench.types import DatasetIndex, ImageRecord

TARGETS = torch.eye(2)[torch.arange(8) % 2]
# Haematoxylin and eosin of one laboratory, and of another; each absorbs in every channel, as tissue must for Macenko.
STAINS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
OTHER = np.array([[0.65, 0.70, 0.30], [0.30, 0.90, 0.32]]) / [[1.0014], [1.0012]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiles(n: int = 8, vectors: np.ndarray = STAINS, strength: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Tiles float [n, 3, 32, 32] of two stains in random amounts, a tenth of the pixels with one stain only."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.5, 1.5, (n, 32 * 32, 2))
    amounts[:, :100, 0] = 0.0
    amounts[:, 100:200, 1] = 0.0
    amounts[:, :200] *= 1.5
    pixels = (240 * np.exp(-strength * amounts @ vectors) - 1) / 255
    return torch.tensor(pixels.clip(0, 1), dtype=torch.float32).permute(0, 2, 1).reshape(n, 3, 32, 32)


def as_data(images: torch.Tensor) -> ArrayData:
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return ArrayData(pixels, np.arange(len(pixels)) % 2)


def fitted(mode: str, images: torch.Tensor, **options: Any) -> Stain:
    method = Stain(Stain.Config(mode=mode, **options))
    method.use_statistics(json.loads(json.dumps(method.fit_statistics(as_data(images)))))
    return method


GLASS = torch.cat([torch.ones(2, 3, 32, 32), torch.full((2, 3, 32, 32), 0.96)])
BLACK_AND_ONE_COLOUR = torch.cat([torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.4)])


@pytest.mark.parametrize(
    ("there", "back", "reference"),
    [
        (stain_colours.rgb_to_lab, stain_colours.lab_to_rgb, color.rgb2lab),
        (stain_colours.rgb_to_hsv, stain_colours.hsv_to_rgb, color.rgb2hsv),
        (stain_colours.rgb_to_hed, stain_colours.hed_to_rgb, None),
    ],
    ids=["lab", "hsv", "hed"],
)
def test_colour_spaces_are_those_of_scikit_image(there: Any, back: Any, reference: Any) -> None:
    rgb = torch.rand(4, 3, 16, 16, generator=generator()).clamp_min(1 / 255)
    rgb[:, :, 0, 0] = 0.5  # grey
    torch.testing.assert_close(back(there(rgb)), rgb, atol=1e-5, rtol=0)
    if reference is not None:
        expected = reference(rgb.permute(0, 2, 3, 1).double().numpy())
        np.testing.assert_allclose(there(rgb).permute(0, 2, 3, 1).numpy(), expected, atol=1e-4)


def test_the_densities_of_pure_dyes_are_found_in_hed() -> None:
    stains = np.array(HED) / np.linalg.norm(HED, axis=1, keepdims=True)
    dyes = torch.tensor(np.exp(-stains)).float().T.view(1, 3, 1, 3)
    torch.testing.assert_close(stain_colours.rgb_to_hed(dyes)[0, :, 0], torch.eye(3), atol=1e-5, rtol=0)


def test_macenko_finds_the_stains_of_a_tile() -> None:
    found = macenko.find_stains(macenko.optical_density(tiles()))
    assert found.found.all()
    np.testing.assert_allclose(found.vectors.numpy(), np.broadcast_to(STAINS, (8, 2, 3)), atol=0.02)


def test_macenko_gives_every_tile_the_stain_of_the_training_images() -> None:
    same_amounts = tiles(vectors=OTHER, strength=0.8, seed=1)
    method = fitted("macenko", tiles(seed=1))
    made = method.prepare(same_amounts)
    assert (same_amounts - tiles(seed=1)).abs().mean() > 0.05
    assert (made - tiles(seed=1)).abs().mean() < 0.01
    torch.testing.assert_close(method.prepare(same_amounts[3:4]), made[3:4], atol=1e-5, rtol=0)
    images, targets = method.transform(made, TARGETS, generator())
    assert torch.equal(images, made)
    assert torch.equal(targets, TARGETS)


@pytest.mark.parametrize("mode", ["hed_jitter", "randstainna", "macenko"])
def test_glass_stays_glass_and_odd_tiles_stay_finite(mode: str) -> None:
    method = fitted(mode, torch.cat([tiles(), GLASS, BLACK_AND_ONE_COLOUR]))
    odd = torch.cat([GLASS, BLACK_AND_ONE_COLOUR, tiles(2)])
    made = method.prepare(method.transform(odd, TARGETS, generator())[0])
    assert torch.equal(made[:4], GLASS)
    assert torch.isfinite(made).all()
    assert made.min() >= 0
    assert made.max() <= 1
    assert made.dtype == odd.dtype


def test_training_images_of_glass_are_refused_where_statistics_are_needed() -> None:
    for mode in ("randstainna", "macenko"):
        with pytest.raises(DataError, match=r"none of the 4 training images has tissue"):
            fitted(mode, GLASS)
        with pytest.raises(ConfigError, match="no statistics"):
            Stain(Stain.Config(mode=mode)).transform(tiles(), TARGETS, generator())[0] if mode == "randstainna" else (
                Stain(Stain.Config(mode=mode)).prepare(tiles())
            )


def test_hed_jitter_is_that_of_classical() -> None:
    made, _ = Stain(Stain.Config(strength=0.1)).transform(tiles(), TARGETS, generator(3))
    draws = (2 * torch.rand(2, 8, 3, 1, 1, generator=generator(3)) - 1) * 0.1
    assert torch.equal(made, jitter_stain(tiles(), 1 + draws[0], draws[1]))
    assert len({image.numpy().tobytes() for image in made}) == 8


def test_randstainna_draws_channel_statistics_of_the_training_images() -> None:
    """Without spread each image gets the mean statistics, in one of three colour spaces."""
    training = torch.cat([tiles(seed=s, strength=0.6 + 0.1 * s) for s in range(8)])
    method = fitted("randstainna", training, spread=0.0)
    tile = tiles(1, strength=1.2).expand(8, -1, -1, -1)
    kinds = torch.cat([method.transform(tile, TARGETS, generator(s))[0] for s in range(3)])
    different = torch.unique((kinds.flatten(1) * 1e4).round(), dim=0)
    assert len(different) == 3
    means = torch.stack([stain_colours.rgb_to_lab(k[None]).mean(dim=(0, 2, 3)) for k in kinds])
    wanted = torch.tensor(method.fit_statistics(as_data(training))["lab"]["mean"][:3])
    assert (means - wanted).abs().sum(dim=1).min() < 1.0
    varied = fitted("randstainna", training).transform(tile, TARGETS, generator())[0]
    assert len({image.numpy().tobytes() for image in varied}) == 8


def test_grey_data_sets_are_refused_when_a_run_is_planned(tmp_path: Path) -> None:
    data = {"dataset": {"name": "phantom"}, "methods": {"none": {}, "stain_hed": {"use": "stain"}}, "classifiers": {}}
    records = tuple(ImageRecord(f"{i}.png", i % 2, f"p{i}", f"{i:064x}") for i in range(20))
    grey = DatasetIndex("made_up", tmp_path, ("a", "b"), records, grey=True)
    with pytest.raises(ConfigError, match=r"stain_hed: the images are grey .*\n.*--set methods\.stain_hed=false"):
        make_plan(parse_suite("made_up", data), grey)


@pytest.mark.parametrize("options", [{"mode": "reinhard"}, {"strength": 1.0}, {"spread": -1.0}])
def test_settings_out_of_range_are_config_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: got"):
        Stain.Config(**options)


def test_the_classifier_gets_normalised_images_and_statistics_of_training_patients_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in training and in tests; statistics of other patients are refused."""
    suite = write_suite(
        tmp_path / "stained.yaml",
        dataset={"name": "phantom", "patients": 8, "images_per_patient": 2, "image_size_px": 32},
        image_size_px=32,
        methods={"none": {}, "macenko": {"use": "stain", "mode": "macenko"}},
        classifiers={"linear_probe": {"input_size_px": 32, "pretrained": False, "steps": 20}},
        explain={"images_per_class": 0},
    )
    given: list[np.ndarray] = []
    train, predict = trainer.train_classifier, trainer.predict

    def watched_train(network: Any, training: Any, validation: Any, *rest: Any) -> Any:
        given.extend((training.images, validation.images))
        return train(network, training, validation, *rest)

    def watched_predict(network: Any, images: np.ndarray, *rest: Any) -> Any:
        given.append(images)
        return predict(network, images, *rest)

    monkeypatch.setattr(trainer, "train_classifier", watched_train)
    monkeypatch.setattr(trainer, "predict", watched_predict)
    session = prepare(str(suite), (), None, tmp_path / "out")
    env, cells = session.env, session.plan.cells
    classify = next(c for c in cells if c.stage == "classify" and c.method == "macenko")
    for stage, cell in (("split", next(c for c in cells if c.stage == "split")), ("classify", classify)):
        folder = tmp_path / "out" / "cells" / stage / cell.key
        folder.mkdir(parents=True)
        STAGE[stage](cell, env, CellContext(folder, "cpu", 0, None))
    fold, method = Inputs(classify, env).fold(), env.suite.method("macenko")
    stored = FittedStatistics.load(folder / STATISTICS)
    assert stored.source_images.groups == {r.group_id for r in fold.training.records}
    assert stored.values == json.loads(json.dumps(method.create().fit_statistics(fold.training)))
    augmenter = augmenter_of(method, fold, folder)
    for part, *seen in (("train", 0), ("validation", 1, 2), ("test", 3)):
        images = prepared(augmenter, fold.part(part).images, "cpu")
        assert (images != fold.part(part).images).any()
        assert all((given[i] == images).all() for i in seen)
    leaked = [*stored.source_images.groups, fold.part("test").groups[0]]
    (folder / STATISTICS).write_text(
        json.dumps({"what": "the statistics of macenko", "values": stored.values, "groups": leaked})
    )
    with pytest.raises(LeakageError, match="statistics of macenko used groups of the test part"):
        augmenter_of(method, fold, folder)

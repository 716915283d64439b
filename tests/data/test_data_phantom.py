"""The phantom: deterministic, atomic, plausible as tissue, and controlled by its parameters."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.records import fingerprint
from bench.data.sets.phantom import Phantom, PhantomConfig
from bench.data.sets.phantom_nuclei import Nuclei, draw
from bench.data.sets.phantom_optics import draw_look, photograph
from bench.data.sets.phantom_tissue import Biology, grow
from bench.data.split_config import SplitConfig
from bench.data.splits import make_splits
from bench.errors import ConfigError
from bench.types import DatasetIndex

SMALL = PhantomConfig(image_size_px=48, patients=6, images_per_patient=4)
AVERAGE = Biology(*([1.0] * 8))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DatasetIndex:
    return Phantom(SMALL).index(None, tmp_path_factory.mktemp("phantom"))


def pixels(index: DatasetIndex, path: str) -> np.ndarray:
    return np.asarray(Image.open(index.root / path))


def test_layout_masks_and_groups(made: DatasetIndex) -> None:
    assert made.classes == ("benign", "malignant")
    assert made.problems == ()
    for record in made.records:
        name, patient, _ = record.path.split("/")
        assert made.classes[record.label] == name
        assert record.group_id == patient
        assert record.mask_paths == (f"masks/{record.path}",)
        image, mask = pixels(made, record.path), pixels(made, record.mask_paths[0])
        assert image.shape == (48, 48, 3)
        assert mask.shape == (48, 48)
        assert mask.dtype == np.uint16
    assert {r.group_id for r in made.records} == {f"P{i:03d}" for i in range(1, 7)}


def test_the_same_config_draws_the_same_images_anywhere(made: DatasetIndex, tmp_path: Path) -> None:
    again = Phantom(SMALL).index(Path("/ignored"), tmp_path)
    assert again.root != made.root
    assert fingerprint(again) == fingerprint(made)
    few = dataclasses.replace(SMALL, seed=1, images_per_patient=1, images_spread=0.0)  # the first of each patient
    other = Phantom(few).index(None, tmp_path)
    assert other.root != again.root
    assert not {r.sha256 for r in other.records} & {r.sha256 for r in again.records}


def test_a_second_index_draws_nothing(made: DatasetIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Phantom, "image", lambda *a: pytest.fail("drawn again"))
    assert Phantom(SMALL).index(None, made.root.parent) == made


def test_an_interrupted_set_is_not_used(made: DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = Phantom.image, [5]

    def interrupted(*args: object) -> object:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Phantom, "image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Phantom(SMALL).index(None, tmp_path)
    monkeypatch.setattr(Phantom, "image", real)
    assert fingerprint(Phantom(SMALL).index(None, tmp_path)) == fingerprint(made)


def test_a_set_that_lost_a_file_is_drawn_again(made: DatasetIndex, tmp_path: Path) -> None:
    shutil.copytree(made.root, tmp_path / made.root.name)
    (tmp_path / made.root.name / made.records[0].path).unlink()
    assert fingerprint(Phantom(SMALL).index(None, tmp_path)) == fingerprint(made)


def test_images_do_not_depend_on_how_many_there_are(made: DatasetIndex, tmp_path: Path) -> None:
    more = Phantom(dataclasses.replace(SMALL, images_per_patient=6, images_spread=0.0)).index(None, tmp_path)
    known = {r.path.split("/", 1)[1]: r.sha256 for r in more.records}
    same = [known[key] == r.sha256 for r in made.records if (key := r.path.split("/", 1)[1]) in known]
    assert len(same) >= 20
    assert all(same)


def test_balance_patients_and_spread(tmp_path: Path) -> None:
    config = PhantomConfig(
        image_size_px=32, patients=8, malignant_fraction=0.75, images_per_patient=2, images_spread=0.0
    )
    index = Phantom(config).index(None, tmp_path)
    groups = {r.group_id: r.label for r in index.records}
    assert len(groups) == 8
    assert sum(groups.values()) == 6
    assert len(index.records) == 16
    spread = Phantom(dataclasses.replace(config, images_spread=0.7)).index(None, tmp_path)
    counts = {g: sum(r.group_id == g for r in spread.records) for g in groups}
    assert len(set(counts.values())) > 1
    assert min(counts.values()) >= 1


def test_the_default_can_be_split_in_five_folds(tmp_path: Path) -> None:
    names = PhantomConfig()
    patients = [Phantom(names).patient(i) for i in range(names.patients)]
    assert sum(p.label for p in patients) == 10
    assert all(8 <= p.images <= 12 for p in patients)
    index = Phantom(dataclasses.replace(names, image_size_px=32, images_per_patient=1)).index(None, tmp_path)
    assert len(make_splits(index, SplitConfig(folds=5))) == 5


@pytest.mark.parametrize(
    "wrong",
    [{"difficulty": 1.5}, {"patients": 1}, {"malignant_fraction": 0}, {"image_size_px": 8}, {"stain_variation": -1}],
)
def test_config_is_checked(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="phantom"):
        PhantomConfig(**wrong)


def test_nuclei_are_dark_and_purple_and_where_the_mask_says(made: DatasetIndex) -> None:
    contrast, blueness = [], []
    for record in made.records:
        image, inside = pixels(made, record.path).astype(float), pixels(made, record.mask_paths[0]) > 0
        if 0.02 < inside.mean() < 0.9:
            contrast.append(image[~inside].mean() - image[inside].mean())
            ratio = image[..., 2] / (image[..., 0] + 1)
            blueness.append(ratio[inside].mean() - ratio[~inside].mean())
    assert len(contrast) > 15
    assert np.mean(np.array(contrast) > 10) > 0.9
    assert np.mean(np.array(blueness) > 0) > 0.9


def test_the_colours_are_those_of_haematoxylin_and_eosin(made: DatasetIndex) -> None:
    mean = np.mean([pixels(made, r.path).reshape(-1, 3).mean(axis=0) for r in made.records], axis=0)
    red, green, blue = mean
    assert green < red - 20  # both dyes absorb green most
    assert green < blue - 20
    brightest = np.mean([np.quantile(pixels(made, r.path), 0.99) for r in made.records])
    assert brightest > 200  # there is light where nothing is stained


def test_atypia_makes_nuclei_larger_and_more_varied() -> None:
    def nuclear(atypia: float) -> tuple[float, float, float]:
        share, area, variation = [], [], []
        for seed in range(12):
            mask = grow(AVERAGE, atypia, 96, np.random.default_rng(seed)).mask
            areas = np.bincount(mask.ravel())[1:]
            areas = areas[areas > 4]
            share.append((mask > 0).mean())
            area.append(areas.mean())
            variation.append(areas.std() / areas.mean())
        return float(np.mean(share)), float(np.mean(area)), float(np.mean(variation))

    low, high = nuclear(0.1), nuclear(0.9)
    assert high[0] > 1.5 * low[0]  # denser
    assert high[1] > 1.2 * low[1]  # larger
    assert high[2] > low[2]  # pleomorphic


def test_difficulty_brings_the_classes_together() -> None:
    def apart(difficulty: float) -> float:
        config = PhantomConfig(patients=40, difficulty=difficulty)
        patients = [Phantom(config).patient(i) for i in range(40)]
        low, high = ([p.trait for p in patients if p.label == y] for y in (0, 1))
        return float((np.mean(high) - np.mean(low)) / (np.std(low) + np.std(high)))

    values = [apart(d) for d in (0.0, 0.5, 1.0)]
    assert values[0] > values[1] > values[2]
    assert values[2] < 1


def test_patients_differ_in_appearance() -> None:
    """Mean colours differ more between patients than between images of one patient, whose tissue differs too."""

    grown = []
    for at in itertools.product(range(8), range(6)):
        rng = np.random.default_rng(at)
        grown.append((grow(AVERAGE, 0.5, 48, rng), rng))

    def colours(variation: float) -> np.ndarray:
        looks = [draw_look(np.random.default_rng(patient), variation) for patient in range(8) for _ in range(6)]
        seen = [
            photograph(dyes.haematoxylin, dyes.eosin, look, copy.deepcopy(rng)).reshape(-1, 3).mean(axis=0)
            for look, (dyes, rng) in zip(looks, grown, strict=True)
        ]
        return np.array(seen).reshape(8, 6, 3)

    varied, alike = colours(1.0), colours(0.0)
    between, within = varied.mean(axis=1).std(axis=0).mean(), varied.std(axis=1).mean()
    assert between > 1.2 * within
    assert alike.mean(axis=1).std(axis=0).mean() < 0.6 * between


def test_other_sizes_show_the_same_field_of_view() -> None:
    def covered(size: int) -> float:
        masks = [grow(AVERAGE, 0.6, size, np.random.default_rng(s)).mask > 0 for s in range(10)]
        return float(np.mean(masks))

    assert covered(64) == pytest.approx(covered(128), rel=0.2)


def test_a_nucleus_is_drawn_at_its_position() -> None:
    def column(*values: float) -> np.ndarray:
        return np.array(values)

    nuclei = Nuclei(
        x=column(10.3, 40.2, 500.0),
        y=column(20.4, 30.3, 500.0),
        long=column(5.0, 4.0, 3.0),
        short=column(3.0, 4.0, 3.0),
        angle=column(0.0, 0.0, 0.0),
        dark=column(1.0, 1.0, 1.0),
        clumps=column(0.0, 0.0, 0.0),
        bumps=column(0.0, 0.0, 0.0),
        nucleolus=column(0.0, 0.0, 0.0),
    )
    cover, dye, mask = draw(nuclei, 48, np.random.default_rng(0))
    assert set(np.unique(mask)) == {0, 1, 2}
    assert (mask == 1).sum() == pytest.approx(np.pi * 15, rel=0.12)
    assert (mask == 2).sum() == pytest.approx(np.pi * 16, rel=0.12)
    y, x = np.nonzero(mask == 1)
    assert (x.mean(), y.mean()) == pytest.approx((10.3, 20.4), abs=0.2)
    assert x.max() - x.min() > y.max() - y.min()
    assert cover[20, 10] == pytest.approx(1)
    assert dye[20, 10] == pytest.approx(1)
    assert cover[0, 0] == 0


def test_without_nuclei_nothing_is_drawn() -> None:
    cover, _, mask = draw(Nuclei(*(np.zeros(0) for _ in range(9))), 32, np.random.default_rng(0))
    assert cover.max() == 0
    assert mask.max() == 0

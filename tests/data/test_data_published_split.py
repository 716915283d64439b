"""The published split: sizes by class, shared patients in fold 0, disjoint in fold 1; other checks stay as strict."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from data_sets import made_up_index, two_classes

from bench.config import stable_hash
from bench.data.cache import ImageCache
from bench.data.loaders import FoldData, check_generator
from bench.data.published_split import by_unit
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.split_config import SplitConfig
from bench.data.splits import PARTS, check_split, load_split, make_splits, save_split
from bench.errors import ConfigError, DataError, LeakageError
from bench.types import DatasetIndex, Split

COUNTS = [[9, 0]] * 6 + [[0, 7]] * 8
CONFIG = SplitConfig(protocol="published", train_per_class=20, validation_per_class=5, test_per_class=6, repeats=3)
WANTED = {"train": 20, "validation": 5, "test": 6}


@pytest.fixture
def index() -> DatasetIndex:
    return made_up_index(COUNTS)


@pytest.fixture
def folds(index: DatasetIndex) -> list[Split]:
    return make_splits(index, CONFIG)


def test_each_draw_is_made_twice_with_the_sizes_that_were_asked_for(index: DatasetIndex, folds: list[Split]) -> None:
    record = index.by_path()
    assert [(s.fold, s.repeat, s.unit) for s in folds] == [
        (f, r, u) for r in range(3) for f, u in enumerate(("image", "group"))
    ]
    for split in folds:
        for part, n in WANTED.items():
            assert Counter(record[p].label for p in getattr(split, part)) == {0: n, 1: n}
        paths = [p for part in (*PARTS, "unused") for p in getattr(split, part)]
        assert sorted(paths) == sorted(record), "every image is somewhere, once"


def test_patients_are_shared_in_fold_0_and_apart_in_fold_1(index: DatasetIndex, folds: list[Split]) -> None:
    group = {r.path: r.group_id for r in index.records}
    for split in folds:
        train, validation, test = ({group[p] for p in getattr(split, part)} for part in PARTS)
        if split.unit == "image":
            assert len(train & test) >= 4, "nearly every test patient is trained on"
        else:
            assert len(train | validation | test) == len(train) + len(validation) + len(test)


def test_the_draw_depends_on_seed_and_repeat_only(index: DatasetIndex, folds: list[Split]) -> None:
    backwards = dataclasses.replace(index, records=index.records[::-1])
    assert make_splits(backwards, CONFIG) == folds
    assert len({s.test for s in folds}) == len(folds)
    assert make_splits(index, dataclasses.replace(CONFIG, seed=1))[0].test != folds[0].test


def test_a_few_test_images_come_from_many_patients_where_there_are_many() -> None:
    index = made_up_index([[30, 0]] * 20 + [[0, 30]] * 20)
    split = make_splits(index, dataclasses.replace(CONFIG, train_per_class=100, test_per_class=10, repeats=1))[1]
    assert len({index.by_path()[p].group_id for p in split.test}) >= 8


def test_too_few_images_or_patients_say_so() -> None:
    with pytest.raises(DataError, match="31 images of each class; c0 has 30"):
        make_splits(made_up_index([[5, 0]] * 6 + [[0, 7]] * 8), CONFIG)
    two_patients = made_up_index([[50, 0]] * 2 + [[0, 7]] * 8)
    with pytest.raises(DataError, match="whole groups"):
        make_splits(two_patients, CONFIG)
    with pytest.raises(ConfigError, match="test_per_class"):
        SplitConfig(protocol="published", test_per_class=0)


def test_other_protocols_may_not_share_patients_or_omit_images(index: DatasetIndex) -> None:
    split = make_splits(index, SplitConfig(folds=3))[0]
    for change in ({"unit": "image"}, {"unused": split.test[:1], "test": split.test[1:]}):
        with pytest.raises(LeakageError, match="kfold keeps patients apart and uses every image"):
            check_split(dataclasses.replace(split, **change), index)


def test_leakage_checks_apply_to_image_level_splits(index: DatasetIndex, folds: list[Split]) -> None:
    split = folds[0]
    fold_parts = check_split(split, index)
    with pytest.raises(LeakageError, match="in train and again in test"):
        check_split(dataclasses.replace(split, test=(*split.test, split.train[0])), index)
    with pytest.raises(DataError, match="1 images are in no part"):
        check_split(dataclasses.replace(split, unused=split.unused[1:]), index)
    with pytest.raises(DataError, match="1 images are in no part"):
        check_split(dataclasses.replace(split, test=split.test[1:]), index)
    check_generator(Path("fit"), split.train, fold_parts)
    with pytest.raises(LeakageError, match="groups of the test part"):
        check_generator(Path("fit"), [*split.train, split.test[0]], fold_parts)
    with pytest.raises(LeakageError, match="not in this fold"):
        check_generator(
            Path("fit"), [index.by_path()[split.train[0]].group_id], fold_parts
        )  # a patient is not an image
    strict = folds[1]
    other = next(p for p in strict.unused if p.split("_")[0] == strict.test[0].split("_")[0])
    unused = tuple(p for p in strict.unused if p != other)
    with pytest.raises(LeakageError, match="a patient must be in one part only"):
        check_split(dataclasses.replace(strict, train=(*strict.train, other), unused=unused), index)


def test_copies_under_other_names_do_not_cross_parts(index: DatasetIndex) -> None:
    split = make_splits(index, CONFIG)[0]
    sha = index.by_path()[split.train[0]].sha256
    records = [dataclasses.replace(r, sha256=sha) if r.path == split.test[0] else r for r in index.records]
    doubled = dataclasses.replace(index, records=tuple(records))
    from bench.data.records import fingerprint

    with pytest.raises(LeakageError, match="exact duplicates"):
        check_split(dataclasses.replace(split, fingerprint=fingerprint(doubled)), doubled)


def test_saved_with_its_patients_named_and_read_back(index: DatasetIndex, folds: list[Split], tmp_path: Path) -> None:
    for split in folds[:2]:
        save_split(split, index, tmp_path / "split.json")
        assert load_split(tmp_path / "split.json") == split
    save_split(folds[0], index, tmp_path / "split.json")
    parts = json.loads((tmp_path / "split.json").read_text())["parts"]
    assert parts["train"].keys() & parts["test"].keys(), "who reads it sees that patients are shared"


def test_a_split_saved_before_there_were_units_is_read(index: DatasetIndex, tmp_path: Path) -> None:
    split = make_splits(index, SplitConfig(folds=3))[0]
    path = tmp_path / "split.json"
    save_split(split, index, path)
    stored = json.loads(path.read_text())
    assert "unused" not in stored["parts"]
    del stored["unit"]
    path.write_text(json.dumps(stored))
    assert load_split(path) == split
    path.write_text(json.dumps({**stored, "unit": "slide"}))
    with pytest.raises(DataError, match="unit is 'slide'"):
        load_split(path)


def test_later_fields_leave_the_keys_of_other_protocols_alone() -> None:
    before = {
        "protocol": "kfold", "folds": 5, "repeats": 1, "test_fraction": 0.3, "validation_fraction": 0.2, "seed": 0
    }  # fmt: skip
    assert stable_hash(SplitConfig()) == stable_hash(before)
    assert stable_hash(SplitConfig(train_per_class=7)) != stable_hash(before)


def test_images_of_an_image_level_fold_are_their_own_groups(tmp_path: Path) -> None:
    config = ImageFolderConfig(group_regex=r"(?P<group>P\d+)_")
    index = ImageFolder(config).index(two_classes(tmp_path / "data", patients=5), tmp_path / "cache")
    wanted = SplitConfig(protocol="published", train_per_class=4, validation_per_class=2, test_per_class=2)
    mixed, strict = make_splits(index, wanted)
    fold = FoldData(index, mixed, ImageCache(tmp_path / "cache"), 16)
    for data in (fold, fold.training, fold.train_validation()):
        assert all(r.group_id == r.path for r in data.records)
        assert data.images().shape == (8, 16, 16, 3)
    assert fold.part("test").groups == mixed.test
    with pytest.raises(LeakageError):
        fold.train_validation().part("test")
    apart = FoldData(index, strict, ImageCache(tmp_path / "cache"), 16)
    assert {r.group_id for r in apart.records} <= {r.group_id for r in index.records}
    assert by_unit(index, "group") is index


@pytest.mark.realdata
def test_real_breakhis_gives_the_published_sizes(real_data: Path, tmp_path: Path) -> None:
    from bench.data.sets.breakhis import BreakHis, BreakHisConfig

    index = BreakHis(BreakHisConfig()).index(real_data / "BreaKHis_v1", tmp_path)
    for seed in range(4):
        for split in make_splits(index, SplitConfig(protocol="published", seed=seed)):
            assert (len(split.train), len(split.validation), len(split.test)) == (200, 20, 20)

"""Splits: undivided groups, every class in every part, balance by images, and the check on every use."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from data_sets import made_up_index
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.sets.breakhis import BreakHis, BreakHisConfig
from bench.data.split_config import SplitConfig
from bench.data.splits import (
    PARTS,
    check_split,
    group_counts,
    load_split,
    make_splits,
    save_split,
)
from bench.errors import ConfigError, DataError, LeakageError
from bench.types import DatasetIndex, Split

EVEN = [[6, 0]] * 8 + [[0, 9]] * 10


def assert_sound(index: DatasetIndex, splits: list[Split]) -> None:
    """Independent check: parts cover everything once, no group in two parts, every class in each."""
    record = {r.path: r for r in index.records}
    for split in splits:
        parts = [set(getattr(split, p)) for p in PARTS]
        assert sum(len(p) for p in parts) == len(record)
        assert set().union(*parts) == set(record)
        groups = [{record[p].group_id for p in part} for part in parts]
        assert len(set().union(*groups)) == sum(len(g) for g in groups)
        for part in parts:
            assert {record[p].label for p in part} == set(range(len(index.classes)))


@st.composite
def group_sets(draw: st.DrawFn) -> list[list[int]]:
    """Image counts per group and class: enough groups of one class for every class, and some of several classes."""
    classes = draw(st.integers(2, 4))
    rows = []
    for c in range(classes):
        for n in draw(st.lists(st.integers(1, 30), min_size=5, max_size=9)):
            rows.append([n if i == c else 0 for i in range(classes)])
    mixed = st.lists(st.integers(0, 8), min_size=classes, max_size=classes).filter(any)
    return rows + draw(st.lists(mixed, max_size=3))


@settings(max_examples=60, deadline=None)
@given(group_sets(), st.integers(0, 99), st.sampled_from(["kfold", "holdout"]), st.integers(2, 5))
def test_groups_are_whole_and_classes_everywhere(counts: list, seed: int, protocol: str, folds: int) -> None:
    index = made_up_index(counts)
    config = SplitConfig(protocol=protocol, folds=folds, repeats=2, seed=seed)  # type: ignore[arg-type]
    splits = make_splits(index, config)
    assert_sound(index, splits)
    assert len(splits) == (2 * folds if protocol == "kfold" else 2)
    for repeat in range(2) if protocol == "kfold" else ():
        tested = [p for s in splits if s.repeat == repeat for p in s.test]
        assert sorted(tested) == sorted(r.path for r in index.records)


@settings(max_examples=20, deadline=None)
@given(group_sets(), st.randoms())
def test_listing_order_does_not_matter(counts: list, random: object) -> None:
    index = made_up_index(counts)
    shuffled = list(index.records)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    config = SplitConfig(folds=3)
    assert make_splits(index, config) == make_splits(dataclasses.replace(index, records=tuple(shuffled)), config)


def test_seed_and_repeat_change_the_split() -> None:
    index = made_up_index(EVEN)
    first, second = (make_splits(index, SplitConfig(folds=4, repeats=2, seed=s)) for s in (0, 1))
    assert first == make_splits(index, SplitConfig(folds=4, repeats=2, seed=0))
    assert {s.test for s in first} != {s.test for s in second}
    assert {s.test for s in first if s.repeat == 0} != {s.test for s in first if s.repeat == 1}


def test_balance_is_by_images_not_by_groups() -> None:
    counts = [[40, 0]] * 2 + [[10, 0]] * 8 + [[0, 25]] * 8
    index = made_up_index(counts)
    for split in make_splits(index, SplitConfig(folds=4)):
        labels = [index.by_path()[p].label for p in split.test]
        assert labels.count(0) == 40  # a big patient alone, or four small ones
        assert labels.count(1) == 50


def test_mixed_groups_count_their_images_by_class() -> None:
    counts = [[10, 10]] * 4 + [[10, 0]] * 4 + [[0, 10]] * 4
    index = made_up_index(counts)
    for split in make_splits(index, SplitConfig(folds=4)):
        labels = [index.by_path()[p].label for p in split.test]
        assert (labels.count(0), labels.count(1)) == (20, 20)
    names, found = group_counts(index)
    assert names[0] == "g000"
    assert found[0].tolist() == [10, 10]


def test_holdout_draws_differ_and_keep_near_their_share() -> None:
    index = made_up_index([[72, 0], [57, 0], [23, 0], [21, 0], [16, 0], [11, 0]] + [[0, 13]] * 12)
    splits = make_splits(index, SplitConfig(protocol="holdout", repeats=20))
    record = index.by_path()
    for label, total in ((0, 200), (1, 156)):
        shares = [sum(record[p].label == label for p in s.test) / total for s in splits]
        assert min(shares) >= 0.2 - 1e-9
        assert max(shares) <= 0.4 + 1e-9
    tested = [{record[p].group_id for p in s.test if record[p].label == 0} for s in splits]
    assert len({frozenset(t) for t in tested}) >= 4
    assert any("g000" in t for t in tested)  # the largest patient is not always trained on


@pytest.mark.parametrize(("protocol", "folds", "needed"), [("kfold", 5, 5), ("kfold", 2, 4), ("holdout", 5, 3)])
def test_too_few_groups_say_how_many_are_needed(protocol: str, folds: int, needed: int) -> None:
    config = SplitConfig(protocol=protocol, folds=folds)  # type: ignore[arg-type]
    enough = made_up_index([[5, 0]] * needed + [[0, 5]] * 9)
    assert_sound(enough, make_splits(enough, config))
    with pytest.raises(DataError, match=f"at least {needed} groups .* c0 has {needed - 1}"):
        make_splits(made_up_index([[5, 0]] * (needed - 1) + [[0, 5]] * 9), config)


def test_groups_that_cannot_be_spread_are_an_error() -> None:
    """Every class has three groups, but only one group has all the classes that a part with a single group needs."""
    index = made_up_index([[2, 2, 0], [2, 0, 2], [0, 2, 2], [2, 2, 2]])
    with pytest.raises(DataError, match="no division of whole groups"):
        make_splits(index, SplitConfig(protocol="holdout"))


@pytest.mark.parametrize(
    "wrong",
    [{"protocol": "loo"}, {"folds": 1}, {"repeats": 0}, {"test_fraction": 1.0}, {"validation_fraction": 0.0}],
)
def test_config_is_checked(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        SplitConfig(**wrong)


def test_large_sets_of_lone_images_are_quick_and_even() -> None:
    rng = np.random.default_rng(0)
    counts = np.eye(9, dtype=int)[rng.integers(0, 9, 1500)].tolist()
    index = made_up_index(counts)
    for split in make_splits(index, SplitConfig(folds=5)):
        record = index.by_path()
        labels = np.bincount([record[p].label for p in split.test], minlength=9)
        total = np.sum(counts, axis=0)
        assert np.abs(labels - total / 5).max() <= 2


@pytest.fixture
def fold() -> tuple[DatasetIndex, Split]:
    index = made_up_index(EVEN)
    return index, make_splits(index, SplitConfig(folds=4))[0]


def test_a_group_in_two_parts_is_a_leak(fold: tuple[DatasetIndex, Split]) -> None:
    index, split = fold
    check_split(split, index)
    moved = split.test[0]
    leaky = dataclasses.replace(split, test=split.test[1:], train=(*split.train, moved))
    with pytest.raises(LeakageError, match="a patient must be in one part only"):
        check_split(leaky, index)
    leaky = dataclasses.replace(split, validation=split.validation[1:], train=(*split.train, split.validation[0]))
    with pytest.raises(LeakageError):
        check_split(leaky, index)


def test_an_image_in_two_parts_is_a_leak(fold: tuple[DatasetIndex, Split]) -> None:
    index, split = fold
    with pytest.raises(LeakageError, match="is in train and again in test"):
        check_split(dataclasses.replace(split, test=(*split.test, split.train[0])), index)
    with pytest.raises(LeakageError, match="is in train and again in train"):
        check_split(dataclasses.replace(split, train=(*split.train, split.train[0])), index)


def test_unknown_missing_and_other_images_are_refused(fold: tuple[DatasetIndex, Split]) -> None:
    index, split = fold
    with pytest.raises(DataError, match=r"names nobody\.png"):
        check_split(dataclasses.replace(split, test=(*split.test, "nobody.png")), index)
    with pytest.raises(DataError, match="1 images are in no part"):
        check_split(dataclasses.replace(split, test=split.test[1:]), index)
    other = made_up_index([*EVEN, [0, 1]])
    with pytest.raises(LeakageError, match="drawn from other images"):
        check_split(split, other)


def test_save_and_load(fold: tuple[DatasetIndex, Split], tmp_path: Path) -> None:
    index, split = fold
    path = tmp_path / "folds" / "split.json"
    save_split(split, index, path)
    assert load_split(path) == split
    stored = json.loads(path.read_text())
    assert set(stored["parts"]["test"]) == {index.by_path()[p].group_id for p in split.test}
    with pytest.raises(LeakageError):
        save_split(dataclasses.replace(split, test=(*split.test, split.train[0])), index, path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(DataError, match="not a saved split"):
        load_split(path)
    with pytest.raises(DataError):
        load_split(tmp_path / "absent.json")


@pytest.mark.realdata
def test_real_breakhis_in_five_folds(real_data: Path, tmp_path: Path) -> None:
    index = BreakHis(BreakHisConfig()).index(real_data / "BreaKHis_v1", tmp_path)
    for seed in range(5):
        splits = make_splits(index, SplitConfig(seed=seed))
        assert_sound(index, splits)
        tests = [Counter(index.classes[index.by_path()[p].label] for p in s.test) for s in splits]
        # six benign patients have 72, 57, 23, 21, 16 and 11 images: two of the small ones share a fold
        assert sorted(t["benign"] for t in tests) == [21, 23, 27, 57, 72]
        assert all(29 <= t["malignant"] <= 33 for t in tests)

"""Unlabelled patients of a learning curve: drawn for each set, never tested, and what may use them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sets import made_up_index

from bench.data.cache import ImageCache
from bench.data.loaders import FoldData, TrainingPart
from bench.data.split_config import SplitConfig
from bench.data.splits import check_split, load_split, make_splits, save_split
from bench.errors import ConfigError, DataError, LeakageError
from bench.leakage import FittedStatistics, SourceImages
from bench.types import DatasetIndex, Split

INDEX = made_up_index([[3, 0]] * 40 + [[0, 4]] * 120)


def config(**changes: Any) -> SplitConfig:
    asked: dict[str, Any] = {"train_patients": (8, 16), "replicates": 4, "unlabelled_patients": 12, **changes}
    return SplitConfig(protocol="learning_curve", **asked)


def groups(split: Split, *parts: str, index: DatasetIndex = INDEX) -> set[str]:
    group = {r.path: r.group_id for r in index.records}
    return {group[path] for part in parts for path in getattr(split, part)}


@pytest.mark.parametrize("test_patients", [None, 40])
def test_each_set_has_further_patients_that_no_other_set_and_no_test_part_has(test_patients: int | None) -> None:
    splits = make_splits(INDEX, config(test_patients=test_patients))
    label = {r.group_id: r.label for r in INDEX.records}
    for split in splits:
        further = groups(split, "unlabelled")
        assert len(further) == 12
        assert sum(label[g] for g in further) == 9, "the prevalence of the data set"
        for other in splits:
            assert not further & groups(other, "test")
            if other.fold != split.fold:
                assert not further & groups(other, "train", "validation", "unlabelled")
            else:
                assert other.unlabelled == split.unlabelled, "at every size"
                assert not further & groups(other, "train", "validation")


def test_without_unlabelled_patients_sets_are_as_before_and_more_sets_keep_them() -> None:
    assert all(s.unlabelled == () for s in make_splits(INDEX, config(unlabelled_patients=0)))
    few, many = make_splits(INDEX, config(replicates=2)), make_splits(INDEX, config())
    parts = [(s.train, s.validation, s.unlabelled) for s in few]
    assert parts == [(s.train, s.validation, s.unlabelled) for s in many[: len(few)]]
    assert config().learned != config(unlabelled_patients=0).learned


def test_too_many_are_refused_with_what_is_possible() -> None:
    with pytest.raises(
        DataError, match=r"4 disjoint .* 16 groups \(patients\) and 24 unlabelled ones each .*3 sets of"
    ):
        make_splits(INDEX, config(unlabelled_patients=24))
    with pytest.raises(ConfigError, match="unlabelled_patients is -1; expected at least 0"):
        config(unlabelled_patients=-1)
    with pytest.raises(ConfigError, match="unlabelled_patients is 3; only protocol 'learning_curve'"):
        SplitConfig(unlabelled_patients=3)


def test_a_saved_split_keeps_them_and_overlaps_are_leaks(tmp_path: Path) -> None:
    split = make_splits(INDEX, config())[0]
    save_split(split, INDEX, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json") == split
    leaked = dataclasses.replace(split, unlabelled=(*split.unlabelled, split.test[0]))
    with pytest.raises(LeakageError, match="is in test and again in unlabelled"):
        check_split(leaked, INDEX)
    moved = dataclasses.replace(
        split, unlabelled=split.test[:1], test=split.test[1:], unused=split.unused + split.unlabelled
    )
    with pytest.raises(LeakageError, match=r"group .* is in both test and unlabelled"):
        check_split(moved, INDEX)
    with pytest.raises(LeakageError, match="are unlabelled, which only the protocol learning_curve has"):
        check_split(dataclasses.replace(split, protocol="kfold", train_patients=None), INDEX)


def test_only_what_needs_no_labels_may_use_them() -> None:
    split = make_splits(INDEX, config())[0]
    parts = check_split(split, INDEX)
    seen = SourceImages(groups=frozenset(groups(split, "train", "unlabelled")))
    parts.require("the generator", seen, "train", "", unlabelled=True)
    with pytest.raises(LeakageError, match="a classifier used groups of the unlabelled part"):
        parts.require("a classifier", seen, "train", "")
    tested = SourceImages(groups=seen.groups | groups(split, "test"))
    with pytest.raises(LeakageError, match="the generator used groups of the test part"):
        parts.require("the generator", tested, "train", "", unlabelled=True)
    statistics = FittedStatistics("thresholds", {"a": 1}, seen)
    assert statistics.for_fold(parts, unlabelled=True) == {"a": 1}
    with pytest.raises(LeakageError, match="thresholds used groups of the unlabelled part"):
        statistics.for_fold(parts)


def test_a_method_gets_their_images_and_is_then_known_to_have_seen_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, split = INDEX, make_splits(INDEX, config())[0]
    row = np.arange(len(index.records), dtype=np.uint8)
    pixels = np.broadcast_to(row[:, None, None, None], (len(row), 16, 16, 3))
    monkeypatch.setattr(ImageCache, "load", lambda *_: pixels)
    data = TrainingPart(index, split, ImageCache(tmp_path), 16)
    assert data.seen_groups == groups(split, "train")
    at = {r.path: i for i, r in enumerate(index.records)}
    assert [int(i) for i in data.unlabelled_images()[:, 0, 0, 0]] == [at[p] % 256 for p in split.unlabelled]
    assert data.seen_groups == groups(split, "train", "unlabelled")
    held_out = FoldData(index, split, ImageCache(tmp_path), 16).held_out()
    assert not set(held_out.groups) & groups(split, "unlabelled"), "nothing is predicted for them"

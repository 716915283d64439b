"""Learning curves: disjoint nested sets, one test part, the same sets for any number of them, and what is too few."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sets import made_up_index

from bench.config import build
from bench.data.split_config import Replicates, SplitConfig
from bench.data.splits import PARTS, check_split, load_split, make_splits, save_split
from bench.errors import ConfigError, DataError, LeakageError
from bench.leakage import SourceImages
from bench.types import DatasetIndex, ImageRecord, Split

PURE = made_up_index([[3, 0]] * 30 + [[0, 4]] * 90)
MIXED = made_up_index(
    [[int(n), int(m)] for n, m in np.random.default_rng(0).integers(1, 9, (120, 2))] + [[5, 0]] * 40
)  # as malaria: most groups have both classes, some only the first


def config(**changes: Any) -> SplitConfig:
    asked: dict[str, Any] = {"train_patients": (8, 16), "replicates": 5, "validation_fraction": 0.25, **changes}
    return SplitConfig(protocol="learning_curve", **asked)


def groups(index: DatasetIndex, split: Split, *parts: str) -> set[str]:
    group = {r.path: r.group_id for r in index.records}
    return {group[path] for part in parts for path in getattr(split, part)}


@pytest.mark.parametrize("index", [PURE, MIXED], ids=["pure", "mixed"])
@pytest.mark.parametrize("test_patients", [None, 30])
def test_sets_are_disjoint_nested_and_share_one_test_part(index: DatasetIndex, test_patients: int | None) -> None:
    splits = {s.at: s for s in make_splits(index, config(test_patients=test_patients))}
    assert list(splits) == [(r, 0, n) for r in range(5) for n in (8, 16)]
    label = {r.path: r.label for r in index.records}
    in_sets: list[set[str]] = []
    for r in range(5):
        small, large = splits[r, 0, 8], splits[r, 0, 16]
        assert set(small.train) < set(large.train)
        assert set(small.validation) < set(large.validation)
        for split in (small, large):
            assert len(groups(index, split, "train", "validation")) == split.train_patients
            check_split(split, index)
            assert sum(len(getattr(split, p)) for p in (*PARTS, "unused")) == len(index.records)
            for part in PARTS:
                assert {label[p] for p in getattr(split, part)} == {0, 1}
            assert split.test == splits[0, 0, 8].test
        in_sets.append(groups(index, large, "train", "validation"))
    assert len(set().union(*in_sets)) == 5 * 16
    tested = groups(index, splits[0, 0, 8], "test")
    assert not tested & set().union(*in_sets)
    assert len(tested) == (test_patients or len({r.group_id for r in index.records}) - 80)


def test_sets_have_the_prevalence_of_the_data_set_or_are_balanced() -> None:
    label = {r.group_id: r.label for r in PURE.records}
    for balanced, malignant in ((False, 12), (True, 8)):
        for split in make_splits(PURE, config(replicates=3, balanced=balanced)):
            if split.train_patients == 16:
                assert Counter(label[g] for g in groups(PURE, split, "train", "validation"))[1] == malignant
                assert Counter(label[g] for g in groups(PURE, split, "validation"))[1] == malignant // 4


def test_groups_of_several_classes_are_stratified_by_their_mix() -> None:
    images: dict[str, list[int]] = {}
    for r in MIXED.records:
        images.setdefault(r.group_id, []).append(r.label)
    for split in make_splits(MIXED, config()):
        if split.train_patients == 16:
            mixes = [np.mean(images[g]) for g in groups(MIXED, split, "train", "validation")]
            assert sum(m == 0 for m in mixes) == 4, "a quarter has the first class only"
            assert sum(m > 0.5 for m in mixes) in range(3, 10)
    with pytest.raises(ConfigError, match=r"split\.balanced: groups of made_up have images of several classes"):
        make_splits(MIXED, config(balanced=True))


@pytest.mark.parametrize("test_patients", [None, 30])
def test_more_sets_and_more_sizes_keep_the_sets_that_exist(test_patients: int | None) -> None:
    few = {s.at: s for s in make_splits(PURE, config(replicates=3, test_patients=test_patients))}
    many = {s.at: s for s in make_splits(PURE, config(train_patients=(8, 12, 16), test_patients=test_patients))}
    assert few.keys() < many.keys()
    for at, split in few.items():
        assert (split.train, split.validation) == (many[at].train, many[at].validation)
        assert set(many[at].test) <= set(split.test)
        assert (split.test == many[at].test) == (test_patients is not None)
    assert make_splits(PURE, config(seed=1))[0].train != few[0, 0, 8].train


def test_listing_order_does_not_matter_and_one_split_can_be_asked_for() -> None:
    backwards = dataclasses.replace(PURE, records=tuple(reversed(PURE.records)))
    every = make_splits(PURE, config())
    assert make_splits(backwards, config()) == every
    assert make_splits(PURE, config(), only=(2, 0, 16)) == [every[5]]


def test_a_saved_split_keeps_its_size(tmp_path: Path) -> None:
    split = make_splits(PURE, config())[1]
    save_split(split, PURE, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json") == split
    leaked = dataclasses.replace(split, train=(*split.train, split.test[0]))
    with pytest.raises(LeakageError, match=r"set 0 of 16 patients: .* is in train and again in test"):
        check_split(leaked, PURE)


def test_too_few_patients_are_refused_with_what_is_possible() -> None:
    with pytest.raises(DataError, match=r"12 disjoint .* 16 groups .*c0 30, c1 90.*14 sets of 8, 7 sets of 16"):
        make_splits(PURE, config(replicates=12))
    assert len(make_splits(PURE, config(replicates=7))) == 14
    assert len(make_splits(PURE, config(replicates=14, train_patients=(8,)))) == 14
    with pytest.raises(DataError, match=r"A set of 4 needs 2 patients of each class \(c0 has 1\).*split.balanced=true"):
        make_splits(PURE, config(train_patients=(4, 16)))
    with pytest.raises(DataError, match="test part of 60 others are not possible"):
        make_splits(PURE, config(test_patients=60))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_patients": ()}, "ascending numbers of patients"),
        ({"train_patients": (16, 8)}, "ascending numbers of patients"),
        ({"train_patients": (2, 8)}, "at least 4"),
        ({"replicates": 1}, "at least 2 training sets"),
        ({"test_patients": 1}, "test_patients is 1"),
        ({"reference_only": (17,)}, "reference_only: 17 is no size of the curve; did you mean '16'"),
        ({"reference_only": (8, 16)}, "names every size"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changes)


def test_a_range_of_sets_is_read_from_yaml() -> None:
    asked = {"protocol": "learning_curve", "train_patients": [8, 16], "replicates": {"min": 3, "max": 7}}
    read = build(SplitConfig, asked, "split")
    assert read.replicates == Replicates(3, 7)
    assert read.sets == 7
    with pytest.raises(ConfigError, match="did you mean 'max'"):
        build(SplitConfig, {**asked, "replicates": {"min": 3, "maxx": 7}}, "split")
    with pytest.raises(ConfigError, match="expected 2 <= min < max"):
        build(SplitConfig, {**asked, "replicates": {"min": 7, "max": 7}}, "split")
    with pytest.raises(ConfigError, match="only protocol 'learning_curve' has training sets of given sizes"):
        build(SplitConfig, {"train_patients": [8]}, "split")


def test_what_the_parts_of_a_fold_depend_on() -> None:
    every, some = config(), config(test_patients=30)
    for changed in ({"replicates": 9}, {"train_patients": (4, 16)}, {"reference_only": (16,)}, {"test_patients": 40}):
        assert dataclasses.replace(some, **changed).learned == every.learned, changed
    for changed in ({"seed": 3}, {"train_patients": (8, 20)}, {"balanced": True}, {"validation_fraction": 0.5}):
        assert dataclasses.replace(some, **changed).learned != every.learned, changed
    assert dataclasses.replace(some, replicates=9).drawn == some.drawn
    assert dataclasses.replace(every, replicates=9).drawn != every.drawn
    assert every.predicts_unused
    assert not some.predicts_unused
    assert not SplitConfig().predicts_unused


def test_a_generator_of_a_set_may_not_have_seen_other_sets() -> None:
    split, other = (s for s in make_splits(PURE, config(train_patients=(16,), replicates=2)))
    parts = check_split(split, PURE)
    seen = SourceImages(groups=frozenset(groups(PURE, split, "train") | groups(PURE, other, "train")))
    with pytest.raises(
        LeakageError, match=r"set 0 of 16 patients: the generator used groups that are not in this fold"
    ):
        parts.require("the generator", seen, "train", "fit it again")


def test_real_malaria_patients_have_cells_of_both_classes_in_every_part(real_data: Path) -> None:
    root = real_data / "malaria"
    if not root.is_dir():
        pytest.skip(f"no malaria images at {root}")
    records = []
    for label, name in enumerate(("Uninfected", "Parasitized")):
        for path in sorted((root / name).iterdir()):
            patient = re.search(r"C\d+", path.name)
            assert patient
            records.append(ImageRecord(f"{name}/{path.name}", label, patient[0], f"{len(records):064x}"))
    ordered = tuple(sorted(records, key=lambda r: r.path))
    index = DatasetIndex("malaria", root, ("Uninfected", "Parasitized"), ordered)
    splits = make_splits(index, config(train_patients=(12, 24), replicates=5))
    assert {len(groups(index, s, "train", "validation")) - (s.train_patients or 0) for s in splits} == {0}
    label_of = {r.path: r.label for r in index.records}
    shares = [np.mean([label_of[p] for p in s.train]) for s in splits]
    assert np.mean([r.label for r in records]) == pytest.approx(np.mean(shares), abs=0.03)
    assert max(shares) - min(shares) < 0.15, "sets are alike"
    with pytest.raises(DataError, match=r"160 groups .* 6 sets of 24"):
        make_splits(index, config(train_patients=(12, 24), replicates=12))

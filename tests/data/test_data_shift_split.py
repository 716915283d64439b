"""The split protocol 'shift': disjoint patients, and each part only has images with its attribute values."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from data_sets import made_up_index

from bench.config import build, stable_hash
from bench.data.sets.breakhis import BreakHis, BreakHisConfig
from bench.data.sets.phantom import Phantom, PhantomConfig
from bench.data.shift_split import ShiftConfig
from bench.data.split_config import SplitConfig
from bench.data.splits import PARTS, check_split, load_split, make_splits, save_split
from bench.errors import ConfigError, DataError, LeakageError
from bench.plan.make import make_plan
from bench.suite.suite import load_suite
from bench.types import DatasetIndex, Split

ZOOMS = ("40", "100", "400")
FAR = ShiftConfig("magnification", (40, 100), (400,))


def zoomed(patients: int = 10) -> DatasetIndex:
    """Every patient at three magnifications, two images each."""
    index = made_up_index([[6, 0]] * patients + [[0, 6]] * patients)
    records = tuple(
        dataclasses.replace(r, attributes=(("magnification", ZOOMS[i % 3]),)) for i, r in enumerate(index.records)
    )
    return dataclasses.replace(index, records=records)


def config(shift: ShiftConfig = FAR, **changes: int) -> SplitConfig:
    return SplitConfig(protocol="shift", shift=shift, folds=changes.pop("folds", 4), **changes)


def values_and_groups(index: DatasetIndex, split: Split) -> dict[str, tuple[set[str], set[str]]]:
    record = index.by_path()
    held = {part: [record[p] for p in getattr(split, part)] for part in PARTS}
    return {
        part: ({dict(r.attributes)["magnification"] for r in of}, {r.group_id for r in of}) for part, of in held.items()
    }


def test_parts_have_their_values_and_disjoint_patients() -> None:
    index = zoomed()
    tested: set[str] = set()
    for split in make_splits(index, config()):
        found = values_and_groups(index, split)
        assert {part: values for part, (values, _) in found.items()} == {
            "train": {"40", "100"}, "validation": {"40", "100"}, "test": {"400"},
        }  # fmt: skip
        groups = [groups for _, groups in found.values()]
        assert len(set().union(*groups)) == sum(map(len, groups)) == 20
        everything = {*split.train, *split.validation, *split.test, *split.unused}
        assert everything == {r.path for r in index.records}
        check_split(split, index)
        tested |= found["test"][1]
    assert len(tested) == 20


def test_the_control_trains_on_the_same_images() -> None:
    index = zoomed()
    near = make_splits(index, config(ShiftConfig("magnification", (40, 100), (40, 100))))
    for shifted, control in zip(make_splits(index, config()), near, strict=True):
        assert (shifted.train, shifted.validation) == (control.train, control.validation)
        assert values_and_groups(index, control)["test"][1] == values_and_groups(index, shifted)["test"][1]
        assert not set(shifted.test) & set(control.test)


def test_a_shift_split_is_saved_and_checked_like_any_other(tmp_path: Path) -> None:
    index = zoomed()
    split = make_splits(index, config())[0]
    save_split(split, index, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json") == split
    moved = dataclasses.replace(split, train=(*split.train, split.test[0]), test=split.test[1:])
    with pytest.raises(LeakageError):
        check_split(moved, index)  # its patient is still tested
    with pytest.raises(LeakageError):
        check_split(dataclasses.replace(split, protocol="kfold"), index)


def test_what_cannot_be_is_said() -> None:
    index = zoomed()
    with pytest.raises(DataError, match="did you mean 'magnification'"):
        make_splits(index, config(ShiftConfig("magnifcation", (40,), (400,))))
    with pytest.raises(DataError, match="no image has magnification 200; present: 100, 40, 400"):
        make_splits(index, config(ShiftConfig("magnification", (40,), (200,))))
    with pytest.raises(DataError, match="its images have none"):
        make_splits(made_up_index([[6, 0]] * 9 + [[0, 6]] * 9), config())
    with pytest.raises(ConfigError, match="only protocol 'shift' has a shift"):
        SplitConfig(protocol="shift")
    with pytest.raises(ConfigError, match="only protocol 'shift' has a shift"):
        SplitConfig(shift=FAR)
    with pytest.raises(ConfigError, match=r"shift\.test is empty"):
        ShiftConfig("magnification", (40,), ())
    with pytest.raises(ConfigError, match="did you mean 'attribute'"):
        build(SplitConfig, {"protocol": "shift", "shift": {"atribute": "x", "train": [1], "test": [2]}}, "split")
    read = build(
        SplitConfig,
        {"protocol": "shift", "shift": {"attribute": "magnification", "train": [40, 100], "test": [400]}}, "split",
    )  # fmt: skip
    assert read.shift == FAR
    assert FAR.words == "trained on magnification 40, 100, tested on 400"


def test_keys_of_other_splits_are_unchanged() -> None:
    before = {
        "protocol": "kfold",
        "folds": 5,
        "repeats": 1,
        "test_fraction": 0.3,
        "validation_fraction": 0.2,
        "seed": 0,
    }
    assert stable_hash(SplitConfig()) == stable_hash(before)
    assert stable_hash(config()) != stable_hash(config(ShiftConfig("magnification", (40,), (400,))))


def test_the_phantom_s_laboratories(tmp_path: Path) -> None:
    index = Phantom(PhantomConfig(image_size_px=32, patients=24, images_per_patient=2)).index(None, tmp_path)
    labs = {r.group_id: dict(r.attributes)["laboratory"] for r in index.records}
    assert set(labs.values()) == {"A", "B"}
    few = [name for lab in "AB" for label in (0, 1) for name in
           [sum(labs[g] == lab for g in {r.group_id for r in index.records if r.label == label})]]  # fmt: skip
    assert min(few) >= 3
    for split in make_splits(index, config(ShiftConfig("laboratory", ("A",), ("B",)), folds=3)):
        record = index.by_path()
        assert {labs[record[p].group_id] for p in split.train} == {"A"}
        assert {labs[record[p].group_id] for p in split.test} == {"B"}
        assert {record[p].label for p in split.test} == {0, 1}
    same = dataclasses.replace(index, records=tuple(r for r in index.records if int(r.group_id[1:]) <= 8))
    with pytest.raises(DataError, match="4 groups"):
        make_splits(same, config(ShiftConfig("laboratory", ("A",), ("B",)), folds=4))


def test_generators_are_shared_with_the_control_and_what_is_tested_is_not(tmp_path: Path) -> None:
    few = ("dataset.images_per_patient=1", "dataset.image_size_px=32")
    sub_suites = [load_suite(f"shift-small-{name}", few) for name in ("within", "across")]
    index = sub_suites[0].dataset.create().index(None, tmp_path)
    within, across = ({c.id: c for c in make_plan(s, index).cells} for s in sub_suites)
    assert {within[i].stage for i in within.keys() & across.keys()} == {"fit", "synthesize"}
    made = [c.id for c in across.values() if c.stage in ("fit", "synthesize")]
    assert made
    assert set(made) <= within.keys(), "the same images teach them"
    assert {c.stage for i, c in across.items() if i not in within} >= {"split", "fidelity", "memorised", "classify"}
    other = load_suite("shift-small-across", (*few, "split.shift.train=[B]", "split.shift.test=[A]"))
    assert not across.keys() & {c.id for c in make_plan(other, index).cells}


@pytest.mark.realdata
def test_breakhis_has_magnifications(real_data: Path, tmp_path: Path) -> None:
    index = BreakHis(BreakHisConfig()).index(real_data, tmp_path)
    with pytest.raises(DataError, match="no image has magnification 400; present: 100"):
        make_splits(index, config(ShiftConfig("magnification", (100,), (400,))))

"""A fold's images, synthetic folders, and the leakage checks: each leak is injected here and must be detected."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from data_sets import two_classes
from PIL import Image

from bench.data.cache import ImageCache
from bench.data.loaders import FoldData, TrainingPart, assemble_training_set, ratio_counts
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.split_config import SplitConfig
from bench.data.splits import make_splits
from bench.data.synthetic_files import load_synthetic, save_manifest
from bench.errors import ConfigError, DataError, LeakageError
from bench.types import DatasetIndex, Split, SyntheticRecord, SyntheticSet

SIZE = 16


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    config = ImageFolderConfig(group_regex="(?P<group>P[0-9]+)_")
    return ImageFolder(config).index(two_classes(tmp_path / "set", patients=5), tmp_path / "scan")


@pytest.fixture
def split(index: DatasetIndex) -> Split:
    return make_splits(index, SplitConfig(folds=3))[0]


@pytest.fixture
def fold(index: DatasetIndex, split: Split, tmp_path: Path) -> FoldData:
    return FoldData(index, split, ImageCache(tmp_path / "cache"), SIZE)


def synthetic(folder: Path, fold: FoldData, per_label: int = 4, **changes: object) -> SyntheticSet:
    """A finished synthetic folder whose image i of label y has the colour (i, y, 0)."""
    records = []
    for label in (0, 1):
        source = next(r for r in fold.records if r.label != label)
        for i in range(per_label):
            path = f"images/{label}/{i:05d}.png"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (SIZE, SIZE), (i, label, 0)).save(folder / path)
            row = SyntheticRecord(path, label, i, "weights", source.path, source.group_id)
            records.append(dataclasses.replace(row, **changes))  # type: ignore[arg-type]
    save_manifest(folder, records, {r.group_id for r in fold.records})
    return load_synthetic(folder)


def test_parts_follow_the_split(index: DatasetIndex, split: Split, fold: FoldData, tmp_path: Path) -> None:
    everything = ImageCache(tmp_path / "cache").load(index, SIZE)
    row = {r.path: i for i, r in enumerate(index.records)}
    for name in ("train", "validation", "test"):
        part = fold.part(name)  # type: ignore[arg-type]
        assert tuple(r.path for r in part.records) == getattr(split, name)
        np.testing.assert_array_equal(part.images, everything[[row[r.path] for r in part.records]])
        assert part.labels.tolist() == [r.label for r in part.records]
        assert part.groups == tuple(r.group_id for r in part.records)
    np.testing.assert_array_equal(fold.images(), fold.part("train").images)
    assert fold.images(8).shape == (len(split.train), 8, 8, 3)
    assert fold.classes == ("a", "b")


def test_methods_cannot_access_the_other_parts(fold: FoldData, split: Split) -> None:
    training = fold.training
    assert type(training) is TrainingPart
    assert {n for n in dir(training) if not n.startswith("_")} == {
        "classes",
        "grey",
        "image_size_px",
        "images",
        "labels",
        "records",
        "seen_groups",
        "unlabelled_images",
    }
    assert tuple(r.path for r in training.records) == split.train
    np.testing.assert_array_equal(training.images(), fold.images())


def test_a_leaky_split_gives_no_images(index: DatasetIndex, split: Split, tmp_path: Path) -> None:
    leaky = dataclasses.replace(split, test=split.test[1:], train=(*split.train, split.test[0]))
    with pytest.raises(LeakageError):
        FoldData(index, leaky, ImageCache(tmp_path / "cache"), SIZE)
    with pytest.raises(LeakageError):
        FoldData(index, dataclasses.replace(split, fingerprint="0" * 16), ImageCache(tmp_path / "cache"), SIZE)


def test_assembled_sets_take_the_first_of_each_label(fold: FoldData, tmp_path: Path) -> None:
    made = synthetic(tmp_path / "syn", fold)
    both = assemble_training_set(fold, made, {0: 3, 1: 1})
    n = len(fold.records)
    assert both.images.shape == (n + 4, SIZE, SIZE, 3)
    assert both.images.dtype == np.uint8
    np.testing.assert_array_equal(both.images[:n], fold.images())
    assert both.images[n:, 0, 0, :2].tolist() == [[0, 0], [1, 0], [2, 0], [0, 1]]
    assert both.labels.tolist() == [*fold.labels.tolist(), 0, 0, 0, 1]
    assert both.is_synthetic.tolist() == [False] * n + [True] * 4


def test_without_synthetic_images_only_real_ones(fold: FoldData) -> None:
    for counts in ({}, {0: 0, 1: 0}):
        real = assemble_training_set(fold, None, counts)
        assert len(real.images) == len(fold.records)
        assert not real.is_synthetic.any()
    with pytest.raises(DataError, match="no synthetic set was given"):
        assemble_training_set(fold, None, {0: 1})


def test_too_few_synthetic_images_are_an_error(fold: FoldData, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 4 images of a; 5 are needed"):
        assemble_training_set(fold, synthetic(tmp_path / "syn", fold), {0: 5})


def test_synthetic_images_of_another_size_are_resized(fold: FoldData, tmp_path: Path) -> None:
    made = synthetic(tmp_path / "syn", fold)
    Image.new("RGB", (40, 40), (9, 9, 9)).save(made.folder / made.records[0].path)
    assert assemble_training_set(fold, made, {0: 1}).images[-1].max() == 9
    (made.folder / made.records[0].path).write_bytes(b"broken")
    with pytest.raises(DataError, match="cannot be read"):
        assemble_training_set(fold, made, {0: 1})


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_generator_that_saw_a_held_out_group_is_a_leak(fold: FoldData, tmp_path: Path, part: str) -> None:
    made = synthetic(tmp_path / "syn", fold)
    assemble_training_set(fold, made, {0: 1})
    held_out = fold.part(part).groups[0]  # type: ignore[arg-type]
    leaky = dataclasses.replace(made, seen_groups=(*made.seen_groups, held_out))
    with pytest.raises(LeakageError, match=held_out):
        assemble_training_set(fold, leaky, {0: 1})


@pytest.mark.parametrize("field", ["source_group", "source_path"])
def test_a_translation_of_a_held_out_image_is_a_leak(fold: FoldData, tmp_path: Path, field: str) -> None:
    test = fold.part("test").records[0]
    value = test.group_id if field == "source_group" else test.path
    leaky = synthetic(tmp_path / "syn", fold, **{field: value})
    with pytest.raises(LeakageError, match=r"translations in .* used .* of the test part"):
        assemble_training_set(fold, leaky, {1: 1})


def test_a_leak_in_a_row_that_is_not_used_is_still_a_leak(fold: FoldData, tmp_path: Path) -> None:
    made = synthetic(tmp_path / "syn", fold)
    bad = dataclasses.replace(made.records[-1], source_group=fold.part("test").groups[0])
    with pytest.raises(LeakageError):
        assemble_training_set(fold, dataclasses.replace(made, records=(*made.records[:-1], bad)), {0: 1})


def test_a_set_that_does_not_say_what_it_saw_is_refused(fold: FoldData, tmp_path: Path) -> None:
    made = dataclasses.replace(synthetic(tmp_path / "syn", fold), seen_groups=())
    with pytest.raises(LeakageError, match="does not list its source images"):
        assemble_training_set(fold, made, {0: 1})


def test_a_set_of_another_fold_is_a_leak(index: DatasetIndex, fold: FoldData, tmp_path: Path) -> None:
    other = FoldData(index, make_splits(index, SplitConfig(folds=3))[1], ImageCache(tmp_path / "cache"), SIZE)
    with pytest.raises(LeakageError):
        assemble_training_set(other, synthetic(tmp_path / "syn", fold), {0: 1})


def test_manifest_round_trip_and_damage(tmp_path: Path) -> None:
    rows = [
        SyntheticRecord("images/0/00000.png", 0, 7, "step_10", "a, b/ü.png", 'P"1'),
        SyntheticRecord("images/1/00000.png", 1, 8, "step_10"),
    ]
    save_manifest(tmp_path, rows, ["g2", "g1", "g2"])
    loaded = load_synthetic(tmp_path)
    assert loaded == SyntheticSet(tmp_path, tuple(rows), ("g1", "g2"))
    (tmp_path / "manifest.csv").write_text("path,label\nx,0\n")
    with pytest.raises(DataError, match="not a finished synthetic folder"):
        load_synthetic(tmp_path)
    with pytest.raises(DataError):
        load_synthetic(tmp_path / "absent")


def test_balance_fills_nine_very_unequal_classes_up_to_the_largest_one() -> None:
    sizes = np.array([114, 376, 95, 438, 357, 462, 77, 181, 139])
    counts = ratio_counts("balance", np.repeat(np.arange(9), sizes))
    assert counts == {label: 462 - n for label, n in enumerate(sizes.tolist())}
    assert {label: n + counts[label] for label, n in enumerate(sizes.tolist())} == dict.fromkeys(range(9), 462)


def test_ratio_counts() -> None:
    labels = np.array([0] * 5 + [1] * 3 + [2] * 2)
    assert ratio_counts(0, labels) == {0: 0, 1: 0, 2: 0}
    assert ratio_counts("0.5", labels) == {0: 3, 1: 2, 2: 1}
    assert ratio_counts(1.0, labels) == {0: 5, 1: 3, 2: 2}
    assert ratio_counts("2", labels) == {0: 10, 1: 6, 2: 4}
    assert ratio_counts("balance", labels) == {0: 0, 1: 2, 2: 3}
    for wrong in ("much", -1, "nan", "inf"):
        with pytest.raises(ConfigError, match="balance"):
            ratio_counts(wrong, labels)

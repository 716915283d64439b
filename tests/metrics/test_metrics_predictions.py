"""The predictions table: exact round trip, and errors with the path of a damaged file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from bench.errors import DataError, StoreError
from bench.metrics.predictions import Predictions, read_predictions, write_predictions


def make(n: int = 12, classes: tuple[str, ...] = ("benign", "malignant"), seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    return Predictions(
        image=tuple(f"a, b/ímg {i}.png" for i in range(n)),
        group=tuple(f"p{i // 3}" for i in range(n)),
        part=tuple("test" if i % 3 else "validation" for i in range(n)),
        fold=2,
        repeat=1,
        y_true=rng.integers(0, len(classes), n),
        y_prob=rng.dirichlet(np.ones(len(classes)), n),
        classes=classes,
    )


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("z, last", 'quo"ted', "prob_a")])
def test_reads_back_bit_for_bit(tmp_path: Path, classes: tuple[str, ...]) -> None:
    wanted = make(classes=classes)
    path = tmp_path / "predictions.csv"
    write_predictions(path, wanted)
    got = read_predictions(path)
    for f in fields(Predictions):
        a, b = getattr(wanted, f.name), getattr(got, f.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


def test_columns_are_the_documented_ones(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    p = make()
    write_predictions(path, p)
    lines = path.read_text().splitlines()
    assert lines[0] == "image,group,fold,repeat,part,y_true,y_pred,prob_benign,prob_malignant"
    row = lines[1].rsplit(",", 8)
    assert row[1:4] == ["p0", "2", "1"]
    assert row[5:7] == [p.classes[p.y_true[0]], p.classes[p.y_prob[0].argmax()]]
    assert len(lines) == 13


def test_select_keeps_one_part_in_order() -> None:
    p = make()
    test = p.select("test")
    assert set(test.part) == {"test"}
    assert test.image == tuple(i for i, part in zip(p.image, p.part, strict=True) if part == "test")
    np.testing.assert_array_equal(test.y_prob, p.y_prob[np.array(p.part) == "test"])
    assert len(test.image) + len(p.select("validation").image) == len(p.image)


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("a, b", 'quo"ted')])
def test_reads_one_part_alone(tmp_path: Path, classes: tuple[str, ...]) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, make(classes=classes))
    got, wanted = read_predictions(path, "test"), read_predictions(path).select("test")
    assert (got.image, got.group, got.part) == (wanted.image, wanted.group, wanted.part)
    np.testing.assert_array_equal(got.y_true, wanted.y_true)
    np.testing.assert_array_equal(got.y_prob, wanted.y_prob)
    path.write_text(path.read_text().replace("validation", "train"))
    with pytest.raises(StoreError, match="train"):
        read_predictions(path, "test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("y_true", "truth"), "header"),
        (lambda text: text[: text.rindex(",")], "line 13"),
        (lambda text: text.replace(",p0,", ",p0,p0,", 1), "line 2"),
        (lambda text: text.replace(",2,1,", ",3,1,", 1), "one fold"),
        (lambda text: text.replace(",test,", ",train,"), "train"),
        (lambda text: text.replace(",benign,", ",normal,"), "not in"),
        (lambda text: text.splitlines()[0] + "\n", "one fold"),
        (lambda text: "", "header"),
    ],
)
def test_damage_is_reported_with_the_path(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, make())
    path.write_text(damage(path.read_text()))
    with pytest.raises(StoreError, match=message) as e:
        read_predictions(path)
    assert str(path) in str(e.value)


def test_a_missing_file_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none\.csv"):
        read_predictions(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "change",
    [
        {"group": ("p",)},
        {"y_prob": np.ones((12, 3)) / 3},
        {"y_true": np.full(12, 2)},
        {"part": ("train",) * 12},
        {"classes": ("same", "same")},
    ],
)
def test_inconsistent_input_is_refused(change: dict) -> None:
    p = make()
    values = {f.name: getattr(p, f.name) for f in fields(Predictions)}
    with pytest.raises(DataError):
        Predictions(**values | change)

"""The discriminator classifier on the test images of both split units: planned if available, and only on its fold."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_stores import commit_again
from toy import Toy, write_squares, write_suite

from bench import registry
from bench.engine.cell_run import run_cell
from bench.engine.executors.local import limit_threads
from bench.engine.session import Session, prepare
from bench.errors import ConfigError
from bench.plan.selection import select
from bench.types import ResultRow

SUITE: dict[str, Any] = {
    "split": {"protocol": "published", "train_per_class": 8, "validation_per_class": 3, "test_per_class": 3},
    "ratios": [0.5],
    "methods": {"dark": {}, "toy": {}},
    "classifiers": {},
}


class Dark(Toy):
    """Predicts malignant for dark images; its images have 12 × 20 px, cut from the centre."""

    resize = "squash"
    discriminator_classifier = "brightness below 145"
    seen: list[tuple[int, ...]] = []  # noqa: RUF012

    def fit(self, data: Any, ctx: Any) -> None:
        type(self).seen.append(data.images((12, 20)).shape)
        super().fit(data, ctx)

    def translation_size_px(self, image_size_px: int) -> tuple[int, int]:
        return (12, 20)

    def classify(self, images: np.ndarray, fitted: Path, ctx: Any) -> np.ndarray:
        type(self).seen.append(images.shape)
        bright = (images.mean(axis=(1, 2, 3)) > 145) * 0.8 + 0.1
        return np.stack([bright, 1 - bright], axis=1)


class Silent(Dark):
    """Could classify; its config does not keep the required field."""

    discriminator_classifier = ""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    for name in ("Dark", "Silent"):
        monkeypatch.setitem(registry.REGISTRY["method"], name.lower(), f"{__name__}:{name}")
    monkeypatch.setitem(registry.REGISTRY["method"], "toy", "toy:Toy")
    data = write_squares(tmp_path / "data", size_px=24)

    def session(**changes: Any) -> Session:
        suite = write_suite(tmp_path / "s.yaml", **{**SUITE, **changes})
        return prepare(str(suite), (), data, tmp_path / "out")

    return session


def run(session: Session, *only: str) -> dict[tuple[str, int], ResultRow]:
    limit_threads(1)
    return {(c.stage, c.fold): run_cell(c, session.env) for c in select(session.plan.cells, only)}


def test_a_discriminator_classifier_is_planned_if_a_method_has_one(make: Any) -> None:
    counts = Counter((c.stage, c.method) for c in make(methods={"dark": {}, "silent": {}, "toy": {}}).plan.cells)
    assert counts["discriminator_classifier", "dark"] == 2
    assert ("discriminator_classifier", "silent") not in counts
    assert ("discriminator_classifier", "toy") not in counts
    assert not {s for s, _ in counts} & {"classify", "evaluate"}


def test_it_is_scored_from_its_saved_table(make: Any) -> None:
    session = make()
    rows = run(session, "stage=discriminator_classifier")
    for fold in (0, 1):
        row = rows["discriminator_classifier", fold]
        assert row.status == "done", row.error
        with (session.env.out / row.facts["predictions"]).open(newline="") as f:
            table = list(csv.DictReader(f))
        assert {r["part"] for r in table} == {"test"}
        assert len(table) == row.facts["test_images"] == 6
        right = np.mean([r["y_true"] == r["y_pred"] for r in table])
        assert row.metrics["test/accuracy"] == pytest.approx(right)
        assert right > 0.8, "dark squares are malignant"
        assert not [k for k in row.metrics if "patient" in k]
        assert row.facts["discriminator_classifier"] == Dark.discriminator_classifier
    assert set(Dark.seen) == {(16, 12, 20, 3), (6, 12, 20, 3)}, "fitted and tested at its individual size"


def test_a_discriminator_trained_on_test_images_is_not_tested_on_them(make: Any) -> None:
    session = make()
    run(session, "stage=fit", "method=dark")
    cells = {c.fold: c for c in session.plan.cells if (c.stage, c.method) == ("discriminator_classifier", "dark")}
    for fold in (0, 1):  # image by image the seen "groups" are images, with disjoint patients they are patients
        fit = next(c for c in session.plan.cells if (c.stage, c.method, c.fold) == ("fit", "dark", fold))
        folder = session.env.out / "cells" / "fit" / fit.key
        split = session.env.out / "cells" / "split" / dict(fit.upstream)["split"] / "split.json"
        parts = json.loads(split.read_text())["parts"]
        patient, images = min(parts["test"].items())
        seen = json.loads((folder / "seen_groups.json").read_text())
        assert len(seen) == (16 if fold == 0 else len(parts["train"]))
        (folder / "seen_groups.json").write_text(json.dumps([*seen, images[0] if fold == 0 else patient]))
        assert (run_cell(cells[fold], session.env).error or "").startswith("LeakageError")


def test_the_splits_say_whether_patients_are_shared(make: Any) -> None:
    rows = run(make(), "stage=split")
    assert rows["split", 0].facts["unit"] == "image"
    assert rows["split", 0].facts["test_groups_also_trained_on"] > 0
    assert rows["split", 1].facts["test_groups_also_trained_on"] == 0


def test_a_split_of_another_protocol_is_refused(make: Any) -> None:
    session = make()
    run(session, "stage=split")

    def as_kfold(folder: Path, result: dict[str, Any]) -> None:
        path = folder / "split.json"
        stored = json.loads(path.read_text()) | {"protocol": "kfold", "unit": "group"}
        parts = stored["parts"]
        parts["train"] |= parts.pop("unused")
        path.write_text(json.dumps(stored))

    for cell in (c for c in session.plan.work if c.stage == "split"):
        commit_again(session.env.out, cell, as_kfold)
    errors = [r.error or "" for (s, _), r in run(session, "stage=fit", "method=toy").items() if s == "fit"]
    assert len(errors) == 2
    assert all(e.startswith("LeakageError") and "this suite's is published" in e for e in errors)


def test_classifiers_are_refused_where_some_splits_share_patients(make: Any) -> None:
    with pytest.raises(ConfigError, match="shared patients"):
        make(classifiers={"small_cnn": {}})
    with pytest.raises(ConfigError, match="classifiers: expected a mapping"):
        make(classifiers=None, split={"folds": 2})
    assert make(split={"folds": 2}).suite.classifiers == ()


def test_discriminator_classifiers_get_images_resized_like_training_images(make: Any) -> None:
    from bench.stages.common import Inputs

    session = make(resize="crop")
    cells = {(c.stage, c.method): c for c in session.plan.cells if c.fold == 0}
    found = {k: Inputs(c, session.env).resize for k, c in cells.items()}
    assert {v for (stage, m), v in found.items() if m == "dark" and stage != "split"} == {"squash"}
    assert {v for (stage, m), v in found.items() if m != "dark"} == {"crop"}

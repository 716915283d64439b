"""A learning curve with unlabelled patients, run: who saw them, what is compared with them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy import CURVE, register, write_squares, write_suite

from bench.check.disjoint import disjoint_rows
from bench.check.leakage_checks import leakage_check_rows
from bench.data.loaders import check_generator
from bench.data.synthetic_files import SEEN
from bench.engine.executors.local import InProcess
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.errors import ConfigError, LeakageError
from bench.leakage import FittedStatistics
from bench.plan.plan import Cell
from bench.report.writing import write_report
from bench.stages.common import Inputs
from bench.stages.memorised import THRESHOLDS
from bench.types import Split

FLOW = {"use": "flow_matching", "steps": 2, "batch_size": 4, "filters": 4, "sample_steps": 1}
SUITE: dict[str, Any] = {
    "ratios": [1.0],
    "split": {**CURVE, "train_patients": [4], "replicates": 2, "unlabelled_patients": 4},
    "methods": {"none": {}, "flow": FLOW, "flow_semi": {**FLOW, "unlabelled": True}},
    "classifiers": {"small_cnn": {"steps": 2, "evaluate_every": 2, "batch_size": 8, "width": 4}},
    "explain": {"images_per_class": 0},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("unlabelled")
    suite, data = write_suite(folder / "s.yaml", **SUITE), write_squares(folder / "data", patients=12, images=2)
    session = prepare(str(suite), (), data, folder / "out")
    runner = Runner(session.plan.cells, session.env)
    runner.run(lambda: InProcess(1))
    assert runner.summary.exit_code == 0
    return session


def groups(session: Session, split: Split, *parts: str) -> set[str]:
    group = {r.path: r.group_id for r in session.plan.index.records}
    return {group[path] for part in parts for path in getattr(split, part)}


def folder(session: Session, cell: Cell) -> Path:
    return session.env.out / "cells" / cell.stage / cell.key


def test_only_the_method_that_asks_has_seen_them_and_its_images_are_compared_with_them(whole: Session) -> None:
    split_at = {s.at: s for s in whole.plan.splits}
    found = set()
    for cell in whole.plan.cells:
        if cell.stage in ("fit", "synthesize", "memorised"):
            parts = ("train", "unlabelled") if cell.method == "flow_semi" else ("train",)
            expected = groups(whole, split_at[cell.at], *parts)
            if cell.stage == "memorised":
                fitted = FittedStatistics.load(folder(whole, cell) / THRESHOLDS)
                assert fitted.source_images.groups == expected
            else:
                assert set(json.loads((folder(whole, cell) / SEEN).read_text())) == expected
            found.add((cell.stage, cell.method))
    assert len(found) == 6


def test_leaks_are_refused(whole: Session) -> None:
    rows = {r.quantity: r.value for r in leakage_check_rows(whole)}
    assert "a training set with unlabelled images" in rows
    assert set(rows.values()) == {"refused"}
    assert {r.value for r in disjoint_rows(whole)} == {0.0}
    split, other = whole.plan.splits
    cell = next(c for c in whole.plan.cells if c.stage == "fit" and c.fold == 0)
    parts = Inputs(cell, whole.env).fold().fold_parts
    allowed = groups(whole, split, "train", "unlabelled")
    check_generator(Path("generator"), allowed, parts)
    with pytest.raises(LeakageError, match="used groups that are not in this fold"):
        check_generator(Path("generator"), allowed | groups(whole, other, "unlabelled"), parts)


def test_the_report_counts_them(whole: Session, no_figures: None) -> None:
    text = write_report(whole).read_text(encoding="utf-8")
    assert "2 disjoint training sets of 4 patients, 4 further patients of each set without labels, one common" in text
    table = whole.env.out / "reports" / "s" / "tables" / "fold-parts.csv"
    assert "unlabelled,8,4" in table.read_text(encoding="utf-8").splitlines()


def test_images_and_methods_without_labels_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    data = write_squares(tmp_path / "data", patients=12, images=1)
    suite = write_suite(tmp_path / "s.yaml", **SUITE)
    with pytest.raises(
        ConfigError, match=r"methods\.flow_semi\.unlabelled is true, but the suite has no images without"
    ):
        prepare(str(suite), ("split.unlabelled_patients=0",), data, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"split\.unlabelled_patients is 4, but no method uses them"):
        prepare(str(suite), ("methods.flow_semi=false",), data, tmp_path / "out")

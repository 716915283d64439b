"""A learning curve, run: more sets train only what is new, scores are of the common test part, leaks are refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy import CURVE, register, write_squares, write_suite

from bench.check.disjoint import disjoint_rows
from bench.check.leakage_checks import leakage_check_rows
from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.metrics.predictions import read_predictions
from bench.plan.plan import Plan
from bench.report.writing import write_report
from bench.tracking.rows import coordinates, unit_name

SUITE: dict[str, Any] = {
    "ratios": [1.0],
    "split": {**CURVE, "replicates": 2},
    "classifiers": {"small_cnn": {"steps": 2, "evaluate_every": 2, "batch_size": 8, "width": 4}},
    "explain": {"images_per_class": 0},
}


def session_in(folder: Path, *assignments: str) -> Session:
    return prepare(str(folder / "s.yaml"), assignments, folder / "data", folder / "out")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A whole run with two sets, to be read; ``copied`` is one to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        write_suite(folder / "s.yaml", **SUITE)
        write_squares(folder / "data", patients=16, images=2)
        session = session_in(folder)
        assert run(session).summary.exit_code == 0
        yield session


@pytest.fixture
def copied(whole: Session, tmp_path: Path) -> Path:
    shutil.copytree(whole.env.out.parent, tmp_path / "copy")
    return tmp_path / "copy"


def run(session: Session) -> Runner:
    runner = Runner(session.plan.cells, session.env)
    runner.reuse()
    runner.run(lambda: InProcess(1))
    return runner


def images_tested(plan: Plan, session: Session) -> list[set[str]]:
    rows = [r for r in rows_of(plan, session.env) if r.stage == "evaluate"]
    return [set(read_predictions(session.env.out / r.facts["predictions"], "test").image) for r in rows]


def test_all_arms_and_sets_are_scored_on_one_test_part(whole: Session) -> None:
    rows = [r for r in rows_of(whole.plan, whole.env) if r.stage == "evaluate"]
    assert {(r.method, r.fold, r.train_patients) for r in rows} == {
        (m, f, n) for m in ("none", "toy") for f in (0, 1) for n in (4, 8)
    }
    assert all(r.status == "done" and math.isfinite(r.metrics["test/patient_auroc"]) for r in rows)
    assert all(images == set(whole.plan.splits[0].test) for images in images_tested(whole.plan, whole))
    row = next(r for r in rows if r.train_patients == 8)
    assert coordinates(row)["train_patients"] == "8"
    assert unit_name(row) == "none/r0/small_cnn/patients8/fold0/repeat0"


def test_more_sets_train_only_what_is_new(copied: Path) -> None:
    whole, more = session_in(copied), session_in(copied, "split.replicates=3")
    runner = run(more)
    assert runner.summary.exit_code == 0
    trained = {(r.stage, r.fold) for r in runner.ended if r.stage in ("fit", "synthesize", "classify")}
    assert {fold for _, fold in trained} == {2}, "the third set"
    assert {r.fold for r in runner.ended if r.stage == "evaluate"} == {0, 1, 2}, "fewer patients are tested"
    assert all(images == set(more.plan.splits[0].test) for images in images_tested(more.plan, more))
    assert len(more.plan.splits[0].test) < len(whole.plan.splits[0].test)
    again = Runner(whole.plan.cells, whole.env)
    assert again.reuse() == 0, "the smaller number of sets is still there"


def test_leaks_are_refused_also_of_other_sets(whole: Session) -> None:
    checked = leakage_check_rows(whole)
    assert "samples of a generator that saw a patient of another training set" in {r.quantity for r in checked}
    assert {r.value for r in checked} == {"refused"}
    rows = disjoint_rows(whole)
    assert {r.value for r in rows} == {0.0}
    assert {r.cell.rpartition(" set ")[2] for r in rows} == {f"{f} of {n} patients" for f in (0, 1) for n in (4, 8)}


def test_a_generator_never_sees_another_set(whole: Session) -> None:
    group = {r.path: r.group_id for r in whole.plan.index.records}
    train = {s.at: {group[p] for p in s.train} for s in whole.plan.splits}
    for cell in whole.plan.cells:
        if cell.stage == "fit":
            seen = json.loads((whole.env.out / "cells" / "fit" / cell.key / "seen_groups.json").read_text())
            assert set(seen) == train[cell.at]


def test_the_report_is_written(whole: Session, no_figures: None) -> None:
    text = write_report(whole).read_text(encoding="utf-8")
    assert "learning curve: 2 disjoint training sets of 4, 8 patients, one common test part" in text

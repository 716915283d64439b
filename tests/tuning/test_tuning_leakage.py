"""Tuning reads validation folds, never the test part: leaks injected in it are refused, each by its check alone.

As in ``test_leakage``: with its check disabled each leak must go through in silence, or its test proves nothing of it.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy import register, write_squares, write_suite

from bench.data.loaders import FoldData, TrainValidationView
from bench.engine.session import Session, prepare
from bench.errors import LeakageError
from bench.metrics.predictions import read_predictions
from bench.plan.selection import select
from bench.stages import validate
from bench.stages.common import Inputs
from bench.store.cell_folders import Artifacts
from bench.tuning.arm import Arm
from bench.tuning.objective import TrialFailed, run_pair, validation_score
from bench.tuning.spaces import Space
from bench.types import FloatRange

OPEN, SELECTABLE = "bench.data.loaders.require_open", "bench.metrics.selection.check_selectable"
SELECTION = "bench.classifiers.trainer.check_selection"


class Study:
    """One fold of a toy arm, tuned without a leak, and the hands of whoever plants one."""

    def __init__(self, session: Session, patch: pytest.MonkeyPatch) -> None:
        space = Space({"classifier.dropout": FloatRange(0.0, 0.5)}, {"classifier.dropout": 0.1})
        self.arm = Arm(session, session.suite.method("toy"), session.suite.classifier("small_cnn"), space)
        self.patch, self.suite = patch, self.arm.suite(space.own)
        self.cells = self.arm.cells(space.own)[0, 0]
        self.predictions = Artifacts(session.env.out).folder(*self.cells[-1].id) / "predictions.csv"

    def do(self) -> float:
        """Do the fold; what fails in a cell raises the error that it was stored with."""
        try:
            return run_pair(self.arm, self.suite, self.cells).score
        except TrialFailed as e:
            raise LeakageError(str(e)) if "LeakageError: " in str(e) else e from None

    def again(self) -> float:
        """Train and score anew."""
        shutil.rmtree(self.predictions.parent)
        return self.do()

    @property
    def fold(self) -> FoldData:
        return Inputs(self.cells[-1], self.arm.session.env).fold()

    def add_test_rows(self, part: str) -> None:
        """Put a row for every test image into the table of predictions, as if of that ``part``."""
        with self.predictions.open("a", newline="") as f:
            for record in self.fold.part("test").records:
                name = self.arm.session.plan.index.classes[record.label]
                csv.writer(f).writerow([record.path, record.group_id, 0, 0, part, name, name, 0.5, 0.5])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        Study(session_of(folder, write_squares(folder / "data")), patch).do()
        yield folder


@pytest.fixture
def study(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    register(monkeypatch)
    monkeypatch.setattr("bench.cost.timers._give_back_memory", lambda: None)  # before every cell: slow, no use here
    for name in ("data", "out"):
        shutil.copytree(finished / name, tmp_path / name)
    return Study(session_of(tmp_path, tmp_path / "data"), monkeypatch)


def session_of(folder: Path, data: Path) -> Session:
    return prepare(str(write_suite(folder / "s.yaml", ratios=[1.0])), (), data, folder / "out")


def predicting_the_test_part(study: Study) -> None:
    """The stage of tuning is changed to predict what `classify` predicts."""
    study.patch.setattr(validate, "SCORED", ("validation", "test"))
    study.patch.setattr("bench.tuning.objective.validation_score", lambda *_: 0.5)
    study.again()


def early_stopping_on_the_test_part(study: Study) -> None:
    """The fold that it trains with serves test images for validation."""
    part = FoldData.part
    study.patch.setattr(
        TrainValidationView, "part", lambda fold, name: part(fold, "test" if name == "validation" else name)
    )
    study.patch.setattr("bench.tuning.objective.validation_score", lambda *_: 0.5)
    study.again()


def training_with_an_open_fold(study: Study) -> None:
    """The stage of tuning is changed to early-stop on test images, out of a fold that is not sealed."""
    study.patch.setattr(FoldData, "train_validation", lambda fold: ShiftedFold(fold))
    study.patch.setattr("bench.tuning.objective.validation_score", lambda *_: 0.5)
    study.again()


class ShiftedFold:
    """A fold that serves the test part for validation."""

    def __init__(self, fold: FoldData) -> None:
        self._fold = fold

    def part(self, name: Any) -> Any:
        return self._fold.part("test" if name == "validation" else name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fold, name)


def a_score_of_test_rows(study: Study) -> None:
    """Test rows stand in the table that the objective reads."""
    study.add_test_rows("test")
    validation_score(study.cells[-1], study.arm.session.env, "patient_auroc")


def a_score_of_renamed_test_rows(study: Study) -> None:
    """They say that they are of the validation part; the fold's borders know better."""
    study.add_test_rows("validation")
    validation_score(study.cells[-1], study.arm.session.env, "patient_auroc")


LEAKS: tuple[tuple[Callable[[Study], None], str, str], ...] = (
    (predicting_the_test_part, OPEN, "the test part was asked for"),
    (early_stopping_on_the_test_part, OPEN, "the test part was asked for"),
    (training_with_an_open_fold, SELECTION, "selection used .* test part"),
    (a_score_of_test_rows, SELECTABLE, "predictions of the test part"),
    (a_score_of_renamed_test_rows, SELECTABLE, "used .* test part"),
)
EACH = pytest.mark.parametrize(("inject", "check", "says"), LEAKS, ids=lambda x: getattr(x, "__name__", ""))


@EACH
def test_an_injected_leak_raises(inject: Any, check: str, says: str, study: Study) -> None:
    with pytest.raises(LeakageError, match=says):
        inject(study)


@EACH
def test_without_its_check_the_leak_goes_through(inject: Any, check: str, says: str, study: Study) -> None:
    study.patch.setattr(check, lambda *args, **kwargs: None)
    if check == OPEN and inject is early_stopping_on_the_test_part:
        study.patch.setattr(SELECTION, lambda *args: None)  # which would be the next to stop it
    inject(study)


def test_without_a_leak_only_validation_images_are_predicted(study: Study) -> None:
    before = study.do()
    assert study.again() == before
    predictions = read_predictions(study.predictions)
    assert set(predictions.image) == {r.path for r in study.fold.part("validation").records}
    assert set(predictions.part) == {"validation"}


def test_a_study_makes_no_cell_that_reads_the_test_part(study: Study) -> None:
    assert [c.stage for c in study.cells] == ["split", "fit", "synthesize", "validate"]
    made = {p.parent.name for p in (study.arm.session.env.out / "cells").glob("*/*")}
    assert made == {"split", "fit", "synthesize", "validate"}


def test_a_run_takes_over_what_tuning_trained(study: Study, tmp_path: Path) -> None:
    """The network, its history and its seconds; what comes out is what an own training gives, bit for bit."""
    from bench.engine.cell_run import run_cell

    rows = {}
    for out in (study.arm.session.env.out, tmp_path / "cold"):
        session = prepare(str(tmp_path / "s.yaml"), (), tmp_path / "data", out)
        for cell in select(session.plan.cells, ("stage=classify", "method=toy", "fold=0")):
            row = run_cell(cell, session.env)
            assert row.status == "done", row.error
        rows[out.name] = (row, out / row.folder)
    (warm, warm_folder), (cold, cold_folder) = rows["out"], rows["cold"]
    trained = Artifacts(study.arm.session.env.out).result(*study.cells[-1].id)
    for name in ("predictions.csv", "history.csv", "classifier.safetensors"):
        assert (warm_folder / name).read_bytes() == (cold_folder / name).read_bytes()
    for name in ("best_validation", "best_step", "steps_run", "real_images", "synthetic_images"):
        assert warm.facts[name] == cold.facts[name]
    assert warm.costs["elapsed_s"] > trained["costs"]["elapsed_s"]
    assert warm.costs["step_s"] == trained["costs"]["step_s"]
    assert warm.costs["peak_memory_bytes"] == trained["costs"]["peak_memory_bytes"]

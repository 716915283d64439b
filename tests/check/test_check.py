"""`bench check`: an unchanged run passes; each injected regression fails, and the row that it is in is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import write_squares, write_suite

from bench.check import costs
from bench.check.baseline import Baseline
from bench.check.compare import Comparison, compare
from bench.check.measure import measure
from bench.check.rows import Row
from bench.check.update import baseline_of, require_sound
from bench.data.loaders import FoldData
from bench.engine.session import Session, prepare
from bench.errors import BenchError
from bench.leakage import FoldParts
from bench.stages import classify, synthesize
from tlsgan import losses, trainer

STAGES = ("split", "fit", "synthesize", "classify", "evaluate")  # the others are not needed here, and take time
GAN = {"steps": 4, "filters": 4, "blocks": 1, "disc_filters": 4, "log_every": 2, "sample_every": 4}
CNN = {"steps": 30, "evaluate_every": 30, "batch_size": 8, "width": 4, "learning_rate": 0.01, "dropout": 0}


@dataclass(frozen=True)
class Bench:
    """A tiny suite, its baseline, and fresh runs of it."""

    session: Session
    baseline: Baseline
    rows: list[Row]

    def fresh(self, out: Path) -> list[Row]:
        """Run it again in a new folder; no step is timed."""
        return measure(replace(self.session, env=replace(self.session.env, out=out)), 1, costs=0)

    def check(self, out: Path, without: str = "") -> Comparison:
        """Run it again in a new folder, and compare all but costs; cells ``without`` a word in their titles."""
        cells = tuple(c for c in self.session.plan.cells if not without or without not in c.title)
        part = replace(self, session=replace(self.session, plan=replace(self.session.plan, cells=cells)))
        kept = {k: v for k, v in self.baseline.rows.items() if k[0] != "cost" and not (without and without in k[1])}
        return compare(replace(self.baseline, rows=kept), part.fresh(out), exact=True)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("check")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.cost.timers._give_back_memory", lambda: None)
        patch.setattr(costs, "LEAST", 8)
        patch.setattr(costs, "MOST", 9)
        patch.setattr(costs, "LIMIT_S", 0.5)
        data = write_squares(folder / "data", size_px=24)
        methods = {"none": {}, "cyclegan": GAN}
        suite = write_suite(
            folder / "s.yaml", image_size_px=24, ratios=[1.0], methods=methods, classifiers={"small_cnn": CNN}
        )
        session = prepare(str(suite), (), data, folder / "out")
        cells = tuple(c for c in session.plan.cells if c.fold == 0 and c.stage in STAGES)
        session = replace(session, plan=replace(session.plan, cells=cells))
        rows = measure(session, 1)
        yield Bench(session, baseline_of(session, "cpu", [rows, rows], ["as is", "again"]), rows)


def named(comparison: Comparison, kind: str) -> list[tuple[str, str]]:
    """The cells and quantities of a kind that are named as regressions."""
    return [(f.cell, f.quantity) for f in comparison.regressions if f.kind == kind]


def test_an_unchanged_run_has_no_regression(bench: Bench, tmp_path: Path) -> None:
    require_sound(bench.rows, "as is")
    rows = bench.fresh(tmp_path)
    comparison = compare(bench.baseline, [*rows, *(r for r in bench.rows if r.kind == "cost")], exact=True)
    assert not comparison.failed, [f.text for f in comparison.regressions]
    assert {r.kind for r in rows} == {"cell", "leak", "fact", "mean", "loss", "score"}
    assert rows == [r for r in bench.rows if r.kind != "cost"]  # on one machine, bit for bit
    assert {r.cell for r in bench.rows if r.kind == "cost"} == {
        "fit cyclegan",
        "classify none small_cnn",
    }


def slower(change: Callable[[Any], Any]) -> Callable[..., Any]:
    make_step = trainer.make_step

    def slow(*args: Any) -> Any:
        step, facts = make_step(*args)
        return change(step), facts

    return slow


def doubled(step: Any) -> Any:
    return lambda *batch: (step(*batch), step(*batch))[0]


def more_work(step: Any) -> Any:
    """A step with a seventh more operators, all small and in place, so that bytes and time hardly change."""

    def call(*batch: Any) -> Any:
        x = torch.zeros(1)
        for _ in range(100):
            x.add_(1)
        return step(*batch)

    return call


def sleepy(step: Any) -> Any:
    def call(*batch: Any) -> Any:
        time.sleep(0.2)
        return step(*batch)

    return call


@pytest.mark.parametrize(
    ("change", "quantities"),
    [(doubled, [costs.OPERATIONS, costs.NEW, costs.PEAK]), (more_work, [costs.OPERATIONS]), (sleepy, [costs.STEP])],
)
def test_a_slower_step_is_named_on_any_machine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], quantities: list[str]
) -> None:
    monkeypatch.setattr(trainer, "make_step", slower(change))
    rows = costs.cost_rows(bench.session, only=["fit cyclegan"])
    kept = {k: v for k, v in bench.baseline.rows.items() if k[:2] == ("cost", "fit cyclegan")}
    found = named(compare(replace(bench.baseline, rows=kept), rows), "cost")
    assert found == [("fit cyclegan", quantity) for quantity in quantities]


def test_a_changed_loss_is_named_at_its_first_step(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = losses.generators
    monkeypatch.setattr(
        losses, "generators", lambda terms, config: total(terms, replace(config, lambda_cycle=10 * 1.05))
    )
    comparison = bench.check(tmp_path)
    assert named(comparison, "loss")[0] == ("fit cyclegan fold 0", "loss_G at step 2")
    assert all("none" not in f.cell for f in comparison.regressions)  # an arm that it has nothing to do with


def wrong_labels(patch: pytest.MonkeyPatch) -> None:
    assemble = classify.assemble_training_set

    def mislabel(*args: Any) -> Any:
        found = assemble(*args)
        return replace(found, labels=found.labels[::-1].copy())  # images come class by class

    patch.setattr(classify, "assemble_training_set", mislabel)


def a_tenth_of_the_learning_rate(patch: pytest.MonkeyPatch) -> None:
    from bench.classifiers import trainer as fine_tuning

    rate = fine_tuning.learning_rate
    patch.setattr(fine_tuning, "learning_rate", lambda config, step: 0.1 * rate(config, step))


@pytest.mark.parametrize(
    ("change", "score"), [(wrong_labels, "test/balanced_accuracy"), (a_tenth_of_the_learning_rate, "test/brier")]
)
def test_a_worse_score_is_named(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None],
    score: str,
) -> None:  # fmt: skip
    change(monkeypatch)
    comparison = bench.check(tmp_path, without="cyclegan")
    assert ("evaluate none small_cnn fold 0", score) in named(comparison, "score")
    assert ("classify none small_cnn fold 0", "train/loss at step 10") in named(comparison, "loss")


def test_a_synthetic_set_that_saw_test_patients_is_named_though_no_check_does(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = FoldData.training.fget  # type: ignore[attr-defined]

    def everything(fold: FoldData) -> Any:
        found = training(fold)
        index = found._index
        found.records = index.records
        found.labels = np.array([r.label for r in index.records])
        found._rows = lambda name: list(range(len(index.records)))
        return found

    monkeypatch.setattr(FoldData, "training", property(everything))
    monkeypatch.setattr(FoldParts, "require", lambda *args, **options: None)
    leaks = named(bench.check(tmp_path), "leak")
    assert ("fit cyclegan fold 0", "held-out patients that its generator saw") in leaks
    assert ("synthesize cyclegan fold 0", "held-out patients among its sources") in leaks
    assert ("leakage checks", "a synthetic set whose generator saw a test patient") in leaks


def test_a_leakage_check_that_nothing_calls_any_more_is_named(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesize, "check_generator", lambda *args: None)
    comparison = bench.check(tmp_path)
    assert [(f.kind, f.cell, f.quantity, f.now) for f in comparison.regressions] == [
        ("leak", "leakage checks", "samples of a generator that saw a test patient", "let through")
    ]


def test_a_failed_cell_is_a_regression_and_its_rows_are_not_listed_one_by_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("injected failure")

    monkeypatch.setattr(trainer, "make_step", fail)
    comparison = bench.check(tmp_path)
    assert comparison.failed
    statuses = {f.cell: f.now for f in comparison.regressions if f.kind == "cell"}
    assert statuses["fit cyclegan fold 0"] == "failed: RuntimeError: injected failure"
    assert str(statuses["evaluate cyclegan ×1 small_cnn fold 0"]).startswith("skipped")
    assert named(comparison, "loss") == named(comparison, "score") == []
    with pytest.raises(BenchError, match="injected failure"):
        require_sound([Row("cell", "fit cyclegan fold 0", "status", "failed: injected failure")], "as is")

"""Search spaces are checked when declared; `bench tune` end to end, and its best config run again."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from toy import Toy, register, write_squares, write_suite

from bench import registry
from bench.cli.main import main
from bench.cli.tune import parse_budget
from bench.config import build
from bench.engine.cell_run import run_cell
from bench.engine.session import Session, prepare
from bench.errors import ConfigError
from bench.plan.selection import select
from bench.suite.suite import PluginSpec
from bench.suite.tuned import tuned_s
from bench.tracking.rows import fact_params, unit_name
from bench.tuning import tracked
from bench.tuning.choose import choose_arms
from bench.tuning.spaces import arm_space, check_ranges, parse_range, read_changes, widened
from bench.types import Choice, FloatRange, IntRange

SPACE = {
    "toy": {"steps": {"low": 2, "high": 6}, "fail_at": {"values": [-1]}},
    "small_cnn": {name: None for name in ("weight_decay", "warmup_fraction", "label_smoothing", "class_weights")},
}


def spec_of(kind: registry.Kind, name: str, **config: Any) -> PluginSpec:
    cls = registry.load(kind, name)
    if kind == "classifier" and name not in registry.names(kind):
        config["model"] = name
    return PluginSpec(
        name, name, registry.resolve(kind, name), 1, getattr(cls, "kind", ""), build(cls.Config, config, name)
    )


# --- search spaces ---------------------------------------------------------------------------------------------------

DECLARED = [("method", n) for n in registry.names("method")] + [("classifier", "small_cnn"), ("classifier", "resnet18")]


@pytest.mark.parametrize(("kind", "name"), DECLARED, ids=lambda x: x)
def test_declared_spaces_fit_their_configs(kind: Any, name: str) -> None:
    spec = spec_of(kind, name)
    plugin = spec.create()
    space = plugin.search_space() if hasattr(plugin, "search_space") else {}
    check_ranges(spec, space, name)
    assert bool(space) != (name in ("none", "oversample", "noise"))
    assert not {"steps", "batch_size", "patience"} & set(space) or kind == "method"  # every arm has one budget
    for field, found in space.items():
        wide, own = widened(found, getattr(spec.config, field))
        inside = own in wide.values if isinstance(wide, Choice) else wide.low <= own <= wide.high
        assert inside, field


def test_the_class_loss_is_searched_where_there_is_one() -> None:
    assert "lambda_class" in spec_of("method", "tlsgan_lite0").create().search_space()
    assert "lambda_class" not in spec_of("method", "cyclegan").create().search_space()
    assert "head_dropout" not in spec_of("method", "cyclegan").create().search_space()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"learning_rat": FloatRange(0.1, 1)}, "did you mean 'learning_rate'"),
        ({"learning_rate": FloatRange(1, 0.1)}, "expected low <= high"),
        ({"learning_rate": FloatRange(0, 0.1, log=True)}, "expected 0 < low"),
        ({"learning_rate": FloatRange(-1, 0.1)}, "expected more than 0"),
        ({"batch_size": FloatRange(1, 2)}, "the field is an integer"),
        ({"dropout": FloatRange(0, 1.5)}, "dropout: got 1.5"),
        ({"select_by": Choice(("loss", "accuracy"))}, "select_by"),
        ({"select_by": Choice(())}, "at least one"),
        ({"select_by": Choice((("loss",),))}, "at least one plain value"),
    ],
)
def test_a_range_that_the_config_cannot_have_fails_at_once(space: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_ranges(spec_of("classifier", "small_cnn"), space, "small_cnn")


def test_the_suite_s_own_value_is_always_in_the_space() -> None:
    assert widened(FloatRange(0.1, 1.0, log=True), 3.0) == (FloatRange(0.1, 3.0, log=True), 3.0)
    assert widened(IntRange(2, 4), 1) == (IntRange(1, 4), 1)
    assert widened(Choice((0, 50)), 20) == (Choice((0, 50, 20)), 20)
    assert widened(Choice((False, True)), True) == (Choice((False, True)), True)
    assert widened(FloatRange(0.1, 1.0, log=True), 0.0) == (FloatRange(0.1, 1.0, log=True), 0.1)  # no logarithm


def test_ranges_are_read_from_yaml() -> None:
    assert parse_range({"low": 1e-4, "high": 1, "log": True}, False, "x") == FloatRange(1e-4, 1.0, log=True)
    assert parse_range({"low": 1, "high": 3}, True, "x") == IntRange(1, 3)
    assert parse_range({"values": [1, None]}, True, "x") == Choice((1, None))
    for bad in ({"low": 1}, {"low": 1, "high": 2, "lgo": True}, [1, 2], {"values": 3}, {"low": 0.5, "high": 1}):
        with pytest.raises(ConfigError, match=r"^x"):
            parse_range(bad, True, "x")


# --- the command -----------------------------------------------------------------------------------------------------


class BrokenMLflow:
    """A background thread that logs nothing, and says so."""

    def __init__(self, tracker: Any) -> None:
        self.rows: list[Any] = []

    def submit(self, row: Any) -> None:
        self.rows.append(row)

    def report(self, folder: Path) -> None:
        assert folder.is_dir()

    def close(self, timeout_s: float) -> str:
        left = f"{len(self.rows)} cells not yet in MLflow"
        return f"{left}: OSError: broken; no results are lost, run `bench mlflow sync` to log them"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setattr(tracked, "TrackingThread", BrokenMLflow)  # a view: broken, it stops nothing
    monkeypatch.setattr("bench.cost.timers._give_back_memory", lambda: None)
    write_squares(tmp_path / "data")
    classifier = {"steps": 12, "evaluate_every": 4, "batch_size": 8, "width": 4, "learning_rate": 0.01}
    write_suite(tmp_path / "toy.yaml", classifiers={"small_cnn": classifier})
    Path("space.yaml").write_text(json.dumps(SPACE))

    def call(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return call


TOY = ("--suite", "toy.yaml", "--data", "data", "--device", "cpu")
TUNE = ("tune", *TOY, "--method", "toy", "--space", "space.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tune", *TOY, "--method", "toy"), "--trials N, --budget 2h"),
        (("tune", *TOY, "--method", "toi", "--trials", "1"), "did you mean 'toy'"),
        (("tune", *TOY, "--method", "toy", "--classifier", "smal_cnn", "--trials", "1"), "did you mean 'small_cnn'"),
        ((*TUNE, "--budget", "2 hours"), "such as 2h"),
        (
            (*TUNE, "--trials", "1", "--objective", "primary,seconds", "--pruner", "wilcoxon"),
            "two objectives cannot be pruned",
        ),
        ((*TUNE, "--trials", "1", "--pruner", "wilcoxon"), "a study of one fold cannot be pruned"),
        ((*TUNE, "--trials", "1", "--storage", "mysqll://x"), "--storage mysqll://x"),
        ((*TUNE, "--trials", "1", "--storage", "postgresql://a:b@db/x"), "PGPASSWORD or write it to ~/.pgpass"),
        ((*TUNE, "--trials", "1", "--storage", "mysql://db/x?user=a&password=b"), "set BENCH_STORAGE to the URL"),
        ((*TUNE, "--trials", "1", "--set", "methods.toy.stepps=3"), "did you mean 'steps'"),
    ],
)
def test_bad_usage_is_exit_2_and_says_what_to_do(bench: Any, words: tuple[str, ...], message: str) -> None:
    result = bench(*words)
    assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output
    assert message in result.output


def test_tune_then_run_the_best_config(bench: Any, tmp_path: Path) -> None:
    """Three trials a fold, resumed after two; each fold's best config gives its score again, from nothing."""
    words = (*TUNE, "--pruner", "none", "--out", "out")
    assert bench(*words, "--trials", "2").exit_code == 0
    result = bench(*words, "--trials", "3")
    assert result.exit_code == 0, result.output
    assert "3 trials not yet in MLflow: " in result.output  # it could not be reached, and said so
    assert "run the same command to log them" in result.output
    tuning = tmp_path / "out" / "tuning"
    folders = sorted(p for p in tuning.iterdir() if p.is_dir())
    assert [p.name.rpartition("-")[0] for p in folders] == ["toy-toy-small_cnn-0.0", "toy-toy-small_cnn-1.0"]

    session = prepare("toy.yaml", (f"@{tuning / 'best-toy-toy-small_cnn.yaml'}",), Path("data"), tmp_path / "anew")
    assert [o.budget for o in session.suite.tuned_settings] == ["3 trials", "3 trials"]
    seconds = 0.0
    for fold, folder in enumerate(folders):
        rows = list(csv.DictReader((folder / "trials.csv").open()))
        assert [r["state"] for r in rows] == ["done"] * 3
        best = max(float(r["score"]) for r in rows)
        cost = json.loads((folder / "tuning_cost.json").read_text())
        assert (cost["score"], cost["trials"], cost["method"]) == (best, {"done": 3}, "toy")
        assert 0 < cost["device_s"] <= sum(float(r["device_s"]) for r in rows) + 0.01
        seconds += cost["device_s"]
        assert validation_score_of(session, fold, rows[cost["best_trial"]]["ratio"]) == best
        report = (folder / "tuning.md").read_text()
        assert f"trial {cost['best_trial']}, {best:.4f}" in report
        assert all(name in report for name in ("method.steps", "classifier.dropout", "| ratio |", "AUROC"))
        assert (np.asarray(Image.open(folder / "history.png").convert("L")) < 128).sum() > 500
    assert tuned_s(session.suite.tuned_settings, "toy", "small_cnn") == pytest.approx(seconds, abs=0.01)
    assert tuned_s(session.suite.tuned_settings, "none", "small_cnn") == 0.0


def validation_score_of(session: Session, fold: int, ratio: str) -> float:
    """Do the arm's cells of `bench run` in a fold and return its validation score."""
    chosen = ("stage=evaluate", "method=toy", f"ratio={ratio}", f"fold={fold}")
    rows = [run_cell(cell, session.env) for cell in select(session.plan.cells, chosen)]
    assert all(row.status == "done" for row in rows), [row.error for row in rows]
    return rows[-1].metrics["validation/patient_auroc"]


def test_failing_trials_are_exit_1(bench: Any) -> None:
    result = bench("tune", *TOY, "--method", "toy", "--trials", "1", "--out", "out", "--set", "methods.toy.fail_at=1")
    assert result.exit_code == 1, result.output
    assert "the last 5 trials failed" in result.output
    assert "injected failure" in result.output


def test_a_database_that_fails_is_one_message(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def fail(*words: Any) -> int:
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    monkeypatch.setattr("bench.cli.tune.tune_arm", fail)
    result = bench(*TUNE, "--trials", "1", "--out", "out")
    assert (result.exit_code, "Traceback" in result.output) == (2, False)
    assert "server closed the connection" in result.output
    assert "run the same command to continue" in result.output


def test_a_ctrl_c_is_exit_130_and_the_same_command_continues(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, calls = Toy.fit, []

    def interrupted(self: Toy, *words: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        fit(self, *words)

    monkeypatch.setattr(Toy, "fit", interrupted)
    result = bench(*TUNE, "--trials", "1", "--out", "out")
    assert (result.exit_code, "run the same command to continue" in result.output) == (130, True)
    result = bench(*TUNE, "--trials", "1", "--out", "out")
    assert result.exit_code == 0, result.output
    assert len(calls) == 3  # the two folds, and the one that was cut
    folder = next((Path("out") / "tuning").glob("*-1.0-*"))
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert [(r["state"], r["again"]) for r in rows] == [("killed", "suite"), ("done", "0")]


def test_spaces_of_an_arm(bench: Any, tmp_path: Path) -> None:
    suite = prepare("toy.yaml", (), Path("data"), tmp_path / "out").suite
    toy, cnn = suite.method("toy"), suite.classifier("small_cnn")
    space = arm_space(suite, toy, cnn, read_changes(Path("space.yaml"), suite))
    assert list(space.ranges) == [
        "method.steps", "method.fail_at", "classifier.learning_rate", "classifier.dropout", "ratio"
    ]  # fmt: skip
    assert space.own == {"method.steps": 6, "method.fail_at": -1, "classifier.learning_rate": 0.01,
                         "classifier.dropout": 0.1, "ratio": "0.5"}  # fmt: skip
    assert "ratio" not in arm_space(suite, suite.method("none"), cnn, {}).ranges
    for text, message in (
        ("toi: {}", "did you mean 'toy'"),
        ("toy: 3", "expected a mapping"),
        ("toy: {stepps: null}", "did you mean 'steps'"),
        ("toy: {steps: {low: 0.5, high: 2}}", "steps"),
    ):
        Path("bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            arm_space(suite, toy, cnn, read_changes(Path("bad.yaml"), suite))
    nothing = {"small_cnn": dict.fromkeys(cnn.create().search_space())}
    with pytest.raises(ConfigError, match="has a search space"):
        arm_space(suite, suite.method("none"), cnn, nothing)


def test_arms_are_chosen_by_name_or_all(bench: Any, tmp_path: Path) -> None:
    session = prepare("toy.yaml", (), Path("data"), tmp_path / "out")

    def chosen(*names: str) -> list[str]:
        return [arm.method.name for arm in choose_arms(session, names, None, None, False, "none", 0)]

    assert chosen("all") == ["none", "toy"]
    assert chosen("toy", "none", "toy") == ["toy", "none"]
    studies = {arm.study for seed in (0, 1) for arm in choose_arms(session, ("all",), None, None, False, "none", seed)}
    assert len(studies) == 4


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("1h30m", 5400), ("45 s", 45), ("0.5h", 1800)])
def test_budgets(text: str, seconds: float) -> None:
    option = click.Option(["--budget"])
    assert parse_budget(click.Context(click.Command("tune")), option, text) == seconds


def test_trials_are_nested_runs_to_mlflow(bench: Any, tmp_path: Path) -> None:
    import optuna

    from bench.tuning.arm import Arm

    session = prepare("toy.yaml", (), Path("data"), tmp_path / "out")
    suite = session.suite
    pair = suite.method("none"), suite.classifier("small_cnn")
    arm = Arm(session, *pair, arm_space(suite, *pair, {}))
    attributes = {"fold 0.0": {"score": 0.5, "seconds": {"a": 2.0}}, "fold 1.0": {"score": 1.0, "seconds": {"a": 2.0}}}
    study = optuna.create_study(direction="maximize")
    study.add_trial(optuna.trial.create_trial(value=0.75, user_attrs=attributes))
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs={"error": "E: x"}))
    done, failed = (tracked.trial_row(arm, t) for t in study.trials)
    assert unit_name(done) == "trial0000"
    assert (done.status, done.metrics, done.costs["device_s"]) == (
        "done", {"validation/patient_auroc": 0.75}, 2.0
    )  # fmt: skip
    assert fact_params(done)["trial.folds"] == "2"
    assert (failed.status, failed.error, unit_name(failed)) == ("failed", "E: x", "trial0001")
    assert math.isfinite(failed.costs["elapsed_s"])

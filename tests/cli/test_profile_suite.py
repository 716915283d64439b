"""bench profile --suite: the table, its files, and what bench plan makes of the rehearsal."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from toy import leave_out_figures

from bench.cli import profile_suite as profile_suite_command
from bench.cli.main import main
from bench.engine.scheduler import Listener
from bench.forecast.profile_points import TRAINING, measure, subjects
from bench.suite.suite import parse_suite

SUITE = """
dataset: {name: phantom, image_size_px: 32, patients: 8, images_per_patient: 4}
image_size_px: 32
threads: 1
split: {protocol: kfold, folds: 2, validation_fraction: 0.25}
methods:
  none:
  cyclegan: {steps: 40, batch_size: 2, filters: 4, blocks: 1, disc_filters: 4}
classifiers:
  small_cnn: {steps: 40, batch_size: 8, evaluate_every: 20}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An output folder in which the suite was profiled; the suite's file lies in it."""
    folder, threads = tmp_path_factory.mktemp("profiled"), torch.get_num_threads()
    (folder / "small.yaml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profile_suite_command, "pick_jobs", lambda *_: (1, 1))  # in this process: starting one takes long
        run(
            "profile", "--suite", str(folder / "small.yaml"), "--out", str(folder), "--method", "none", "--batch", "2,4"
        )
    yield folder
    torch.set_num_threads(threads)


def run(*words: str) -> str:
    result = CliRunner().invoke(main, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_everything_asked_for_is_in_the_files(out: Path) -> None:
    found = json.loads((out / "profile" / "small-cpu.json").read_text())
    points = [(p["what"], p["name"], p["batch"]) for p in found["points"]]
    assert points == [
        (w, n, b) for w, n in (("training", "small_cnn, none"), ("inference", "small_cnn")) for b in (2, 4)
    ]
    two, four = found["points"][:2]
    assert four["flops"] == 2 * two["flops"]
    assert four["images_per_s"] == pytest.approx(4 / four["seconds"])
    assert four["peak_memory_bytes"] > 1e8
    with (out / "profile" / "small-cpu.csv").open() as f:
        assert [int(r["batch"]) for r in csv.DictReader(f)] == [2, 4, 2, 4]
    assert {p.name for p in (out / "profile").glob("*.png")} == {"small-cpu-training.png", "small-cpu-inference.png"}
    assert not list((out / "profile").glob("rehearsal-*")), "the rehearsal cleans up"


def test_the_plan_says_what_is_measured_what_guessed_and_what_neither(out: Path) -> None:
    found = json.loads(run("plan", "--suite", str(out / "small.yaml"), "--out", str(out), "--jobs", "2", "--json"))
    by = {(c["stage"], c["method"], c["fold"]): (c["expected"] or {}).get("how") for c in found["cells"]}
    assert (by["classify", "none", 1], by["evaluate", "cyclegan", 0]) == ("measured", "measured")
    assert by["classify", "cyclegan", 0] == "guessed", "a classifier's steps on other images"
    assert by["fit", "cyclegan", 0] is None, "no generator was rehearsed"
    assert found["jobs"] == 2
    assert found["expected_wall_s"] is None, "with something unknown there is no total"
    shown = run("plan", "--suite", str(out / "small.yaml"), "--out", str(out))
    assert "at least" in shown
    assert "to measure: bench profile -" in shown  # --suite, or --out if another test has run the suite here
    assert max(len(line.rstrip()) for line in shown.splitlines() if line.startswith(("fit", "stage", "total"))) <= 80


class NoView(Listener):
    """Replaces the MLflow view, which is slow to start."""

    def __init__(self, session: Any) -> None:
        """Take the arguments of the view."""

    def is_complete(self, digest: str) -> bool:
        return True


def test_a_predicted_run_keeps_what_was_predicted(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_figures(monkeypatch)
    monkeypatch.setattr("bench.cli.run.MLflowView", NoView)
    words = ("--suite", str(out / "small.yaml"), "--out", str(out))
    run("run", *words, "--only", "method=none", "--only", "fold=0", "--device", "cpu", "--jobs", "1")
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {r["stage"] for r in rows} == {"split", "classify", "evaluate", "explain"}
    assert all(r["costs"]["predicted_elapsed_s"] > 0 for r in rows)
    (record,) = {r["started_at"]: r for r in map(json.loads, (out / "runs.jsonl").read_text().splitlines())}.values()
    assert record["cells"] == record["predicted_cells"] == 4
    assert 0 < record["cells_s"] <= record["busy_s"] <= record["wall_s"]
    assert record["closing_s"] > 0
    report = out / "reports" / "small"
    assert "Cost of running the suite</h2>" in (report / "report.html").read_text()
    assert "\nclassify,1" in (report / "tables" / "predicted-and-measured-cost.csv").read_text()


def test_out_of_time_is_a_result(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SUITE)
    words = ("--suite", str(tmp_path / "small.yaml"), "--out", str(tmp_path), "--limit", "0", "--no-rehearsal")
    shown = run("profile", *words)
    assert "cyclegan, 32 px, batch 2: not measured: out of time" in shown


def test_a_method_that_is_not_in_the_suite_is_named(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SUITE)
    result = CliRunner().invoke(main, ["profile", "--suite", str(tmp_path / "small.yaml"), "--method", "cyclgan"])
    assert result.exit_code == 2
    assert "did you mean 'cyclegan'" in result.output


def test_a_method_without_a_batch_size_has_no_step_to_measure() -> None:
    methods, classifiers = {"mine": {"use": "mistaken:NoBatches"}}, {"small_cnn": {}}
    suite = parse_suite("mine", {"dataset": {"name": "phantom"}, "methods": methods, "classifiers": classifiers})
    training = next(s for s in subjects(suite, ()) if s.what == TRAINING)
    assert (training.name, training.batch) == ("mine", 0)
    point = measure(training, 32, training.batch, "cpu", None, calls=1, limit_s=0.0, whole=False)
    assert point.problem == "has no training step that can be measured"

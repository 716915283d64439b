"""Studies and MLflow on a real PostgreSQL server, files on an S3 stand-in; the password is in no output."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from databases import BUCKET, CommandLines, Postgres, postgres_server, s3_server
from made_stores import commit_again, finish
from PIL import Image
from toy import CURVE, register, write_squares, write_suite

from bench.cli.main import main
from bench.engine.session import prepare
from bench.tracking.store import artifact_root, artifacts_of
from bench.tuning import objective, tracked, trial_queue
from bench.tuning.objective import PairResult

TRIALS, PROCESSES = 8, 4
WAIT_S = 600  # on a busy machine
TOY = ("--suite", "toy.yaml", "--data", "data", "--out", "out")
TUNE = ("tune", *TOY, "--method", "none", "--pruner", "none", "--device", "cpu", "--trials", f"{TRIALS}")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the command line in a folder with the toy suite."""
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name in ("BENCH_DATA", "MLFLOW_TRACKING_URI", "MLFLOW_DEFAULT_ARTIFACT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    write_squares(tmp_path / "data")
    write_suite(tmp_path / "toy.yaml", ratios=[1.0])
    return lambda *words: CliRunner().invoke(main, words)


def leaks(server: Postgres, folder: Path, lines: CommandLines, *outputs: str) -> list[str]:
    """Return where the server's password is: files below a folder, command lines, outputs."""
    texts = {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    texts |= {f"process {line!r}": line for line in lines.seen}
    texts |= {f"output {i}": text.encode() for i, text in enumerate(outputs)}
    assert len(lines.seen) > 1
    return [where for where, text in texts.items() if any(spelt in text for spelt in server.spellings())]


# --- a study -------------------------------------------------------------------------------------------------------


class NoMLflow:
    """A background thread that logs nothing."""

    def __init__(self, tracker: Any) -> None: ...

    def submit(self, row: Any) -> None: ...

    def report(self, folder: Path) -> None: ...

    def close(self, timeout_s: float) -> None: ...


def by_formula(arm: Any, suite: Any, cells: list[Any]) -> PairResult:
    """A score without a training, in a tenth of a second."""
    time.sleep(0.1)
    config = suite.classifiers[0].config
    return PairResult(1.0 - config.dropout, {cell.row_key: 1.0 + config.dropout for cell in cells})


def one_process(number: int) -> None:
    result = CliRunner().invoke(main, TUNE)
    Path(f"console-{number}.txt").write_text(result.output)
    sys.exit(result.exit_code)


def kill_two(url: str) -> list[int]:
    """Kill two processes, each in the middle of a trial, and return the numbers of these trials."""
    import optuna

    running = optuna.trial.TrialState.RUNNING
    deadline = time.monotonic() + WAIT_S
    storage, killed = _opened(url, deadline), dict[int, int]()
    while time.monotonic() < deadline:
        studies = storage.get_all_studies()
        for trial in (t for s in studies for t in storage.get_all_trials(s._study_id, states=(running,))):
            pid = trial.user_attrs.get("owner", {}).get("pid")
            if pid not in killed and any(name.startswith("fold ") for name in trial.user_attrs):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(0.05)
                in_trial = storage.get_trial(trial._trial_id).state == running  # still, now that it has stopped
                os.kill(pid, signal.SIGKILL if in_trial else signal.SIGCONT)
                killed |= {pid: trial.number} if in_trial else {}
                if len(killed) == 2:
                    return list(killed.values())
        time.sleep(0.1)
    raise AssertionError("no two processes began a trial")


def _opened(url: str, deadline: float) -> Any:
    """Return the storage, though the processes may be creating its tables at this moment."""
    import optuna
    from sqlalchemy.exc import DBAPIError

    while True:
        try:
            return optuna.storages.RDBStorage(url)
        except DBAPIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the formula reaches other processes by fork only")
def test_four_processes_two_killed_end_with_exactly_n_trials(
    bench: Any, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    url = postgres.create("study")
    monkeypatch.setattr(tracked, "TrackingThread", NoMLflow)
    monkeypatch.setattr(trial_queue, "POLL_S", 0.2)
    monkeypatch.setattr(objective, "run_pair", by_formula)
    monkeypatch.setattr("bench.tuning.results.write_plots", lambda *_: {})
    monkeypatch.setenv("BENCH_STORAGE", url)
    shutil.rmtree("data")
    write_squares(tmp_path / "data", patients=20, images=2)
    write_suite(tmp_path / "toy.yaml", split=CURVE)  # one study for all three sets
    prepare("toy.yaml", (), Path("data"), tmp_path / "out")  # what it imports and finds, the processes have at once
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=one_process, args=(n,)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    with CommandLines() as lines:
        killed = kill_two(url)
        for process in processes:
            process.join(WAIT_S)
    consoles = [path.read_text() for path in sorted(tmp_path.glob("console-*.txt"))]
    assert sorted(str(p.exitcode) for p in processes) == ["-9", "-9", "0", "0"], consoles
    (summary,) = optuna.get_all_study_summaries(url)
    trials = optuna.load_study(study_name=summary.study_name, storage=url).trials
    complete = [t for t in trials if t.state.name == "COMPLETE"]
    assert len(complete) == TRIALS
    assert len({tuple(t.params.values()) for t in complete}) == TRIALS
    assert "RUNNING" not in {t.state.name for t in trials}
    for number in killed:
        assert trials[number].state.name == "FAIL"
        again = [t for t in trials if t.user_attrs.get("instead_of") == number and "surplus" not in t.user_attrs]
        assert [t.params for t in again] == [trials[number].params]
        assert again[0] in complete or again[0].number in killed  # the second may have repeated the first one's trial
    cost = json.loads(next(tmp_path.glob("out/tuning/*/tuning_cost.json")).read_text())
    assert (cost["trials"]["done"], cost["trials"]["killed"]) == (TRIALS, 2)
    assert all(f"{TRIALS}/{TRIALS} trials" in text for text in consoles)
    assert leaks(postgres, tmp_path, lines) == []  # the consoles are files of the folder


def test_a_wrong_password_or_driver_is_named_and_not_shown(
    bench: Any, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(postgres, password="not-the-password").url("postgres")
    for storage, message in (
        (wrong, 'password authentication failed for user "bench"'),
        (wrong.replace("psycopg", "pg8000"), "no driver (No module named 'pg8000'); for PostgreSQL: pip install"),
    ):
        monkeypatch.setenv("BENCH_STORAGE", storage)
        result = bench(*TUNE)
        assert result.exit_code == 2, result.output
        assert message in result.output
        assert "***@127.0.0.1" in result.output
        assert "not-the-password" not in result.output
        assert "Traceback" not in result.output


# --- MLflow --------------------------------------------------------------------------------------------------------


def test_mlflow_has_rows_pictures_and_report(
    bench: Any, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    finished_run(tmp_path)
    with s3_server() as address:
        uri = postgres.create("mlflow")
        settings = {
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": f"s3://{BUCKET}/mlflow",
            "MLFLOW_S3_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", replace(postgres, password="not-the-password").url("mlflow"))
            refused = bench("mlflow", "sync", *TOY)
            assert (refused.exit_code, "password authentication failed" in refused.output) == (1, True), refused.output
            assert "not-the-password" not in refused.output
        with CommandLines() as lines:
            ran = bench("run", *TOY, "--device", "cpu")
            assert (ran.exit_code, "not yet in MLflow" in ran.output) == (0, False), ran.output
            synced = bench("mlflow", "sync", "--out", "out")
        assert (synced.exit_code, "were complete" in synced.output) == (0, True), synced.output
        assert leaks(postgres, tmp_path, lines, ran.output, synced.output) == []
        assert not (tmp_path / "mlruns").exists()
        assert not (tmp_path / "out" / "mlartifacts").exists()
        is_complete(uri, tmp_path / "out" / "reports" / "toy")


def finished_run(folder: Path) -> None:
    """Finish all cells of the toy suite without their work; the generators have a picture."""
    session = prepare("toy.yaml", (), Path("data"), folder / "out")
    out = finish(session)

    def with_picture(partial: Path, result: dict[str, Any]) -> None:
        (partial / "samples").mkdir()
        Image.new("RGB", (16, 16), "red").save(partial / "samples" / "means_0006.png")

    for cell in session.plan.work:
        if cell.stage == "fit":
            commit_again(out, cell, with_picture)


def is_complete(uri: str, report: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    (suite,) = (r for r in runs.values() if r.data.tags["kind"] == "suite")
    assert {r.info.status for r in runs.values()} == {"FINISHED"}
    assert {r.info.artifact_uri.partition("mlflow/")[0] for r in runs.values()} == {f"s3://{BUCKET}/"}

    def files(run: Any, path: str) -> set[str]:
        return {f.path for f in client.list_artifacts(run.info.run_id, path)}

    assert (report / "report.html").is_file()
    assert files(suite, "report") == {f"report/{p.name}" for p in report.iterdir()}
    assert any(path.endswith(".png") for path in files(runs["toy/fold0/repeat0"], "images"))
    rows = [json.loads(line) for line in (report.parents[1] / "results.jsonl").read_text().splitlines()]
    (row,) = (r for r in rows if (r["stage"], r["method"], r["fold"]) == ("evaluate", "toy", 0))
    score = runs["toy/r1/small_cnn/fold0/repeat0"].data.metrics["test/patient_auroc"]
    assert score == row["metrics"]["test/patient_auroc"]


def test_files_of_a_shared_database_are_at_the_given_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", raising=False)
    own, shared, server = f"sqlite:///{tmp_path}/mlflow.db", "postgresql+psycopg://db/mlflow", "http://lab:5000"
    beside = artifacts_of(tmp_path)
    assert [artifact_root(tmp_path, uri) for uri in (own, shared, server)] == [beside, beside, None]
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://files/x")
    assert [artifact_root(tmp_path, uri) for uri in (own, shared, server)] == [beside, "s3://files/x", None]

"""A password is in nothing that bench prints, stores or puts on a command line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from toy import register, write_squares, write_suite

from bench.cli import ui
from bench.cli.main import main
from bench.cli.options import Group
from bench.engine.cell_run import run_cell
from bench.engine.session import prepare, run_command
from bench.errors import BenchError, ConfigError
from bench.store.redact import has_password, redact, remember
from bench.suite.suite import load_suite
from bench.tracking.session_view import MLflowView
from bench.tracking.tracker import TrackingThread, ui_command, ui_environment
from bench.tracking.writer import Tracker
from bench.types import ResultRow

SECRET = "hunter2-p@ss/w"
QUOTED = "hunter2-p%40ss%2Fw"
URI = f"http://ana:{QUOTED}@127.0.0.1:9"
ROW = ResultRow("k", "fit", "s", "d", "done", "toy", 0, 0, finished_at="2026-01-01T00:10:00+00:00")


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URI)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "long-enough-token")


def is_clean(text: str) -> bool:
    return not any(s in text for s in (SECRET, QUOTED, "hunter2", "long-enough-token"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"cannot reach {URI}/api: refused", "cannot reach http://***@127.0.0.1:9/api: refused"),
        (f"the password {SECRET} is wrong", "the password *** is wrong"),
        ("header long-enough-token", "header ***"),
        ("postgresql+psycopg2://u:p@db.example/x and s3://key@bucket/y", "postgresql+psycopg2://***@db.example/x and "
         "s3://***@bucket/y"),
        ("mysql://u:a@b@host:3306/optuna", "mysql://***@host:3306/optuna"),
        ("https://h/x?user=a&password=b2&n=1", "https://h/x?user=a&password=***&n=1"),
        ("redis://h/0?api_key=zz", "redis://h/0?api_key=***"),
        ("plain: sqlite:////tmp/a.db, mail a@b.c, http://lab:5000/x", None),
        ("see http://a.example/x or write to ana@b.example", None),
    ],
)  # fmt: skip
def test_what_is_hidden_and_what_is_left(text: str, shown: str | None) -> None:
    assert redact(text) == (text if shown is None else shown)


def test_a_storage_that_was_given_is_hidden_wherever_its_password_stands() -> None:
    remember("postgresql://u:st0rage%20pass@db/optuna")
    remember("journal.log")
    assert redact("FATAL: st0rage pass, st0rage%20pass") == "FATAL: ***, ***"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("postgresql+psycopg://ana:p%40ss@db.example:5432/optuna", True),
        ("redis://:secret@db/0", True),
        ("mysql://db/x?user=a&password=b", True),
        ("see {'weights': 'https://ana:p@ss/w@host/x.pt'}", True),
        ("postgresql+psycopg://ana@db.example:5432/optuna", False),
        ("http://lab:5000/x, mail a@b.example; sqlite:////a/b.db", False),
        (r"(?P<group>[bm]\d+)_ and (?<=token=)x", False),
    ],
)
def test_which_texts_have_a_password(text: str, found: bool) -> None:
    assert has_password(text) is found


def test_the_user_of_a_database_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_STORAGE", "postgresql+psycopg://bench@db/optuna")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://a-token@lab")
    assert redact("bench run with a-token") == "bench run with ***"


def test_the_password_of_the_postgres_client_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "a-longer-word")
    assert redact("FATAL: a-longer-word") == "FATAL: ***"


def test_settings_with_a_password_are_refused(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s.yaml", description=f"weights of {URI}/x")
    with pytest.raises(ConfigError, match="suite s: got a URL with a password") as caught:
        load_suite(str(suite))
    assert is_clean(str(caught.value))


def test_the_command_line_prints_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    @click.group(cls=Group)
    def group() -> None: ...

    @group.command()
    def typed_error() -> None:
        raise ConfigError(f"no {URI}")

    @group.command()
    def crash() -> None:
        raise RuntimeError(f"no {SECRET}")

    @group.command()
    def usage() -> None:
        raise click.UsageError(f"no {URI}")

    @group.command()
    def plain_crash() -> None:
        raise RuntimeError("no secret here")

    for name, code in (("typed-error", 2), ("usage", 2), ("crash", 1)):
        found = CliRunner().invoke(group, [name])
        assert found.exit_code == code
        assert "***" in found.output
        assert is_clean(found.output)
    assert "Traceback" in CliRunner().invoke(group, ["crash"]).output
    assert isinstance(CliRunner().invoke(group, ["plain-crash"]).exception, RuntimeError)


def test_bench_ui_shows_the_server_without_its_password(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["ui", "--out", str(tmp_path)])
    assert (found.exit_code, "http://***@127.0.0.1:9" in found.output) == (0, True)
    assert is_clean(found.output)


def test_the_servers_command_line_has_no_address_and_its_log_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://ana:{QUOTED}@db/mlflow")
    assert is_clean(" ".join(ui_command()))
    assert ui_environment(tmp_path)["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql://ana:")
    code = (
        "import os, sys; print(os.environ['MLFLOW_BACKEND_STORE_URI']); sys.exit('cannot log in with " + SECRET + "')"
    )
    monkeypatch.setattr(ui, "ui_command", lambda port: [sys.executable, "-c", code])
    found = CliRunner().invoke(main, ["ui", "--out", str(tmp_path)])
    assert found.exit_code == 2
    assert "cannot log in with ***" in found.output
    log = (tmp_path / "mlflow_ui.log").read_text()
    assert log.startswith("postgresql://***@db/mlflow\n")
    assert is_clean(found.output + log)


class Refusing(Tracker):
    """A tracker whose server's errors repeat the address."""

    def connect(self, rows: object = ()) -> None:
        raise OSError(f"401 for {URI}: {SECRET}")

    def close(self) -> None: ...


def test_a_warning_of_mlflow_has_no_secret(tmp_path: Path) -> None:
    thread = TrackingThread(Refusing(None, tmp_path, "s"))
    thread.submit(ROW)
    warning = str(thread.close(5))
    assert "401 for http://***@127.0.0.1:9: ***" in warning
    assert is_clean(warning)


def test_nothing_that_is_stored_has_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that fails with the address in its error, and MLflow's own record of what it holds."""
    register(monkeypatch)
    suite, data = write_suite(tmp_path / "s.yaml"), write_squares(tmp_path / "data")
    session = prepare(str(suite), (), data, tmp_path / "out")

    def fail(*args: Any) -> None:
        raise RuntimeError(f"cannot reach {URI} with {SECRET}")

    monkeypatch.setattr("bench.engine.cell_run.STAGE", dict.fromkeys(("split",), fail))
    row = run_cell(next(c for c in session.plan.cells if c.stage == "split"), session.env)
    assert row.status == "failed"
    assert "http://***@127.0.0.1:9 with ***" in str(row.error)
    monkeypatch.setattr("bench.tracking.session_view.TrackingThread", lambda tracker: Done())
    MLflowView(session).complete([replace(row, status="missing")], tmp_path, 1.0, "state")
    assert "http://***@127.0.0.1:9 s" in json.loads((tmp_path / "out" / "mlflow_synced.json").read_text())
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert is_clean(path.read_bytes().decode("latin-1")), path


class Done:
    """A thread that has written everything."""

    def submit(self, row: ResultRow) -> None: ...

    def report(self, folder: Path, state: str = "") -> None: ...

    def close(self, timeout_s: float) -> None: ...


def test_what_to_type_has_no_secret() -> None:
    assert is_clean(run_command("s", (f"weights={URI}",), None, Path("out")))


def test_a_storage_that_cannot_be_opened_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.tuning import study

    monkeypatch.setattr(study, "make_pruner", lambda arm: None)
    arm = type("A", (), {"study": "s", "folder": tmp_path, "with_seconds": False, "pruner": "none", "seed": 0})()
    with pytest.raises(BenchError) as caught:
        study.open_study(arm, f"nosuchdb://ana:{QUOTED}@db/x")
    assert "--storage nosuchdb://***@db/x" in str(caught.value)
    assert is_clean(str(caught.value))

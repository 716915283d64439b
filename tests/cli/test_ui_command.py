"""`bench ui` finds a port, waits until MLflow answers, stops all that it started, and says what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import ui
from bench.cli.main import main
from bench.errors import ConfigError

# Stands in for MLflow: answers /health and the list of experiments, and has a child that outlives its parent's end.
SERVER = """
import json, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[2], "w").write(str(child.pid))
TAGS = [{"key": key, "value": "x"} for key in ("mlflow.experimentKind", "mlflow.sharedViewState.bench-classifiers")]
class Handler(BaseHTTPRequestHandler):
    def do_GET(self): self.answer(b"OK")
    def do_POST(self):
        ours = {"name": "tiny", "experiment_id": "7", "tags": TAGS}
        self.answer(json.dumps({"experiments": [ours, {"name": "Default", "experiment_id": "0"}]}).encode())
    def answer(self, body):
        self.send_response(200); self.end_headers(); self.wfile.write(body)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
# `bench ui` on that server. Ctrl-C reaches it as it does from a terminal, whatever its parent made of SIGINT.
BENCH_UI = """
import signal, sys
from pathlib import Path
from bench.cli import ui
signal.signal(signal.SIGINT, signal.default_int_handler)
server, out, ui.PORT = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
ui.ui_command = lambda port: [sys.executable, "-c", server, str(port), str(out / "child")]
sys.exit(ui.serve(out, None))
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that a program listens on."""
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        yield s.getsockname()[1]


def unused_port() -> int:
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_says_when_it_is_ready_and_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "mlflow.db").touch()
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", BENCH_UI, SERVER, str(tmp_path), str(unused_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as bench:
        assert bench.stdout is not None
        lines = []
        for line in bench.stdout:
            lines.append(line.strip())
            if line.startswith("  tiny: "):
                break
        ready = next(line for line in lines if line.startswith("ready: http://127.0.0.1:"))
        address = ready.split()[1]
        assert address.endswith(
            "/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=bench-classifiers"
        )
        assert lines[-1] == f"tiny: {address}"
        child = int((tmp_path / "child").read_text())
        assert lives(child)
        bench.send_signal(how)
        assert "stopped" in bench.stdout.read()
        assert bench.wait(20) == 0
    deadline = time.monotonic() + 5
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lives(child), "a child of the server still runs"


def test_a_taken_port_is_passed_over_or_refused(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "PORT", taken)
    with ui.pick_port(None) as first, ui.pick_port(None) as second:  # of two that start at once each gets its own
        assert taken < first < second < taken + ui.PORTS
    with pytest.raises(ConfigError, match=f"--port {taken} is used"), ui.pick_port(taken):
        pass
    monkeypatch.setattr(ui, "PORTS", 1)
    with pytest.raises(ConfigError, match="all in use"), ui.pick_port(None):
        pass


def test_a_folder_without_runs_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    nothing = CliRunner().invoke(main, ["ui", "--out", str(tmp_path / "no")])
    assert nothing.exit_code == 2
    assert "expected the --out folder of a `bench run`" in nothing.output
    assert not (tmp_path / "no").exists(), "nothing is made"
    (tmp_path / "results.jsonl").touch()
    unfilled = CliRunner().invoke(main, ["ui", "--out", str(tmp_path)])
    assert unfilled.exit_code == 2
    assert f"bench mlflow sync --out {tmp_path}" in unfilled.output


def test_a_server_elsewhere_is_named_and_not_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    result = CliRunner().invoke(main, ["ui", "--out", str(tmp_path)])
    assert (result.exit_code, "http://lab:5000" in result.output) == (0, True)


def test_a_server_that_dies_leaves_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").touch()
    dying = [sys.executable, "-c", "import sys; sys.exit('out-of-date database schema')"]
    monkeypatch.setattr(ui, "ui_command", lambda port: dying)
    result = CliRunner().invoke(main, ["ui", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "ended with code 1" in result.output
    assert "out-of-date database schema" in result.output

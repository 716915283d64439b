"""The verb `bench ui`: the MLflow UI for the runs of an output folder, until Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

import click

from bench.cli.options import Command, out_option
from bench.errors import ConfigError
from bench.store.redact import redact
from bench.tracking.store import SERVERS, artifacts_of, database, own_database, relocate
from bench.tracking.tracker import tracking_uri, ui_command, ui_environment
from bench.tracking.views import CLASSIFIERS, TAG
from bench.tracking.writer import KIND

PORT = 5000
PORTS = 50  # number of ports that are tried
READY_S = 180.0  # MLflow takes seconds to start, on a busy machine a minute
STOP_S = 10.0
HOST = "127.0.0.1"


def serve(out: Path, port: int | None) -> int:
    """Serve the folder's MLflow store, print the address once it answers, stop at Ctrl-C; return the exit code.

    Raises ``ConfigError`` if ``out`` has no store, or if ``port`` is given and in use.
    """
    store = tracking_uri(out)
    if store.startswith(SERVERS):
        click.echo(f"MLflow: {redact(store)} (MLFLOW_TRACKING_URI); open the runs on that server")
        return 0
    check_store(out, store)
    log = out / "mlflow_ui.log"
    with pick_port(port) as chosen, _terminating():
        if port is None and chosen != PORT:
            click.echo(f"port {PORT} is in use; using {chosen}")
        click.echo(f"starting MLflow for {out} …")
        server, keeper = _start(ui_command(port=chosen), ui_environment(out), log)
        try:
            _wait_until_ready(server, keeper, chosen, log)
            found = links(chosen)
            address = found[0][1] if found else f"http://{HOST}:{chosen}"
            click.echo(f"ready: {address} (Ctrl-C stops it; log: {log})")
            for name, link in found:
                click.echo(f"  {name}: {link}")
            return server.wait()
        except KeyboardInterrupt:
            click.echo("stopped")
            return 0
        finally:
            _stop(server)


def check_store(out: Path, store: str) -> None:
    """Raise ``ConfigError`` if the SQLite file of ``store`` does not exist; MLflow would create an empty one."""
    path = database(store)
    if path is None:
        return
    if path.is_file():
        with contextlib.suppress(sqlite3.Error):  # MLflow reports the error itself
            if path == own_database(out, store):
                relocate(path, artifacts_of(out))
        return
    if (out / "results.jsonl").is_file():
        raise ConfigError(
            f"{path}: no MLflow store, but stored results; log them: bench mlflow sync --out {shlex.quote(str(out))}"
        )
    raise ConfigError(f"{path}: no MLflow store; expected the --out folder of a `bench run`, for example runs")


@contextlib.contextmanager
def pick_port(asked: int | None) -> Iterator[int]:
    """Yield the port ``asked`` for, or the first free one from 5000 on. Raises ``ConfigError`` if none is free.

    The port is locked against other `bench ui` processes inside the block, because MLflow starts to listen late.
    """
    for port in [asked] if asked is not None else range(PORT, PORT + PORTS):
        with _claim(port).open("w") as claim:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if _is_free(port):
                yield port
                return
    if asked is not None:
        raise ConfigError(f"--port {asked} is used by another program; leave --port out to get a free one")
    raise ConfigError(f"ports {PORT} to {PORT + PORTS - 1} are all in use; give another one: --port N")


def _claim(port: int) -> Path:
    return Path(tempfile.gettempdir()) / f"bench-ui-{os.getuid()}-{port}.lock"


def _is_free(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that just stopped leaves it in TIME_WAIT
        try:
            s.bind((HOST, port))
        except OSError:
            return False
    return True


def _start(
    command: list[str], environment: dict[str, str], log: Path
) -> tuple[subprocess.Popen[bytes], threading.Thread]:
    """Start the server in a new session, so that this process handles Ctrl-C and can find all child processes.

    The thread writes the server's output to ``log``, without passwords, until the last child process has ended.
    """
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    log.write_text("", encoding="utf-8")
    keeper = threading.Thread(target=_keep_log, args=(server.stdout, log), daemon=True)
    keeper.start()
    return server, keeper


def _keep_log(output: IO[bytes], log: Path) -> None:
    with output, log.open("a", encoding="utf-8") as f:
        for line in output:
            f.write(redact(line.decode(errors="replace")))
            f.flush()


def _wait_until_ready(server: subprocess.Popen[bytes], keeper: threading.Thread, port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            keeper.join(STOP_S)
            raise ConfigError(f"MLflow ended with code {server.returncode}; last lines of {log}:\n{_tail(log)}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5) as answer:
            if answer.status == 200 and server.poll() is None:
                return
        time.sleep(0.3)
    raise ConfigError(f"MLflow did not answer within {READY_S:g} s; last lines of {log}:\n{_tail(log)}")


def links(port: int) -> list[tuple[str, str]]:
    """Return (name, address of its runs) of every experiment logged by `bench`, best classifiers first."""
    body = json.dumps({"max_results": 1000, "order_by": ["last_update_time DESC"]}).encode()
    address = f"http://{HOST}:{port}/api/2.0/mlflow/experiments/search"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        experiments = json.load(answer).get("experiments", [])
    found = []
    for experiment in experiments:
        tags = {tag["key"] for tag in experiment.get("tags", [])}
        view = f"&viewStateShareKey={CLASSIFIERS}" if TAG + CLASSIFIERS in tags else ""
        if KIND in tags:
            page = f"http://{HOST}:{port}/#/experiments/{experiment['experiment_id']}/runs"
            found.append((experiment["name"], f"{page}?workflowType=machine_learning{view}"))
    return found


def _tail(log: Path, lines: int = 8) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server and its child processes: first SIGTERM, then SIGKILL."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_S)
        if not _group_lives(server.pid):
            return
        if how is signal.SIGTERM:
            time.sleep(0.5)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _terminating() -> Iterator[None]:
    """Treat SIGTERM and a closed terminal like Ctrl-C inside the block."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command(cls=Command)
@out_option
@click.option("--port", type=click.IntRange(1, 65535), help="Default: 5000, or the first free one after it.")
def ui(out: Path, port: int | None) -> None:
    """Open the MLflow UI for the runs of an output folder, until Ctrl-C."""

    sys.exit(serve(out.expanduser().resolve(), port))

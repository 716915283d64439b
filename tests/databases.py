"""A PostgreSQL server and an S3 stand-in of a test session, on loopback; skipped with a reason without them."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

USER, BUCKET = "bench", "files"
START_S = 60


@dataclass(frozen=True)
class Postgres:
    """A running server. ``password`` has characters that a URL must quote."""

    port: int
    password: str

    def url(self, database: str, password: bool = True) -> str:
        """Return the URL of a database, by default with the password."""
        secret = f":{quote(self.password, safe='')}" if password else ""
        return f"postgresql+psycopg://{USER}{secret}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Create an empty database, and return its URL."""
        import psycopg

        at = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": self.password, "dbname": "postgres"}
        with psycopg.connect(**at, autocommit=True) as connection:  # type: ignore[arg-type]
            connection.execute(f'CREATE DATABASE "{database}"')  # type: ignore[arg-type]
        return self.url(database)

    def spellings(self) -> tuple[bytes, ...]:
        """Return the password as it may stand in a file."""
        return self.password.encode(), quote(self.password, safe="").encode()


def programs() -> Path:
    """Return the folder of initdb and pg_ctl, which Debian keeps out of PATH; skips the test without one."""
    found = shutil.which("pg_ctl")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda p: float(p.parts[4]))
    if found is None and not debian:
        pytest.skip("no PostgreSQL server on this machine; Debian and Ubuntu have it as the package postgresql")
    return Path(found).parent if found else debian[-1].parent


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Run a new PostgreSQL server in a temporary folder, as another user if this one is root, which it refuses."""
    pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed: the extra databases")
    binaries, folder = programs(), Path(tempfile.mkdtemp(prefix="bench-pg-"))
    account: dict[str, Any] = {}
    if os.getuid() == 0:
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    server = Postgres(free_port(), f"p@ss/{secrets.token_hex(8)}%:")

    def call(program: str, *words: str) -> None:
        with (folder / "calls.log").open("ab") as log:
            subprocess.run([binaries / program, *words], cwd=folder, check=True, stdout=log, stderr=log, **account)

    try:
        words = folder / "password"
        words.write_text(server.password)
        words.chmod(0o644)  # in a folder that only its owner enters
        data, where = str(folder / "data"), f"-c listen_addresses=127.0.0.1 -p {server.port} -k {folder} -c fsync=off"
        call("initdb", "-D", data, "-U", USER, "--pwfile", str(words), "-A", "scram-sha-256", "--no-sync", "-E", "UTF8")
        words.unlink()
        call("pg_ctl", "start", "-w", "-t", f"{START_S}", "-D", data, "-l", str(folder / "server.log"), "-o", where)
        try:
            yield server
        finally:
            call("pg_ctl", "stop", "-D", data, "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's S3 server with one bucket, and yield its address."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: the extra databases")
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3]'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it names each request
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        at = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
        client = boto3.client("s3", aws_access_key_id="test", aws_secret_access_key="test", **at)
        client.create_bucket(Bucket=BUCKET)
        yield at["endpoint_url"]
    finally:
        server.stop()


class CommandLines:
    """Collects the command lines of all processes of this machine while a ``with`` block runs."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes())
                except OSError:  # the process has ended
                    continue

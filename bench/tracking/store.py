"""The database of MLflow's runs: its URI, its integrity, and the location of its files."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from bench.errors import BenchError
from bench.store.database import require_database

SYNCED: Final = "bench.synced"  # tag of an experiment: the logged state and its number of runs
ROWS: Final = "bench.rows"  # tag of a run, set last: its logged rows, with a hash of each one's content
ARTIFACTS: Final = "mlartifacts"
SERVERS: Final = ("http://", "https://", "databricks")  # tracking URIs of servers; the others are databases
_LOCAL, _QUOTED = "sqlite:///", "sqlite+pysqlite:///"  # MLflow would create a folder with the quoted name
_HEADER = b"SQLite format 3\x00"


def tracking_uri(out: Path, uri: str | None = None) -> str:
    """Return ``uri``, else ``MLFLOW_TRACKING_URI``, else the SQLite file of the output folder."""
    path = str((out / "mlflow.db").resolve())
    local = _QUOTED + quote(path) if set("?#%") & set(path) else _LOCAL + path
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or local


def database(uri: str) -> Path | None:
    """Return the SQLite file of a URI, None for a server or another database."""
    if uri.startswith(_QUOTED):
        return Path(unquote(uri.removeprefix(_QUOTED)))
    return Path(uri.removeprefix(_LOCAL)) if uri.startswith(_LOCAL) else None


def own_database(out: Path, uri: str) -> Path | None:
    """Return the SQLite file if it is the output folder's own, which may be created again; else None."""
    path = database(uri)
    return path if path is not None and path == (out / "mlflow.db").resolve() else None


def artifacts_of(out: Path) -> str:
    """Return the URI of the folder with the files of an output folder's own MLflow database."""
    return (out / ARTIFACTS).resolve().as_uri()


def artifact_root(out: Path, uri: str) -> str | None:
    """Return where the files of a new experiment go; None for a server, which has its own rule.

    The output folder's own database has them beside it. Another database, which several machines may share, has them at
    ``MLFLOW_DEFAULT_ARTIFACT_ROOT``, such as ``s3://bucket/path``, the variable that MLflow's server reads too.
    """
    if uri.startswith(SERVERS):
        return None
    shared = None if own_database(out, uri) else os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT")
    return shared or artifacts_of(out)


def set_aside_damaged(path: Path) -> str | None:
    """Rename an unusable database, so that a new one is filled from the store; return a message, or None.

    Unusable: not SQLite, incomplete, or not completely created by MLflow.
    """
    if not path.is_file() or is_sound(path):
        return None
    names = (f"{path.name}.damaged{n}" for n in ("", *(f"-{i}" for i in range(2, 1000))))
    kept = next(k for k in (path.with_name(name) for name in names) if not k.exists())
    os.replace(path, kept)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    return f"{path.name} was damaged: renamed to {kept.name}; a new one was filled from the store"


def is_sound(path: Path) -> bool:
    """Return whether a file is an MLflow database or empty. Raises ``sqlite3.OperationalError`` if it is locked."""
    with path.open("rb") as f:
        start = f.read(len(_HEADER))
    if not start:
        return True
    if start != _HEADER:
        return False
    try:
        with closing(_open(path)) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            finished = not tables or ("alembic_version" in tables and _one(db, "SELECT count(*) FROM alembic_version"))
            return bool(finished) and _one(db, "PRAGMA quick_check(1)") == "ok"
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False


def relocate(path: Path, artifacts: str) -> str | None:
    """Update the file locations in a database that was moved with its folder; return a message, or None.

    MLflow stores absolute URIs and would continue to write to the old location.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return None
    with closing(_open(path)) as db, db:
        if not _one(db, "SELECT count(*) FROM sqlite_master WHERE name = 'experiments'"):
            return None
        places = [place for (place,) in db.execute("SELECT DISTINCT artifact_location FROM experiments")]
        moved = [p for p in places if p and p.startswith("file:") and p.endswith(f"/{ARTIFACTS}") and p != artifacts]
        for old in moved:
            db.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (artifacts, old))
            db.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?",
                (artifacts, len(old) + 1, len(old) + 1, f"{old}/"),
            )
            db.execute(
                "UPDATE logged_models SET artifact_location = ? || substr(artifact_location, ?)"
                " WHERE substr(artifact_location, 1, ?) = ?",
                (artifacts, len(old) + 1, len(old) + 1, f"{old}/"),
            )
    return f"the output folder was moved: the location of MLflow's files is now {artifacts}" if moved else None


def holds(path: Path, artifacts: str, experiment: str, state: str) -> bool:
    """Return whether a database has the tag of a state and still the same number of complete runs."""
    query = (
        "SELECT e.artifact_location, t.value, (SELECT count(*) FROM runs r JOIN tags g ON g.run_uuid = r.run_uuid"
        " WHERE r.experiment_id = e.experiment_id AND r.lifecycle_stage = 'active' AND g.key = ?)"
        " FROM experiments e JOIN experiment_tags t ON t.experiment_id = e.experiment_id"
        " WHERE e.name = ? AND e.lifecycle_stage = 'active' AND t.key = ?"
    )
    try:
        with closing(_open(path)) as db:
            found = db.execute(query, (ROWS, experiment, SYNCED)).fetchall()
    except sqlite3.Error:
        return False
    return found == [(artifacts, f"{state} {found[0][2]}", found[0][2])] if found else False


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)


def _one(db: sqlite3.Connection, query: str) -> Any:
    return db.execute(query).fetchone()[0]


def sole_writer(out: Path) -> Any:
    """Lock the output folder for MLflow: two processes must not create the same database. Raises ``BenchError``."""
    out.mkdir(parents=True, exist_ok=True)
    lock = (out / "mlflow.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BenchError(f"another process is writing to MLflow for {out}; wait for it to end") from None
    return lock


def new_client(uri: str) -> Any:
    """Import MLflow (seconds) with telemetry off and short, bounded waits, and return its client.

    Raises ``ConfigError`` if its database cannot be reached.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow.tracking import MlflowClient
    from sqlalchemy.engine import make_url

    path = database(uri)
    if path is None and not uri.startswith(SERVERS):
        require_database(uri, "MLFLOW_TRACKING_URI")
    if path is not None and make_url(uri).database != str(path):  # SQLAlchemy before 2.1 does not unquote
        raise BenchError(f"MLflow cannot use a database in {path.parent}: use an --out folder without ? # %")
    for name in ("mlflow", "alembic"):  # creating the database prints a line per migration
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)

"""Read the two runs of a comparison from a report folder or from the store of an output folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.analysis.report import collect
from bench.analysis.rows import Rows
from bench.analysis.two_runs.changes import ABSENT, Changed, config_changes
from bench.analysis.two_runs.side import Side, read_side
from bench.config import read_yaml, to_plain
from bench.engine.plan_rows import rows_of
from bench.engine.session import Session, prepare
from bench.engine.stored import stored_runs, stored_session
from bench.errors import BenchError, ConfigError, DataError, StoreError, nearest
from bench.report.export import as_json
from bench.report.run_facts import report_info
from bench.suite.resolved import resolved

REPORT, CONFIG = "leaderboard.json", "suite.yaml"


def open_side(path: Path, suite: str | None, data: Path | None) -> Side:
    """Return the run in ``path``: a report folder, or an output folder.

    The run of an output folder is read from its store with the settings of its suite.yaml, so that it is up to date.
    If that is impossible (missing images, unknown suite, cells that this version would repeat), its last report is
    read, and a note says so. ``suite`` selects the suite if a folder contains several. Raises ``DataError``,
    ``ConfigError`` and ``StoreError``.
    """
    if (path / REPORT).is_file():
        return read_side(str(path), _read_json(path / REPORT), _config(path))
    if not (path / "reports").is_dir():
        what = f"a folder without {REPORT} or reports/" if path.is_dir() else "no folder"
        raise DataError(f"{path}: got {what}, expected a report folder, or the --out folder of a run")
    folder = path / "reports" / _which(path, suite)
    config = _config(folder)
    written = _read_json(folder / REPORT) if (folder / REPORT).is_file() else None
    try:
        report = _from_store(path, suite or folder.name, config, data)
        if written is None or _scores(report) >= _scores(written):
            return read_side(str(path), report, config)
        why = f"with the plan of this version it has {_scores(report)} of the report's {_scores(written)} scores"
    except (BenchError, OSError) as e:
        if written is None:
            raise e if isinstance(e, BenchError) else StoreError(f"{path}: {e}") from e
        why = str(e)
    note = f"{path}: taken from the last report of the run, not from its store: {why}"
    return read_side(str(path), written, config, (note,))


def _scores(report: Mapping[str, Any]) -> int:
    return sum(len(values) for line in report.get("lines", ()) for values in line.get("values", {}).values())


def _which(path: Path, suite: str | None) -> str:
    """Return the name of the selected suite of an output folder."""
    known = sorted(p.name for p in (path / "reports").iterdir() if (p / CONFIG).is_file() or (p / REPORT).is_file())
    if suite is not None:
        name = Path(suite).stem if suite.endswith((".yaml", ".yml")) else suite
        if name not in known:
            raise DataError(f"{path} has no run of suite {name!r}; {nearest(name, known)}")
        return name
    if len(known) != 1:
        several = (
            f"runs of {len(known)} suites ({', '.join(known)}): select one with --suite, or give its folder in reports/"
        )
        raise DataError(f"{path} has {several if known else 'no run of any suite'}")
    return known[0]


def _from_store(out: Path, suite: str, config: Mapping[str, Any] | None, data: Path | None) -> dict[str, Any]:
    """Return the current report of a suite from its store; planning caches the image index, nothing else is written."""
    stored = stored_runs(out).get(suite)
    session = stored_session(stored, out, data) if stored else prepare(suite, (), data, out)
    if config is not None and not stored:
        session = prepare(suite, tuple(f"{c.path}={json.dumps(c.b)}" for c in _changes(session, config)), data, out)
        if left := [c.path for c in _changes(session, config)]:
            raise ConfigError(f"the settings of suite {suite} have changed since its run ({', '.join(left[:3])})")
    rows = rows_of(session.plan, session.env)
    if not any(r.status == "done" for r in rows):
        raise StoreError(f"no cell of suite {suite} is done in {out}, with the plan of this version")
    info = report_info(session, rows)
    return as_json(collect(Rows(rows), info, session.env.out), info)


def _changes(session: Session, config: Mapping[str, Any]) -> list[Changed]:
    """Return the settings in which a run differs from the session's suite; settings added since are ignored."""
    mine: dict[str, Any] = to_plain(resolved(session.suite))
    return [c for c in config_changes(mine, config) if c.b is not ABSENT and c.path != "name"]


def _config(folder: Path) -> dict[str, Any] | None:
    return read_yaml(folder / CONFIG) if (folder / CONFIG).is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise StoreError(f"{path}: cannot be read ({e}); make the report again with `bench report`") from e
    if not isinstance(found, dict):
        raise StoreError(f"{path}: got a {type(found).__name__}, expected the mapping that `bench report` writes")
    return found

"""Write the report of a session if it is out of date, and report damaged cells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import yaml

from bench.analysis.info import ReportInfo
from bench.config import stable_hash, to_plain
from bench.cost.host import source_hash
from bench.engine.plan_rows import damaged_cells, rows_of
from bench.engine.session import Session
from bench.engine.stored import keep_config
from bench.files import files_below, sha256_of, write_atomic
from bench.store.cell_folders import Artifacts
from bench.store.ratings import find_studies
from bench.store.run_configs import SETTINGS
from bench.suite.resolved import resolved
from bench.types import ResultRow

STATE = ".state"  # in the report folder, written last: hash of the inputs, and hashes of the files


def write_report(session: Session, rows: Sequence[ResultRow] | None = None) -> Path:
    """Write the suite's report from the store and return its leaderboard; with ``rows``, only if anything changed.

    Nothing has changed if the state is the same (see ``report_state``) and every file of the report is intact. The
    report is written again if a file is missing, truncated or edited.
    """
    from bench.report.build import build_report
    from bench.report.run_facts import report_info

    out, folder = session.env.out, session.report_folder
    found = rows_of(session.plan, session.env) if rows is None else rows
    info = report_info(session, found)
    state = report_state(session, found, info)
    if rows is not None and _is_whole(folder, state):
        return folder / "leaderboard.md"
    (folder / STATE).unlink(missing_ok=True)
    for leftover in folder.rglob(".*.tmp*"):  # of a process killed while writing
        leftover.unlink()
    save_config(session)
    path = build_report(found, info, out, folder)
    write_atomic(folder / STATE, json.dumps({"inputs": state, "files": _files(folder)}, indent=1))
    return path


def report_state(session: Session, rows: Sequence[ResultRow], info: ReportInfo) -> str:
    """Return one hash (hex) of all inputs of a report; equal states need no new report and no new logging.

    The inputs are all settings, the data, the code version, the rows with all numbers, the content of every finished
    cell, the answers of raters, and the results of other reports (in ``info``).
    """
    runs = tuple(replace(run, closing_s=None) for run in info.runs)  # only known after the report is written
    artifacts = Artifacts(session.env.out)
    settings = to_plain([resolved(session.suite), session.plan.fingerprint, session.plan.weights])
    cells = [artifacts.content(*cell.id) for cell in session.plan.work]
    raters = [repr(found) for found in find_studies(session.env.out, session.suite.name)]
    parts = [settings, source_hash(), stable_hash(replace(info, runs=runs)), [repr(row) for row in rows], cells, raters]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def save_config(session: Session) -> None:
    """Write the suite with all defaults resolved to its report folder, and the run's configuration."""
    text = yaml.safe_dump(to_plain(resolved(session.suite)), sort_keys=False, allow_unicode=True)
    write_atomic(session.report_folder / SETTINGS, text)
    keep_config(session)


def warn_of_damage(session: Session, artifacts: Artifacts | None = None) -> int:
    """Print the damaged cells of a suite and what to do on standard error; return 1 if there are any, else 0."""
    damaged = damaged_cells(session.plan, artifacts or Artifacts(session.env.out))
    for title, damage in damaged.items():
        click.secho(f"{title}: {damage}", fg="red", err=True)
    if damaged:
        click.secho(f"damaged cells: {len(damaged)}; their results are not used. Run {session.command} to repeat them",
                    fg="red", err=True)  # fmt: skip
    return int(bool(damaged))


def written_state(folder: Path) -> str:
    """Return the state stored by ``write_report`` in a report folder."""
    return str(json.loads((folder / STATE).read_text(encoding="utf-8"))["inputs"])


def _is_whole(folder: Path, state: str) -> bool:
    """Return whether a folder contains the report of a state with all files intact."""
    try:
        known = json.loads((folder / STATE).read_text(encoding="utf-8"))
        files: Mapping[str, str] = known["files"]
        return bool(known["inputs"] == state and files and all(sha256_of(folder / n) == s for n, s in files.items()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a report by relative path."""
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in files_below(folder) if p.name != STATE}

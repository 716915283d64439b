"""Writes a session's report when it is out of date, and says which finished cells are damaged."""

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
from bench.engine.scheduler import damaged_cells, rows_of
from bench.engine.session import Session
from bench.files import files_below, sha256_of, write_atomic
from bench.store.cell_folders import Artifacts
from bench.store.ratings import find_studies
from bench.tracking.session_view import resolved
from bench.types import ResultRow

STATE = ".state"  # beside the report, written last: what the report was made from, and its files
CONFIG = "suite.yaml"  # the settings that the report was made with


def write_report(session: Session, rows: Sequence[ResultRow] | None = None) -> Path:
    """Write the suite's report from the store and return its leaderboard; with ``rows``, only if anything changed.

    Nothing changed when the state is the same (see ``report_state``) and every file of the report is as it was
    written: one that is missing, cut or edited means that the report is written again.
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
    for leftover in folder.rglob(".*.tmp*"):  # of a process that was killed while it wrote the report
        leftover.unlink()
    save_config(session)
    path = build_report(found, info, out, folder)
    write_atomic(folder / STATE, json.dumps({"inputs": state, "files": _files(folder)}, indent=1))
    return path


def report_state(session: Session, rows: Sequence[ResultRow], info: ReportInfo) -> str:
    """Return one hash (hex) of all that a report is made from; equal states need no new report and no new logging.

    That is every setting, the data, the version of the code, the rows with all their numbers, the content of every
    finished cell, what raters said, and what the reports of other suites say (in ``info``).
    """
    runs = tuple(replace(run, closing_s=None) for run in info.runs)  # known only after the report
    artifacts = Artifacts(session.env.out)
    settings = to_plain([resolved(session), session.plan.fingerprint, session.plan.weights])
    cells = [artifacts.content(*cell.id) for cell in session.plan.work]
    raters = [repr(found) for found in find_studies(session.env.out, session.suite.name)]
    parts = [settings, source_hash(), stable_hash(replace(info, runs=runs)), [repr(row) for row in rows], cells, raters]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def save_config(session: Session) -> None:
    """Write the suite with every default filled in beside its report."""
    text = yaml.safe_dump(to_plain(resolved(session)), sort_keys=False, allow_unicode=True)
    write_atomic(session.report_folder / CONFIG, text)


def warn_of_damage(session: Session) -> int:
    """Name the damaged cells of a suite, what is wrong and what to do, on standard error; return 1 if there are any."""
    damaged = damaged_cells(session.plan, session.env)
    for title, damage in damaged.items():
        click.secho(f"{title}: {damage}", fg="red", err=True)
    if damaged:
        click.secho(f"damaged cells: {len(damaged)}; their numbers are not used. {session.command} does them again",
                    fg="red", err=True)  # fmt: skip
    return int(bool(damaged))


def written_state(folder: Path) -> str:
    """Return the state of the report that ``write_report`` left in a folder."""
    return str(json.loads((folder / STATE).read_text(encoding="utf-8"))["inputs"])


def _is_whole(folder: Path, state: str) -> bool:
    """Return whether a folder holds the report of a state, with every file as it was written."""
    try:
        known = json.loads((folder / STATE).read_text(encoding="utf-8"))
        files: Mapping[str, str] = known["files"]
        return bool(known["inputs"] == state and files and all(sha256_of(folder / n) == s for n, s in files.items()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a report, by its path in the folder."""
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in files_below(folder) if p.name != STATE}

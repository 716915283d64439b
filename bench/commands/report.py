"""The verbs `bench report` and `bench mlflow sync`: what the store holds, for people and for MLflow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.files import write_atomic
from bench.runner import rows_of
from bench.session import Session
from bench.types import ResultRow
from bench.view import MLflowView, digest


def write_report(session: Session, rows: Sequence[ResultRow] | None = None) -> Path:
    """Write the suite's report from the store and return its leaderboard; with ``rows``, only if they changed."""
    from bench.report.build import build_report
    from bench.reporting import report_info

    state = session.report_folder / ".state"
    leaderboard, page = (session.report_folder / name for name in ("leaderboard.md", "report.html"))
    written = all(p.is_file() for p in (leaderboard, page, state))
    if rows is not None and written and state.read_text() == digest(rows):
        return leaderboard
    rows = rows_of(session.plan, session.env) if rows is None else rows
    session.report_folder.mkdir(parents=True, exist_ok=True)
    path = build_report(rows, report_info(session, rows), session.env.out, session.report_folder)
    write_atomic(state, digest(rows))
    return path


def sync_mlflow(session: Session) -> None:
    """Log to MLflow whatever is missing there; say so when it cannot be reached."""
    rows = rows_of(session.plan, session.env)
    view = MLflowView(session)
    warning = view.complete(rows, write_report(session, rows).parent, wait_s=3600.0)
    if warning:
        print(f"MLflow: {warning}", file=sys.stderr)
        raise SystemExit(1)
    print(f"MLflow holds everything of this suite ({view.thread.did})")

"""The verb `bench status`: how far a suite is, read from its folders."""

from __future__ import annotations

from collections import Counter

from bench.artifacts import Artifacts
from bench.config import to_plain
from bench.console import describe_progress, echo_json, plain_console
from bench.estimate import duration, fit_model
from bench.runner import rows_of
from bench.session import Session


def show_status(session: Session, as_json: bool) -> None:
    """Print how far the suite is, from the folders alone, so that it works while another process runs it."""
    artifacts = Artifacts(session.env.out)
    rows = {r.key: r for r in rows_of(session.plan, session.env)}
    work = session.plan.work
    running = [c for c in work if not artifacts.is_done(*c.id) and artifacts.is_locked(*c.id)]
    counts = Counter(rows[c.row_key].status for c in work if c not in running)
    left = [c for c in work if not artifacts.is_done(*c.id)]
    estimate = fit_model(session.plan, session.env.out).estimate(left)
    failures = {c: rows[c.row_key].error or "" for c in work if rows[c.row_key].status == "failed"}
    if as_json:
        echo_json(
            {
                "suite": session.suite.name,
                "cells": len(work),
                **{s: counts[s] for s in ("done", "failed", "skipped", "missing")},
                "running": [{**to_plain(c), "progress": artifacts.progress(*c.id)} for c in running],
                "expected_core_s": estimate.known_s,
                "cells_of_unknown_cost": estimate.unknown,
                "failures": {c.title: error for c, error in failures.items()},
            }
        )
        return
    console = plain_console()
    numbers = f"{counts['done']} done, {len(running)} running, {counts['failed']} failed, {counts['skipped']} skipped"
    console.print(f"suite {session.suite.name}: {len(work)} cells: {numbers}, {counts['missing']} to come")
    for cell in running:
        state = artifacts.progress(*cell.id)
        console.print(f"  {cell.title}: {describe_progress(state) if state else 'starting'}")
    for cell, error in failures.items():
        console.print(f"  {cell.title}: {error.splitlines()[0] if error else ''}", style="red")
    if left:
        unknown = f" + {estimate.unknown} cells not measured yet" if estimate.unknown else ""
        console.print(f"time left: {duration(estimate.known_s)}, one cell at a time{unknown}")

"""What the verbs of the command line do, once their words are a checked session."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from bench import registry
from bench.artifacts import Artifacts
from bench.config import read_yaml, to_plain
from bench.console import ConsoleListener, describe_progress, plain_console
from bench.cost.host import describe_host
from bench.estimate import CostTable, duration
from bench.files import write_atomic
from bench.plan import STAGES, Cell, select, unique
from bench.runner import Runner, rows_of
from bench.session import Session, pick_device, pick_jobs
from bench.store import Store
from bench.suite import suite_files
from bench.types import ResultRow
from bench.view import MLflowView, digest, resolved

MLFLOW_WAIT_S = 120.0


def run(session: Session, only: Sequence[str], device: str, jobs: int | None) -> int:
    """Run what is left of the suite, log it, write the report; return the exit code."""
    console = plain_console()
    started = time.monotonic()
    runner = Runner(select(session.plan.cells, only), session.env)
    left = runner.reuse()
    name, total = session.suite.name, len(runner.cells)
    console.print(f"suite {name}: {total} cells, {runner.summary.reused} done already, {left} to do")
    _print_problems(console, session.plan.index.problems)
    view = MLflowView(session)
    if left:
        session = session.on_device(pick_device(device))
        _train(session, runner, console, jobs, view)
    rows = rows_of(session.plan, session.env)
    report = write_report(session, rows)
    if not view.is_complete(digest(rows)):
        warning = view.complete(rows, report.parent, MLFLOW_WAIT_S)
        if warning:
            console.print(f"MLflow: {warning}", style="yellow")
    _close(console, runner, time.monotonic() - started, report)
    return runner.summary.exit_code


def _train(session: Session, runner: Runner, console: Console, jobs: int | None, view: MLflowView) -> None:
    from bench.executors.local import make_executor

    for spec in (*session.suite.classifiers, *(own for _, own in session.suite.tuned)):
        spec.create().check()  # an unknown network is found now, not after hours of generators
    runner.env = session.env
    jobs, threads = pick_jobs(jobs, session.env.device, session.suite.settings.threads)
    todo = [runner.cells[i] for i in runner.waiting]
    shape = f"{jobs} at a time, {threads} thread{'s' if threads > 1 else ''} each"
    console.print(f"{describe_host(session.env.device)}; {shape}")
    _save_config(session)
    costs = CostTable(runner.store.rows().values())
    shown = ConsoleListener(console, runner.artifacts, todo, costs, jobs)
    runner.listeners = (shown, view)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with shown:
            runner.run(lambda: make_executor(jobs, threads))
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _save_config(session: Session) -> None:
    session.report_folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(to_plain(resolved(session)), sort_keys=False, allow_unicode=True)
    write_atomic(session.report_folder / "suite.yaml", text)


def _close(console: Console, runner: Runner, elapsed_s: float, report: Path) -> None:
    summary = runner.summary
    bad = f", {len(summary.failed)} failed, {len(summary.skipped)} skipped that need them" if summary.exit_code else ""
    did = f"{summary.done} done in {duration(elapsed_s)}{bad}" if summary.done or bad else "nothing left to do"
    console.print(did)
    for cell_id, error in summary.failed.items():
        console.print(f"{runner.cells[cell_id].title}: {error.splitlines()[0]}", style="red")
    if summary.failed:
        console.print("run the same command to retry the failures; everything else is kept")
    console.print(f"report: {report}")


def write_report(session: Session, rows: Sequence[ResultRow] | None = None) -> Path:
    """Write the suite's report from the store and return its leaderboard; with ``rows``, only if they changed."""
    from bench.report.build import build_report
    from bench.reporting import report_info

    state = session.report_folder / ".state"
    leaderboard = session.report_folder / "leaderboard.md"
    if rows is not None and leaderboard.is_file() and state.is_file() and state.read_text() == digest(rows):
        return leaderboard
    rows = rows_of(session.plan, session.env) if rows is None else rows
    session.report_folder.mkdir(parents=True, exist_ok=True)
    path = build_report(rows, report_info(session, rows), session.env.out, session.report_folder)
    write_atomic(state, digest(rows))
    return path


def sync_mlflow(session: Session) -> None:
    """Log to MLflow whatever is missing there; say so when it cannot be reached."""
    rows = rows_of(session.plan, session.env)
    warning = MLflowView(session).complete(rows, write_report(session, rows).parent, wait_s=3600.0)
    if warning:
        print(f"MLflow: {warning}", file=sys.stderr)
        raise SystemExit(1)
    print("MLflow holds everything of this suite")


def show_plan(session: Session, only: Sequence[str], as_json: bool) -> None:
    """Print the cells by stage: how many, how many done, and the time of the rest from like cells measured here."""
    cells = unique(select(session.plan.cells, only))
    artifacts, table = Artifacts(session.env.out), CostTable(Store(session.env.out).rows().values())
    left = [c for c in cells if not artifacts.is_done(*c.id)]
    estimate = table.estimate(left)
    if as_json:
        _echo_json(
            {
                "suite": session.suite.name,
                "fingerprint": session.plan.fingerprint,
                "images": len(session.plan.index.records),
                "cells": [{**to_plain(c), "done": c not in left, "expected_s": table.seconds(c)} for c in cells],
                "left": len(left),
                "expected_core_s": estimate.known_s,
                "cells_of_unknown_cost": estimate.unknown,
            }
        )
        return
    console = plain_console()
    index = session.plan.index
    groups = len({r.group_id for r in index.records})
    console.print(f"suite {session.suite.name}: {len(index.records)} images of {groups} patients, {index.name}")
    _print_problems(console, index.problems)
    shown = Table("stage", "cells", "done", "left", "time left", box=None, pad_edge=False)
    for stage in STAGES:
        of_stage = [c for c in cells if c.stage == stage]
        rest = [c for c in left if c.stage == stage]
        shown.add_row(stage, *map(str, (len(of_stage), len(of_stage) - len(rest), len(rest))), _cost(table, rest))
    shown.add_row("total", *map(str, (len(cells), len(cells) - len(left), len(left))), _cost(table, left))
    console.print(shown)
    if estimate.unknown:
        console.print("times come from cells measured in this --out folder; to measure: bench run … --only fold=0")


def _cost(table: CostTable, cells: list[Cell]) -> str:
    """Return the expected time of cells one after another, and how many have none."""
    if not cells:
        return ""
    estimate = table.estimate(cells)
    if estimate.unknown == len(cells):
        return "not measured yet"
    text = f"{duration(estimate.known_s)}, one at a time"
    return text + (f" + {estimate.unknown} cells not measured yet" if estimate.unknown else "")


def _print_problems(console: Console, problems: Sequence[Any], most: int = 10) -> None:
    for problem in problems[:most]:
        console.print(f"{problem.kind} {problem.path}: {problem.detail}", style="yellow")
    if len(problems) > most:
        console.print(f"… and {len(problems) - most} more images with problems", style="yellow")


def show_status(session: Session, as_json: bool) -> None:
    """Print how far the suite is, from the folders alone, so that it works while another process runs it."""
    artifacts = Artifacts(session.env.out)
    rows = {r.key: r for r in rows_of(session.plan, session.env)}
    work = session.plan.work
    running = [c for c in work if not artifacts.is_done(*c.id) and artifacts.is_locked(*c.id)]
    counts = Counter(rows[c.row_key].status for c in work if c not in running)
    left = [c for c in work if not artifacts.is_done(*c.id)]
    estimate = CostTable(rows.values()).estimate(left)
    failures = {c: rows[c.row_key].error or "" for c in work if rows[c.row_key].status == "failed"}
    if as_json:
        _echo_json(
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


def show_list(as_json: bool) -> None:
    """Print the names that a suite may use, and the shipped suites."""
    suites = {name: str(read_yaml(path).get("description", "")) for name, path in suite_files().items()}
    found = {f"{kind}s": registry.names(kind) for kind in ("dataset", "method", "classifier")}
    if as_json:
        _echo_json({"suites": suites, **found})
        return
    console = plain_console()
    table = Table("suite", "", box=None, pad_edge=False)
    for name, description in suites.items():
        table.add_row(name, description)
    console.print(table)
    for kind, names in found.items():
        more = " … and every timm network by its name" if kind == "classifiers" else ""
        console.print(f"\n{kind}: {', '.join(names)}{more}")


def _echo_json(value: Any) -> None:
    import json

    print(json.dumps(to_plain(value), indent=1, sort_keys=True))

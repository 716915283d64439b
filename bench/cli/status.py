"""The verb `bench status`: progress of a suite, read from its folders; it works while other processes run the suite."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from bench.cli.chosen import Chosen, one
from bench.cli.options import Command, json_option, suite_options
from bench.cli.plan import gib, planned_jobs
from bench.cli.sub_suites import SubSuites, for_each, head
from bench.config import to_plain
from bench.cost.keys import CostKey
from bench.engine.console import echo_json, plain_console, works_table
from bench.engine.plan_rows import states_of, without_collector
from bench.engine.progress import WallLeft, Work, wall_left, work_of
from bench.engine.session import Session
from bench.forecast.cost_model import CostModel, duration, fit_model
from bench.store.cell_folders import Artifacts
from bench.store.live import LiveRun, live_cells, live_runs
from bench.store.results import Store

WATCH_S = 2.0


@dataclass(frozen=True)
class Status:
    """Progress of a suite: cells by state, running cells, active runs, and time left.

    ``counts`` gives the cells that are not running, by the status of their rows. ``jobs`` is the number of parallel
    jobs of the active runs, or a run's default if none is active. ``core_s`` is the sum over the unfinished cells.
    """

    suite: str
    cells: int
    counts: Counter[str]
    works: Sequence[Work]
    runs: Sequence[LiveRun]
    jobs: int
    wall: WallLeft
    core_s: float
    left: int
    peak_memory_bytes: float
    failures: dict[str, str]
    looks: tuple[str, ...] = ()  # at the primary contrast of a learning curve, in words

    @property
    def going_on(self) -> bool:
        """Whether a process is running the suite."""
        return bool(self.runs or self.works)


@without_collector()
def read_status(session: Session) -> Status:
    """Read the status from the output folder."""
    artifacts, stored = Artifacts(session.env.out), Store(session.env.out).rows()
    states, peaks = {}, []
    cells = session.plan.work
    for cell, state in states_of(cells, artifacts, stored):
        states[cell.id] = state
        if state.status == "done":
            row = stored.get(cell.row_key)
            costs_of = row.costs if row and row.status == "done" else artifacts.result(*cell.id)["costs"]
            peaks.append(costs_of.get(CostKey.PEAK_MEMORY_BYTES, 0.0))
    left = [c for c in cells if states[c.id].status != "done"]
    active = {cell.key: cell for cell in live_cells(session.env.out)}
    running = {c.id: c for c in left if "/".join(c.id) in active}
    costs = fit_model(session.plan, session.env.out, stored=stored) if left else CostModel({})
    where = {i: active["/".join(i)] for i in running}
    works = [replace(work_of(c, artifacts, costs), host=where[i].host, pid=where[i].pid) for i, c in running.items()]
    runs = live_runs(session.env.out, session.suite.name)
    jobs = sum(run.jobs for run in runs) or len(works) or planned_jobs(session, costs)
    return Status(
        suite=session.suite.name,
        cells=len(cells),
        counts=Counter(states[c.id].status for c in cells if c.id not in running),
        works=works,
        runs=runs,
        jobs=jobs,
        wall=wall_left(left, works, costs, jobs),
        core_s=costs.estimate(left).known_s,
        left=len(left),
        peak_memory_bytes=max([*peaks, *(float(w.peak_memory_bytes or 0) for w in works)], default=0.0),
        failures={c.title: states[c.id].error or "" for c in left if states[c.id].status == "failed"},
        looks=tuple(x.words(session.suite.settings.primary) for x in session.looks),
    )


def show_status(session: Session, as_json: bool, watch: bool = False) -> None:
    """Print the suite's progress; with ``watch`` repeatedly, until no process runs it or Ctrl-C."""
    if as_json:
        echo_json(plain(read_status(session)))
        return
    console = plain_console()
    state = read_status(session)
    if not (watch and console.is_terminal):
        console.print(described(state))
    try:
        if watch and console.is_terminal:
            with Live(described(state), console=console, auto_refresh=False) as live:
                while state.going_on:
                    time.sleep(WATCH_S)
                    state = read_status(session)
                    live.update(described(state), refresh=True)
        while watch and state.going_on:  # output is a pipe or a file: print one status after the other
            time.sleep(WATCH_S)
            state = read_status(session)
            console.print(described(state))
    except KeyboardInterrupt:  # the last status stays on the screen; the run continues
        return


def described(state: Status) -> Group:
    """Return the status as text for the terminal."""
    counts = state.counts
    numbers = f"{counts['done']} done, {len(state.works)} running, {counts['failed']} failed"
    numbers += f", {counts['skipped']} skipped, {counts['missing']} not started"
    lines = [Text(f"suite {state.suite}: {state.cells} cells: {numbers}")]
    lines += [Text(f"look {k}: {words}") for k, words in enumerate(state.looks, start=1)]
    for run in sorted(state.runs, key=lambda run: run.host):
        jobs = f"{run.jobs} parallel job{'s' if run.jobs > 1 else ''}"
        shape = f"{jobs}, {run.threads} thread{'s' if run.threads > 1 else ''} each, on {run.device}"
        shape = shape if run.jobs else "starts workers and runs no cell itself"
        since = duration(run.elapsed_s)
        lines.append(Text(f"running for {since}: {shape} (process {run.pid} on {run.host})"))
    failed = [
        Text(f"  {title}: {error.splitlines()[0] if error else ''}", style="red")
        for title, error in state.failures.items()
    ]
    return Group(*lines, works_table(state.works), *failed, *_closing(state))


def _closing(state: Status) -> list[Text]:
    lines = []
    if state.left:
        unknown = f" + {state.wall.unknown} cells not measured yet" if state.wall.unknown else ""
        idle = "" if state.going_on else "no run is active; "
        jobs = f"{state.jobs} parallel job{'s' if state.jobs > 1 else ''}"
        lines.append(Text(f"{idle}time left: {state.wall}{unknown}, with {jobs}"))
    if state.peak_memory_bytes:
        lines.append(Text(f"peak memory of a cell so far: {gib(state.peak_memory_bytes)}"))
    return lines


def plain(state: Status) -> dict[str, Any]:
    """Return the status as JSON values. ``expected_wall_s`` leaves out cells of unknown cost."""
    return {
        "suite": state.suite,
        "cells": state.cells,
        **{s: state.counts[s] for s in ("done", "failed", "skipped", "missing")},
        "running": [_plain_work(work) for work in state.works],
        "runs": [asdict(run) for run in state.runs],
        "left": state.left,
        "jobs": state.jobs,
        "expected_wall_s": state.wall.seconds,
        "expected_core_s": state.core_s,
        "cells_of_unknown_cost": state.wall.unknown,
        "peak_memory_bytes": state.peak_memory_bytes,
        "failures": state.failures,
        "looks": list(state.looks),
    }


def _plain_work(work: Work) -> dict[str, Any]:
    values: dict[str, Any] = to_plain(work)
    return {**values.pop("cell"), **values}


@click.command(cls=Command)
@suite_options
@click.option("--watch", is_flag=True, help="Refresh until no process runs the suite, or Ctrl-C.")
@json_option
def status(chosen: Chosen, watch: bool, as_json: bool) -> None:
    """Show the progress of a suite: cells done, running and failed, time left. Works while the suite runs."""
    if watch and as_json:
        raise click.UsageError("--watch and --json cannot be combined; use one of them")

    found = chosen.stored()
    if watch or not isinstance(found, SubSuites):
        show_status(one(found), as_json, watch)
    else:
        show_statuses(found, as_json)


def show_statuses(m: SubSuites, as_json: bool) -> None:
    """Print the progress of each sub-suite."""
    if as_json:
        echo_json({**head(m), "sub_suites": [plain(read_status(s)) for s in m.ready]})
    else:
        for_each(m, lambda session: show_status(session, as_json=False))

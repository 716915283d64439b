"""The verb `bench plan`: the cells of a suite by stage and by method, and what is left of them will cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.artifacts import Artifacts
from bench.config import to_plain
from bench.console import plain_console, print_data
from bench.cost.host import available_cpus
from bench.data.left_out import data_lines
from bench.estimate import CostModel, Estimate, Prediction, Schedule, duration, fit_model, schedule
from bench.plan import STAGES, Cell, unique
from bench.plan_checks import check_trainable
from bench.selection import select
from bench.session import MAX_AUTO_JOBS, Session


def show_plan(session: Session, only: Sequence[str], as_json: bool, jobs: int | None = None) -> None:
    """Print the cells, how many are done, and the predicted time and memory of the rest with ``jobs`` at a time.

    Raises ``ConfigError`` for what a stage of the rest would refuse.
    """
    cells = unique(select(session.plan.cells, only))
    artifacts, model = Artifacts(session.env.out), fit_model(session.plan, session.env.out)
    left = [c for c in cells if not artifacts.is_done(*c.id)]
    if left:
        check_trainable(session.suite)
    jobs = jobs or planned_jobs(session, model)
    if as_json:
        print(json.dumps(plan_facts(session, only, jobs), indent=1, sort_keys=True))
        return
    _, played = play(model, left, jobs)
    estimate = model.estimate(left)
    console, index = plain_console(), session.plan.index
    groups = len({r.group_id for r in index.records})
    console.print(f"suite {session.suite.name}: {len(index.records)} images of {groups} patients, {index.name}")
    print_data(console, index)
    console.print(_table("stage", STAGES, lambda c: c.stage, cells, left, model))
    console.print()
    methods = [m.name for m in session.suite.methods]
    console.print(_table("method", methods, lambda c: c.method, cells, left, model, total=False))
    if left:
        _conclude(console, estimate, played, jobs, session.suite.name)


def plan_facts(session: Session, only: Sequence[str], jobs: int | None = None) -> dict[str, Any]:
    """Return the same for programs."""
    cells = unique(select(session.plan.cells, only))
    artifacts, model = Artifacts(session.env.out), fit_model(session.plan, session.env.out)
    left = [c for c in cells if not artifacts.is_done(*c.id)]
    jobs = jobs or planned_jobs(session, model)
    predictions, played = play(model, left, jobs)
    estimate = model.estimate(left)
    expected = {c.id: asdict(p) for c, p in ((c, predictions.get(c.id)) for c in cells) if p}
    return {
        "suite": session.suite.name,
        "fingerprint": session.plan.fingerprint,
        "images": len(session.plan.index.records),
        "data": data_lines(session.plan.index),
        "cells": [{**to_plain(c), "done": c not in left, "expected": expected.get(c.id)} for c in cells],
        "left": len(left),
        "jobs": jobs,
        "expected_wall_s": played.wall_s if estimate.unknown == 0 else None,
        "expected_core_s": estimate.known_s,
        "expected_device_s": estimate.device_s,
        "expected_peak_memory_bytes": played.peak_memory_bytes,
        "cells_measured": estimate.measured,
        "cells_guessed": estimate.guessed,
        "cells_of_unknown_cost": estimate.unknown,
    }


def play(model: CostModel, cells: Sequence[Cell], jobs: int) -> tuple[dict[tuple[str, str], Prediction], Schedule]:
    """Return the predictions of cells, by their ids, and how a run of them would go, its start included."""
    found = {c.id: p for c in cells if (p := model.predict(c))}
    played = schedule(cells, found, jobs)
    return found, Schedule(played.wall_s + (model.startup_s if cells else 0.0), played.peak_memory_bytes)


def planned_jobs(session: Session, model: CostModel) -> int:
    """Return how many cells a run would do at a time by itself: one on the GPU that was measured, else all cores'."""
    threads = session.suite.settings.threads or available_cpus()
    return 1 if model.on_gpu else min(MAX_AUTO_JOBS, max(1, available_cpus() // threads))


def _table(
    head: str, names: Sequence[str], of: Callable[[Cell], str | None], cells: Sequence[Cell], left: Sequence[Cell],
    model: CostModel, total: bool = True,
) -> Table:  # fmt: skip
    table = Table(head, box=None, pad_edge=False)
    for heading in ("cells", "left", "time left", "device", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    groups = [(name, [c for c in cells if of(c) == name]) for name in names]
    for name, group in [*groups, *([("total", list(cells))] if total else [])]:
        if group:
            rest = [c for c in group if c in left]
            table.add_row(name, str(len(group)), str(len(rest)), *_costs(model.estimate(rest), bool(rest)))
    return table


def _costs(e: Estimate, any_left: bool) -> tuple[str, str, str, str]:
    if not any_left:
        return "", "", "", ""
    if not e.measured and not e.guessed:
        return "", "", "", "not measured yet"
    parts = [f"{n} {word}" for n, word in ((e.measured, "measured"), (e.guessed, "guessed"), (e.unknown, "?")) if n]
    said = parts[0].split()[1] if len(parts) == 1 else ", ".join(parts)
    return duration(e.known_s), duration(e.device_s), gib(e.peak_memory_bytes), said


def _conclude(console: Console, e: Estimate, played: Schedule, jobs: int, suite: str) -> None:
    if e.measured or e.guessed:
        at_least = "at least " if e.unknown else ""
        console.print(
            f"predicted with --jobs {jobs}: {at_least}{duration(played.wall_s)} of wall time, "
            f"{e.device_s / 3600:.2g} device-hours, {gib(played.peak_memory_bytes)} at the most"
        )
    counted = f"{e.measured} cells by like ones measured here, {e.guessed} guessed from others of their stage"
    if e.unknown:
        counted += f", {e.unknown} not at all"
    console.print(counted + (f"; to measure: bench profile --suite {suite}" if e.unknown or e.guessed else ""))


def gib(n: float) -> str:
    """Return bytes for people."""
    return f"{n / 2**30:.1f} GiB" if n else "?"

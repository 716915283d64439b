"""The verb `bench plan`: the cells of a suite by stage and by method, and the predicted cost of the unfinished ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.cli.chosen import Chosen, one
from bench.cli.curve_table import curve_table
from bench.cli.options import Command, epochs_option, json_option, only_option, seed_option, suite_options
from bench.cli.sub_suites import SubSuites, for_each, head
from bench.config import to_plain
from bench.cost.host import available_cpus
from bench.data.changes import data_changes
from bench.data.given_split import GIVEN
from bench.data.left_out import data_lines
from bench.data.split_config import LEARNING_CURVE
from bench.engine.console import plain_console, print_data
from bench.engine.plan_rows import without_collector
from bench.engine.ready import CellId
from bench.engine.session import MAX_AUTO_JOBS, Session
from bench.errors import ConfigError
from bench.forecast.cost_model import CostModel, Estimate, Prediction, Schedule, duration, fit_model, schedule, total
from bench.metrics.units import scored_unit
from bench.plan.checks import check_trainable
from bench.plan.curve import curve_sizes
from bench.plan.plan import STAGES, Cell, unique
from bench.plan.selection import select
from bench.registry import no_exit
from bench.report.writing import warn_of_damage
from bench.store.cell_folders import Artifacts


@dataclass(frozen=True)
class Outlook:
    """The cells of a plan, the unfinished ones by id, and their predicted cost with ``jobs`` parallel jobs."""

    cells: Sequence[Cell]
    left: Mapping[CellId, Cell]
    predictions: Mapping[CellId, Prediction]
    played: Schedule
    jobs: int

    def estimate(self, cells: Iterable[Cell]) -> Estimate:
        """Add up the predicted costs of unfinished cells."""
        return total([self.predictions.get(c.id) for c in cells])


def outlook(session: Session, only: Sequence[str], jobs: int | None, artifacts: Artifacts) -> Outlook:
    """Find the unfinished cells and predict their cost. ``jobs`` None: the number that a run would use by default.

    Raises ``ConfigError`` for a setting that a stage of these cells would refuse.
    """
    cells = unique(select(session.plan.cells, only))
    model = fit_model(session.plan, session.env.out)
    left = {c.id: c for c in cells if not artifacts.is_done(*c.id)}
    if left:
        with no_exit("the methods and classifiers were checked"):
            check_trainable(session.suite)
    jobs = jobs or planned_jobs(session, model)
    return Outlook(cells, left, *play(model, list(left.values()), jobs), jobs)


@without_collector()
def show_plan(session: Session, only: Sequence[str], as_json: bool, jobs: int | None = None) -> None:
    """Print the cells, how many are done, and the predicted time and memory of the rest with ``jobs`` parallel jobs.

    Raises ``ConfigError`` for a setting that a stage of these cells would refuse.
    """
    artifacts = Artifacts(session.env.out)
    warn_of_damage(session, artifacts)
    if as_json:
        print(json.dumps(plan_facts(session, only, jobs, artifacts), indent=1, sort_keys=True))
        return
    found = outlook(session, only, jobs, artifacts)
    console, index = plain_console(), session.plan.index
    groups, unit = len({r.group_id for r in index.records}), scored_unit(index, session.suite.settings.primary)
    console.print(f"suite {session.suite.name}: {len(index.records)} images of {groups} {unit.groups}, {index.name}")
    if session.suite.classifiers:
        positive = f"; positive class: {index.positive}" if index.positive else ""
        console.print(f"primary metric: {unit.metric}{positive}")
        if unit.note:
            console.print(unit.note)
    print_data(console, index)
    if changes := data_changes(index, session.kept_index):
        console.print(f"the data changed since the last run: {changes}", style="yellow")
    if sizes := curve_sizes(session.plan):
        console.print(curve_table(sizes, unit.groups))
        console.print()
    console.print(_table("stage", STAGES, lambda c: c.stage, found))
    console.print()
    methods = [m.name for m in session.suite.methods]
    console.print(_table("method", methods, lambda c: c.method, found, with_total=False))
    if sizes:
        console.print()
        names = [str(x.train_patients) for x in sizes]
        console.print(_table(f"{unit.groups}/set", names, lambda c: str(c.train_patients), found, with_total=False))
    if found.left:
        _conclude(console, found, session)


def plan_facts(
    session: Session, only: Sequence[str], jobs: int | None = None, artifacts: Artifacts | None = None
) -> dict[str, Any]:
    """Return the plan as JSON values."""
    found = outlook(session, only, jobs, artifacts or Artifacts(session.env.out))
    estimate = found.estimate(found.left.values())
    expected = {i: asdict(p) for i, p in found.predictions.items()}
    return {
        "suite": session.suite.name,
        "fingerprint": session.plan.fingerprint,
        "images": len(session.plan.index.records),
        "data": data_lines(session.plan.index),
        "learning_curve": [asdict(x) for x in curve_sizes(session.plan)],
        "scored": scored_unit(session.plan.index, session.suite.settings.primary).metric,
        "positive_class": session.plan.index.positive,
        "cells": [{**to_plain(c), "done": c.id not in found.left, "expected": expected.get(c.id)} for c in found.cells],
        "left": len(found.left),
        "jobs": found.jobs,
        "expected_wall_s": found.played.wall_s if estimate.unknown == 0 else None,
        "expected_core_s": estimate.known_s,
        "expected_device_s": estimate.device_s,
        "expected_peak_memory_bytes": found.played.peak_memory_bytes,
        "cells_measured": estimate.measured,
        "cells_guessed": estimate.guessed,
        "cells_of_unknown_cost": estimate.unknown,
    }


def play(model: CostModel, cells: Sequence[Cell], jobs: int) -> tuple[dict[CellId, Prediction], Schedule]:
    """Return the predictions of cells by id, and the simulated schedule of a run, start-up included."""
    found = {c.id: p for c in cells if (p := model.predict(c))}
    played = schedule(cells, found, jobs)
    return found, Schedule(played.wall_s + (model.startup_s if cells else 0.0), played.peak_memory_bytes)


def planned_jobs(session: Session, model: CostModel) -> int:
    """Return a run's default number of parallel jobs: 1 if costs were measured on a GPU, else as the cores allow."""
    threads = session.suite.settings.threads or available_cpus()
    return 1 if model.on_gpu else min(MAX_AUTO_JOBS, max(1, available_cpus() // threads))


def _table(
    title: str, names: Sequence[str], of: Callable[[Cell], str | None], found: Outlook, with_total: bool = True
) -> Table:
    table = Table(title, box=None, pad_edge=False)
    for heading in ("cells", "left", "time left", "device", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("source", no_wrap=True)
    groups: dict[str | None, list[Cell]] = {name: [] for name in names}
    for cell in found.cells:
        groups.setdefault(of(cell), []).append(cell)
    named = [(name, groups[name]) for name in names]
    for name, group in [*named, *([("total", list(found.cells))] if with_total else [])]:
        if group:
            left = [c for c in group if c.id in found.left]
            table.add_row(name, str(len(group)), str(len(left)), *_costs(found.estimate(left), bool(left)))
    return table


def _costs(e: Estimate, any_left: bool) -> tuple[str, str, str, str]:
    if not any_left:
        return "", "", "", ""
    if not e.measured and not e.guessed:
        return "", "", "", "not measured yet"
    parts = [f"{n} {word}" for n, word in ((e.measured, "measured"), (e.guessed, "guessed"), (e.unknown, "?")) if n]
    sources = parts[0].split()[1] if len(parts) == 1 else ", ".join(parts)
    return duration(e.known_s), duration(e.device_s), gib(e.peak_memory_bytes), sources


def _conclude(console: Console, found: Outlook, session: Session) -> None:
    e, played = found.estimate(found.left.values()), found.played
    if e.measured or e.guessed:
        at_least = "at least " if e.unknown else ""
        console.print(
            f"predicted with --jobs {found.jobs}: {at_least}{duration(played.wall_s)} of wall time, "
            f"{e.device_s / 3600:.2g} device-hours, peak memory {gib(played.peak_memory_bytes)}"
        )
    counted = f"{e.measured} cells predicted from similar measured cells, {e.guessed} from other cells of their stage"
    if e.unknown:
        counted += f", {e.unknown} not predicted"
    measure = session.command_of("profile")
    console.print(counted + (f"; to measure: {measure}" if e.unknown or e.guessed else ""))


def gib(n: float) -> str:
    """Return a number of bytes as text in GiB."""
    return f"{n / 2**30:.1f} GiB" if n else "?"


@click.command(cls=Command)
@suite_options
@seed_option
@epochs_option
@only_option
@click.option("--effect", type=float, help="Instead: folds × repeats needed to detect this difference; 0.02: 2 points.")
@click.option(
    "--pilot",
    type=click.Path(exists=True, path_type=Path),
    help="--out folder of an earlier run, or its results.jsonl. Default: this suite's scores in --out.",
)
@click.option("--power", type=float, default=0.8, show_default=True, help="Probability of detecting the effect.")
@click.option("--jobs", type=click.IntRange(1), help="Number of parallel jobs. Default: as for `bench run`.")
@json_option
def plan(
    chosen: Chosen, seed: int | None, epochs: float | None, only: tuple[str, ...],
    effect: float | None, pilot: Path | None, power: float, jobs: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Show the cells of a suite: how many there are, how many are done, and the predicted cost of the rest."""

    chosen = replace(chosen.with_seed(seed).with_epochs(epochs), shows_only=True)
    if effect is not None:
        from bench.cli.effect import show_effect_plan
        from bench.cli.effect_curve import show_curve_effect

        session = one(chosen.to_run())
        is_curve = session.suite.settings.split.protocol == LEARNING_CURVE
        if session.suite.settings.split.protocol == GIVEN:
            raise ConfigError(
                "--effect: a given split has one test part, whose number of patients cannot be planned; expected "
                "split.protocol kfold, holdout or learning_curve"
            )
        (show_curve_effect if is_curve else show_effect_plan)(session, effect, power, pilot, only, as_json)
        return
    if pilot is not None:
        raise click.UsageError("--pilot needs --effect, for example --effect 0.02")

    show_any_plan(chosen.to_run(), only, as_json, jobs)


def show_any_plan(found: Session | SubSuites, only: Sequence[str], as_json: bool, jobs: int | None) -> None:
    """Print the plan of a session, or of each sub-suite."""
    if isinstance(found, SubSuites):
        show_plans(found, only, as_json, jobs)
    else:
        show_plan(found, only, as_json, jobs)


def show_plans(m: SubSuites, only: Sequence[str], as_json: bool, jobs: int | None = None) -> None:
    """Print the plan of each sub-suite and the total of unfinished cells."""
    facts = [plan_facts(s, only, jobs) for s in m.ready]
    if as_json:
        print(json.dumps({**head(m), "sub_suites": facts}, indent=1, sort_keys=True))
        return
    for_each(m, lambda session: show_plan(session, only, as_json=False, jobs=jobs))
    known = all(f["expected_wall_s"] is not None for f in facts)
    took = sum(
        f["expected_core_s"] / f["jobs"] if f["expected_wall_s"] is None else f["expected_wall_s"] for f in facts
    )
    cells, left = sum(len(f["cells"]) for f in facts), sum(f["left"] for f in facts)
    time = f"{'' if known else 'at least '}{duration(took)}" if took or not left else "not measured yet"
    plain_console().print(f"{m.name}: {len(facts)} sub-suites, {cells} cells, {left} to run: {time}")

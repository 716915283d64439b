"""`bench plan --effect` for a learning curve: the power of its sets and test patients, from a pilot if there is one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from bench.analysis.stopping import paired_contributions
from bench.cli.curve_table import curve_table
from bench.cli.effect_pilot import Arm
from bench.config import strict_json
from bench.engine.console import plain_console
from bench.engine.plan_rows import rows_of
from bench.engine.session import Session
from bench.errors import ConfigError
from bench.metrics.units import scored_unit
from bench.plan.curve import curve_sizes
from bench.plan.selection import select
from bench.stats.crossed import CrossedComponents, crossed_components
from bench.stats.curve_planning import crossed_minimum_detectable_effect, crossed_power, mean_crossed, sets_needed
from bench.store.results import Store
from bench.suite.contrast import NONE
from bench.types import ResultRow

ALPHA = 0.05
GUESSES = (0.003, 0.01, 0.03)  # sd over training sets of a paired difference, in score units, without a pilot
NAN = float("nan")


@dataclass(frozen=True)
class SizePlan:
    """The power of one size of the curve. ``spread`` is the sd of a paired difference over training sets.

    ``pilot``: comparisons that the variances are from, 0 if ``spread`` is assumed and test patients do not vary.
    ``sets_needed`` None: no number of sets suffices, so more test patients are needed.
    """

    train_patients: int
    sets: int
    test_groups: int
    pilot: int
    spread: float
    power: float
    minimum_detectable_effect: float
    sets_needed: int | None


def show_curve_effect(
    session: Session, effect: float, target: float, pilot: Path | None, only: Sequence[str], as_json: bool
) -> None:
    """Print the sets and patients of each size, and the power with which they detect ``effect``."""
    for name, value in (("--effect", effect), ("--power", target)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}: got {value}, expected a share between 0 and 1 (0.02 is two points)")
    settings, unit = session.suite.settings, scored_unit(session.plan.index)
    level, tested = _level(session, only)
    plans = plan_sizes(session, effect, target, pilot, level, only)
    if as_json:
        facts = {"suite": session.suite.name, "effect": effect, "target": target, "level": level}
        print(json.dumps(strict_json({**facts, "sizes": [asdict(p) for p in plans]}), indent=1))
        return
    console = plain_console()
    console.print(
        f"suite {session.suite.name}: learning curve, difference of {100 * effect:.1f} points of {unit.level} "
        f"{settings.primary}, power {target:.0%}, level {level:.2g} ({tested})"
    )
    console.print(curve_table(curve_sizes(session.plan), unit.groups))
    console.print()
    console.print(_table(plans, unit.groups))
    if not any(p.pilot for p in plans):
        console.print(
            f"no pilot: --out has no scores of two sets yet. The table assumes the spread over training sets, and no "
            f"variance over test {unit.groups}, so power is at most this. For a plan from data, first run some sets: "
            "bench run --only fold=0,1,2"
        )


def plan_sizes(
    session: Session, effect: float, target: float, pilot: Path | None, level: float, only: Sequence[str] = ()
) -> tuple[SizePlan, ...]:
    """Return the power of each size: from the pilot's comparisons with `none`, else for assumed spreads.

    Raises ``ConfigError`` if the given pilot has no comparison.
    """
    found = _components(session, pilot, only)
    if pilot is not None and not any(found.values()):
        raise ConfigError(f"--pilot {pilot}: no finished comparison with {NONE} of two sets of one size was found")
    plans = []
    for size in curve_sizes(session.plan):
        if session.suite.settings.split.only_reference(size.train_patients):
            continue
        known = found.get(size.train_patients, [])
        parts = [mean_crossed(known)] if known else [CrossedComponents(g**2, 0.0, 0.0) for g in GUESSES]
        for c in parts:
            at = (size.sets, size.test)
            plans.append(
                SizePlan(
                    size.train_patients,
                    *at,
                    pilot=len(known),
                    spread=math.sqrt(c.sets + c.interaction / size.test),
                    power=crossed_power(c, *at, effect, level),
                    minimum_detectable_effect=crossed_minimum_detectable_effect(c, *at, target, level),
                    sets_needed=sets_needed(c, size.test, effect, target, level),
                )
            )
    return tuple(plans)


def _level(session: Session, only: Sequence[str]) -> tuple[float, str]:
    """Return the level that decides, and what it is of: the declared contrast, or the first step of Holm's test."""
    if session.suite.settings.contrast:
        return ALPHA, "the primary contrast"
    cells = [c for c in select(session.plan.cells, only) if c.stage == "evaluate" and c.method != NONE]
    arms = max(1, len({(c.method, c.ratio) for c in cells}))
    return ALPHA / arms, f"Holm correction for {arms} arms; declare a contrast to test it at {ALPHA:.0%}"


def _components(session: Session, pilot: Path | None, only: Sequence[str]) -> dict[int, list[CrossedComponents]]:
    """Return the variance components of each arm's difference to `none`, by size."""
    cells = [c for c in select(session.plan.cells, only) if c.stage == "evaluate"]
    asked = {(c.method or "", c.ratio or "", c.classifier or "") for c in cells}
    root = session.env.out if pilot is None else pilot.parent if pilot.name == "results.jsonl" else pilot
    rows = rows_of(session.plan, session.env) if pilot is None else list(Store(root).rows().values())
    tables: dict[tuple[int, Arm], dict[int, Path]] = {}
    for row in rows:
        if _is_score(row) and (row.suite == session.suite.name or pilot is not None):
            arm = (row.method or "", row.ratio or "", row.classifier or "")
            path = root / str(row.facts["predictions"])
            tables.setdefault((row.train_patients or 0, arm), {})[row.fold or 0] = path
    found: dict[int, list[CrossedComponents]] = {}
    for (size, arm), of_arm in tables.items():
        base = tables.get((size, (NONE, "0", arm[2])), {})
        if arm[0] != NONE and (arm in asked or pilot is not None) and len(of_arm.keys() & base.keys()) > 1:
            found.setdefault(size, []).append(_of_arm(session, of_arm, base))
    return found


def _of_arm(session: Session, arm: Mapping[int, Path], base: Mapping[int, Path]) -> CrossedComponents:
    sets = sorted(arm.keys() & base.keys())
    per_group = scored_unit(session.plan.index).per_group
    endpoint = session.suite.settings.primary
    return crossed_components(
        paired_contributions([arm[s] for s in sets], [base[s] for s in sets], endpoint, per_group)
    )


def _is_score(row: ResultRow) -> bool:
    known = row.stage == "evaluate" and row.status == "done" and row.train_patients is not None
    return known and "predictions" in row.facts


def _table(plans: Sequence[SizePlan], groups: str) -> Table:
    headings = ("sets", f"test {groups}", "spread", "source", "power", "min. detectable", "sets needed")
    table = Table(f"{groups} per set", box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for p in plans:
        table.add_row(
            str(p.train_patients),
            str(p.sets),
            str(p.test_groups),
            f"{100 * p.spread:.1f}",
            f"{p.pilot} comparisons" if p.pilot else "assumed",
            f"{100 * p.power:.0f} %" if math.isfinite(p.power) else "–",
            f"{100 * p.minimum_detectable_effect:.1f}" if math.isfinite(p.minimum_detectable_effect) else "–",
            str(p.sets_needed or f"none: more {groups}"),
        )
    return table

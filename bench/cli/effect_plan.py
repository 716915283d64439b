"""Planning for an effect: a pilot's paired differences -> folds and repeats, their power and their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.cli.effect_pilot import Comparison, Pilot, pilot_rows
from bench.data.split_config import SplitConfig
from bench.engine.session import Session
from bench.errors import ConfigError
from bench.forecast.cost_model import CostModel, fit_model
from bench.metrics.units import scored_unit
from bench.plan.plan import Cell, unique
from bench.plan.selection import select
from bench.stats.pilot import mean_components
from bench.stats.planning import (
    NAN,
    Components,
    Design,
    design_minimum_detectable_effect,
    design_power,
    minimum_detectable_effect,
    pair_ratio,
    pairs_needed,
    patients_needed,
    power,
)
from bench.store.results import Store

ALPHA = 0.05
FOLDS = (3, 5, 10)
REPEATS = (1, 2, 3, 5, 10, 20)
HOLDOUT_REPEATS = (5, 10, 20, 40, 80)
MANY = 1000  # repeats; more do not change the result


@dataclass(frozen=True)
class Option:
    """One design: power for the requested effect with Holm correction and alone, and the minimum detectable effect.

    ``core_hours`` covers the kinds of cells that were measured; NaN if none was.
    """

    folds: int
    repeats: int
    pairs: int
    power: float
    power_alone: float
    minimum_detectable_effect: float
    core_hours: float


@dataclass(frozen=True)
class EffectPlan:
    """The result. ``components`` is None without patients' predictions, ``sd`` NaN without a pilot.

    ``least_detectable``: minimum detectable effect of the best folds with any number of repeats. ``best``: option with
    the highest power. ``patients_best``, ``patients_own``: number of patients needed with that option and with the
    suite's design, None if no number suffices or it is unknown. ``plain_pairs``: pairs needed if they were independent.
    ``unmeasured``: cells per pair whose cost is not included. ``metric``: compared metric. ``note``: reason if images
    instead of patients are scored. ``groups``: what ``patients`` counts, 'patients' or 'groups'.
    """

    effect: float
    target: float
    arms: int
    metric: str
    note: str
    groups: str
    patients: int
    comparisons: tuple[Comparison, ...]
    components: Components | None
    sd: float
    options: tuple[Option, ...]
    recommended: Option | None
    best: Option
    least_detectable: float
    patients_best: int | None
    patients_own: int | None
    plain_pairs: int | None
    unmeasured: int


def plan_effect(
    session: Session, effect: float, target: float = 0.8, pilot: Path | None = None, only: Sequence[str] = ()
) -> EffectPlan:
    """Find the folds x repeats that detect a mean difference ``effect`` to none (0.02: 2 points) with power ``target``.

    ``pilot`` is the --out folder of an earlier run or its results.jsonl; None uses the finished scores of this suite.
    ``only`` selects comparisons, as for a run. Raises ``ConfigError`` for values out of range, or if the given pilot
    has no comparison.
    """
    for name, value in (("--effect", effect), ("--power", target)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}: got {value}, expected a share between 0 and 1 (0.02 is two points)")
    cells = select(session.plan.cells, only)
    asked = {(c.method or "", c.ratio or "", c.classifier or "") for c in cells if c.stage == "evaluate"}
    unit = scored_unit(session.plan.index)
    rows, root = pilot_rows(session, pilot, unit)
    patients = len({r.group_id for r in session.plan.index.records})
    found = Pilot(root, unit, patients).comparisons(rows, asked if only or pilot is None else None)
    if pilot is not None and not found:
        raise ConfigError(f"--pilot {pilot}: no finished comparison with none found; expected an --out folder of a run")
    compared = {a for a in asked if a[0] != "none"}  # Holm counts the arms that a report of this plan compares
    arms = max([sum(a[2] == c for a in compared) for c in {a[2] for a in compared}], default=1)
    seen = [c.components for c in found if c.components]
    parts = mean_components(seen) if seen else None
    sds = [c.sd for c in found if c.sd > 0]
    sd = float(np.median(sds)) if sds else NAN
    costs = fit_model(session.plan, session.env.out, Store(root).rows().values() if pilot else ())
    hours, unmeasured = _pair_hours(session.plan.cells, cells, costs)
    ask = _Question(effect, target, ALPHA / max(arms, 1), parts, sd)
    designs = _designs(session)
    options = {d: ask.option(d, hours) for d in designs}
    enough = [o for o in options.values() if o.power >= target]
    best = max(designs, key=lambda d: options[d].power if math.isfinite(options[d].power) else 0.0)
    return EffectPlan(
        effect=effect,
        target=target,
        arms=arms,
        metric=unit.metric,
        note=unit.note,
        groups=unit.groups,
        patients=patients,
        comparisons=tuple(found),
        components=parts,
        sd=sd,
        options=tuple(options.values()),
        recommended=min(enough, key=lambda o: (o.pairs, o.repeats)) if enough else None,
        best=options[best],
        least_detectable=min(ask.detectable(replace(d, repeats=MANY)) for d in designs),
        patients_best=ask.patients(best, patients),
        patients_own=ask.patients(suite_design(session.suite.settings.split), patients),
        plain_pairs=pairs_needed(effect, sd, 0.0, target) if sd > 0 else None,
        unmeasured=unmeasured,
    )


@dataclass(frozen=True)
class _Question:
    """The effect to detect with each design: from the pilot's components, else from its sd and the corrected t test."""

    effect: float
    target: float
    alpha: float
    parts: Components | None
    sd: float

    def option(self, design: Design, hours: float) -> Option:
        alone = _Question(self.effect, self.target, ALPHA, self.parts, self.sd)
        return Option(
            design.folds, design.repeats, design.pairs, self.power(design), alone.power(design),
            self.detectable(design), hours * design.pairs,
        )  # fmt: skip

    def power(self, design: Design) -> float:
        if self.parts:
            return design_power(self.parts, design, self.effect, self.alpha)
        return power(self.effect, self.sd, design.pairs, pair_ratio(design.test_train_ratio), self.alpha)

    def patients(self, design: Design, patients: int) -> int | None:
        if self.parts is None:
            return None
        return patients_needed(self.parts, design, self.effect, patients, self.target, self.alpha)

    def detectable(self, design: Design) -> float:
        if self.parts:
            return design_minimum_detectable_effect(self.parts, design, self.target, self.alpha)
        ratio = pair_ratio(design.test_train_ratio)
        return minimum_detectable_effect(self.sd, design.pairs, ratio, self.target, self.alpha)


def suite_design(split: SplitConfig) -> Design:
    """Return a split's design, with n_test / n_train as in the report: validation images are not training images."""
    share = 1 / split.folds if split.by_folds else split.test_fraction
    ratio = share / ((1 - share) * (1 - split.validation_fraction))
    return Design(split.folds if split.by_folds else 1, split.repeats, share, ratio)


def _designs(session: Session) -> list[Design]:
    split, index = session.suite.settings.split, session.plan.index
    if split.protocol == "holdout":
        return [replace(suite_design(split), repeats=r) for r in sorted({*HOLDOUT_REPEATS, split.repeats})]
    fewest = min(len({r.group_id for r in index.records if r.label == c}) for c in range(len(index.classes)))
    found = []
    for folds in sorted({*FOLDS, split.folds}):
        if folds <= fewest:
            of_folds = suite_design(SplitConfig(folds=folds, validation_fraction=split.validation_fraction))
            found += [replace(of_folds, repeats=r) for r in sorted({*REPEATS, split.repeats})]
    return found


def _pair_hours(every: Sequence[Cell], chosen: Sequence[Cell], costs: CostModel) -> tuple[float, int]:
    """Return the core-hours of one pair (chosen arms and none), and how many of its cells have no known cost."""
    ids = {c.id for c in chosen}
    classifiers = {c.classifier for c in chosen}
    first = [c for c in every if (c.fold, c.repeat) == (0, 0)]
    cells = unique([c for c in first if c.id in ids or (c.method == "none" and c.classifier in classifiers)])
    estimate = costs.estimate(cells)
    return (estimate.known_s / 3600 if estimate.unknown < len(cells) else NAN), estimate.unknown

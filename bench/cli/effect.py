"""The verb `bench plan --effect`: shows which folds x repeats find an effect, and what they cost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.cli.effect_pilot import Comparison
from bench.cli.effect_plan import ALPHA, EffectPlan, Option, plan_effect, suite_design
from bench.engine.console import plain_console
from bench.engine.session import Session
from bench.stats.planning import minimum_detectable_effect, pair_ratio, pairs_needed, power

GUESSES = (0.01, 0.02, 0.04, 0.08)  # sd of paired differences, where no pilot tells
SHOWN = 12  # comparisons of the pilot; the JSON has all


def show_effect_plan(
    session: Session, effect: float, target: float, pilot: Path | None, only: Sequence[str], as_json: bool
) -> None:
    """Print what finds ``effect`` with power ``target``: from a pilot or, without one, for several spreads."""
    plan = plan_effect(session, effect, target, pilot, only)
    if as_json:
        print(
            json.dumps(_finite({"suite": session.suite.name, **asdict(plan), "sentences": sentences(plan)}), indent=1)
        )
        return
    console = plain_console()
    console.print(
        f"suite {session.suite.name}: to find a difference of {_points(effect)} points of {plan.metric} to none, "
        f"power {target:.0%}, two-sided 5 %"
    )
    if plan.note:
        console.print(plan.note)
    if not plan.comparisons:
        _show_guesses(console, session, plan)
        return
    _show_pilot(console, plan.comparisons)
    _show_options(console, plan)
    for sentence in sentences(plan):
        console.print(sentence)


def sentences(plan: EffectPlan) -> list[str]:
    """Return what follows from the plan, a sentence each; none without a pilot."""
    if not plan.comparisons:
        return []
    effect, best = _points(plan.effect), plan.recommended
    holm = f", first of {plan.arms} arms by Holm" if plan.arms > 1 else ""
    text = []
    if best:
        cost = "" if math.isnan(best.core_hours) else f", {_hours(best.core_hours, plan)} core-hours"
        text.append(
            f"Take {_name(best)}: {best.pairs} pairs find {effect} points with a power of {best.power:.0%}{holm}{cost}."
        )
    else:
        text.append(
            f"No design shown finds {effect} points{holm}: with any number of repeats the smallest effect is "
            f"{_points(plan.floor)} points."
        )
        text.append(_patients(plan))
    share = plan.components.lasting_share if plan.components else math.nan
    if not plan.components:
        text.append("The pilot's predictions cannot be read, so pairs count as alike as the t test takes them to be.")
    elif all(c.components is None or c.components.passing == 0 for c in plan.comparisons):
        text.append("The pilot has one repeat, so all that an arm does to a patient counts as lasting; two would tell.")
    elif math.isfinite(share):
        over = "; above a half the t test claims too often where there are repeats" if share > 0.5 else ""
        text.append(f"{share:.0%} of what an arm does to a patient lasts over repeats{over}.")
    if plan.plain_pairs:
        text.append(f"Pairs that shared no patient would be {plan.plain_pairs}, by the plain t test at the pilot's sd.")
    return text


def _patients(plan: EffectPlan) -> str:
    if plan.patients_best is None:
        cannot = "cannot be said either: trainings vary too much, or no prediction was read."
        return f"That more {plan.groups} would help {cannot}"
    own = f", or {plan.patients_own} in the suite's own" if plan.patients_own else ""
    best = f"about {plan.patients_best} like these {plan.patients} in {_name(plan.best)}{own}"
    return f"Only more {plan.groups} help: {best}."


def _show_pilot(console: Console, comparisons: Sequence[Comparison]) -> None:
    table = Table("pilot", "pairs", "difference", "sd", "lasting", box=None, pad_edge=False)
    for c in comparisons[:SHOWN]:
        method, ratio, classifier = c.arm
        name = f"{method} {classifier}" if ratio == "0" else f"{method} ×{ratio} {classifier}"
        share = c.components.lasting_share if c.components and c.components.passing else math.nan
        lasting = "" if math.isnan(share) else f"{min(max(share, 0), 1):.0%}"
        table.add_row(name, str(c.pairs), f"{100 * c.difference:+.1f}", _points(c.sd), lasting)
    console.print(table)
    if len(comparisons) > SHOWN:
        console.print(f"… and {len(comparisons) - SHOWN} more comparisons")


def _show_options(console: Console, plan: EffectPlan) -> None:
    holm = f"{plan.arms} arms" if plan.arms > 1 else "alone"
    heads = ["design", "pairs", f"power ({holm})", *(["power (alone)"] if plan.arms > 1 else [])]
    table = Table(*heads, "smallest effect", "core-hours", "", box=None, pad_edge=False)
    for o in plan.options:
        alone = [_percent(o.power_alone)] if plan.arms > 1 else []
        cost = "not measured" if math.isnan(o.core_hours) else _hours(o.core_hours, plan)
        mark = "<- the fewest pairs" if o == plan.recommended else ""
        effect = _points(o.minimum_detectable_effect)
        table.add_row(_name(o), str(o.pairs), _percent(o.power), *alone, effect, cost, mark)
    console.print(table)


def _show_guesses(console: Console, session: Session, plan: EffectPlan) -> None:
    """Without a pilot: what several spreads of the paired differences would mean for the suite's own design."""
    design = suite_design(session.suite.settings.split)
    ratio, alpha = pair_ratio(design.test_train_ratio), ALPHA / plan.arms
    pairs = max(2, design.pairs)
    heads = ("sd, points", f"power of {pairs} pairs", "smallest effect", "pairs needed", "pairs, if independent")
    table = Table(*heads, box=None, pad_edge=False)
    for sd in GUESSES:
        found = power(plan.effect, sd, pairs, ratio, alpha)
        smallest = minimum_detectable_effect(sd, pairs, ratio, plan.target, alpha)
        needed = pairs_needed(plan.effect, sd, ratio, plan.target, alpha)
        plain = pairs_needed(plan.effect, sd, 0.0, plan.target)
        table.add_row(_points(sd), _percent(found), _points(smallest), str(needed or "no number"), str(plain))
    console.print(table)
    console.print(
        f"no pilot: nothing of this suite is scored in --out yet. The table takes the verdict's t test at its word "
        f"(n_test/n_train {design.test_train_ratio:.3f}, {plan.arms} arm{'s' if plan.arms > 1 else ''}). For a plan of "
        "your own: bench run with a repeat or two, or --pilot RUN of an earlier run."
    )


def _name(option: Option) -> str:
    if option.folds == 1:
        return f"{option.repeats} hold-outs"
    return f"{option.folds} folds" + (f" × {option.repeats}" if option.repeats > 1 else "")


def _points(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else "> 100"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if math.isfinite(value) else "–"


def _hours(value: float, plan: EffectPlan) -> str:
    return ("> " if plan.unmeasured else "") + (f"{value:.2g}" if value < 10 else f"{value:.0f}")


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""`bench plan --effect`: which folds x repeats detect an effect, and their cost."""

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

GUESSES = (0.01, 0.02, 0.04, 0.08)  # sd of paired differences, used without a pilot
SHOWN = 12  # comparisons of the pilot in the table; the JSON has all


def show_effect_plan(
    session: Session, effect: float, target: float, pilot: Path | None, only: Sequence[str], as_json: bool
) -> None:
    """Print the designs that detect ``effect`` with power ``target``: from a pilot, or for several assumed sds."""
    plan = plan_effect(session, effect, target, pilot, only)
    if as_json:
        print(
            json.dumps(_finite({"suite": session.suite.name, **asdict(plan), "sentences": sentences(plan)}), indent=1)
        )
        return
    console = plain_console()
    console.print(
        f"suite {session.suite.name}: designs that detect a difference of {_points(effect)} points of {plan.metric} "
        f"to none (a pair is one fold × repeat), power {target:.0%}, two-sided 5 %"
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
    """Return the conclusions of the plan, one sentence each; empty without a pilot."""
    if not plan.comparisons:
        return []
    effect, best = _points(plan.effect), plan.recommended
    holm = f" (Holm correction for {plan.arms} arms)" if plan.arms > 1 else ""
    text = []
    if best:
        cost = "" if math.isnan(best.core_hours) else f", {_hours(best.core_hours, plan)} core-hours"
        text.append(
            f"Use {_name(best)}: {best.pairs} pairs detect {effect} points with power {best.power:.0%}{holm}{cost}."
        )
    else:
        text.append(
            f"No design shown detects {effect} points{holm}: with any number of repeats the minimum detectable effect "
            f"is {_points(plan.least_detectable)} points."
        )
        text.append(_patients(plan))
    share = plan.components.lasting_share if plan.components else math.nan
    if not plan.components:
        text.append("The pilot's predictions cannot be read; the correlation of pairs is that of the corrected t test.")
    elif all(c.components is None or c.components.passing == 0 for c in plan.comparisons):
        text.append("The pilot has one repeat, so an arm's effect on a patient counts as lasting; use two repeats.")
    elif math.isfinite(share):
        over = "; above 50 % the t test has too many false positives with repeats" if share > 0.5 else ""
        text.append(f"{share:.0%} of an arm's effect on a patient is the same in all repeats{over}.")
    if plan.plain_pairs:
        text.append(f"With independent pairs, {plan.plain_pairs} would suffice (plain t test at the pilot's sd).")
    return text


def _patients(plan: EffectPlan) -> str:
    if plan.patients_best is None:
        return (
            f"Whether more {plan.groups} would help is unknown: trainings vary too much, or no predictions were read."
        )
    own = f", or {plan.patients_own} in the suite's design" if plan.patients_own else ""
    best = f"about {plan.patients_best} similar to these {plan.patients} in {_name(plan.best)}{own}"
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
    headings = ["design", "pairs", f"power ({holm})", *(["power (alone)"] if plan.arms > 1 else [])]
    table = Table(*headings, "min. detectable", "core-hours", "", box=None, pad_edge=False)
    for o in plan.options:
        alone = [_percent(o.power_alone)] if plan.arms > 1 else []
        cost = "not measured" if math.isnan(o.core_hours) else _hours(o.core_hours, plan)
        mark = "<- fewest pairs" if o == plan.recommended else ""
        effect = _points(o.minimum_detectable_effect)
        table.add_row(_name(o), str(o.pairs), _percent(o.power), *alone, effect, cost, mark)
    console.print(table)


def _show_guesses(console: Console, session: Session, plan: EffectPlan) -> None:
    """Print, without a pilot, the power of the suite's design for several assumed sds of the paired differences."""
    design = suite_design(session.suite.settings.split)
    ratio, alpha = pair_ratio(design.test_train_ratio), ALPHA / plan.arms
    pairs = max(2, design.pairs)
    headings = ("sd, points", f"power of {pairs} pairs", "min. detectable", "pairs needed", "pairs, if independent")
    table = Table(*headings, box=None, pad_edge=False)
    for sd in GUESSES:
        found = power(plan.effect, sd, pairs, ratio, alpha)
        detectable = minimum_detectable_effect(sd, pairs, ratio, plan.target, alpha)
        needed = pairs_needed(plan.effect, sd, ratio, plan.target, alpha)
        plain = pairs_needed(plan.effect, sd, 0.0, plan.target)
        table.add_row(_points(sd), _percent(found), _points(detectable), str(needed or "none"), str(plain))
    console.print(table)
    console.print(
        f"no pilot: --out has no scores of this suite yet. The table assumes the corrected t test of the report "
        f"(n_test/n_train {design.test_train_ratio:.3f}, {plan.arms} arm{'s' if plan.arms > 1 else ''}). For a plan "
        "from data: bench run with one or two repeats, or --pilot RUN of an earlier run."
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
    """Return the value with NaN and infinity replaced by None, as JSON has neither."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

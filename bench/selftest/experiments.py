"""The list of experiments: every design offered, in every case, with what is promised of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bench.selftest import comparisons, intervals, tuning
from bench.selftest.promises import COVERAGE, FALSE_CLAIMS, SHOWN, Rule
from bench.selftest.runs import Experiment, Measure
from bench.stats.endpoints import ENDPOINTS
from bench.stats.simulation import NULLS, SAME

CURVE = f"curve {comparisons.SETS} × 40"
PLAIN = Measure("plain", "plain t", SHOWN)
COHORTS = ((6, 12), (10, 10), (20, 20), (24, 58))
DOUBLED = "twice the patients"
FOLDS = ((5, 1), (10, 1), (5, 3))


def experiments() -> list[Experiment]:
    """Return all experiments in the order of the report."""
    return [*_nulls(), *_power(), *_intervals(), *_worth(), *_tuning()]


def _nulls() -> list[Experiment]:
    verdict, stopped = Measure("fixed", "verdict", FALSE_CLAIMS), Measure("stopped", "stopped early", FALSE_CLAIMS)
    result = []
    for view in NULLS:
        run = partial(comparisons.curves, view, (40, 40))
        result.append(Experiment("nulls", CURVE, view.name, run, (verdict, stopped, PLAIN)))
    for k, repeats in FOLDS:
        for view in NULLS:
            folds = partial(comparisons.folds, view, k, repeats, False)
            marked = replace(verdict, cannot_hold=view.own_signal and repeats > 1)  # 5.0 % in 5 x 3, disjoint
            result.append(Experiment("nulls", f"k-fold {k} × {repeats}", view.name, folds, (marked, PLAIN)))
    for view in NULLS:
        hold_outs = partial(comparisons.hold_outs, view, 10)
        marked = replace(verdict, cannot_hold=view.own_signal)  # the same patients, and their response, again and again
        result.append(Experiment("nulls", "hold-out × 10", view.name, hold_outs, (marked, PLAIN)))
    return result


def _power() -> list[Experiment]:
    curve = (
        Measure("fixed", "verdict", Rule("at least", low=0.8)),
        Measure("stopped", "stopped early", Rule("at least", low=0.8)),
        Measure("equivalent", "falsely equivalent", FALSE_CLAIMS),
    )
    folds = (Measure("fixed", "verdict", Rule("at least", low=0.6), cannot_hold=True),)
    run = partial(comparisons.folds, SAME, 5, 3, True)
    return [
        Experiment("power", CURVE, DOUBLED, partial(comparisons.curves, SAME, (40, 80)), curve),
        Experiment("power", "k-fold 5 × 3", DOUBLED, run, folds),
    ]


def _intervals() -> list[Experiment]:
    result = []
    for k in (3, 5, 10):
        for a, b in COHORTS:
            if min(a, b) < k:
                continue
            few = k == 3 and (a, b) == (6, 12)  # too wide: 97.5 %
            measures = tuple(Measure(e, e.replace("_", " "), COVERAGE, cannot_hold=few) for e in ENDPOINTS)
            run = partial(intervals.score_intervals, (a, b), k)
            result.append(Experiment("intervals", f"k-fold {k} × 1", f"{a}+{b}", run, measures))
    return result


def _worth() -> list[Experiment]:
    knot = Measure("covered", "interval", COVERAGE)  # at a size of the curve
    between = Measure("covered", "interval", Rule("at least", low=0.93))  # the interval allows for several shapes
    return [
        Experiment("worth", f"{CURVE}, {view.name}", f"true worth {extra}", partial(intervals.worth, view, extra), (m,))
        for view, extra, m in ((NULLS[1], 0, knot), (NULLS[1], 20, between), (SAME, 20, between))
    ]


def _tuning() -> list[Experiment]:
    measures = (
        Measure("per fold", "chosen per fold", Rule("points at most", high=0.01)),
        Measure("once", "chosen once over all folds", Rule("points within", 0.036, 0.128)),
    )
    return [Experiment("tuning", f"k-fold {tuning.FOLDS} × 1", "AUROC", tuning.tuning, measures)]

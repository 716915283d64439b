"""The list of experiments: every design offered, in every case, with what is promised of it."""

from __future__ import annotations

from functools import partial

from bench.selftest import comparisons, tuning
from bench.selftest.promises import FALSE_CLAIMS, SHOWN, Rule
from bench.selftest.runs import Experiment, Measure
from bench.stats.simulation import NULLS, SAME

CURVE = f"learning_curve {comparisons.SETS} × 40"
PLAIN = Measure("plain", "plain paired t", SHOWN)
FOLDS = ((5, 1), (10, 1), (5, 3))


def experiments() -> list[Experiment]:
    """Return all experiments in the order of the report."""
    return [*_nulls(), *_power(), *_tuning()]


def _nulls() -> list[Experiment]:
    result = []
    for view in NULLS:
        measures = (Measure("fixed", "verdict", FALSE_CLAIMS), PLAIN)
        run = partial(comparisons.curves, view, (40, 40))
        result.append(Experiment("nulls", CURVE, view.name, run, measures))
    for k, repeats in FOLDS:
        for view in NULLS:
            folds = partial(comparisons.folds, view, k, repeats, False)
            design = f"k-fold {k} × {repeats}"
            result.append(Experiment("nulls", design, view.name, folds, (PLAIN,)))
    for view in NULLS:
        hold_outs = partial(comparisons.hold_outs, view, 10)
        result.append(Experiment("nulls", "hold-out × 10", view.name, hold_outs, (PLAIN,)))
    return result


def _power() -> list[Experiment]:
    case = "twice the patients"
    curve = (Measure("fixed", "verdict", Rule("at least", low=0.8)), PLAIN)
    return [Experiment("power", CURVE, case, partial(comparisons.curves, SAME, (40, 80)), curve)]


def _tuning() -> list[Experiment]:
    measures = (
        Measure("per fold", "chosen per fold", Rule("points at most", high=0.01)),
        Measure("once", "chosen once over all folds", Rule("points within", 0.036, 0.128)),
    )
    return [Experiment("tuning", f"k-fold {tuning.FOLDS} × 1", "AUROC", tuning.tuning, measures)]

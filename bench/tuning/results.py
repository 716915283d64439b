"""Result files of a study: ``trials.csv``, the best config as YAML, its tuning cost, plots, and ``tuning.md``."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial

from bench.cost.host import describe_host
from bench.files import write_atomic
from bench.forecast.cost_model import duration
from bench.store.csv_cells import Writer
from bench.tuning.arm import Arm
from bench.tuning.cost import TuningCost, arm_identity, write_tuning_cost
from bench.tuning.plots import write_plots
from bench.tuning.spaces import CLASSIFIER, METHOD, RATIO, describe
from bench.tuning.study import (
    ERROR,
    INSTEAD_OF,
    SETTLED,
    SUITE,
    best_trial,
    front,
    mean_score,
    pairs_of,
    spread,
    state_of,
    tuning_cost_s,
)

TRIALS, REPORT = "trials.csv", "tuning.md"
ON_VALIDATION = "on validation images"


def best_file(arm: Arm) -> Path:
    """Return the path of the best config, for `bench run --config-from`."""
    return arm.folder / f"best-{arm.method.name}.yaml"


def write_results(arm: Arm, study: Study) -> Path | None:
    """Write all result files; return the path of the best config, None if no trial is finished."""
    trials = study.get_trials(deepcopy=False)
    write_atomic(arm.folder / TRIALS, trials_table(trials, list(arm.space.ranges)))
    best = best_trial(trials)
    if best is None:
        return None
    write_atomic(best_file(arm), best_yaml(arm, best, trials))
    suite = arm.suite(best.params)
    write_tuning_cost(
        arm.folder,
        TuningCost(
            suite=suite.name,
            study=arm.study,
            method=arm.method.name,
            classifier=arm.classifier.name,
            identity=arm_identity(suite.methods[0], suite.classifiers[0]),
            device=describe_host(arm.session.env.device),
            device_s=tuning_cost_s(trials),
            trials=dict(sorted(Counter(map(state_of, trials)).items())),
            best_trial=best.number,
            score=mean_score(best),
        ),
    )
    plots = write_plots(arm, study)
    write_atomic(arm.folder / REPORT, summary(arm, trials, best, plots))
    return best_file(arm)


def trials_table(trials: Sequence[FrozenTrial], names: Sequence[str]) -> str:
    """Return all trials as CSV: state, score over the finished folds, device-seconds, values."""
    on_front = {t.number for t in front(trials)}
    out = io.StringIO()
    writer = Writer(out, lineterminator="\n")
    columns = ("trial", "state", "score", "standard_error", "folds", "device_s", "pareto", "again", "error")
    writer.writerow([*columns, *names])
    for t in trials:
        error = str(t.user_attrs.get(ERROR, "")).partition("\n")[0]
        numbers = [repr(v) if math.isfinite(v) else "" for v in (mean_score(t), spread(t))]
        again = t.user_attrs.get(INSTEAD_OF, "")
        again = "suite" if again == SUITE else again
        row = [
            t.number,
            state_of(t),
            *numbers,
            len(pairs_of(t)),
            round(tuning_cost_s([t]), 3),
            int(t.number in on_front),
        ]
        writer.writerow([*row, again, error, *(t.params.get(name, "") for name in names)])
    return out.getvalue()


def best_config(arm: Arm, best: FrozenTrial) -> dict[str, Any]:
    """Return a trial's values in the suite's syntax: those of the method, and of the classifier for its arm."""
    config: dict[str, Any] = arm.space.changes(best.params, METHOD)
    classifier = arm.space.changes(best.params, CLASSIFIER)
    if classifier:
        config["classifiers"] = {arm.classifier.name: classifier}
    return {"methods": {arm.method.name: config}}


def best_yaml(arm: Arm, best: FrozenTrial, trials: Sequence[FrozenTrial]) -> str:
    """Return the best config as YAML, with comments about its study."""
    ratio = f", ratio {best.params[RATIO]}" if RATIO in best.params else ""
    lines = [
        f"study {arm.study}: trial {best.number} of {len(trials)}{ratio}",
        f"{arm.unit.metric} {ON_VALIDATION}: {_plus_minus(best)}, over {len(pairs_of(best))} folds",
        f"use it with: {arm.session.command} --config-from {best_file(arm).name}",
    ]
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(best_config(arm, best), sort_keys=False)


def folds_saved(arm: Arm, trials: Sequence[FrozenTrial]) -> tuple[int, int]:
    """Return (folds run by finished and pruned trials, folds that they would have run without pruning)."""
    ended = [t for t in trials if t.state in SETTLED]
    return sum(len(pairs_of(t)) for t in ended), len(ended) * len(arm.cells(arm.space.own))


def _plus_minus(trial: FrozenTrial) -> str:
    error = spread(trial)
    return f"{mean_score(trial):.4f}" + (f" ± {error:.4f}" if math.isfinite(error) else "")


def summary(arm: Arm, trials: Sequence[FrozenTrial], best: FrozenTrial, plots: dict[str, str]) -> str:
    """Return a summary of the study as Markdown."""
    count = Counter(map(state_of, trials))
    did, without = folds_saved(arm, trials)
    own = next((t for t in trials if t.user_attrs.get(INSTEAD_OF) == SUITE and state_of(t) == "done"), None)
    objective = f"{arm.unit.metric} {ON_VALIDATION}" + (", and device-seconds" if arm.with_seconds else "")
    ended = ", ".join(f"{count[s]} {s}" for s in ("done", "pruned", "failed", "killed") if count[s])
    lines = [
        f"# Tuning {arm.title} in suite {arm.session.suite.name}",
        "",
        f"- Objective: {objective}; mean over {len(arm.cells(arm.space.own))} folds, ± its standard error.",
        f"- Trials: {ended}." + (" Killed trials were run again." if count["killed"] else ""),
        f"- Best: trial {best.number}, {_plus_minus(best)}; `{best_file(arm).name}` has its values.",
        f"- The suite's values: {_plus_minus(own) if own else 'not finished'}.",
        f"- Pruner {arm.pruner}: {did} of {without} fold trainings run, {1 - did / without:.0%} saved.",
        f"- Tuning cost: {duration(tuning_cost_s(trials))} of device time ({tuning_cost_s(trials):.1f} s), including "
        "pruned and failed trials.",
        "- The best score of many trials is biased upwards: only a run on the test part gives an unbiased score.",
        "",
        "| setting | searched | best | suite |",
        "|---|---|---|---|",
    ]
    for line, name in zip(describe(arm.space.ranges), arm.space.ranges, strict=True):
        values = (best.params[name], arm.space.own[name])
        lines.append(f"| {name} | {line.partition(': ')[2]} | {' | '.join(map(_short, values))} |")
    for text, name in plots.items():
        lines += ["", f"![{text}]({name})" if name else text]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

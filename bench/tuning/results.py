"""Result files of a study: ``trials.csv``, the best config as YAML, its tuning cost, plots, and ``tuning.md``."""

from __future__ import annotations

import io
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial

from bench.config import merged, read_yaml
from bench.cost.host import describe_host
from bench.files import write_atomic
from bench.forecast.cost_model import duration
from bench.plan.plan import fold_title
from bench.store.csv_cells import Writer
from bench.store.run_configs import run_names
from bench.suite.tuned import TUNED
from bench.tuning.arm import Arm
from bench.tuning.cost import TuningCost, write_tuning_cost
from bench.tuning.plots import write_plots
from bench.tuning.spaces import CLASSIFIER, METHOD, RATIO, describe
from bench.tuning.study import (
    ERROR,
    FINISHED,
    INSTEAD_OF,
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
    """Return the path of a study's best config."""
    return arm.folder / f"best-{arm.method.name}.yaml"


def write_config(arms: Sequence[Arm]) -> Path | None:
    """Merge the best configs of an arm's studies, one per fold, into a file for `bench run --config-from`.

    Returns its path; None if a fold has no finished trial.
    """
    files = [best_file(arm) for arm in arms]
    if not all(path.is_file() for path in files):
        return None
    data: dict[str, Any] = {}
    for path in files:
        data = merged(data, read_yaml(path))
    target = arms[0].session.env.out / "tuning" / f"best-{arms[0].name}.yaml"
    lines = [
        f"{arms[0].unit.metric} {ON_VALIDATION}; tuned separately for {len(arms)} fold(s)",
        f"use it with: {arms[0].session.command} {tuned_options(arms[0], target)}",
    ]
    write_atomic(target, "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(data, sort_keys=False))
    return target


def tuned_options(arm: Arm, path: Path) -> str:
    """Return the options of `bench run` that use the tuned settings; a finished untuned run keeps its name."""
    name = arm.session.suite.name
    words = ["--name", f"{name}-tuned"] if name in run_names(arm.session.env.out) else []
    return shlex.join(["--config-from", str(path), *words])


def write_results(arm: Arm, study: Study, budget: str) -> Path | None:
    """Write all result files; return the path of the best config, None if no trial is finished.

    ``budget`` is the stopping rule in words, which the config carries: arms are compared at equal budgets only.
    """
    trials = study.get_trials(deepcopy=False)
    write_atomic(arm.folder / TRIALS, trials_table(trials, list(arm.space.ranges)))
    best = best_trial(trials)
    if best is None:
        return None
    write_atomic(best_file(arm), best_yaml(arm, best, trials, budget))
    write_tuning_cost(
        arm.folder,
        TuningCost(
            suite=arm.session.suite.name,
            study=arm.study,
            method=arm.method.name,
            classifier=arm.classifier.name,
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


def best_config(arm: Arm, best: FrozenTrial, trials: Sequence[FrozenTrial], budget: str) -> dict[str, Any]:
    """Return a trial's values for the arm, with how they were chosen, in the syntax of ``bench.suite.tuned``."""
    config: dict[str, Any] = arm.space.changes(best.params, METHOD)
    classifier = arm.space.changes(best.params, CLASSIFIER)
    if classifier:
        config["classifiers"] = {arm.classifier.name: classifier}
    chosen = {
        "classifier": arm.classifier.name,
        "config": config,
        "data": arm.session.plan.fingerprint,
        "seen": list(arm.seen),
        "budget": budget,
        "device_s": round(tuning_cost_s(trials), 3),
    }
    return {TUNED: {arm.method.name: {arm.at: chosen}}}


def best_yaml(arm: Arm, best: FrozenTrial, trials: Sequence[FrozenTrial], budget: str) -> str:
    """Return the best config as YAML, with comments about its study."""
    ratio = f", ratio {best.params[RATIO]}" if RATIO in best.params else ""
    lines = [
        f"study {arm.study}: trial {best.number} of {len(trials)}{ratio}",
        f"{arm.unit.metric} {ON_VALIDATION}: {_plus_minus(best)}, {_over(arm)}",
    ]
    config = best_config(arm, best, trials, budget)
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(config, sort_keys=False)


def folds_saved(arm: Arm, trials: Sequence[FrozenTrial]) -> tuple[int, int]:
    """Return (folds run by finished and pruned trials, folds that they would have run without pruning)."""
    ended = [t for t in trials if t.state in FINISHED]
    return sum(len(pairs_of(t)) for t in ended), len(ended) * len(arm.cells(arm.space.own))


def _over(arm: Arm) -> str:
    return fold_title(*arm.pair) if arm.pair else f"mean over {len(arm.cells(arm.space.own))} sets ± standard error"


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
        f"- Objective: {objective}; {_over(arm)}.",
        f"- Trials: {ended}." + (" Killed trials were run again." if count["killed"] else ""),
        f"- Best: trial {best.number}, {_plus_minus(best)}; `{best_file(arm).name}` has its values.",
        f"- The suite's values: {_plus_minus(own) if own else 'not finished'}.",
        f"- Pruner {arm.pruner}: {did} of {without} fold trainings run, {1 - did / without:.0%} saved.",
        f"- Tuning cost: {duration(tuning_cost_s(trials))} of device time ({tuning_cost_s(trials):.1f} s), including "
        "pruned and failed trials.",
        "- The best score of many trials is biased upwards: only a run on the test part gives an unbiased score.",
        f"- The config names the {len(arm.seen)} groups whose images it used; a fold that tests one refuses it.",
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

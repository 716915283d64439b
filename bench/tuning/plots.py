"""Figures of a study: history, importance of settings (fANOVA), and score against cost."""

from __future__ import annotations

import math
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from bench.files import atomic_path
from bench.tuning.arm import Arm
from bench.tuning.study import best_trial, front, mean_score, state_of, tuning_cost_s

LOOKS = {"done": ("o", "tab:blue"), "pruned": ("v", "tab:orange")}
ENOUGH = 4  # finished trials needed for the importance of settings


def write_plots(arm: Arm, study: Study) -> dict[str, str]:
    """Write PNGs into the study's folder; return {title: file name}, or {reason: ''} for a missing figure."""
    from matplotlib.figure import Figure

    trials = [t for t in study.get_trials(deepcopy=False) if state_of(t) in LOOKS]
    done = [t for t in trials if state_of(t) == "done"]
    found = {}

    def save(figure: Figure, name: str, text: str) -> None:
        with atomic_path(arm.folder / name) as temporary:
            figure.savefig(temporary, dpi=120)
        found[text] = name

    axis = score_axis(arm)
    save(history(trials, axis), "history.png", "Score of every trial")
    if arm.with_seconds:
        save(pareto(trials, arm.session.env.device, axis), "pareto.png", "Score against device-seconds")
    spread = {mean_score(t) for t in done}
    if len(done) >= ENOUGH and len(spread) > 1:
        save(importance(study), "importance.png", "Importance of the settings (fANOVA)")
    else:
        found[f"Importance: too few finished trials with different scores ({len(spread)}, {ENOUGH} are needed)."] = ""
    return found


def _figure(height_in: float = 3.4) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height_in), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def score_axis(arm: Arm) -> str:
    """Return the label of the score's axis."""
    sign = "negative " if arm.unit.lower_is_better else ""
    return f"{sign}{arm.unit.endpoint_name},\nvalidation" + ("" if arm.pair else " (mean over sets)")


def history(trials: list[FrozenTrial], axis: str) -> Any:
    """Plot the score of each trial (pruned trials: mean over their finished folds) and the best score so far."""
    figure, axes = _figure()
    for state, (marker, colour) in LOOKS.items():
        mine = [t for t in trials if state_of(t) == state]
        if mine:
            axes.scatter([t.number for t in mine], [mean_score(t) for t in mine], marker=marker, c=colour, s=22,
                         label="pruned (mean of finished folds)" if state == "pruned" else state)  # fmt: skip
    steps = [(t.number, mean_score(t)) for i, t in enumerate(trials) if best_trial(trials[: i + 1]) is t]
    if steps:
        x, y = zip(*steps, (trials[-1].number, steps[-1][1]), strict=True)
        axes.step(x, y, where="post", color="tab:blue", lw=1, label="best so far")
    axes.set(xlabel="trial", ylabel=axis)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)
    return figure


def pareto(trials: list[FrozenTrial], device: str, axis: str) -> Any:
    """Plot score against device-seconds, with the Pareto front."""
    figure, axes = _figure()
    best, done = front(trials), [t for t in trials if state_of(t) == "done"]
    axes.scatter([tuning_cost_s([t]) for t in done], [mean_score(t) for t in done], c="tab:gray", s=18, label="trials")
    axes.step(
        [tuning_cost_s([t]) for t in best],
        [mean_score(t) for t in best],
        "o-",
        where="post",
        ms=5,
        label="Pareto front",
    )
    for t in best:
        axes.annotate(
            str(t.number), (tuning_cost_s([t]), mean_score(t)), (4, 4), textcoords="offset points", fontsize=8
        )
    unit = "GPU" if device.startswith("cuda") else "CPU"
    axes.set(xlabel=f"{unit} time of the trial, all folds (s)", ylabel=axis)
    axes.legend(frameon=False, fontsize=8)
    return figure


def importance(study: Study) -> Any:
    """Plot each setting's share of the score's variance over the search space (Hutter et al. 2014)."""
    import optuna

    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, target=lambda t: float(t.values[0]))
    names = [n for n, share in shares.items() if math.isfinite(share)][::-1]
    figure, axes = _figure(1.0 + 0.27 * len(names))
    bars = axes.barh(names, [shares[n] for n in names], color="tab:blue")
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    done = sum(state_of(t) == "done" for t in study.get_trials(deepcopy=False))
    axes.set(xlabel=f"share of the score's variance (fANOVA, {done} finished trials)", xlim=(0, 1))
    axes.tick_params(axis="y", labelsize=8)
    return figure

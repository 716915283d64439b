"""Runs the trials in parallel and collects the results; the same seed gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.seeding import derive_seed
from bench.selftest.outcomes import Chunk, Outcome, chunk, pilot_chunk, same_arm_chunk
from bench.selftest.trials import CHUNK, EFFECTS, PILOTS, SAME_ARM_TWICE, TRIALS, Ready, Trial, prepare
from bench.stats.pilot import mean_components
from bench.stats.planning import Components, Design, design_power

Task = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class TrialResult:
    """One trial: outcomes by injected effect, and the planner's power from the mean of the pilots' components.

    ``family`` bool [N]: any of ``ARMS`` arms without effect was claimed to help or to hurt. ``single_pilots``: power
    for the largest effect from each single pilot. ``scores``: mean patient- and image-level accuracies.
    ``same_arm_twice``: verdicts of an arm run twice, empty if not simulated.
    """

    trial: Trial
    test_train_ratio: float
    components: Components
    outcomes: dict[float, Outcome]
    promised: dict[float, float]
    single_pilots: npt.NDArray[np.float64]
    family: npt.NDArray[np.bool_]
    scores: tuple[float, float]
    same_arm_twice: npt.NDArray[np.str_]

    @property
    def design(self) -> Design:
        """The design of the trial for the planner."""
        return Design(self.trial.folds, self.trial.repeats, 1 / self.trial.folds, self.test_train_ratio)


def run_trials(
    comparisons: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    trials: Sequence[Trial] = TRIALS,
) -> list[TrialResult]:
    """Simulate ``comparisons`` studies of every trial and return the results, in the trials' order.

    The results do not depend on the number of ``workers`` (processes). Raises ``ConfigError`` for fewer than 20
    comparisons, which are too few for a rate.
    """
    if comparisons < 20:
        raise ConfigError(f"--comparisons: got {comparisons}, expected 20 or more (1000 for a rate within 1.5 points)")
    first = {t.splits: t for t in sorted(trials, key=lambda t: t.repeats)}  # the one with most repeats
    ready = dict(zip(first, _run([(prepare, (t, seed)) for t in first.values()], workers), strict=True))
    tasks: list[Task] = []
    twice = [t for t in trials if t in SAME_ARM_TWICE]
    for trial in trials:
        tasks += _tasks(chunk, ready[trial.splits].of(trial), comparisons, ("selftest", seed, trial.name))
    for trial in twice:
        tasks += _tasks(same_arm_chunk, ready[trial.splits].of(trial), comparisons, ("selftest twin", seed, trial.name))
    for key, of_splits in ready.items():
        tasks += _tasks(pilot_chunk, of_splits, min(PILOTS, comparisons), ("selftest pilot", seed, key))
    found = iter(_run(tasks, workers, progress))
    chunks = {t.name: [next(found) for _ in range(0, comparisons, CHUNK)] for t in trials}
    same_arm_twice = {t.name: [w for _ in range(0, comparisons, CHUNK) for w in next(found)] for t in twice}
    pilots = {key: [c for _ in range(0, min(PILOTS, comparisons), CHUNK) for c in next(found)] for key in ready}
    return [
        _gather(ready[t.splits].of(t), chunks[t.name], pilots[t.splits], same_arm_twice.get(t.name, [])) for t in trials
    ]


def _tasks(f: Callable[..., Any], ready: Ready, studies: int, seed: tuple[object, ...]) -> list[Task]:
    """Divide studies into tasks of at most ``CHUNK``, each with a separate seed."""
    return [(f, (ready, min(CHUNK, studies - i), derive_seed(*map(str, seed), i))) for i in range(0, studies, CHUNK)]


def _run(
    tasks: Sequence[Task], workers: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Any]:
    """Return the results in the order of the tasks."""
    if workers == 1:
        found = []
        for i, (f, args) in enumerate(tasks):
            found.append(f(*args))
            progress(i + 1, len(tasks))
        return found
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(f, *args) for f, args in tasks]
        for i, _ in enumerate(as_completed(futures)):
            progress(i + 1, len(tasks))
        return [f.result() for f in futures]


def _gather(
    ready: Ready, chunks: Sequence[Chunk], pilots: Sequence[Components], same_arm_twice: Sequence[str]
) -> TrialResult:
    trial = ready.trial
    design = Design(trial.folds, trial.repeats, 1 / trial.folds, ready.ratio)
    typical = mean_components(pilots)
    outcomes = {}
    for e, effect in enumerate(EFFECTS):
        of_effect = [c.outcomes[e] for c in chunks]
        outcomes[effect] = Outcome(
            **{f.name: np.concatenate([getattr(o, f.name) for o in of_effect]) for f in fields(Outcome)}
        )
    return TrialResult(
        trial=trial,
        test_train_ratio=ready.ratio,
        components=typical,
        outcomes=outcomes,
        promised={e: design_power(typical, design, e) for e in EFFECTS if e > 0},
        single_pilots=np.array([design_power(mean_components([p]), design, max(EFFECTS)) for p in pilots]),
        family=np.array([f for c in chunks for f in c.family]),
        scores=(float(np.mean([c.scores[0] for c in chunks])), float(np.mean([c.scores[1] for c in chunks]))),
        same_arm_twice=np.array(same_arm_twice, dtype=np.str_),
    )

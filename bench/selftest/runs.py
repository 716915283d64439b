"""Runs the simulations of the selftest in parallel; the same seed gives the same figures on any number of cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from bench.errors import ConfigError
from bench.seeding import derive_seed
from bench.selftest.promises import Promise, Rule, State, check

Values = dict[str, npt.NDArray[np.float64]]  # one value a study of each measure
CHUNK = 25  # studies of one task
LEAST = 20


@dataclass(frozen=True)
class Measure:
    """One figure of an experiment: its key in the values, its title, and what is promised.

    ``cannot_hold``: the design is known to miss the rule, and reports say so.
    """

    key: str
    title: str
    rule: Rule
    cannot_hold: bool = False


@dataclass(frozen=True)
class Experiment:
    """Simulated studies of one design in one case (a null, a cohort): ``run`` returns values of some studies."""

    part: str
    design: str
    case: str
    run: Callable[[int, np.random.Generator], Values]
    measures: tuple[Measure, ...]


def run_experiments(
    experiments: Sequence[Experiment],
    studies: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Promise]:
    """Simulate ``studies`` studies of every experiment and return all figures, in order.

    Raises ``ConfigError`` for fewer than 20 studies, which are too few for a rate.
    """
    if studies < LEAST:
        raise ConfigError(f"--studies: got {studies}, expected {LEAST} or more (1000 for a rate within 1.5 points)")
    tasks = [
        (e, min(CHUNK, studies - i), derive_seed("selftest", seed, e.part, e.design, e.case, i))
        for e in experiments
        for i in range(0, studies, CHUNK)
    ]
    found = iter(_run(tasks, workers, progress))
    promises = []
    for e in experiments:
        chunks = [next(found) for _ in range(0, studies, CHUNK)]
        promises += [_promise(e, m, np.concatenate([c[m.key] for c in chunks])) for m in e.measures]
    return promises


def _promise(experiment: Experiment, measure: Measure, values: npt.NDArray[np.float64]) -> Promise:
    found, holds = check(measure.rule, values)
    state: State = "holds" if holds else "cannot hold" if measure.cannot_hold else "BROKEN"
    if measure.rule.kind == "shown":
        state = "shown"
    return Promise(experiment.part, experiment.design, experiment.case, measure.title, measure.rule, found, state)


def _chunk(experiment: Experiment, studies: int, seed: int) -> Values:
    with threadpool_limits(1):  # the arrays are small; more threads only get in each other's way
        return experiment.run(studies, np.random.default_rng(seed))


def _run(
    tasks: Sequence[tuple[Experiment, int, int]], workers: int, progress: Callable[[int, int], None]
) -> list[Values]:
    """Return the results in the order of the tasks."""
    if workers == 1:
        found = []
        for i, task in enumerate(tasks):
            found.append(_chunk(*task))
            progress(i + 1, len(tasks))
        return found
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(_chunk, *task) for task in tasks]
        for i, _ in enumerate(as_completed(futures)):
            progress(i + 1, len(tasks))
        return [f.result() for f in futures]

"""An arm's Optuna study: storage, sampler, pruner, and the attributes of its trials.

Akiba et al. 2019, "Optuna: A Next-generation Hyperparameter Optimization Framework".
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import stdev
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from bench.errors import ConfigError
from bench.seeding import derive_seed
from bench.stats.pareto import pareto
from bench.store.database import require_database
from bench.store.redact import redact
from bench.tuning.arm import Arm
from bench.tuning.spaces import Space
from bench.types import Choice, IntRange

JOURNAL = "journal.log"
OWNER, HEARTBEAT = "owner", "heartbeat"  # attributes of a trial: its process; a number that grows while it runs
ERROR, INTERRUPTED, SURPLUS = "error", "interrupted", "surplus"  # reasons of a failed trial
INSTEAD_OF = "instead_of"  # the killed trial that this one repeats; SUITE: the trial has the suite's config
ELAPSED = "elapsed_s"  # attribute with the wall time (s) of a trial's folds, by a monotonic clock
PAIR = "fold "  # prefix of the attribute with the score and cell times of one fold × repeat
SUITE = -1
OPENINGS = 4
RACES = ("IntegrityError", "OperationalError", "ProgrammingError")  # two workers create database tables concurrently
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def open_study(arm: Arm, storage: str | None) -> Study:
    """Open or create the arm's study; without a ``storage`` URL it is a journal file in its folder.

    Raises ``ConfigError`` if the storage cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # WilcoxonPruner, since 3.6
    directions: list[Literal["maximize", "minimize"]] = ["maximize", "minimize"] if arm.with_seconds else ["maximize"]
    pruner = make_pruner(arm)
    if storage is not None:
        require_database(storage, "--storage")
    for attempt in range(OPENINGS):
        try:
            return optuna.create_study(
                study_name=arm.study,
                storage=_journal(arm) if storage is None else _database(storage),
                sampler=SeededByTrial(lambda seed: _sampler(arm, seed), arm.seed),
                pruner=pruner,
                directions=directions,
                load_if_exists=True,
            )
        except Exception as e:  # any error of a database, its driver or the network
            if type(e).__name__ not in RACES or attempt == OPENINGS - 1:
                if isinstance(e, OSError) and storage is None:
                    raise
                place = f"--storage {storage}" if storage else f"{arm.folder / JOURNAL}"
                remedy = "" if storage else "; move the file away to restart the study; finished cells are reused"
                raise ConfigError(redact(f"{place}: {type(e).__name__}: {e}{remedy}")) from None
            time.sleep(1.0)
    raise AssertionError("the last attempt returns or raises")


def _journal(arm: Arm) -> optuna.storages.BaseStorage:
    from bench.tuning.journal import Journal

    return optuna.storages.JournalStorage(Journal(arm.folder / JOURNAL))


def _database(url: str) -> optuna.storages.BaseStorage:
    """Return the storage of a URL; a connection that the server has closed is opened again."""
    return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def _sampler(arm: Arm, seed: int) -> BaseSampler:
    """Return TPE (Bergstra et al. 2011), or NSGA-II (Deb et al. 2002) for two objectives."""
    if arm.with_seconds:
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)
    return optuna.samplers.TPESampler(seed=seed)


def make_pruner(arm: Arm) -> optuna.pruners.BasePruner:
    """Return the pruner; the steps of a trial are its folds × repeats, in the order of the plan."""
    pairs = len(arm.cells(arm.space.own))
    if arm.pruner == "wilcoxon":
        return optuna.pruners.WilcoxonPruner(p_threshold=wilcoxon_threshold(pairs))
    if arm.pruner == "hyperband":  # with factor 4, ten folds give two brackets; both stop trials by the fourth fold
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(1, pairs), reduction_factor=4)
    return optuna.pruners.NopPruner()


def wilcoxon_threshold(pairs: int) -> float:
    """Return the p-value below which a trial is stopped: that of three folds, or of two with fewer than six.

    If all k folds are worse than those of the best trial, p = 2^-k (one-sided signed-rank test, Wilcoxon 1945).
    Optuna's default 0.1 needs four folds, so of five folds only one could be saved.
    """
    enough = 3 if pairs >= 6 else 2
    return 1.001 * 2.0**-enough


class SeededByTrial(BaseSampler):
    """A sampler that is seeded for each trial by the trial's number.

    Its samples depend only on the previous trials and the seed, not on the worker or on interruptions. All calls are
    passed to the sampler created by ``make``.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed
        self._sampler = make(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed for this trial."""
        self._sampler = self._make(derive_seed("tune", self._seed, trial.number))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the wrapped sampler."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the wrapped sampler."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the wrapped sampler."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """As the wrapped sampler."""
        self._sampler.after_trial(study, trial, state, values)


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Sample a value from every range."""
    values: dict[str, Any] = {}
    for name, found in space.ranges.items():
        if isinstance(found, Choice):
            values[name] = trial.suggest_categorical(name, found.values)
        elif isinstance(found, IntRange):
            values[name] = trial.suggest_int(name, found.low, found.high, log=found.log)
        else:
            values[name] = trial.suggest_float(name, found.low, found.high, log=found.log)
    return values


def pairs_of(trial: FrozenTrial) -> list[Mapping[str, Any]]:
    """Return a trial's records of its folds, in order: 'score', 'seconds' by cell."""
    return [v for k, v in sorted(trial.user_attrs.items(), key=_pair_order) if k.startswith(PAIR)]


def _pair_order(item: tuple[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, item[0].removeprefix(PAIR).split("."))) if item[0].startswith(PAIR) else ()


def mean_score(trial: FrozenTrial) -> float:
    """Return the mean score over the finished folds; NaN if there are none."""
    scores = [p["score"] for p in pairs_of(trial)]
    return sum(scores) / len(scores) if scores else math.nan


def tuning_cost_s(trials: Iterable[FrozenTrial]) -> float:
    """Return the tuning cost of trials: device-seconds of all cells, each once, including failed and killed trials."""
    cells: dict[str, float] = {}
    for trial in trials:
        for pair in pairs_of(trial):
            cells.update(pair["seconds"])
    return sum(cells.values())


def state_of(trial: FrozenTrial) -> str:
    """Return done, pruned, running, waiting, failed, killed (to be run again) or surplus (never started)."""
    if trial.state != TrialState.FAIL:
        return {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}.get(
            trial.state, "waiting"
        )
    if SURPLUS in trial.user_attrs:
        return "surplus"
    return "failed" if ERROR in trial.user_attrs else "killed"


def best_trial(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the finished trial with the highest score; ties: fewer device-seconds, then the lower number."""
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    return min(done, key=lambda t: (-mean_score(t), tuning_cost_s([t]), t.number), default=None)


def spread(trial: FrozenTrial) -> float:
    """Return the standard error of a trial's mean score over its folds (ddof 1); NaN for one fold."""
    scores = [p["score"] for p in pairs_of(trial)]
    return stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan


def front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the Pareto front of finished trials in score and device-seconds, the cheapest first."""
    first: dict[tuple[float, float], FrozenTrial] = {}
    for trial in sorted((t for t in trials if state_of(t) == "done"), key=lambda t: t.number):
        first.setdefault((tuning_cost_s([trial]), mean_score(trial)), trial)
    return [first[point] for point in pareto(first)]

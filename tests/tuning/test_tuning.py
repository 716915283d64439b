"""Studies hold exactly N trials whoever dies, resume, draw by seed and trial, prune, and keep to the budget."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from toy import register, write_squares, write_suite

from bench.engine.session import prepare
from bench.errors import BenchError
from bench.seeding import derive_seed
from bench.suite.suite import Suite
from bench.tuning import objective, trial_queue
from bench.tuning.arm import Arm
from bench.tuning.objective import PairResult, TrialFailed
from bench.tuning.results import folds_saved
from bench.tuning.spaces import Space
from bench.tuning.study import (
    FINISHED,
    INSTEAD_OF,
    OWNER,
    SUITE,
    best_trial,
    mean_score,
    open_study,
    pairs_of,
    spread,
    state_of,
    tuning_cost_s,
    wilcoxon_threshold,
)
from bench.tuning.trial_queue import TooManyFailures, TrialQueue
from bench.tuning.worker import Job, work
from bench.types import Choice, FloatRange

SPACE = Space(
    {"classifier.learning_rate": FloatRange(1e-4, 1e-1, log=True), "classifier.dropout": FloatRange(0.0, 0.5)},
    {"classifier.learning_rate": 1e-3, "classifier.dropout": 0.1},
)
NOISE = 0.02  # sd of a fold's score


@pytest.fixture
def arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Arm]:
    """Make an arm of the toy suite with 10 folds whose scores come from a formula instead of a training."""
    register(monkeypatch)
    write_squares(tmp_path / "data")
    split = {"folds": 2, "repeats": 5, "validation_fraction": 0.3}
    write_suite(tmp_path / "toy.yaml", split=split, ratios=[1.0])
    session = prepare(str(tmp_path / "toy.yaml"), (), tmp_path / "data", tmp_path / "out")
    monkeypatch.setattr(objective, "run_pair", by_formula)

    def make(space: Space = SPACE, **changes: Any) -> Arm:
        return Arm(session, session.suite.method("none"), session.suite.classifier("small_cnn"), space, **changes)

    return make


def by_formula(arm: Arm, suite: Suite, cells: list[Any]) -> PairResult:
    """A score with one best learning rate, 0.01; folds differ, and each training has noise."""
    config, key = suite.classifiers[0].config, cells[-1].key
    noise = np.random.default_rng(derive_seed("noise", key)).normal(0, NOISE)
    fold = np.random.default_rng(derive_seed("fold", cells[-1].fold, cells[-1].repeat)).normal(0, 0.05)
    score = 0.8 - 0.15 * (np.log10(config.learning_rate) + 2) ** 2 - 0.1 * config.dropout + fold + noise
    return PairResult(float(score), {cell.row_key: 1.0 + config.dropout for cell in cells})


def slowly(arm: Arm, suite: Suite, cells: list[Any]) -> PairResult:
    time.sleep(0.02)
    return by_formula(arm, suite, cells)


def trials_of(arm: Arm) -> list[Any]:
    return open_study(arm, None).get_trials(deepcopy=False)


def finished(arm: Arm) -> list[Any]:
    return [t for t in trials_of(arm) if t.state in FINISHED]


def test_a_study_ends_with_n_trials_and_the_first_is_the_suite_s_own(arm: Any) -> None:
    mine = arm()
    work(Job(mine, None, 6, None))
    trials = trials_of(mine)
    assert [state_of(t) for t in trials] == ["done"] * 6
    assert trials[0].params == dict(SPACE.own)
    assert trials[0].user_attrs[INSTEAD_OF] == SUITE
    assert len({tuple(t.params.values()) for t in trials}) == 6
    work(Job(mine, None, 6, None))
    assert len(trials_of(mine)) == 6  # nothing is left to do
    work(Job(mine, None, 8, None))
    assert len(finished(mine)) == 8  # more trials continue the same study


def test_an_interrupted_study_continues_with_the_same_values(arm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cut, calls = arm(seed=1), 0

    def stop(*words: Any) -> PairResult:
        nonlocal calls
        calls += 1
        if calls in (17, 63):
            raise KeyboardInterrupt
        return by_formula(*words)

    monkeypatch.setattr(objective, "run_pair", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            work(Job(cut, None, 12, None))
    work(Job(cut, None, 12, None))
    trials = trials_of(cut)
    assert [state_of(t) for t in trials].count("killed") == 2
    again = {t.user_attrs[INSTEAD_OF]: t for t in trials if t.user_attrs.get(INSTEAD_OF, SUITE) != SUITE}
    for number, successor in again.items():
        assert trials[number].params == successor.params
        assert state_of(trials[number]) == "killed"
    assert len(finished(cut)) == 12
    done = len(pairs_of(trials[min(again)]))
    assert done == 6  # folds 0 to 5 of its 10 were done when it was interrupted


def test_draws_depend_on_the_seed_and_the_trials_so_far_only(arm: Any, tmp_path: Path) -> None:
    def values(name: str, seed: int, *stops: int) -> list[Any]:
        mine = arm(seed=seed)
        mine = mine.on(replace(mine.session, env=replace(mine.session.env, out=tmp_path / name)))
        for n in stops:
            work(Job(mine, None, n, None))
        return [t.params for t in trials_of(mine)]

    at_once = values("a", 0, 12)  # TPE begins after 10 trials
    assert values("b", 0, 3, 11, 12) == at_once
    assert values("c", 1, 3)[1:] != at_once[1:3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the formula reaches worker processes by fork only")
def test_two_workers_one_killed_end_with_exactly_n_trials(arm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "run_pair", slowly)
    monkeypatch.setattr(trial_queue, "POLL_S", 0.05)
    mine, n = arm(pruner="wilcoxon"), 16
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(Job(mine, None, n, None),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    victim = _wait_for_a_trial_in_the_middle(mine, workers[1].pid)
    os.kill(workers[1].pid or 0, signal.SIGKILL)
    workers[0].join(60)
    workers[1].join(60)
    assert (workers[0].exitcode, workers[1].exitcode) == (0, -signal.SIGKILL)
    trials = trials_of(mine)
    assert sum(t.state in FINISHED for t in trials) == n
    assert not [t for t in trials if t.state == TrialState.RUNNING]
    assert state_of(trials[victim]) == "killed"
    successors = [t for t in trials if t.user_attrs.get(INSTEAD_OF) == victim and state_of(t) != "surplus"]
    assert [t.params for t in successors] == [trials[victim].params]  # neither lost nor doubled
    assert successors[0].state in FINISHED
    mine_too = [tuple(t.params.values()) for t in trials if t.state in FINISHED]
    assert len(set(mine_too)) == n


def _wait_for_a_trial_in_the_middle(arm: Arm, pid: int | None) -> int:
    """Return the trial of a worker that has a fold or two, when it is not the worker's first."""
    study, seen = open_study(arm, None), set[int]()
    for _ in range(3000):
        for trial in study.get_trials(deepcopy=False):
            if trial.user_attrs.get(OWNER, {}).get("pid") == pid:
                seen.add(trial.number)
                if len(seen) > 2 and trial.state == TrialState.RUNNING and len(pairs_of(trial)) in (1, 2):
                    return int(trial.number)
        time.sleep(0.005)
    raise AssertionError("the worker never came that far")


def test_pruning_saves_folds_at_the_same_best_value(arm: Any) -> None:
    best = {}
    for pruner in ("none", "wilcoxon", "hyperband"):
        mine = arm(pruner=pruner)
        work(Job(mine, None, 18, None))
        trials = finished(mine)
        assert len(trials) == 18
        did, without = folds_saved(mine, trials)
        assert without == 180
        assert did == 180 if pruner == "none" else did <= 0.6 * 180
        found = best_trial(trials)
        assert found is not None
        assert len(pairs_of(found)) == 10
        best[pruner] = mean_score(found), spread(found)
    for pruner in ("wilcoxon", "hyperband"):
        assert abs(best["none"][0] - best[pruner][0]) <= 2 * max(best["none"][1], best[pruner][1])


def test_the_wilcoxon_threshold_lets_two_or_three_folds_stop_a_trial() -> None:
    from scipy.stats import wilcoxon

    for pairs, enough in ((3, 2), (5, 2), (6, 3), (10, 3), (50, 3)):
        p = [wilcoxon(-np.arange(1.0, k + 1), alternative="less").pvalue for k in (enough - 1, enough)]
        assert p[0] > wilcoxon_threshold(pairs) > p[1]


def test_equal_scores_are_told_apart_by_the_brier_score_only() -> None:
    worse, better, best = PairResult(0.5, {}, -0.3), PairResult(0.5, {}, -0.1), PairResult(0.51, {}, -1.0)
    assert worse.rank < better.rank < best.rank


def test_two_objectives_give_a_front_and_are_not_pruned(arm: Any) -> None:
    mine = arm(with_seconds=True)
    work(Job(mine, None, 8, None))
    trials = finished(mine)
    assert [len(pairs_of(t)) for t in trials] == [10] * 8
    for trial in trials:
        assert trial.values == pytest.approx([mean_score(trial), tuning_cost_s([trial])])


def test_the_budget_stops_new_trials_and_counts_each_cell_once(arm: Any) -> None:
    space = Space({"classifier.dropout": Choice((0.0,))}, {"classifier.dropout": 0.0})
    mine = arm(space)
    work(Job(mine, None, 3, None))
    once = tuning_cost_s(trials_of(mine)[:1])
    assert once == pytest.approx(len(mine.cells(space.own)) * 2.0)  # a split and a training of a second each
    assert tuning_cost_s(trials_of(mine)) == once  # three trials of one and the same work
    other = arm()
    work(Job(other, None, None, 2.5 * once))
    costs = [tuning_cost_s(trials_of(other)[:k]) for k in range(1, len(trials_of(other)) + 1)]
    assert costs[-1] >= 2.5 * once > costs[-2]


def test_a_failed_trial_does_not_count_and_too_many_stop_the_study(arm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(arm: Arm, suite: Suite, cells: list[Any]) -> PairResult:
        if suite.classifiers[0].config.learning_rate > limit:
            raise TrialFailed("diverged\nat step 3")
        return by_formula(arm, suite, cells)

    monkeypatch.setattr(objective, "run_pair", fails)
    limit, mine = 1e-2, arm()
    work(Job(mine, None, 8, None))
    states = [state_of(t) for t in trials_of(mine)]
    assert states.count("done") == 8
    assert states.count("failed") > 0
    limit, other = 0.0, arm(seed=5)
    with pytest.raises(TooManyFailures, match=r"the last 5 trials failed; trial 4: TrialFailed: diverged$"):
        work(Job(other, None, 8, None))
    assert issubclass(TooManyFailures, BenchError)
    limit = 1.0  # mended: the same command goes on
    work(Job(other, None, 8, None))
    assert len(finished(other)) == 8


def test_a_silent_worker_of_another_machine_is_taken_for_dead(arm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = arm()
    study = open_study(mine, None)
    my_queue = TrialQueue(study, mine.space, 2, None)
    trial = my_queue.next_trial()
    assert trial is not None
    trial.suggest_float("classifier.dropout", 0.0, 0.5)
    trial.set_user_attr(OWNER, {"host": "elsewhere", "pid": 1, "started": 0.0})
    clock = [0.0]
    monkeypatch.setattr(trial_queue.time, "monotonic", lambda: clock[0])

    def state_after(seconds: float, heartbeat: int | None = None) -> str:
        clock[0] += seconds
        if heartbeat is not None:
            trial.set_user_attr(trial_queue.HEARTBEAT, heartbeat)
        my_queue._give_up_the_dead()
        return state_of(study.get_trials(deepcopy=False)[trial.number])

    assert state_after(0.0) == "running"
    assert state_after(trial_queue.STALE_S - 1, heartbeat=1) == "running"
    assert state_after(trial_queue.STALE_S - 1) == "running"
    assert state_after(trial_queue.STALE_S - 1, heartbeat=2) == "running"
    assert state_after(trial_queue.STALE_S + 1) == "killed"
    again = my_queue.next_trial()
    assert again is not None
    assert again.user_attrs[INSTEAD_OF] == trial.number
    assert again.suggest_float("classifier.dropout", 0.0, 0.5) == SPACE.own["classifier.dropout"]


def test_values_that_kill_every_worker_are_given_up(arm: Any) -> None:
    mine = arm()
    study = open_study(mine, None)
    my_queue = TrialQueue(study, mine.space, 9, None)
    seen = []
    for _ in range(trial_queue.MAX_DEATHS + 1):
        trial = my_queue.next_trial()
        assert trial is not None
        seen.append(trial.suggest_float("classifier.dropout", 0.0, 0.5))
        trial.set_user_attr(OWNER, {**trial_queue.this_process(), "pid": 2**22 + 1})  # no such process
    assert seen[: trial_queue.MAX_DEATHS] == [SPACE.own["classifier.dropout"]] * trial_queue.MAX_DEATHS
    assert seen[trial_queue.MAX_DEATHS] != seen[0]

"""Queue of an arm's trials: exactly N trials end finished or pruned, even if workers are killed.

No lock and no clock of another machine is needed: decisions use the trials' numbers, which the storage assigns one by
one. A new trial starts only if fewer than N trials with a lower number have not failed, so a surplus trial detects
itself. A killed worker's trial stays 'running' and records its owner. On the owner's machine, other workers check
whether that process is alive; on other machines, whether its heartbeat still grows. Its values are tried again by a new
trial, which reuses the finished cells and checkpoints of the old one.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from bench.errors import BenchError
from bench.tuning.spaces import Space
from bench.tuning.study import (
    ERROR,
    FINISHED,
    HEARTBEAT,
    INSTEAD_OF,
    INTERRUPTED,
    OWNER,
    SUITE,
    SURPLUS,
    state_of,
    tuning_cost_s,
)

POLL_S = 0.5
HEARTBEAT_S, STALE_S = 20.0, 120.0  # heartbeat interval; a worker without heartbeat for STALE_S is considered dead
CLOCK_S = 5.0  # tolerance of a process's start time, which shifts when the machine's clock is set
MAX_DEATHS = 3  # values are not tried again after their worker was killed this often
MAX_FAILURES = 5  # consecutive failed trials before the study stops


class TooManyFailures(BenchError):
    """The last ``MAX_FAILURES`` trials all failed."""


class TrialQueue:
    """One worker's view of the queue. ``trials`` None: as many trials as the budget allows."""

    def __init__(self, study: Study, space: Space, trials: int | None, budget_s: float | None) -> None:
        self.study, self.space, self.trials, self.budget_s = study, space, trials, budget_s
        self._since = len(study.get_trials(deepcopy=False))
        self._heartbeats: dict[int, tuple[Any, float]] = {}  # trial -> its last heartbeat and when it was first seen

    def next_trial(self) -> Trial | None:
        """Return the next trial, or None if the study is complete or its budget is spent.

        Waits while other workers run the last trials, to take over if they die. Raises ``TooManyFailures``.
        """
        while True:
            self._give_up_the_dead()
            trials = self.study.get_trials(deepcopy=False)
            if self.is_over(trials):
                return None
            require_success(trials[self._since :])
            if (
                self.trials is not None
                and sum(t.state in (*FINISHED, TrialState.RUNNING) for t in trials) >= self.trials
            ):
                time.sleep(POLL_S)
                continue
            self._enqueue(trials)
            trial = self.study.ask()
            trial.set_user_attr(OWNER, this_process())
            if not self._is_surplus(trial):
                return trial
            trial.set_user_attr(SURPLUS, True)
            self.study.tell(trial, state=TrialState.FAIL)

    def is_over(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether N trials are finished or pruned, or the budget is spent."""
        enough = self.trials is not None and sum(t.state in FINISHED for t in trials) >= self.trials
        return enough or (self.budget_s is not None and tuning_cost_s(trials) >= self.budget_s)

    def _give_up_the_dead(self) -> None:
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._is_dead(trial):
                try:
                    self.study.tell(trial.number, state=TrialState.FAIL)
                except (ValueError, RuntimeError):
                    continue  # another worker has marked it, or its owner has just ended it

    def _is_dead(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get(OWNER)
        if owner and owner["host"] == this_process()["host"]:
            return not _lives(owner)
        now, heartbeat = time.monotonic(), trial.user_attrs.get(HEARTBEAT)
        last, since = self._heartbeats.setdefault(trial.number, (heartbeat, now))
        if heartbeat != last:
            self._heartbeats[trial.number] = (heartbeat, now)
        return heartbeat == last and now - since > STALE_S

    def _enqueue(self, trials: Sequence[FrozenTrial]) -> None:
        """Enqueue the suite's values as first trial, and the values of killed trials again."""
        taken = {t.user_attrs[INSTEAD_OF] for t in trials if INSTEAD_OF in t.user_attrs and state_of(t) != "surplus"}
        if SUITE not in taken:
            self.study.enqueue_trial(dict(self.space.own), {INSTEAD_OF: SUITE})
        for trial in trials:
            values = trial.params or trial.system_attrs.get("fixed_params")
            if (
                state_of(trial) == "killed"
                and trial.number not in taken
                and values
                and deaths(trial, trials) < MAX_DEATHS
            ):
                self.study.enqueue_trial(dict(values), {INSTEAD_OF: trial.number})

    def _is_surplus(self, mine: Trial) -> bool:
        """Return whether N trials precede this one, or an earlier trial repeats the same trial."""
        before = self.study.get_trials(deepcopy=False)[: mine.number]
        alive = sum(t.state != TrialState.FAIL for t in before)
        target = mine.user_attrs.get(INSTEAD_OF)
        duplicate = target is not None and any(
            t.user_attrs.get(INSTEAD_OF) == target and state_of(t) != "surplus" for t in before
        )
        return duplicate or (self.trials is not None and alive >= self.trials)


def deaths(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return how often a worker was killed with these values; interruptions by the user do not count."""
    count = 0
    at: FrozenTrial | None = trial
    while at is not None:
        count += state_of(at) == "killed" and INTERRUPTED not in at.user_attrs
        before = at.user_attrs.get(INSTEAD_OF, SUITE)
        at = trials[before] if before != SUITE else None
    return count


def require_success(trials: Sequence[FrozenTrial]) -> None:
    """Raise ``TooManyFailures`` if the last trials all failed.

    Pass only the trials started since the command was: the cause of earlier failures may have been removed.
    """
    ended = [t for t in trials if t.state in FINISHED or state_of(t) == "failed"]
    last = ended[-MAX_FAILURES:]
    if len(last) == MAX_FAILURES and all(state_of(t) == "failed" for t in last):
        error = str(last[-1].user_attrs[ERROR]).splitlines()[0]
        raise TooManyFailures(f"the last {MAX_FAILURES} trials failed; trial {last[-1].number}: {error}")


@cache
def _host() -> str:
    """Return an identifier of machine, boot and container, inside which process ids are unique."""
    parts = [platform.node()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if path.endswith("pid") else Path(path).read_text().strip())
        except OSError:
            continue
    return " ".join(parts)


def this_process() -> dict[str, Any]:
    """Return an identifier of this process that is unique across machines."""
    return {"host": _host(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def _lives(owner: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(owner["pid"])
        same = abs(process.create_time() - owner["started"]) < CLOCK_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextmanager
def with_heartbeat(trial: Trial) -> Iterator[None]:
    """Increase the trial's heartbeat in the background, for workers on other machines."""
    stop = threading.Event()

    def heartbeat() -> None:
        count = 0
        while not stop.wait(HEARTBEAT_S):
            count += 1
            try:
                trial.set_user_attr(HEARTBEAT, count)
            except Exception:  # the storage may be reachable again at the next heartbeat
                continue

    thread = threading.Thread(target=heartbeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

"""Workers that run an arm's trials, in this process or in several processes."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.engine.executors import worker as processes
from bench.errors import BenchError, DiskError
from bench.store.redact import redact
from bench.tuning.arm import Arm

DEATHS_PER_WORKER = 3  # how often a killed worker is replaced
STOP_S = 5.0  # time for a worker to record that it was interrupted
INTERRUPTED_CODE = 130

Watcher = Callable[[], None]  # called regularly while trials run


@dataclass(frozen=True)
class Job:
    """An arm, the storage of its study, and the stopping rule."""

    arm: Arm
    storage: str | None
    trials: int | None
    budget_s: float | None

    def budget(self, finished: int) -> str:
        """Return the budget in words; ``finished`` trials are done or pruned. Equal words are equal budgets."""
        if self.budget_s is None:
            return f"{finished} trials"
        return f"{self.budget_s:g} device seconds" + (f", at most {self.trials} trials" if self.trials else "")


def work(job: Job, watch: Watcher = lambda: None) -> None:
    """Run trials until the study is complete or its budget is spent. Raises ``TooManyFailures``."""
    from bench.tuning.study import open_study
    from bench.tuning.trial_queue import TrialQueue

    study = open_study(job.arm, job.storage)
    queue = TrialQueue(study, job.arm.space, job.trials, job.budget_s)
    while (trial := queue.next_trial()) is not None:
        run_trial(job.arm, study, trial, watch)
        watch()


def run_trial(arm: Arm, study: Any, trial: Any, watch: Watcher = lambda: None) -> None:
    """Run one trial fold by fold and record its final state. An interrupted trial is run again later."""
    from optuna.trial import TrialState

    from bench.tuning.study import ERROR, INTERRUPTED
    from bench.tuning.trial_queue import with_heartbeat

    values: list[float] | None = None
    with with_heartbeat(trial):
        try:
            values = evaluate(arm, trial, watch)
            state = TrialState.PRUNED if values is None else TrialState.COMPLETE
        except DiskError:  # not caused by these values: they are tried again when there is space
            with suppress(Exception):
                trial.set_user_attr(INTERRUPTED, True)
            raise
        except Exception as e:
            trial.set_user_attr(ERROR, redact(f"{type(e).__name__}: {e}"))
            state = TrialState.FAIL
        except BaseException:
            trial.set_user_attr(INTERRUPTED, True)
            study.tell(trial, state=TrialState.FAIL)
            raise
    try:
        study.tell(trial, values, state=state)
    except (ValueError, RuntimeError) as e:  # this worker was considered dead and the trial given to another one
        print(f"trial {trial.number} now belongs to another worker: {e}", file=sys.stderr)


def evaluate(arm: Arm, trial: Any, watch: Watcher) -> list[float] | None:
    """Return the trial's objectives (score: mean over folds); None if it was pruned."""
    from bench.tuning.objective import run_pair
    from bench.tuning.study import ELAPSED, PAIR, suggest, tuning_cost_s

    values = suggest(trial, arm.space)
    suite, scores, ranks = arm.suite(values), [], []
    pairs, started = arm.cells(values), time.monotonic()
    for step, ((fold, repeat), cells) in enumerate(pairs.items(), start=1):
        found = run_pair(arm, suite, cells)
        scores.append(found.score)
        ranks.append(found.rank)
        trial.set_user_attr(f"{PAIR}{fold}.{repeat}", {"score": found.score, "seconds": dict(found.seconds)})
        trial.set_user_attr(ELAPSED, time.monotonic() - started)
        watch()
        if not arm.with_seconds:
            # Wilcoxon's test pairs each fold with that of the best trial; Hyperband compares one number per trial
            trial.report(found.rank if arm.pruner == "wilcoxon" else sum(ranks) / step, step)
            if step < len(pairs) and trial.should_prune():
                return None
    score = sum(scores) / len(scores)
    return [score, tuning_cost_s([trial])] if arm.with_seconds else [score]


def work_in_processes(job: Job, workers: int, threads: int, watch: Watcher) -> None:
    """Run the study in ``workers`` processes; replace processes that end early. Raises ``BenchError``."""
    running, deaths = [_Process(job, threads) for _ in range(workers)], 0
    try:
        while running:
            running[0].process.join(0.3)
            watch()
            for worker in [w for w in running if w.process.exitcode is not None]:
                running.remove(worker)
                ended = worker.ended()
                if isinstance(ended, BenchError):
                    raise ended
                if ended is None:  # killed, or a plug-in ended the process
                    deaths += 1
                    if deaths > DEATHS_PER_WORKER * workers:
                        how = processes.describe_exit(worker.process.exitcode or 0)
                        raise BenchError(
                            f"worker processes ended {deaths} times in a trial, the last one {how} (out of memory? a "
                            "plug-in that calls os._exit?); try fewer --workers"
                        )
                    running.append(_Process(job, threads))
    finally:
        for worker in running:
            worker.stop()


class _Process:
    """A worker process of the study, and the pipe through which it reports a normal end."""

    def __init__(self, job: Job, threads: int) -> None:
        self._pipe, theirs = processes.CONTEXT.Pipe(duplex=False)
        self.process = processes.CONTEXT.Process(target=_process, args=(job, threads, theirs))
        self.process.start()
        theirs.close()

    def ended(self) -> str | BenchError | None:
        """Return how the work ended: a word or the error; None if the process ended without a report."""
        try:
            return self._pipe.recv() if self._pipe.poll() else None
        except (EOFError, ConnectionError):
            return None

    def stop(self) -> None:
        """Interrupt the work, so that its trial is run again later; kill the process if it does not end."""
        self.process.terminate()
        self.process.join(STOP_S)
        self.process.kill()
        self.process.join()


def _process(job: Job, threads: int, pipe: Any) -> None:
    from bench.tuning.trial_queue import TooManyFailures

    processes.start_worker(threads)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        work(job)
        pipe.send("complete")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_CODE)
    except TooManyFailures:  # the parent process finds it in the study
        pipe.send("gave up")
    except Exception as e:
        pipe.send(e if isinstance(e, BenchError) else BenchError(redact("".join(traceback.format_exception(e)))))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

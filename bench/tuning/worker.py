"""Works on an arm's trials: in this process, or in several of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.engine.executors.worker import describe_exit
from bench.errors import BenchError, DiskError
from bench.store.redact import redact
from bench.tuning.arm import Arm

DEATHS_PER_WORKER = 3  # a killed worker is replaced so often
STOP_S = 5.0  # for a worker to note that it was interrupted
INTERRUPTED_CODE = 130

Watcher = Callable[[], None]  # called now and again while trials go on


@dataclass(frozen=True)
class Job:
    """An arm, where its study is kept, and when to stop."""

    arm: Arm
    storage: str | None
    trials: int | None
    budget_s: float | None


def work(job: Job, watch: Watcher = lambda: None) -> None:
    """Work on trials until the study is complete or its budget is spent. Raises ``TooManyFailures``."""
    from bench.tuning.study import open_study
    from bench.tuning.trial_queue import TrialQueue

    study = open_study(job.arm, job.storage)
    queue = TrialQueue(study, job.arm.space, job.trials, job.budget_s)
    while (trial := queue.next_trial()) is not None:
        run_trial(job.arm, study, trial, watch)
        watch()


def run_trial(arm: Arm, study: Any, trial: Any, watch: Watcher = lambda: None) -> None:
    """Run one trial fold by fold and tell the study how it ended. What interrupts it has it taken up again."""
    from optuna.trial import TrialState

    from bench.tuning.study import ERROR, INTERRUPTED
    from bench.tuning.trial_queue import beating

    values: list[float] | None = None
    with beating(trial):
        try:
            values = evaluate(arm, trial, watch)
            state = TrialState.PRUNED if values is None else TrialState.COMPLETE
        except DiskError:  # no fault of these values: they are tried again when there is space
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
    except (ValueError, RuntimeError) as e:  # taken for dead, and given to another worker meanwhile
        print(f"trial {trial.number} is no longer this worker's: {e}", file=sys.stderr)


def evaluate(arm: Arm, trial: Any, watch: Watcher) -> list[float] | None:
    """Return the trial's objectives, means over its folds; None when it was pruned."""
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
            # Wilcoxon's test pairs each fold with the best trial's; Hyperband compares trials by one number
            trial.report(found.rank if arm.pruner == "wilcoxon" else sum(ranks) / step, step)
            if step < len(pairs) and trial.should_prune():
                return None
    score = sum(scores) / len(scores)
    return [score, tuning_cost_s([trial])] if arm.with_seconds else [score]


def work_in_processes(job: Job, workers: int, threads: int, watch: Watcher) -> None:
    """Have ``workers`` processes work on the study; replace those that end before it does. Raises ``BenchError``."""
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
                        how = describe_exit(worker.process.exitcode or 0)
                        raise BenchError(
                            f"worker processes ended {deaths} times in a trial, the last one {how} (out of memory? a "
                            "plug-in that calls os._exit?); try fewer --workers"
                        )
                    running.append(_Process(job, threads))
    finally:
        for worker in running:
            worker.stop()


class _Process:
    """A process that works on the study, and the pipe by which it says that it has ended as it should."""

    def __init__(self, job: Job, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_process, args=(job, os.getpid(), threads, theirs))
        self.process.start()
        theirs.close()

    def ended(self) -> str | BenchError | None:
        """Return how the work ended: in a word, or the error; None when the process ended before it said so."""
        try:
            return self._pipe.recv() if self._pipe.poll() else None
        except (EOFError, ConnectionError):
            return None

    def stop(self) -> None:
        """Interrupt the work, so that its trial is taken up again; kill the process when it does not end."""
        self.process.terminate()
        self.process.join(STOP_S)
        self.process.kill()
        self.process.join()


def _process(job: Job, parent: int, threads: int, pipe: Any) -> None:
    from bench.engine.executors.worker import start_worker
    from bench.tuning.trial_queue import TooManyFailures

    start_worker(parent, threads)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        work(job)
        pipe.send("complete")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_CODE)
    except TooManyFailures:  # the parent sees it in the study, too
        pipe.send("gave up")
    except Exception as e:
        pipe.send(e if isinstance(e, BenchError) else BenchError(redact("".join(traceback.format_exception(e)))))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

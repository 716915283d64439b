"""Works on an arm's trials: in this process, or in several of its own."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.redact import redact
from bench.tuning.arm import Arm

DEATHS_PER_WORKER = 3  # a killed worker is replaced so often
FAILING = 3  # exit code of a worker that gave up

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
    from bench.tuning.desk import Desk
    from bench.tuning.study import open_study

    study = open_study(job.arm, job.storage)
    desk = Desk(study, job.arm.space, job.trials, job.budget_s)
    while (trial := desk.next_trial()) is not None:
        run_trial(job.arm, study, trial, watch)
        watch()


def run_trial(arm: Arm, study: Any, trial: Any, watch: Watcher = lambda: None) -> None:
    """Run one trial fold by fold and tell the study how it ended. What interrupts it has it taken up again."""
    from optuna.trial import TrialState

    from bench.tuning.desk import beating
    from bench.tuning.study import ERROR, INTERRUPTED

    values: list[float] | None = None
    with beating(trial):
        try:
            values = evaluate(arm, trial, watch)
            state = TrialState.PRUNED if values is None else TrialState.COMPLETE
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
    from bench.tuning.study import ELAPSED, PAIR, bill_s, suggest

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
    return [score, bill_s([trial])] if arm.with_seconds else [score]


def work_in_processes(job: Job, workers: int, threads: int, watch: Watcher) -> None:
    """Have ``workers`` processes work on the study; replace those that are killed. Raises ``BenchError``."""
    context = multiprocessing.get_context("spawn")

    def start() -> Any:
        process = context.Process(target=_process, args=(job, os.getpid(), threads))
        process.start()
        return process

    running, deaths = [start() for _ in range(workers)], 0
    try:
        while running:
            running[0].join(0.3)
            watch()
            for process in [p for p in running if p.exitcode is not None]:
                running.remove(process)
                if process.exitcode is not None and process.exitcode < 0:
                    deaths += 1
                    if deaths <= DEATHS_PER_WORKER * workers:
                        running.append(start())
                elif process.exitcode not in (0, FAILING):
                    raise BenchError(f"a worker ended with exit code {process.exitcode}; its message is above")
    finally:
        for process in running:
            process.kill()
            process.join()
    if deaths > DEATHS_PER_WORKER * workers:
        raise BenchError(f"workers were killed {deaths} times (out of memory?); try fewer --workers")


def _process(job: Job, parent: int, threads: int) -> None:
    from bench.executors.local import start_worker
    from bench.tuning.desk import TooManyFailures

    start_worker(parent, threads)
    try:
        work(job)
    except TooManyFailures:  # the parent sees it in the study, too
        sys.exit(FAILING)
    except Exception:
        print(redact(traceback.format_exc()), file=sys.stderr)
        sys.exit(1)

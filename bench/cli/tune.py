"""The verb `bench tune`: tune an arm's hyperparameters on validation folds; test images are never used."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click
from click.core import ParameterSource

from bench.cli.chosen import Chosen, one
from bench.cli.options import Command, suite_options
from bench.data.split_config import LEARNING_CURVE
from bench.errors import BenchError, ConfigError, DiskError
from bench.store.redact import has_password, redact

if TYPE_CHECKING:
    from rich.console import Console

    from bench.engine.session import Session
    from bench.tuning.worker import Job

Objective = Literal["primary", "primary,seconds"]
PRUNERS = ("none", "wilcoxon", "hyperband")
MLFLOW_WAIT_S = 120.0
SHOW_EVERY_S = 0.5
UNITS = {"h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}


def parse_budget(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """Return a time such as '2h', '90m', '1h30m' or '45s' in seconds."""
    if text is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)", text)
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)", "", text).strip():
        raise click.BadParameter(f"got {text!r}, expected a time such as 2h, 90m, 1h30m or 45s")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def storage_without_password(context: click.Context, option: click.Parameter, url: str | None) -> str | None:
    """Return the storage URL. Raises ``BadParameter`` for a password on the command line, which all users can see."""
    typed = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    if typed and has_password(url or ""):
        raise click.BadParameter(
            "got a URL with a password, which other users of this machine see in the list of processes. Leave the "
            "password out and set PGPASSWORD or write it to ~/.pgpass (PostgreSQL), or set BENCH_STORAGE to the URL"
        )
    return url


def tune_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `bench tune`, except those that select the suite."""
    for option in reversed(
        (
            click.option("--method", "methods", multiple=True, required=True,
                         help="Arm to tune, or all; may be repeated."),
            click.option("--classifier", help="Classifier of the arms. Default: the suite's, if it has only one."),
            click.option("--trials", type=click.IntRange(1), help="Finished or pruned trials per arm, in every fold."),
            click.option("--budget", callback=parse_budget, metavar="TIME",
                         help="Device time per arm, e.g. 2h, shared equally by its folds."),
            click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Parallel trials."),
            click.option("--objective", type=click.Choice(get_args(Objective)), default="primary",
                         show_default=True,
                         help="The suite's primary endpoint on validation images; or that and device-seconds."),
            click.option("--pruner", type=click.Choice(PRUNERS),
                         help="Pruner of a learning curve's trials. Default: hyperband; none for two objectives."),
            click.option("--seed", type=int, default=0, show_default=True, help="Seed of the search, not of training."),
            click.option("--storage", metavar="URL", envvar="BENCH_STORAGE", show_envvar=True,
                         callback=storage_without_password,
                         help="Optuna storage, a database, without password. Default: a journal in the study folder."),
            click.option("--space", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
                         help="YAML that changes the search space: {NAME: {FIELD: {low, high, log} or {values}}}."),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def tune_suite(
    session: Session, methods: Sequence[str], classifier: str | None, trials: int | None, budget: float | None,
    workers: int, objective: Objective, pruner: Any, seed: int, storage: str | None, space: Path | None, device: str,
) -> int:  # fmt: skip
    """Tune the arms one after another, in every fold; return the exit code: 0, or 1 if all trials of a study failed."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    from bench.engine.console import plain_console
    from bench.engine.session import pick_device
    from bench.tuning.choose import choose_arms
    from bench.tuning.results import tuned_options, write_config
    from bench.tuning.worker import Job

    if trials is None and budget is None:
        raise ConfigError("no stopping rule given; add --trials N, --budget 2h, or both")
    with_seconds = objective != "primary"
    curve = session.suite.settings.split.protocol == LEARNING_CURVE
    if pruner not in (None, "none") and (with_seconds or not curve):
        reason = "a search with two objectives" if with_seconds else "a study of one fold"
        raise ConfigError(f"--pruner {pruner}: {reason} cannot be pruned; leave --pruner out")
    pruner = pruner or ("hyperband" if curve and not with_seconds else "none")
    arms = choose_arms(session, methods, classifier, space, with_seconds, pruner, seed)
    session = session.on_device(pick_device(device))
    console, code = plain_console(), 0
    with _sigterm_interrupts():
        for arm in arms:
            arm.classifier.create().check()
            each = arm.on(session).each_fold()
            for own in each:
                try:
                    code |= tune_arm(console, Job(own, storage, trials, budget and budget / len(each)), workers)
                except (SQLAlchemyError, StorageInternalError) as e:
                    raise BenchError(f"the study's database: {e}\nrun the same command to continue") from None
            if path := write_config(each):
                console.print(f"use it with: {session.command} {tuned_options(each[0], path)}", soft_wrap=True)
    return code


def tune_arm(console: Console, job: Job, workers: int) -> int:
    """Tune one arm, write its results, and return the exit code."""
    from bench.engine.executors.local import in_process
    from bench.engine.executors.threads import limit_threads
    from bench.engine.session import pick_jobs
    from bench.tuning.results import write_results
    from bench.tuning.study import open_study
    from bench.tuning.worker import work, work_in_processes

    arm, env = job.arm, job.arm.session.env
    workers, threads = pick_jobs(workers, env.device, arm.session.suite.settings.threads)
    board = Board(console, job)
    error = None
    with board:
        try:
            if in_process(workers):
                limit_threads(threads)
                work(job, board.watch)
            else:
                work_in_processes(job, workers, threads, board.watch)
        except DiskError:
            raise
        except BenchError as e:
            error = e
        board.watch(now=True)
        board.tell_result(write_results(arm, open_study(arm, job.storage), job.budget(board.finished)))
    warning = board.view.close(MLFLOW_WAIT_S)
    if warning:
        console.print(f"MLflow: {warning}", style="yellow")
    error = error or board.failure()
    if error:
        console.print(redact(f"{type(error).__name__}: {error}"), style="red")
    return 1 if error else 0


class Board:
    """Terminal output of a study: a progress line in a terminal, and one line per trial that has ended."""

    def __init__(self, console: Console, job: Job) -> None:
        from rich.live import Live

        from bench.tuning.study import open_study
        from bench.tuning.tracked import StudyView

        self.console, self.job, self.arm = console, job, job.arm
        self.study = open_study(job.arm, job.storage)
        self.view = StudyView(job.arm)
        self._since = len(self._trials())
        self._printed = {t.number for t in self._trials() if t.state.is_finished()}
        self._last = 0.0
        self._live = Live(get_renderable=self._panel, console=console, refresh_per_second=1, transient=True)

    def __enter__(self) -> Board:
        from bench.tuning.spaces import describe

        self.console.print(f"study {self.arm.study}: {self.arm.title}; pruner {self.arm.pruner}; {self._progress()}")
        for line in describe(self.arm.space.ranges):
            self.console.print(f"  {line}")
        self.view.update(self._trials())
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def watch(self, now: bool = False) -> None:
        """Print and log the trials that have ended since the last call."""
        from bench.tuning.study import state_of

        if not now and time.monotonic() - self._last < SHOW_EVERY_S:
            return
        self._last = time.monotonic()
        trials = self._trials()
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._printed:
                self._printed.add(trial.number)
                if state_of(trial) != "surplus":
                    self.console.print(f"{self._progress()}: {_describe(trial)}")
        self.view.update(trials)

    def tell_result(self, best: Path | None) -> None:
        """Print the best trial and the paths of the results."""
        from bench.tuning.study import best_trial

        found = best_trial(self._trials())
        if found is None or best is None:
            self.console.print("no trial has finished yet")
            return
        self.console.print(f"{self._progress()}; best: {_describe(found)}\nreport: {best.parent / 'tuning.md'}")

    def failure(self) -> BenchError | None:
        """Return the error if the last trials all failed before the study was complete, else None."""
        from bench.tuning.trial_queue import TooManyFailures, TrialQueue, require_success

        trials = self._trials()
        if TrialQueue(self.study, self.arm.space, self.job.trials, self.job.budget_s).is_over(trials):
            return None
        try:
            require_success(trials[self._since :])
        except TooManyFailures as e:
            return e
        return None

    @property
    def finished(self) -> int:
        """The number of trials that are done or pruned."""
        from bench.tuning.study import FINISHED

        return sum(t.state in FINISHED for t in self._trials())

    def _trials(self) -> Any:
        return self.study.get_trials(deepcopy=False)

    def _progress(self) -> str:
        from bench.forecast.cost_model import duration
        from bench.tuning.study import tuning_cost_s

        trials, job, finished = self._trials(), self.job, self.finished
        tuning_cost = duration(tuning_cost_s(trials))
        of_trials = f"{finished}/{job.trials} trials" if job.trials else f"{finished} trials"
        return of_trials + f", {tuning_cost}" + (f" of {duration(job.budget_s)}" if job.budget_s else "")

    def _panel(self) -> Any:
        from rich.text import Text

        from bench.tuning.study import best_trial

        trials = self._trials()
        best = best_trial(trials)
        lines = [self._progress() + (f"; best: {_describe(best)}" if best else "")]
        lines += [f"  {_describe(t)}" for t in trials if t.state.name == "RUNNING"]
        return Text("\n".join(lines))


def _describe(trial: Any) -> str:
    from bench.tuning.study import ERROR, mean_score, pairs_of, spread, state_of

    folds, error = len(pairs_of(trial)), trial.user_attrs.get(ERROR)
    text = f"trial {trial.number} {state_of(trial)}"
    if error:
        return f"{text}: {str(error).splitlines()[0]}"
    score = f", {mean_score(trial):.4f}" + (f" ± {spread(trial):.4f}" if folds > 1 else "") if folds else ""
    return f"{text}{score}, {folds} fold{'s' if folds != 1 else ''}"


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@click.command(cls=Command)
@suite_options
@tune_options
def tune(chosen: Chosen, **options: Any) -> None:
    """Tune hyperparameters of arms on validation patients, with N trials or a budget per arm. Run it again to resume.

    Every fold has its own study, so that no settings are chosen by patients that another fold tests. The sets of a
    learning curve share one study: none of them contains a test patient.

    The same command may run in several terminals, or on machines that share --out or --storage, to share the trials.
    """
    sys.exit(tune_suite(one(chosen.to_run()), **options))

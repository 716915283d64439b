"""Running the cells of a session with progress on the console, for the verbs `run` and `worker`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from rich.console import Console

from bench.cli.plan import play
from bench.cost.host import describe_host
from bench.cost.keys import CostKey
from bench.data.split_config import Replicates
from bench.engine.console import ConsoleListener, PlainConsole
from bench.engine.executors.fleet import FleetExecutor, WorkerCommand
from bench.engine.executors.fleets import FleetChoice, make_fleet_executor
from bench.engine.executors.local import Executor, make_executor
from bench.engine.looks import Looks, contrast_words, looks_possible
from bench.engine.scheduler import Listener, Runner
from bench.engine.session import Session, pick_jobs
from bench.forecast.cost_model import CostModel, Schedule, duration, fit_model
from bench.plan.checks import check_trainable
from bench.registry import no_exit
from bench.report.writing import save_config
from bench.store.live import LiveRun, announced
from bench.store.run_records import RunRecord, keep_run
from bench.suite.resources import DEFAULT, Resources


def train(
    session: Session, runner: Runner, console: PlainConsole, jobs: int | None, threads: int | None = None,
    listeners: Sequence[Listener] = (), looks: Looks | None = None, fleet: FleetChoice | None = None,
) -> RunRecord | None:  # fmt: skip
    """Run the unfinished cells and show the progress; return the record of the run, which is stored too.

    With a ``fleet``, its workers run them and store their records; this process starts the workers and observes the
    output folder.
    """
    with no_exit("the methods and classifiers were checked"):
        check_trainable(session.suite)  # before the generators are trained, which may take hours
    if session.suite.settings.segmentation_networks:
        _check_segmentation_networks(session)
    runner.env = session.env
    settings = session.suite.settings
    if fleet:
        jobs, threads = fleet.workers, settings.resources.get(DEFAULT, Resources()).cpus
    jobs, threads = pick_jobs(jobs, session.env.device, settings.threads or threads)
    todo = [runner.cells[i] for i in runner.waiting]
    shape = f"{jobs} parallel job{'s' if jobs > 1 else ''}, {threads} thread{'s' if threads > 1 else ''} each"
    console.print(f"{fleet.name if fleet else describe_host(session.env.device)}; {shape}")
    if not (session.report_folder / "leaderboard.md").is_file():  # keep the config that an existing report describes
        save_config(session)
    model = fit_model(session.plan, session.env.out)
    runner.predictions, expected = play(model, todo, jobs)
    if len(runner.predictions) == len(todo):
        console.print(f"predicted wall time: {duration(expected.wall_s)}")
    runner.elsewhere.limit.predict = model.predict
    make: Callable[[], Executor] = partial(make_executor, jobs, threads)
    if fleet:
        make = partial(_start_fleet, session, runner, console, fleet, threads, model)
    shown = ConsoleListener(console, runner.artifacts, todo, model, jobs)
    runner.listeners = (shown, *listeners)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    try:
        own_jobs = 0 if fleet else jobs
        with announced(session.env.out, session.suite.name, own_jobs, threads, session.env.device) as live, shown:
            runner.run(make, looks)
    finally:
        signal.signal(signal.SIGTERM, previous)
    wall_s = time.monotonic() - started
    if fleet:
        return None
    record = _record(session, runner, live, wall_s, expected)
    keep_run(session.env.out, record)
    return record


def _start_fleet(
    session: Session, runner: Runner, console: Console, fleet: FleetChoice, threads: int, model: CostModel
) -> FleetExecutor:
    """Return the executor of a fleet, and print where its logs are. Earlier failures are forgotten: they are retried.

    Its workers do not retry failures, so that a cell that fails again is not run by one worker after the other.
    """
    command = WorkerCommand(session.env.out, session.suite.name, fleet.device, threads, fleet.only)
    cells = list(runner.cells.values())
    executor = make_fleet_executor(fleet, command, cells, session.suite.settings.resources, model)
    for cell_id in runner.waiting:
        runner.artifacts.forget_failure(*cell_id)
    for line in executor.logs:
        console.print(line)
    return executor


def _record(session: Session, runner: Runner, live: LiveRun, wall_s: float, expected: Schedule) -> RunRecord:
    """Return the record of the run that just ended, with its predicted time and memory."""
    found = runner.predictions.values()
    return RunRecord(
        suite=session.suite.name,
        started_at=datetime.fromtimestamp(live.since.wall_s, UTC).isoformat(timespec="seconds"),
        host=describe_host(session.env.device),
        jobs=live.jobs,
        threads=live.threads,
        cells=runner.summary.done,
        failed=len(runner.summary.failed) + len(runner.summary.skipped),
        wall_s=wall_s,
        busy_s=runner.busy_s,
        cells_s=sum(r.costs.get(CostKey.ELAPSED_S, 0.0) for r in runner.ended),
        device_s=sum(r.costs.get(CostKey.DEVICE_S, 0.0) for r in runner.ended),
        peak_memory_bytes=max((r.costs.get(CostKey.PEAK_MEMORY_BYTES, 0.0) for r in runner.ended), default=0.0),
        predicted_cells=len(runner.predictions),
        predicted_wall_s=expected.wall_s if found else None,
        predicted_device_s=sum(p.device_s for p in found) if found else None,
        predicted_peak_memory_bytes=max(p.peak_memory_bytes for p in found) if found else None,
    )


def _check_segmentation_networks(session: Session) -> None:
    from bench.segmentation.smp_unet import build_segmentation_network

    for config in session.suite.settings.segmentation_networks.values():
        build_segmentation_network(config, session.env.weights)


def looks_of(session: Session, runner: Runner, console: Console) -> Looks | None:
    """Return the looks that a run takes at the primary contrast, None if it takes none.

    The reason is printed if the run has stopped already, or if ``--only`` leaves cells of the contrast out.
    """
    if session.stopped:
        say_stopped(session, console)
        return None
    possible = looks_possible(session.plan, runner.cells)
    if not possible and isinstance(session.suite.settings.split.replicates, Replicates):
        console.print("no early stop: --only leaves out cells of the primary contrast", style="yellow")
    return Looks(session.plan, session.env, console.print) if possible else None


def say_stopped(session: Session, console: Console) -> None:
    """Print why a learning curve was stopped before its largest number of sets, if it was."""
    if found := session.stopped:
        s = session.suite.settings
        console.print(f"stopped early, after {found.planned} of at most {s.split.sets} training sets")
        console.print(f"{contrast_words(s.contrast)}, {found.words(s.primary)}")
        console.print(f"to run all sets: --set split.replicates={s.split.sets}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

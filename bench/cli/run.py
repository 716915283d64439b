"""The verb `bench run`: run the unfinished cells of a suite, show progress, write the report."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from bench.cli.chosen import Chosen
from bench.cli.options import Command, device_option, epochs_option, only_option, seed_option, suite_options
from bench.cli.plan import play, show_any_plan
from bench.cli.sub_suites import SubSuites, name_absent, write_overall
from bench.cost.host import describe_host
from bench.cost.keys import CostKey
from bench.data.changes import data_changes, keep_index
from bench.data.split_config import Replicates
from bench.engine.console import ConsoleListener, Detail, PlainConsole, plain_console, print_data
from bench.engine.looks import Looks, contrast_words, looks_possible
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import Session, pick_device, pick_jobs
from bench.engine.stored import keep_config, require_kept
from bench.forecast.cost_model import Schedule, duration, fit_model
from bench.plan.checks import check_trainable
from bench.plan.selection import select
from bench.registry import no_exit
from bench.report.writing import save_config, write_report, written_state
from bench.store.clock import Stamp
from bench.store.live import LiveRun, announced
from bench.store.run_records import RunRecord, keep_run
from bench.tracking.session_view import MLflowView

MLFLOW_WAIT_S = 120.0


def run_suite(
    session: Session, only: Sequence[str], device: str, jobs: int | None, trace: bool = False,
    detail: Detail = Detail.NORMAL,
) -> int:  # fmt: skip
    """Run the unfinished cells of the suite, log them, write the report; return the exit code."""
    console = plain_console(detail)
    started = time.monotonic()
    require_kept(session)
    keep_config(session)
    runner = Runner(select(session.plan.cells, only), session.env)
    left = runner.reuse()
    looks = Looks(session.plan, session.env, console.print) if _may_stop(session, runner, console) else None
    name, total = session.suite.name, len(runner.cells)
    console.print(f"suite {name}: {total} cells, {runner.summary.reused} already done, {left} to run")
    print_data(console, session.plan.index)
    _say_changes(console, session, runner)
    view = MLflowView(session)
    record = None
    if left:
        session = session.on_device(pick_device(device))
        session = replace(session, env=replace(session.env, trace=trace))
        record = _train(session, runner, console, jobs, view, looks)
    if looks:
        while looks.more():  # sets that earlier runs finished
            pass
        session = session.after(looks.taken)
        _say_stopped(session, console)
    ended = time.monotonic()
    rows = rows_of(session.plan, session.env)
    report = write_report(session, rows)
    state = written_state(report.parent)
    if not view.is_complete(state):
        warning = view.complete(rows, report.parent, MLFLOW_WAIT_S, state)
        for text in (*view.thread.notes, *filter(None, [warning])):
            console.print(f"MLflow: {text}", style="yellow")
    if record:
        keep_run(session.env.out, replace(record, closing_s=time.monotonic() - ended))
    _close(console, runner, time.monotonic() - started, report)
    return runner.summary.exit_code


def _check_segmentation_networks(session: Session) -> None:
    from bench.segmentation.smp_unet import build_segmentation_network

    for config in session.suite.settings.segmentation_networks.values():
        build_segmentation_network(config, session.env.weights)


def _may_stop(session: Session, runner: Runner, console: Console) -> bool:
    """Return whether the run takes looks at the primary contrast; say so if ``--only`` leaves its cells out."""
    if session.stopped:
        _say_stopped(session, console)
        return False
    possible = looks_possible(session.plan, runner.cells)
    if not possible and isinstance(session.suite.settings.split.replicates, Replicates):
        console.print("no early stop: --only leaves out cells of the primary contrast", style="yellow")
    return possible


def _say_stopped(session: Session, console: Console) -> None:
    if found := session.stopped:
        s = session.suite.settings
        console.print(f"stopped early, after {found.planned} of at most {s.split.sets} training sets")
        console.print(f"{contrast_words(s.contrast)}, {found.words(s.primary)}")
        console.print(f"to run all sets: --set split.replicates={s.split.sets}")


def _train(
    session: Session,
    runner: Runner,
    console: PlainConsole,
    jobs: int | None,
    view: MLflowView,
    looks: Looks | None = None,
) -> RunRecord:
    from bench.engine.executors.local import make_executor

    with no_exit("the methods and classifiers were checked"):
        check_trainable(session.suite)  # before the generators are trained, which may take hours
    if session.suite.settings.segmentation_networks:
        _check_segmentation_networks(session)
    runner.env = session.env
    jobs, threads = pick_jobs(jobs, session.env.device, session.suite.settings.threads)
    todo = [runner.cells[i] for i in runner.waiting]
    shape = f"{jobs} parallel job{'s' if jobs > 1 else ''}, {threads} thread{'s' if threads > 1 else ''} each"
    console.print(f"{describe_host(session.env.device)}; {shape}")
    if not (session.report_folder / "leaderboard.md").is_file():  # keep the config that an existing report describes
        save_config(session)
    model = fit_model(session.plan, session.env.out)
    runner.predictions, expected = play(model, todo, jobs)
    if len(runner.predictions) == len(todo):
        console.print(f"predicted wall time: {duration(expected.wall_s)}")
    shown = ConsoleListener(console, runner.artifacts, todo, model, jobs)
    runner.listeners = (shown, view)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    live = LiveRun.here(session.suite.name, jobs, threads, session.env.device, Stamp.now())
    try:
        with announced(session.env.out, live), shown:
            runner.run(lambda: make_executor(jobs, threads), looks)
    finally:
        signal.signal(signal.SIGTERM, previous)
    wall_s = time.monotonic() - started
    record = _record(session, runner, live, wall_s, expected)
    keep_run(session.env.out, record)
    return record


def _record(session: Session, runner: Runner, live: LiveRun, wall_s: float, expected: Schedule) -> RunRecord:
    """Return the record of the run that just ended, with its predicted time and memory."""
    found = runner.predictions.values()
    return RunRecord(
        suite=session.suite.name,
        started_at=datetime.fromtimestamp(live.started, UTC).isoformat(timespec="seconds"),
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


def _say_changes(console: Console, session: Session, runner: Runner) -> None:
    """Print what changed in the data since the last run, and which cells are damaged, before training starts."""
    if changes := data_changes(session.plan.index, session.kept_index):
        console.print(f"the data changed since the last run: {changes}", style="yellow")
    keep_index(session.plan.index, session.kept_index)
    for cell_id, damage in runner.damaged.items():
        console.print(f"{runner.cells[cell_id].title} is run again: {damage}", style="yellow")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _close(console: Console, runner: Runner, elapsed_s: float, report: Path) -> None:
    summary = runner.summary
    bad = f", {len(summary.failed)} failed, {len(summary.skipped)} dependent skipped" if summary.exit_code else ""
    did = f"{summary.done} done in {duration(elapsed_s)}{bad}" if summary.done or bad else "all cells are done"
    console.print(did)
    for cell_id, error in summary.failed.items():
        console.print(f"{runner.cells[cell_id].title}: {error.splitlines()[0]}", style="red")
    if summary.failed:
        console.print("run the same command to retry the failed cells; finished cells are kept")
    console.print(f"report: {report}\npage: {report.with_name('report.html')}")


@click.command(cls=Command)
@suite_options
@seed_option
@epochs_option
@only_option
@device_option
@click.option("--jobs", type=int, help="Number of parallel jobs (cells). Default: use all CPU cores; 1 on a GPU.")
@click.option("--trace", is_flag=True, help="Save a torch.profiler trace of a few steps of each training.")
@click.option("-v", "--verbose", is_flag=True, help="Print every finished cell, not only trainings.")
@click.option("-q", "--quiet", is_flag=True, help="Print problems only.")
@click.option("--dry-run", is_flag=True, help="Show the plan and exit, as `bench plan` does.")
def run(
    chosen: Chosen, seed: int | None, epochs: float | None, only: tuple[str, ...], device: str, jobs: int | None,
    trace: bool, dry_run: bool, verbose: bool, quiet: bool,
) -> None:  # fmt: skip
    """Run a suite: train, synthesise, fine-tune, evaluate, report. Run it again to resume or to retry failures."""

    used = (*(("--device", device) if device != "auto" else ()), *(("--jobs", str(jobs)) if jobs else ()))
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet cannot be combined; use one of them")
    detail = Detail.ALL if verbose else Detail.PROBLEMS if quiet else Detail.NORMAL
    found = replace(chosen.with_seed(seed).with_epochs(epochs), options=used, shows_only=dry_run).to_run()
    if dry_run:
        show_any_plan(found, only, as_json=False, jobs=jobs)
        return
    if isinstance(found, SubSuites):
        sys.exit(run_sub_suites(found, only, device, jobs, trace, detail))
    sys.exit(run_suite(found, only, device, jobs, trace, detail))


def run_sub_suites(
    m: SubSuites, only: Sequence[str], device: str, jobs: int | None, trace: bool, detail: Detail
) -> int:
    """Run each sub-suite and write the overall report; return the exit code, which is 1 also if images are missing."""
    for session in m.ready:
        require_kept(session)
    m.keep()
    codes, before = [], _report_states(m)
    for session in m.ready:
        codes.append(run_suite(session, only, device, jobs, trace, detail))
        plain_console(detail).print()
    if _report_states(m) != before:  # reports quote each other; the first ones written quoted old results
        for session in m.ready[:-1]:
            write_report(session)
    name_absent(m)
    overall = write_overall(m)
    plain_console(detail).print(f"overall report: {overall}\npage: {overall.with_suffix('.html')}")
    return max([*codes, int(bool(m.absent))])


def _report_states(m: SubSuites) -> list[bytes]:
    """Return the state file of each sub-suite's report, which identifies the results it was written from."""
    states = [session.report_folder / ".state" for session in m.ready]
    return [path.read_bytes() if path.is_file() else b"" for path in states]

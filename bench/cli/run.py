"""The verb `bench run`: run the unfinished cells of a suite, show progress, write the report."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from bench.cli.chosen import Chosen
from bench.cli.options import Command, device_option, epochs_option, only_option, seed_option, suite_options
from bench.cli.plan import show_any_plan
from bench.cli.sub_suites import SubSuites, name_absent, write_overall
from bench.cli.training import looks_of, say_stopped, train
from bench.data.changes import data_changes, keep_index
from bench.engine.console import Detail, plain_console, print_data
from bench.engine.executors.fleets import NAMES, FleetChoice
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import Session, pick_device
from bench.engine.stored import keep_config, require_kept
from bench.forecast.cost_model import duration
from bench.plan.selection import select
from bench.report.writing import write_report, written_state
from bench.store.run_records import keep_run
from bench.tracking.session_view import MLflowView

MLFLOW_WAIT_S = 120.0


def run_suite(
    session: Session, only: Sequence[str], device: str, jobs: int | None, trace: bool = False,
    detail: Detail = Detail.NORMAL, fleet: FleetChoice | None = None,
) -> int:  # fmt: skip
    """Run the unfinished cells of the suite, log them, write the report; return the exit code."""
    console = plain_console(detail)
    started = time.monotonic()
    require_kept(session)
    keep_config(session)
    runner = Runner(select(session.plan.cells, only), session.env)
    left = runner.reuse()
    looks = looks_of(session, runner, console)
    name, total = session.suite.name, len(runner.cells)
    console.print(f"suite {name}: {total} cells, {runner.summary.reused} already done, {left} to run")
    print_data(console, session.plan.index)
    _say_changes(console, session, runner)
    view = MLflowView(session)
    record = None
    if left:
        session = session if fleet else session.on_device(pick_device(device))
        session = replace(session, env=replace(session.env, trace=trace))
        record = train(session, runner, console, jobs, listeners=[view], looks=looks, fleet=fleet)
    if looks:
        while looks.more():  # sets that earlier runs finished
            pass
        session = session.after(looks.taken)
        say_stopped(session, console)
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


def _say_changes(console: Console, session: Session, runner: Runner) -> None:
    """Print what changed in the data since the last run, and which cells are damaged, before training starts."""
    if changes := data_changes(session.plan.index, session.kept_index):
        console.print(f"the data changed since the last run: {changes}", style="yellow")
    keep_index(session.plan.index, session.kept_index)
    for cell_id, damage in runner.damaged.items():
        console.print(f"{runner.cells[cell_id].title} is run again: {damage}", style="yellow")


def _close(console: Console, runner: Runner, elapsed_s: float, report: Path) -> None:
    summary = runner.summary
    bad = f", {len(summary.failed)} failed, {len(summary.skipped)} dependent skipped" if summary.exit_code else ""
    others = f", {summary.elsewhere} by other processes" if summary.elsewhere else ""
    done = summary.done + summary.elsewhere
    console.print(f"{done} done in {duration(elapsed_s)}{others}{bad}" if done or bad else "all cells are done")
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
@click.option(
    "--executor",
    type=click.Choice(["process", *NAMES]),
    default="process",
    show_default=True,
    help="What runs the cells: processes of this machine, Slurm jobs, or workers on a Ray cluster.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Highest number of parallel Slurm jobs or Ray workers.")
@click.option("--trace", is_flag=True, help="Save a torch.profiler trace of a few steps of each training.")
@click.option("-v", "--verbose", is_flag=True, help="Print every finished cell, not only trainings.")
@click.option("-q", "--quiet", is_flag=True, help="Print problems only.")
@click.option("--dry-run", is_flag=True, help="Show the plan and exit, as `bench plan` does.")
def run(
    chosen: Chosen, seed: int | None, epochs: float | None, only: tuple[str, ...], device: str, jobs: int | None,
    executor: str, workers: int | None, trace: bool, dry_run: bool, verbose: bool, quiet: bool,
) -> None:  # fmt: skip
    """Run a suite: train, synthesise, fine-tune, evaluate, report. Run it again to resume or to retry failures."""
    fleet = _fleet(executor, workers, jobs, trace, device, only)
    used = (*(("--device", device) if device != "auto" else ()), *(("--jobs", str(jobs)) if jobs else ()))
    used += ("--executor", executor, "--workers", str(workers)) if fleet else ()
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet cannot be combined; use one of them")
    detail = Detail.ALL if verbose else Detail.PROBLEMS if quiet else Detail.NORMAL
    found = replace(chosen.with_seed(seed).with_epochs(epochs), options=used, shows_only=dry_run).to_run()
    if dry_run:
        show_any_plan(found, only, as_json=False, jobs=jobs)
        return
    if isinstance(found, SubSuites):
        sys.exit(run_sub_suites(found, only, device, jobs, trace, detail, fleet))
    sys.exit(run_suite(found, only, device, jobs, trace, detail, fleet))


def _fleet(
    executor: str, workers: int | None, jobs: int | None, trace: bool, device: str, only: tuple[str, ...]
) -> FleetChoice | None:
    """Return the chosen fleet, None for processes of this machine. Raises ``UsageError`` for excluded options."""
    if executor == "process":
        if workers:
            raise click.UsageError("--workers: only with --executor slurm or ray; on this machine use --jobs")
        return None
    if jobs or trace or not workers:
        raise click.UsageError(f"--executor {executor} needs --workers, and takes neither --jobs nor --trace")
    return FleetChoice(executor, workers, device, only)


def run_sub_suites(
    m: SubSuites, only: Sequence[str], device: str, jobs: int | None, trace: bool, detail: Detail,
    fleet: FleetChoice | None = None,
) -> int:  # fmt: skip
    """Run each sub-suite and write the overall report; return the exit code, which is 1 also if images are missing."""
    for session in m.ready:
        require_kept(session)
    m.keep()
    codes, before = [], _report_states(m)
    for session in m.ready:
        codes.append(run_suite(session, only, device, jobs, trace, detail, fleet))
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
